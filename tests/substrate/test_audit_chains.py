"""Chains of acts: every tampering is found, the database refuses it in the first place, old acts leave from the front."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, transaction
from factories.tenants import make_tenant
from fakes.audits import TABLE, Tamperer, drop_guards, execute, write_acts
from fakes.clocks import FrozenClock
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.context import RequestContext, request_context
from substrate.audit import act_line, acts_of_tenant, record_act
from substrate.audit_chain import GENESIS, MASK, differing, link, written
from substrate.audit_keeping import (
    KEEP_ACTS,
    forget_old_acts,
    let_go_chain,
    link_loose_acts,
    settle_restored_acts,
)
from substrate.audit_verifying import read_anchors, verify_platform_acts, verify_tenant_acts
from substrate.crossing import system_scope
from substrate.models import PlatformAct, PlatformChain, TenantAct, TenantChain
from substrate.scoping import tenant_scope

pytestmark = pytest.mark.django_db
TAMPERINGS = 1_000
ACTS = 6


def anchors_of(tenant_id: uuid.UUID) -> dict[str, dict[int, str]]:
    """What left the installation: the lines of every act."""
    return read_anchors(act_line(view) for view in acts_of_tenant(tenant_id=tenant_id, limit=10_000))


def test_an_untouched_chain_is_whole_and_says_how_far_it_goes() -> None:
    tenant, other = make_tenant(), make_tenant()
    write_acts(tenant.id, 5)
    write_acts(other.id, 2)
    found = verify_tenant_acts(tenant_id=tenant.id, anchors=anchors_of(tenant.id))
    assert (found.whole, found.rows, found.first, found.last, found.anchors) == (True, 5, 1, 5, 5)
    with tenant_scope(tenant.id):
        chain = TenantChain.objects.get()
        assert (chain.seq, chain.head) == (5, found.head)
        first = TenantAct.objects.get(seq=1)
        assert first.hash == link(GENESIS, first, tenant.id)
    assert verify_tenant_acts(tenant_id=other.id).last == 2
    assert verify_tenant_acts(tenant_id=make_tenant().id).rows == 0


@pytest.mark.sweep
def test_every_one_of_a_thousand_random_tamperings_is_found() -> None:
    tenant = make_tenant()
    write_acts(tenant.id, ACTS)
    anchors, drop = anchors_of(tenant.id), drop_guards()
    tamperer = Tamperer(tenant.id, random.Random(20))
    unnoticed, kinds = [], set()
    for _ in range(TAMPERINGS):
        with transaction.atomic():
            told = tamperer.tamper()
            found = verify_tenant_acts(tenant_id=tenant.id, anchors=anchors)
            if found.bad is None:
                unnoticed.append(told)
            else:
                kinds.add(found.bad.reason.rstrip("0123456789"))
            transaction.set_rollback(True)
    assert drop is None
    assert unnoticed == []
    assert len(kinds) >= 4
    assert verify_tenant_acts(tenant_id=tenant.id, anchors=anchors).whole


@pytest.mark.parametrize("place", [1, 4, ACTS])
def test_the_first_bad_row_is_named(place: int) -> None:
    tenant = make_tenant()
    write_acts(tenant.id, ACTS)
    drop_guards()
    execute(f"UPDATE {TABLE} SET label = 'nothing happened' WHERE seq >= %s", place)
    bad = verify_tenant_acts(tenant_id=tenant.id).bad
    with tenant_scope(tenant.id):
        row = TenantAct.objects.get(seq=place)
    assert bad is not None
    assert (bad.seq, bad.id) == (place, row.id)


def test_an_end_cut_off_with_its_head_is_told_by_anchors_alone() -> None:
    tenant = make_tenant()
    write_acts(tenant.id, ACTS)
    anchors = anchors_of(tenant.id)
    drop_guards()
    with tenant_scope(tenant.id):
        fifth = TenantAct.objects.get(seq=5)
    execute(f"DELETE FROM {TABLE} WHERE seq > 5")
    assert verify_tenant_acts(tenant_id=tenant.id).bad is not None
    execute("UPDATE substrate_tenantchain SET seq = 5, head = %s", fifth.hash)
    assert verify_tenant_acts(tenant_id=tenant.id).whole
    bad = verify_tenant_acts(tenant_id=tenant.id, anchors=anchors).bad
    assert bad is not None
    assert bad.seq == 6
    execute(f"DELETE FROM {TABLE}")
    execute("DELETE FROM substrate_tenantchain")
    gone = verify_tenant_acts(tenant_id=tenant.id, anchors=anchors).bad
    assert gone is not None
    assert gone.seq == 1


@pytest.mark.parametrize(
    "sql",
    [
        f"UPDATE {TABLE} SET label = 'x'",
        f"UPDATE {TABLE} SET seq = NULL",
        f"DELETE FROM {TABLE}",
        f"DELETE FROM {TABLE} WHERE seq = 1",
        "UPDATE substrate_tenantchain SET seq = 1",
        "UPDATE substrate_tenantchain SET head = 'x'",
        "UPDATE substrate_tenantchain SET forgotten_seq = 99",
        "DELETE FROM substrate_tenantchain",
        "UPDATE substrate_platformact SET label = 'x'",
        "DELETE FROM substrate_platformact",
        "DELETE FROM substrate_platformchain",
    ],
)
def test_the_database_refuses_to_change_or_delete_what_was_done(sql: str) -> None:
    tenant = make_tenant()
    write_acts(tenant.id, 3)
    record_act(act="drained", kind="replica", object_id="r")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        execute(sql)
    assert verify_tenant_acts(tenant_id=tenant.id).rows == 3


def test_old_acts_leave_from_the_beginning_and_the_rest_stays_whole() -> None:
    tenant = make_tenant()
    write_acts(tenant.id, 6)
    record_act(act="drained", kind="replica", object_id="r")
    drop_guards()
    old = datetime.now(UTC) - KEEP_ACTS - timedelta(days=1)
    # An old row behind a young one stays: only a whole beginning is let go.
    for place in (1, 2, 3, 5):
        execute(f"UPDATE {TABLE} SET created_at = %s WHERE seq = %s", old, place)
    relink(tenant.id)
    assert forget_old_acts() == 3
    found = verify_tenant_acts(tenant_id=tenant.id)
    assert (found.bad, found.forgotten, found.first, found.last) == (None, 3, 4, 6)
    assert forget_old_acts() == 0
    write_acts(tenant.id, 1)
    assert forget_old_acts(clock=FrozenClock(datetime.now(UTC) + 2 * KEEP_ACTS)) == 5
    found = verify_tenant_acts(tenant_id=tenant.id)
    assert (found.bad, found.rows, found.forgotten) == (None, 0, 7)
    write_acts(tenant.id, 1)
    assert verify_tenant_acts(tenant_id=tenant.id).last == 8


def relink(tenant_id: uuid.UUID) -> None:
    """Make the chain fit its rows again."""
    with tenant_scope(tenant_id):
        head = GENESIS
        for row in TenantAct.objects.order_by("seq"):
            row.hash = head = link(head, row, tenant_id)
            row.save()
        TenantChain.objects.update(head=head)


def test_a_tenant_takes_its_acts_along_only_when_its_chain_lets_them_go() -> None:
    tenant = make_tenant()
    write_acts(tenant.id, 2)
    with system_scope("tests"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            tenant.delete()
        let_go_chain(tenant_id=tenant.id)
        tenant.delete()
        assert not TenantAct.objects.filter(tenant_id=tenant.id).exists()


def test_acts_that_an_older_version_wrote_are_linked() -> None:
    tenant = make_tenant()
    write_acts(tenant.id, 1)
    with tenant_scope(tenant.id):
        for number in range(3):
            TenantAct.objects.create(
                act="created", kind="x", object_id=str(number), actor_kind="user", actor="a"
            )
    PlatformAct.objects.create(act="created", kind="x", object_id="x", actor_kind="user", actor="a")
    bad = verify_tenant_acts(tenant_id=tenant.id).bad
    assert bad is not None
    assert "no place" in bad.reason
    assert not verify_platform_acts()[-1].whole
    assert link_loose_acts() == 4
    assert link_loose_acts() == 0
    assert verify_tenant_acts(tenant_id=tenant.id).last == 4
    assert [each.bad for each in verify_platform_acts()] == [None]


def test_a_restore_begins_a_new_chain_of_the_platform() -> None:
    record_act(act="drained", kind="replica", object_id="r")
    with system_scope("tests"):
        settle_restored_acts()
        record_act(act="restored", kind="backup", object_id="b")
    first, second = verify_platform_acts()
    assert (first.whole, second.whole, second.last) == (True, True, 1)
    assert PlatformChain.objects.filter(closed_at=None).get().id == second.chain


def test_an_act_says_from_where_and_what_changed_with_secrets_masked() -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id), request_context(RequestContext("req-1", "0" * 32, "192.0.2.7")):
        record_act(
            act="changed",
            kind="model",
            object_id="m",
            tenant_id=tenant.id,
            before={"name": "old", "api_key": "sk-1", "tier": "light", "nested": {"client_secret": "s"}},
            after={"name": "new", "api_key": "sk-2", "tier": "light", "nested": {"client_secret": "t"}},
        )
    (act,) = acts_of_tenant(tenant_id=tenant.id, limit=1)
    assert (act.address, act.request_id) == ("192.0.2.7", "req-1")
    assert act.before == {"name": "old", "api_key": MASK, "nested": {"client_secret": MASK}}
    assert act.after == {"name": "new", "api_key": MASK, "nested": {"client_secret": MASK}}
    assert "sk-" not in act_line(act)


values: Any = st.dictionaries(
    st.text(max_size=12),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=40)
        | st.uuids()
        | st.datetimes(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@settings(max_examples=30)
@given(values, values)
def test_whatever_changed_can_be_written_down(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = differing(before, after)
    assert written(old).isascii()
    assert written(new).isascii()
    assert set(old) <= set(before)
    assert set(new) <= set(after)


def test_anchors_that_contradict_each_other_are_refused() -> None:
    tenant = make_tenant()
    write_acts(tenant.id, 1)
    (line,) = [act_line(view) for view in acts_of_tenant(tenant_id=tenant.id, limit=1)]
    forged = line.replace('"hash":"', '"hash":"0')
    for lines in ([line, forged], ["nonsense"], ["[]"]):
        with pytest.raises(ValueError, match="line"):
            read_anchors(lines)


def test_acts_of_a_version_without_chains_become_their_beginning() -> None:
    """The data migration, over rows as they were."""
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        for number in range(603):
            values = {
                "act": "created",
                "kind": "x",
                "object_id": str(number),
                "actor_kind": "user",
                "actor": "a",
            }
            TenantAct(**values, tenant_id=tenant.id).save()
    PlatformAct.objects.create(act="created", kind="x", object_id="x", actor_kind="user", actor="a")
    # A test that ran before may have emptied the tables, and with them the chain that the migrations began.
    chains = PlatformChain.objects.count()
    with system_scope("tests"):
        import_module("substrate.migrations.0006_link_acts").link_acts(apps, None)
    found = verify_tenant_acts(tenant_id=tenant.id)
    assert (found.bad, found.rows) == (None, 603)
    assert [each.bad for each in verify_platform_acts()] == [None] * (chains + 1)
