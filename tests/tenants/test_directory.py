"""The key directory: a known key costs no load, and a change is in effect at its next use."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from factories.tenants import make_key, make_membership, make_tenant, make_user

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import NotSignedIn, PermissionDenied, TenantSuspended
from substrate.changes import ChangeTail
from substrate.crossing import system_scope_uses
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.access_models import Grant, Group, GroupMember, Restriction
from tenants.directory import MANY, KeyDirectory
from tenants.keys import checksum
from tenants.keys import make_key as make_key_text
from tenants.selectors import load_key_entries, load_key_entry
from tenants.services import (
    authenticate_key,
    change_tenant,
    change_user,
    issue_api_key,
    revoke_api_key,
)
from tenants.services.users import change_member
from tenants.types import IssuedKey, KeyEntry, Principal, PriorityClass, Role, TenantState

pytestmark = pytest.mark.django_db(transaction=True)
LOOKUP = "look up API keys"


class LaterClock:
    """The system's clock, put forward."""

    def __init__(self, ahead: timedelta) -> None:
        """`ahead` of the machine's clock."""
        self._ahead = ahead

    def now(self) -> datetime:
        """The time then."""
        return SYSTEM_CLOCK.now() + self._ahead

    def monotonic(self) -> float:
        """The time then."""
        return SYSTEM_CLOCK.monotonic() + self._ahead.total_seconds()


class Process:
    """A process with a key directory that follows the change log."""

    def __init__(self) -> None:
        """Directory and tail of its own."""
        self.directory = KeyDirectory()
        self.tail = ChangeTail()
        self.tail.listen(self.directory.on_change)
        backends.replace("key_directory", self.directory)

    async def loads_for(self, key: str) -> int:
        """How many loads it takes to authenticate `key` now."""
        before = system_scope_uses[LOOKUP]
        await authenticate_key(key)
        return system_scope_uses[LOOKUP] - before


@pytest.fixture
async def process() -> Process:
    """This process, tailing."""
    process = Process()
    await process.tail.start()
    return process


