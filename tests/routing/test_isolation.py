"""What a tenant says of models is read, changed and in force in that tenant alone."""

import pytest
from factories.tenants import make_principal, make_tenant

from inference.services import ensure_built_in_models
from routing.models import ChoicePolicy
from routing.selectors import load_policy
from routing.services.policies import get_policy, set_policy
from substrate.crossing import system_scope
from tenants.types import Role

pytestmark = pytest.mark.django_db


def test_a_policy_is_each_tenants_own() -> None:
    ensure_built_in_models()
    mine, other = (make_principal(make_tenant(), role=Role.OWNER) for _ in range(2))
    set_policy(principal=other, document={"heavy_percent": 41})
    assert get_policy(principal=mine).policy.heavy_percent is None
    assert load_policy(mine.tenant_id) is None
    set_policy(principal=mine, document={"heavy_percent": 7})
    for principal, percent in ((other, 41), (mine, 7)):
        assert get_policy(principal=principal).policy.heavy_percent == percent
        found = load_policy(principal.tenant_id)
        assert found is not None
        assert found.policy.heavy_percent == percent
    with system_scope("tests", read_only=True):
        assert ChoicePolicy.objects.count() == 2
