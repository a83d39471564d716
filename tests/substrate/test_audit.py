"""What was done is written with the act or not at all, names who did it, and stays in its tenant."""

import uuid

import pytest
from django.db import transaction
from factories.tenants import make_tenant

from kernel.actors import Actor, acting, current_actor
from substrate.audit import acts_everywhere, acts_of_tenant, record_act
from substrate.audit_keeping import forget_old_acts
from substrate.scoping import ScopeError, tenant_scope

pytestmark = pytest.mark.django_db


def do(tenant_id: uuid.UUID, label: str = "CI") -> None:
    with tenant_scope(tenant_id):
        record_act(act="created", kind="api_key", object_id="abc", label=label, tenant_id=tenant_id)


def test_an_act_names_who_did_what() -> None:
    tenant = make_tenant()
    user_id = uuid.uuid4()
    with acting(Actor("user", "ann@example.org", user_id)):
        do(tenant.id)
    (act,) = acts_of_tenant(tenant_id=tenant.id, limit=5)
    assert (act.act, act.kind, act.object_id, act.label) == ("created", "api_key", "abc", "CI")
    assert (act.actor_kind, act.actor, act.actor_id) == ("user", "ann@example.org", user_id)
    assert current_actor().kind == "system"


def test_an_act_that_is_rolled_back_leaves_no_record() -> None:
    tenant = make_tenant()

    with tenant_scope(tenant.id):
        record_act(act="created", kind="api_key", object_id="abc", tenant_id=tenant.id)
        transaction.set_rollback(True)
    assert acts_of_tenant(tenant_id=tenant.id, limit=5) == []


def test_acts_of_others_are_not_seen_and_operators_see_all_in_order() -> None:
    one, other = make_tenant(), make_tenant()
    do(one.id, "first")
    do(other.id, "second")
    record_act(act="drained", kind="replica", object_id="r", label="third")
    assert [act.label for act in acts_of_tenant(tenant_id=one.id, limit=5)] == ["first"]
    everywhere = acts_everywhere(limit=3)
    assert [act.label for act in everywhere] == ["third", "second", "first"]
    assert [act.tenant_id for act in everywhere] == [None, other.id, one.id]
    assert [act.label for act in acts_everywhere(limit=5, before=everywhere[0].id)][:2] == ["second", "first"]


def test_an_act_outside_of_its_tenant_is_refused() -> None:
    one, other = make_tenant(), make_tenant()
    with tenant_scope(one.id), pytest.raises(ScopeError):
        record_act(act="created", kind="api_key", object_id="x", tenant_id=other.id)


def test_a_long_label_is_cut_and_young_acts_are_kept() -> None:
    tenant = make_tenant()
    do(tenant.id, "x" * 1000)
    assert forget_old_acts() == 0
    assert len(acts_of_tenant(tenant_id=tenant.id, limit=1)[0].label) == 255
