"""A caller who comes again brings the plan along, and never one that is not true any more."""

import uuid
from typing import Any

import pytest
from factories.tenants import make_tenant
from fakes.clocks import FrozenClock
from fakes.limits import KnownLimits, of_tenant

from kernel.backends import backends
from substrate.changes import ChangeTail
from substrate.units import run_unit
from tenants.limit_directory import LimitDirectory
from tenants.limit_types import Measure
from tenants.services import Plans, set_tenant_limits
from tenants.types import Principal, Role

REQUESTS, DAY = Measure.REQUESTS_PER_MINUTE, Measure.TOKENS_PER_DAY
MODELS = ("m",)


def caller(tenant_id: uuid.UUID) -> Principal:
    return Principal(tenant_id=tenant_id, tenant_slug="t", role=Role.MEMBER, api_key_id=uuid.uuid4())


class CountingLimits(KnownLimits):
    """Limits that a test writes down, and how often they were asked for."""

    asked = 0

    def peek(self, tenant: str) -> Any:
        self.asked += 1
        return super().peek(tenant)


@pytest.fixture
async def limits() -> CountingLimits:
    found = CountingLimits()
    backends.replace("limit_directory", found)
    return found


async def test_the_second_call_asks_nobody(limits: CountingLimits) -> None:
    principal, plans = caller(uuid.uuid4()), Plans()
    limits.set(principal.tenant_id, of_tenant(REQUESTS, 5))
    first = await plans.find(principal, MODELS)
    assert first is not None
    assert [await plans.find(principal, MODELS) for _ in range(3)] == [first] * 3
    assert limits.asked == 1


async def test_other_models_and_spare_calls_have_plans_of_their_own(limits: CountingLimits) -> None:
    principal, plans = caller(uuid.uuid4()), Plans()
    limits.set(principal.tenant_id, of_tenant(REQUESTS, 5), of_tenant(DAY, 100))
    usual = await plans.find(principal, MODELS)
    other = await plans.find(principal, ("n", "m"))
    spare = await plans.find(principal, ("n", "m"), spare=True)
    assert usual is not None
    assert other is not None
    assert spare is not None
    assert (usual.models, other.models) == (MODELS, ("n", "m"))
    assert [line.limit for line in spare.lines] == [80]
    assert [await plans.find(principal, MODELS), await plans.find(principal, ("n", "m"))] == [usual, other]


async def test_a_plan_is_brought_to_whoever_made_it_and_nobody_else(limits: CountingLimits) -> None:
    principal = caller(uuid.uuid4())
    limits.set(principal.tenant_id, of_tenant(REQUESTS, 5))
    mine, other = Plans(), Plans()
    first = await mine.find(principal, MODELS)
    assert await other.find(principal, MODELS) is not first


async def test_limits_that_changed_hold_with_the_next_call(limits: CountingLimits) -> None:
    principal, plans = caller(uuid.uuid4()), Plans()
    for amount in (5, 6, 7):
        limits.set(principal.tenant_id, of_tenant(REQUESTS, amount))
        plan = await plans.find(principal, MODELS)
        assert plan is not None
        assert [line.limit for line in plan.lines] == [amount]


async def test_a_day_that_is_over_and_five_minutes_are_looked_at_again(limits: CountingLimits) -> None:
    clock = FrozenClock()
    principal, plans = caller(uuid.uuid4()), Plans(clock=clock)
    limits.set(principal.tenant_id, of_tenant(DAY, 5))
    today = await plans.find(principal, MODELS)
    clock.advance(299)
    await plans.find(principal, MODELS)
    assert limits.asked == 1
    clock.advance(2)
    assert await plans.find(principal, MODELS) is today
    assert limits.asked == 2
    clock.advance(86_400)
    tomorrow = await plans.find(principal, MODELS)
    assert today is not None
    assert tomorrow is not None
    assert tomorrow.lines[0].start_ms == today.lines[0].end_ms


@pytest.mark.django_db(transaction=True)
async def test_what_was_loaded_while_it_changed_is_not_brought_along() -> None:
    """Nobody could tell it that it is over, for it was never kept."""
    tenant = await run_unit(make_tenant)
    directory, tail = await directory_of(tenant.id, 5)
    backends.replace("limit_directory", directory)
    load = directory._entries._load

    async def load_then_change(ids: Any) -> Any:
        found = await load(ids)
        await run_unit(_set_limit, tenant.id, 6)
        await tail.catch_up()
        return found

    principal, plans = caller(tenant.id), Plans()
    directory._entries._load = load_then_change
    old = await plans.find(principal, MODELS)
    directory._entries._load = load
    new = await plans.find(principal, MODELS)
    assert old is not None
    assert new is not None
    assert (old.lines[0].limit, new.lines[0].limit) == (5, 6)


@pytest.mark.django_db(transaction=True)
async def test_the_directory_tells_limits_that_they_are_over() -> None:
    tenant = await run_unit(make_tenant)
    directory, tail = await directory_of(tenant.id, 5)
    found = await directory.find(tenant.id)
    assert found is not None
    assert not found.over
    await run_unit(_set_limit, tenant.id, 6)
    await tail.catch_up()
    assert found.over
    again = await directory.find(tenant.id)
    assert again is not None
    await directory.start()
    assert again.over


async def directory_of(tenant_id: uuid.UUID, amount: int) -> tuple[LimitDirectory, ChangeTail]:
    """A process that follows changes, in which the tenant has a limit of `amount` requests."""
    await run_unit(_set_limit, tenant_id, amount)
    directory, tail = LimitDirectory(), ChangeTail()
    tail.listen(directory.on_change)
    await directory.start()
    await tail.start()
    return directory, tail


def _set_limit(tenant_id: uuid.UUID, amount: int) -> None:
    set_tenant_limits(tenant_id=tenant_id, limits={REQUESTS: amount})