async def test_a_known_key_costs_no_load(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    key = await run_unit(make_key, tenant, role=Role.ADMIN)
    assert await process.loads_for(key.key) == 1
    assert await process.loads_for(key.key) == 0
    principal = await authenticate_key(key.key)
    assert (principal.tenant_id, principal.role, principal.user_id) == (tenant.id, Role.ADMIN, None)
    assert principal.api_key_prefix == key.prefix
    assert "users.write" in principal.permissions


def test_keys_that_are_loaded_together_know_what_each_knows_alone() -> None:
    """Two tenants that restrict a thing, one that restricts nothing, and a user who is in two of them."""
    both = make_user("both@example.com")
    keys: list[str] = []
    for slug in ("one", "two", "free"):
        tenant = make_tenant(slug)
        alone = make_membership(tenant, make_user(f"{slug}@example.com"))
        mine = make_membership(tenant, both, role=Role.VIEWER) if slug != "free" else alone
        with tenant_scope(tenant.id):
            group = Group.objects.create(name=slug)
            GroupMember.objects.create(group=group, membership=mine)
            if slug != "free":
                thing = Restriction.objects.create(kind="model", object_id=slug)
                Grant.objects.create(restriction=thing, group=group)
        users = (None, alone.user, mine.user)
        keys += [make_key(tenant, user=user).prefix for user in users]
    singly = {prefix: load_key_entry(prefix) for prefix in keys}
    assert load_key_entries([*keys, "unknown000"]) == singly
    closed = [sorted(entry.principal.closed) for entry in singly.values() if entry is not None]
    assert closed == [["model:one"], ["model:one"], [], ["model:two"], ["model:two"], [], [], [], []]
    assert [len(entry.principal.group_ids) for entry in singly.values() if entry is not None] == [
        *(0, 0, 1),
        *(0, 0, 1),
        *(0, 1, 1),
    ]


def test_more_keys_take_no_more_questions(django_assert_max_num_queries: Any) -> None:
    keys = [
        make_key(tenant, user=make_membership(tenant).user).prefix for tenant in map(make_tenant, "abcdef")
    ]
    with django_assert_max_num_queries(5):
        assert len(load_key_entries(keys)) == 6


async def test_changes_of_a_few_others_cost_a_call_nothing(process: Process) -> None:
    tenant, other = await run_unit(make_tenant, "mine"), await run_unit(make_tenant, "other")
    key, others = await run_unit(make_key, tenant), await run_unit(make_key, other)
    await process.tail.catch_up()
    for each in (key, others):
        await authenticate_key(each.key)
    known = process.directory._entries.peek(key.prefix)[1]
    assert known is not None
    number = known.number
    await run_unit(change_tenant, tenant_id=other.id, weight=7)
    await process.tail.catch_up()
    assert process.directory._count > number
    assert await process.loads_for(key.key) == 0
    # Nothing was looked through.
    assert known.number == number
    assert (await authenticate_key(others.key)).weight == 7


async def test_marks_of_many_that_do_not_concern_a_key_are_looked_through_once(process: Process) -> None:
    tenant, other = await run_unit(make_tenant, "mine"), await run_unit(make_tenant, "other")
    key = await run_unit(make_key, tenant)
    many = [await run_unit(make_key, other) for _ in range(MANY + 1)]
    await process.tail.catch_up()
    for each in (key, *many):
        await authenticate_key(each.key)
    known = process.directory._entries.peek(key.prefix)[1]
    assert known is not None
    await run_unit(change_tenant, tenant_id=other.id, weight=7)
    await process.tail.catch_up()
    assert known.number < process.directory._wide
    assert await process.loads_for(key.key) == 0
    assert known.number == process.directory._count


async def test_what_depends_on_what_is_known_of_kept_entries_alone(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    keys = [await run_unit(make_key, tenant) for _ in range(3)]
    await process.tail.catch_up()
    for each in keys:
        await authenticate_key(each.key)
    assert process.directory._dependent[str(tenant.id)] == {each.prefix for each in keys}
    await run_unit(revoke_api_key, prefix=f"atr_{keys[0].prefix}")
    await process.tail.catch_up()
    assert process.directory._dependent[str(tenant.id)] == {each.prefix for each in keys[1:]}
    await process.directory.start()
    assert process.directory._dependent == {}


async def test_a_change_while_a_key_is_loaded_is_seen_by_its_next_use(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await run_unit(make_tenant)
    key = await run_unit(make_key, tenant)
    await process.tail.catch_up()

    def load_then_change(prefixes: Sequence[str]) -> dict[str, KeyEntry]:
        found = load_key_entries(prefixes)
        change_tenant(tenant_id=tenant.id, weight=7)
        return found

    async def run_then_hear(work: Any, *arguments: Any) -> Any:
        found = await run_unit(work, *arguments)
        await process.tail.catch_up()
        return found

    with monkeypatch.context() as patched:
        patched.setattr("tenants.directory.load_key_entries", load_then_change)
        patched.setattr("tenants.directory.run_unit", run_then_hear)
        patched.setattr(process.directory, "_stale", lambda _: False)
        assert (await authenticate_key(key.key)).weight != 7
    assert (await authenticate_key(key.key)).weight == 7


async def test_the_few_keys_of_tenants_that_change_are_loaded_together(process: Process) -> None:
    tenants = [await run_unit(make_tenant, slug) for slug in ("one", "two", "three")]
    await process.tail.catch_up()
    keys = [(await run_unit(make_key, each)).key for each in tenants]
    for key in (*keys, *keys):
        await authenticate_key(key)
    for each in tenants:
        await run_unit(change_tenant, tenant_id=each.id, weight=7)
    await process.tail.catch_up()
    assert [await process.loads_for(key) for key in keys] == [1, 0, 0]
    assert [(await authenticate_key(key)).weight for key in keys] == [7, 7, 7]


async def test_a_tenant_of_many_keys_is_marked_and_each_loaded_at_its_next_use(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    keys = [(await run_unit(make_key, tenant)).key for _ in range(MANY + 1)]
    await process.tail.catch_up()
    for key in (*keys, *keys):
        await authenticate_key(key)
    await run_unit(change_tenant, tenant_id=tenant.id, weight=7)
    await process.tail.catch_up()
    assert len(process.directory._entries._changed) == 0
    assert {(await authenticate_key(key)).weight for key in keys} == {7}


async def test_an_unknown_key_is_loaded_once(process: Process) -> None:
    unknown = make_key_text().key
    before = system_scope_uses[LOOKUP]
    for _ in range(3):
        with pytest.raises(NotSignedIn):
            await authenticate_key(unknown)
    assert system_scope_uses[LOOKUP] - before == 1


async def test_a_mistyped_key_never_reaches_the_database(process: Process) -> None:
    key = await run_unit(make_key, await run_unit(make_tenant))
    before = system_scope_uses[LOOKUP]
    for wrong in (
        key.key[:-1] + ("A" if key.key[-1] != "A" else "B"),
        "atr_x",
        "",
        "sk-1",
        key.key + "0",
        "ä" * 61,
    ):
        with pytest.raises(NotSignedIn):
            await authenticate_key(wrong)
    assert system_scope_uses[LOOKUP] == before


async def test_a_right_prefix_with_another_secret_is_refused_before_and_after_the_right_one(
    process: Process,
) -> None:
    key = await run_unit(make_key, await run_unit(make_tenant))
    other = make_key_text()
    body = other.key[:-6].replace(other.prefix, key.prefix)
    for _ in range(2):
        with pytest.raises(NotSignedIn):
            await authenticate_key(body + checksum(body))
        await authenticate_key(key.key)


async def test_a_key_that_was_seen_is_looked_at_anew_when_its_pepper_is_gone(process: Process) -> None:
    key = await run_unit(make_key, await run_unit(make_tenant))
    await authenticate_key(key.key)
    before = keyring().secrets
    keyring().replace({max(before) + 1: b"n" * 32})
    try:
        with pytest.raises(NotSignedIn):
            await authenticate_key(key.key)
    finally:
        keyring().replace(before)
    assert (await authenticate_key(key.key)).api_key_prefix == key.prefix


async def test_revoking_takes_effect_with_the_change(process: Process) -> None:
    key = await run_unit(make_key, await run_unit(make_tenant))
    await authenticate_key(key.key)
    await run_unit(revoke_api_key, prefix=f"atr_{key.prefix}")
    await process.tail.catch_up()
    with pytest.raises(NotSignedIn):
        await authenticate_key(key.key)


async def test_suspending_and_resuming_a_tenant(process: Process) -> None:
    tenant, other = await run_unit(make_tenant), await run_unit(make_tenant)
    key, foreign = await run_unit(make_key, tenant), await run_unit(make_key, other)
    await process.tail.catch_up()
    await authenticate_key(key.key)
    await authenticate_key(foreign.key)
    await run_unit(change_tenant, tenant_id=tenant.id, state=TenantState.SUSPENDED)
    await process.tail.catch_up()
    with pytest.raises(TenantSuspended):
        await authenticate_key(key.key)
    assert await process.loads_for(foreign.key) == 0
    await run_unit(change_tenant, tenant_id=tenant.id, state=TenantState.ACTIVE)
    await process.tail.catch_up()
    assert (await authenticate_key(key.key)).tenant_id == tenant.id


async def test_the_tenants_class_caps_the_keys(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    key = await run_unit(make_key, tenant)
    assert (await authenticate_key(key.key)).priority_cap is PriorityClass.CRITICAL
    await run_unit(change_tenant, tenant_id=tenant.id, priority_class=PriorityClass.BATCH)
    await process.tail.catch_up()
    assert (await authenticate_key(key.key)).priority_cap is PriorityClass.BATCH


async def test_a_bound_key_follows_its_user(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    owner = await run_unit(make_membership, tenant, role=Role.OWNER)
    member = await run_unit(make_membership, tenant, await run_unit(make_user), role=Role.ADMIN)
    key = await run_unit(make_key, tenant, role=Role.OWNER, user=member.user)
    assert (await authenticate_key(key.key)).role is Role.ADMIN

    boss = Principal(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        role=Role.OWNER,
        user_id=owner.user_id,
        permissions=frozenset({"users.write"}),
    )
    await run_unit(change_member, principal=boss, user_id=member.user_id, role=Role.VIEWER)
    await process.tail.catch_up()
    assert (await authenticate_key(key.key)).role is Role.VIEWER

    await run_unit(change_member, principal=boss, user_id=member.user_id, disabled=True)
    await process.tail.catch_up()
    with pytest.raises(PermissionDenied):
        await authenticate_key(key.key)

    await run_unit(change_member, principal=boss, user_id=member.user_id, disabled=False)
    await run_unit(change_user, user_id=member.user_id, is_active=False)
    await process.tail.catch_up()
    with pytest.raises(NotSignedIn):
        await authenticate_key(key.key)

    await run_unit(change_user, user_id=member.user_id, is_active=True)
    await process.tail.catch_up()
    assert (await authenticate_key(key.key)).user_id == member.user_id


async def test_an_expired_key_is_refused_without_a_change(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    key: IssuedKey = await run_unit(
        issue_api_key,
        tenant_id=tenant.id,
        name="short",
        expires_at=SYSTEM_CLOCK.now() + timedelta(minutes=1),
    )
    await authenticate_key(key.key)
    with pytest.raises(NotSignedIn, match="expired"):
        await authenticate_key(key.key, clock=LaterClock(timedelta(minutes=2)))


async def test_an_operators_owner_key_may_operate(process: Process) -> None:
    tenant = await run_unit(make_tenant)
    membership = await run_unit(
        make_membership, tenant, await run_unit(make_user, is_operator=True), role=Role.OWNER
    )
    bound = await run_unit(make_key, tenant, role=Role.OWNER, user=membership.user)
    lesser = await run_unit(make_key, tenant, role=Role.ADMIN, user=membership.user)
    unbound = await run_unit(make_key, tenant, role=Role.OWNER)
    assert "platform.operate" in (await authenticate_key(bound.key)).permissions
    assert "platform.operate" not in (await authenticate_key(lesser.key)).permissions
    assert "platform.operate" not in (await authenticate_key(unbound.key)).permissions
