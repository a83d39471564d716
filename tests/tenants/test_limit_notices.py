"""Who should know that a limit is passed is told once in each period and for each step, whoever looks how often."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from factories.tenants import make_membership, make_tenant, make_user
from fakes.clocks import FrozenClock

from kernel.backends import backends
from substrate.jobs import claim_job, run_job
from substrate.models import Job, TenantAct
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.limit_types import Line, Measure, Standing
from tenants.models import Quota, Tenant
from tenants.services import set_tenant_limits
from tenants.services.limit_notices import LimitWatch
from tenants.types import Role

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@dataclass
class KnownCounters:
    """Counters that say of every line what a test wrote down."""

    used: int = 0

    async def read(self, tenant: str, lines: list[Line]) -> tuple[Standing, ...]:
        return tuple(Standing(self.used, max(0, line.limit - self.used), 0) for line in lines)


@pytest.fixture
async def counters(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KnownCounters]:
    known = KnownCounters()
    backends.replace("counters", known)
    monkeypatch.setattr(settings, "MAIL_CONFIGURED", True)
    yield known
    await backends.close()
    close_units()


def furnish(**limits: int) -> Tenant:
    """A tenant of an owner, an administrator, a member, and a limit that warns at 80 %."""
    tenant = make_tenant(name="Acme")
    for role in (Role.OWNER, Role.ADMIN, Role.MEMBER):
        make_membership(tenant, make_user(f"{role.value}@example.com"), role=role)
    wanted = limits or {"tokens_per_month": 100}
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


async def test_two_who_look_at_the_same_moment_tell_once(counters: KnownCounters) -> None:
    tenant = await run_unit(furnish)
    counters.used = 90
    told = await asyncio.gather(*(LimitWatch(clock=FrozenClock(NOW)).look() for _ in range(4)))
    assert (sum(told), len(await run_unit(acts, tenant))) == (1, 1)


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
