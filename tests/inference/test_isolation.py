"""A model that is restricted to one tenant is nobody else's, and who else may use it is no matter of a change."""

import pytest
from factories.tenants import make_tenant

from inference.models import ModelGrant
from inference.selectors import models
from inference.services import change_model, register_engine, require_answering_model
from inference.services.participation import InferenceParticipant
from inference.services.sharing import SharedModels
from kernel.errors import BadInput
from tenants.models import Tenant

pytestmark = pytest.mark.django_db
MODEL = "m-restricted"


def restrict_to(*tenants: Tenant) -> None:
    change_model(model_id=MODEL, restricted=True, tenants=[each.slug for each in tenants])


def may_use(tenant: Tenant) -> list[bool]:
    """What each of those who are asked says of it."""
    try:
        require_answering_model(model_id=MODEL, tenant_id=tenant.id)
        answers = True
    except BadInput:
        answers = False
    step = SharedModels().explain(tenant_id=tenant.id, object_id=MODEL)[0]
    return [answers, step.passed, models(tenant_id=tenant.id).filter(model_id=MODEL).exists()]


def test_a_model_of_another_tenant_is_not_there() -> None:
    mine, other = make_tenant(), make_tenant()
    register_engine(pool="p", model=MODEL, url="http://127.0.0.1:9/v1")
    restrict_to(other)
    assert (may_use(mine), may_use(other)) == ([False] * 3, [True] * 3)


def test_who_keeps_a_model_loses_it_at_no_time() -> None:
    first, kept, last = (make_tenant() for _ in range(3))
    register_engine(pool="p", model=MODEL, url="http://127.0.0.1:9/v1")
    restrict_to(first, kept)
    before = ModelGrant.objects.get(tenant=kept).id
    restrict_to(kept, last)
    assert set(ModelGrant.objects.values_list("tenant_id", flat=True)) == {kept.id, last.id}
    assert ModelGrant.objects.get(tenant=kept).id == before


def test_grants_are_deleted_of_one_tenant() -> None:
    mine, other = make_tenant(), make_tenant()
    register_engine(pool="p", model=MODEL, url="http://127.0.0.1:9/v1")
    restrict_to(other)
    participant = InferenceParticipant()
    assert participant.delete_rows(ModelGrant, mine.id, 9) == 0
    assert ModelGrant.objects.get().tenant_id == other.id
    assert participant.delete_rows(ModelGrant, other.id, 9) == 1
