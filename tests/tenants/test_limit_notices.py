"""Who should know that a limit is passed is told once in each period and for each step, whoever looks how often."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from factories.tenants import make_key, make_membership, make_tenant, make_user
from fakes.clocks import FrozenClock

from kernel.backends import backends
from kernel.errors import Unavailable
from substrate.crossing import system_scope
from substrate.jobs import claim_job, run_job
from substrate.models import Job, TenantAct
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.limit_types import Level, Line, Measure, QuotaStanding, Standing
from tenants.models import Group, GroupMember, Membership, Quota, Tenant, User, WebhookDelivery
from tenants.planning import Subjects, make_plan
from tenants.selectors import principal_of_membership
from tenants.services import limits, set_tenant_limits
from tenants.services.limit_watching import LASTING, LimitWatch, SightingWatch
from tenants.services.limits import load_limits
from tenants.services.standings import own_standings
from tenants.services.webhooks import create_webhook
from tenants.sightings import LimitSightings
from tenants.types import Principal, Role

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@dataclass
class KnownCounters:
    """Counters that say of every line what a test wrote down; of fields that hold `unseeded` nothing is known."""

    used: int = 0
    unseeded: str = "nobody"

    async def read(self, tenant: str, lines: list[Line]) -> tuple[Standing, ...]:
        return tuple(
            Standing(self.used, max(0, line.limit - self.used), 0, seeded=self.unseeded not in line.field)
            for line in lines
        )


@pytest.fixture
async def counters(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KnownCounters]:
    known = KnownCounters()
    backends.replace("counters", known)
    monkeypatch.setattr(settings, "MAIL_CONFIGURED", True)
    yield known
    await backends.close()
    close_units()


def furnish(**given: int) -> Tenant:
    """A tenant of an owner, an administrator, a member, and a limit that warns at 80 %."""
    tenant = make_tenant(name="Acme")
    for role in (Role.OWNER, Role.ADMIN, Role.MEMBER):
        address = f"{role.value}@example.com"
        user = User.objects.filter(email=address).first() or make_user(address)
        make_membership(tenant, user, role=role)
    wanted = given or {"tokens_per_month": 100}
    set_tenant_limits(
        tenant_id=tenant.id, limits={Measure(name): hard for name, hard in wanted.items()}, warn_percent=80
    )
    return tenant


def acts(tenant: Tenant) -> list[str]:
    with tenant_scope(tenant.id, read_only=True):
        return list(
            TenantAct.objects.filter(act="warned").order_by("seq").values_list("object_id", flat=True)
        )


def letters(tenant: Tenant) -> list[str]:
    with tenant_scope(tenant.id, read_only=True):
        return sorted(job.payload["to"] for job in Job.objects.filter(kind="tenants.limit_letter"))


async def test_each_step_is_told_once_in_its_period(counters: KnownCounters) -> None:
    tenant = await run_unit(furnish)
    watch = LimitWatch(clock=FrozenClock(NOW))
    counters.used = 79
    assert await watch.look() == 0
    counters.used = 80
    assert [await watch.look() for _ in range(3)] == [1, 0, 0]
    # Another process, which remembers nothing.
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 0
    counters.used = 100
    assert await watch.look() == 1
    assert await run_unit(acts, tenant) == [
        "tenant::tokens_per_month:2026-03:warned",
        "tenant::tokens_per_month:2026-03:reached",
    ]
    assert await run_unit(letters, tenant) == sorted(2 * ["owner@example.com", "admin@example.com"])
    # The next month begins anew.
    assert await LimitWatch(clock=FrozenClock(NOW + timedelta(days=30))).look() == 1


async def test_what_one_tenant_was_told_another_is_told_too(counters: KnownCounters) -> None:
    both = [await run_unit(lambda: furnish(tokens_per_month=100, tokens_per_day=100)) for _ in range(2)]
    counters.used = 90
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 4
    assert [len(await run_unit(acts, tenant)) for tenant in both] == [2, 2]


async def test_two_who_look_at_the_same_moment_tell_once(counters: KnownCounters) -> None:
    tenant = await run_unit(furnish)
    counters.used = 90
    told = await asyncio.gather(*(LimitWatch(clock=FrozenClock(NOW)).look() for _ in range(4)))
    assert (sum(told), len(await run_unit(acts, tenant))) == (1, 1)


async def test_tenants_are_looked_at_by_hundreds_and_only_for_what_lasts(
    counters: KnownCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AT_ONCE", 2)
    wanted = [(await run_unit(furnish, money_per_day=10 + number)).id for number in range(5)]
    await run_unit(lambda: furnish(requests_per_minute=10))
    pages = [page async for page in limits.limits_that_count(LASTING)]
    assert [len(page) for page in pages] == [2, 2, 1]
    found = [each for page in pages for each in page]
    assert [each.tenant_id for each in found] == sorted(wanted)
    assert {each.of(Level.TENANT, "")[0].hard for each in found} == set(range(10, 15))
    counters.used = 12
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 5


async def test_rates_are_no_matter_of_letters(counters: KnownCounters) -> None:
    await run_unit(lambda: furnish(requests_per_minute=10, concurrency=2))
    counters.used = 10
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 0


async def test_a_user_is_told_of_their_own(counters: KnownCounters) -> None:
    def limited() -> Tenant:
        tenant = make_tenant()
        make_membership(tenant, make_user("owner@example.com"), role=Role.OWNER)
        ann = make_membership(tenant, make_user("ann@example.com"))
        with tenant_scope(tenant.id):
            Quota.objects.create(
                tenant=tenant, level="user", subject=str(ann.user_id), measure="money_per_day", hard=5, soft=4
            )
        return tenant

    tenant = await run_unit(limited)
    counters.used = 4
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 1
    assert await run_unit(letters, tenant) == ["ann@example.com", "owner@example.com"]


def principal_of(tenant: Tenant, email: str) -> Principal:
    with system_scope("tests", read_only=True):
        rows = Membership.objects.select_related("tenant", "user")
        return principal_of_membership(rows.get(tenant=tenant, user__email=email))


def furnish_groups() -> tuple[Tenant, dict[str, str]]:
    """A tenant of an owner, ann in two groups, ben in one; every group has the limit of every group, one its own."""
    tenant = make_tenant(name="Acme")
    make_membership(tenant, make_user("owner@example.com"), role=Role.OWNER)
    ann, ben = (make_membership(tenant, make_user(f"{name}@example.com")) for name in ("ann", "ben"))
    groups = {}
    with tenant_scope(tenant.id):
        for name, members in (("Sales", [ann]), ("Docks", [ann, ben]), ("Nobody", [])):
            group = Group.objects.create(tenant=tenant, name=name)
            groups[name] = str(group.id)
            for each in members:
                GroupMember.objects.create(tenant=tenant, group=group, membership=each)
        for subject, hard in (("", 100), (groups["Docks"], 1000)):
            Quota.objects.create(
                tenant=tenant, level="group", subject=subject, measure="tokens_per_month", hard=hard, soft=80
            )
    create_webhook(
        principal=principal_of(tenant, "owner@example.com"),
        name="on-call",
        url="https://hooks.example.org/",
        events=["limit.warned"],
    )
    return tenant, groups


def deliveries(tenant: Tenant) -> list[str]:
    with tenant_scope(tenant.id, read_only=True):
        return sorted(json.loads(row.body)["data"]["subject"] for row in WebhookDelivery.objects.all())


async def test_of_a_group_s_limit_its_heads_hear_once_and_its_members_by_header_and_banner(
    counters: KnownCounters,
) -> None:
    tenant, groups = await run_unit(furnish_groups)
    counters.used = 90
    # Nobody has called by the third group, whose month is not summed from the ledger each minute.
    counters.unseeded = groups["Nobody"]
    watch = LimitWatch(clock=FrozenClock(NOW))
    assert [await watch.look() for _ in range(2)] == [2, 0]
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 0
    told = {f"group:{groups[name]}:tokens_per_month:2026-03:warned" for name in ("Sales", "Docks")}
    assert set(await run_unit(acts, tenant)) == told
    assert set(await run_unit(letters, tenant)) == {"owner@example.com"}
    assert await run_unit(deliveries, tenant) == sorted([groups["Sales"], groups["Docks"]])

    # Members see it in what `/quotas` says to them, which the banner shows, and in the plan of their calls.
    for email, names in (("ann@example.com", {"Sales", "Docks"}), ("ben@example.com", {"Docks"})):
        assert {each.name for each in await run_unit(_own, tenant, email)} == names
        principal = await run_unit(principal_of, tenant, email)
        known = await run_unit(load_limits, tenant.id)
        assert known is not None
        plan = make_plan(known, Subjects("", "", tuple(str(each) for each in principal.group_ids), ()), NOW)
        assert plan is not None
        passed = plan.allowance([90] * len(plan.lines))
        assert passed.warning == ", ".join(["group/tokens_per_month"] * len(names))


async def test_a_group_whose_own_limit_is_higher_is_not_told_the_one_of_every_group(
    counters: KnownCounters,
) -> None:
    tenant, groups = await run_unit(furnish_groups)
    counters.used = 100
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 3
    states = {key.split(":")[1]: key.rsplit(":", 1)[1] for key in await run_unit(acts, tenant)}
    assert states == {
        groups["Sales"]: "reached",
        groups["Nobody"]: "reached",
        groups["Docks"]: "warned",
    }


def _own(tenant: Tenant, email: str) -> list[QuotaStanding]:
    return own_standings(principal=principal_of(tenant, email), clock=FrozenClock(NOW))


def furnish_everyone(level: str) -> tuple[Tenant, dict[str, str]]:
    """A tenant of an owner and three people with a key each; every user (or key) has the limit, cem one of their own."""
    tenant = make_tenant(name="Acme")
    owner = make_membership(tenant, make_user("owner@example.com"), role=Role.OWNER)
    subjects = {}
    for name in ("ann", "ben", "cem"):
        person = make_membership(tenant, make_user(f"{name}@example.com")).user
        subjects[name] = str(person.id if level == "user" else make_key(tenant, user=person).id)
    with tenant_scope(tenant.id):
        for subject, hard in (("", 100), (subjects["cem"], 1000)):
            Quota.objects.create(
                tenant=tenant, level=level, subject=subject, measure="tokens_per_day", hard=hard, soft=80
            )
    create_webhook(
        principal=principal_of(tenant, owner.user.email),
        name="on-call",
        url="https://hooks.example.org/",
        events=["limit.warned"],
    )
    return tenant, subjects


async def saw(counters: KnownCounters, tenant: Tenant, level: str, subject: str) -> None:
    """A call of somebody, which reads their counters as it is admitted."""
    limits_now = await run_unit(load_limits, tenant.id)
    assert limits_now is not None
    user, key = (subject, "") if level == "user" else ("", subject)
    plan = make_plan(limits_now, Subjects(user, key, (), ()), NOW)
    assert plan is not None
    sightings: LimitSightings = backends["limit_sightings"]
    read = await counters.read(str(tenant.id), list(plan.lines))
    sightings.note(plan, [each.used for each in read])


@pytest.mark.parametrize("level", ["user", "key"])
async def test_of_a_limit_of_every_user_each_hears_who_passes_it_and_heads_once(
    counters: KnownCounters, level: str
) -> None:
    tenant, subjects = await run_unit(furnish_everyone, level)
    await backends["limit_directory"].start()
    watch = SightingWatch(clock=FrozenClock(NOW))
    counters.used = 79
    await saw(counters, tenant, level, subjects["ann"])
    assert await watch.look() == 0
    counters.used = 80
    await saw(counters, tenant, level, subjects["ann"])
    # A limit of one's own is looked at by the other watch.
    await saw(counters, tenant, level, subjects["cem"])
    assert [await watch.look() for _ in range(2)] == [1, 0]
    assert await run_unit(letters, tenant) == ["ann@example.com", "owner@example.com"]
    for name in ("ann", "ben"):
        await saw(counters, tenant, level, subjects[name])
    assert await SightingWatch(clock=FrozenClock(NOW)).look() == 1
    assert await run_unit(letters, tenant) == ["ann@example.com", "ben@example.com", "owner@example.com"]
    assert await run_unit(deliveries, tenant) == sorted([subjects["ann"], subjects["ben"]])
    assert await run_unit(acts, tenant) == [
        f"{level}:{subjects['ann']}:tokens_per_day:2026-03-10:warned",
        f"{level}::tokens_per_day:2026-03-10:warned",
        f"{level}:{subjects['ben']}:tokens_per_day:2026-03-10:warned",
    ]


async def test_what_could_not_be_told_is_told_later_and_nothing_of_who_has_left(
    counters: KnownCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, subjects = await run_unit(furnish_everyone, "user")
    await backends["limit_directory"].start()
    counters.used = 100
    for name in ("ann", "ben"):
        await saw(counters, tenant, "user", subjects[name])
    watch = SightingWatch(clock=FrozenClock(NOW))
    with monkeypatch.context() as away:
        away.setattr(counters, "read", _unavailable)
        with pytest.raises(Unavailable):
            await watch.look()

    def leave() -> None:
        with tenant_scope(tenant.id):
            Membership.objects.get(user_id=subjects["ben"]).delete()

    await run_unit(leave)
    assert [await watch.look() for _ in range(2)] == [1, 0]
    assert await run_unit(letters, tenant) == ["ann@example.com", "owner@example.com"]


async def _unavailable(tenant: str, lines: list[Line]) -> tuple[Standing, ...]:
    raise Unavailable("away", retry_after_s=1.0)


async def test_nobody_is_asked_for_who_has_passed_nothing(
    counters: KnownCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, subjects = await run_unit(furnish_everyone, "user")
    await backends["limit_directory"].start()
    counters.used = 79
    await saw(counters, tenant, "user", subjects["ann"])
    monkeypatch.setattr(counters, "read", _unavailable)
    assert await SightingWatch(clock=FrozenClock(NOW)).look() == 0


async def test_a_letter_is_sent_once_and_says_what_is_used(
    counters: KnownCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_unit(furnish)
    counters.used = 100
    await LimitWatch(clock=FrozenClock(NOW)).look()
    while (job := await run_unit(claim_job, owner="test")) is not None:
        await run_job(job)
    assert sorted(letter.to[0] for letter in mail.outbox) == ["admin@example.com", "owner@example.com"]
    letter: Any = mail.outbox[0]
    assert letter.subject == "Acme: a limit is used up"
    assert "tokens per month, 2026-03" in letter.body
    assert "Used: 100 of 100" in letter.body
    assert await run_unit(claim_job, owner="test") is None


async def test_a_suspended_tenant_hears_nothing(counters: KnownCounters) -> None:
    tenant = await run_unit(furnish)
    await run_unit(Tenant.objects.filter(id=tenant.id).update, state="suspended")
    counters.used = 100
    assert await LimitWatch(clock=FrozenClock(NOW)).look() == 0
