"""What every counter promises, in process and over Redis; and that both say the same of anything."""

import asyncio
import dataclasses
import os
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
import redis.asyncio
from fakes.clocks import FrozenClock
from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.adapters.memory_counters import MemoryCounters
from tenants.adapters.redis_counters import RedisCounters
from tenants.limit_types import (
    LEASE_MS,
    Claim,
    Line,
    LineKind,
    LineSet,
    Outcome,
    Seed,
    Settlement,
    Standing,
    Verdict,
    period_at,
)
from tenants.ports import SeededCounters

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")
DAY_MS = 86_400_000
redis_only = [
    pytest.mark.services,
    pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis"),
]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(params=["memory", pytest.param("redis", marks=redis_only)])
async def counters(request: pytest.FixtureRequest, clock: FrozenClock) -> AsyncIterator[SeededCounters]:
    if request.param == "memory":
        yield MemoryCounters(clock=clock)
        return
    made = RedisCounters(url=REDIS_URL, clock=clock)
    yield made
    await made.close()


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def ms(clock: FrozenClock) -> int:
    return int(clock.now().timestamp() * 1000)


def rate(limit: int, field: str = "tenant::requests_per_minute") -> Line:
    return Line(LineKind.RATE, field, limit)


def running(limit: int, field: str = "tenant::concurrency") -> Line:
    return Line(LineKind.RUNNING, field, limit)


def day(clock: FrozenClock, limit: int, field: str = "tenant::tokens_per_day") -> Line:
    start = ms(clock) // DAY_MS * DAY_MS
    return Line(LineKind.DAY, field, limit, start, start + DAY_MS, start + 2 * DAY_MS)


def claim(tenant: str, *charged: tuple[Line, int], id: str = "") -> Claim:
    lines = LineSet(line for line, _ in charged)
    return Claim(id or uuid.uuid4().hex, tenant, lines, tuple(value for _, value in charged))


def settlement(of: Claim, *values: int, at_ms: int) -> Settlement:
    return Settlement(of, values, at_ms)


async def seeded(
    counters: SeededCounters, tenant: str, line: Line, clock: FrozenClock, used: int = 0
) -> Line:
    await counters.seed(tenant, [Seed(line, line.start_ms, used, ms(clock))])
    return line


async def reserve(counters: SeededCounters, asked: Claim) -> bool:
    return (await counters.reserve(asked)).outcome is Outcome.ADMITTED


async def test_the_burst_is_the_whole_limit_and_refills_evenly(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    line = rate(6)
    for _ in range(6):
        assert await reserve(counters, claim(tenant, (line, 1)))
    refused = await counters.reserve(claim(tenant, (line, 1)))
    assert (refused.outcome, refused.refused, refused.wait_ms) == (Outcome.REFUSED, 0, 10_000)
    clock.advance(9.999)
    assert (await counters.reserve(claim(tenant, (line, 1)))).wait_ms == 1
    clock.advance(0.001)
    assert await reserve(counters, claim(tenant, (line, 1)))
    assert not await reserve(counters, claim(tenant, (line, 1)))


async def test_a_refused_claim_costs_nothing_on_any_line(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    requests, tokens, places = rate(100), rate(50, "tenant::tokens_per_minute"), running(5)
    budget = await seeded(counters, tenant, day(clock, 1000), clock)
    lines = (requests, tokens, budget, places)
    assert await reserve(counters, claim(tenant, (requests, 1), (tokens, 40), (budget, 40), (places, 0)))
    before = await counters.read(tenant, lines)
    again = await counters.reserve(claim(tenant, (requests, 1), (tokens, 40), (budget, 40), (places, 0)))
    assert (again.outcome, again.refused) == (Outcome.REFUSED, 1)
    assert await counters.read(tenant, lines) == before
    assert [each.used for each in before] == [1, 40, 40, 1]


async def test_a_budget_says_no_before_a_rate_does(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    requests, budget = rate(1), await seeded(counters, tenant, day(clock, 10), clock, used=5)
    assert await reserve(counters, claim(tenant, (requests, 1), (budget, 5)))
    refused = await counters.reserve(claim(tenant, (requests, 1), (budget, 1)))
    assert refused.refused == 1
    assert refused.wait_ms == budget.end_ms - ms(clock)


async def test_settling_takes_the_estimate_back_and_books_what_was_used(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    tokens = rate(1000, "tenant::tokens_per_minute")
    budget = await seeded(counters, tenant, day(clock, 1000), clock)
    asked = claim(tenant, (tokens, 800), (budget, 800))
    assert await reserve(counters, asked)
    counters.settle(settlement(asked, 30, 30, at_ms=ms(clock)))
    assert [each.used for each in await counters.read(tenant, (tokens, budget))] == [30, 30]


async def test_what_was_used_beyond_the_estimate_is_paid_back_before_the_next_call(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    tokens = rate(60, "tenant::tokens_per_minute")
    asked = claim(tenant, (tokens, 60))
    assert await reserve(counters, asked)
    counters.settle(settlement(asked, 90, at_ms=ms(clock)))
    refused = await counters.reserve(claim(tenant, (tokens, 1)))
    assert refused.wait_ms == 31_000


async def test_settling_twice_counts_once(counters: SeededCounters, tenant: str, clock: FrozenClock) -> None:
    budget = await seeded(counters, tenant, day(clock, 1000), clock)
    asked = claim(tenant, (budget, 100))
    assert await reserve(counters, asked)
    clock.advance(1)
    for _ in range(3):
        counters.settle(settlement(asked, 70, at_ms=ms(clock)))
    assert (await counters.read(tenant, (budget,)))[0].used == 70


async def test_a_refund_gives_everything_back_the_request_included(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    lines = (rate(3), await seeded(counters, tenant, day(clock, 10), clock), running(1))
    asked = claim(tenant, *zip(lines, (1, 10, 0), strict=True))
    assert await reserve(counters, asked)
    counters.refund(asked)
    assert [each.used for each in await counters.read(tenant, lines)] == [0, 0, 0]


async def test_a_reservation_that_nobody_renews_ends_within_ten_seconds(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    budget, places = await seeded(counters, tenant, day(clock, 100), clock), running(1)
    dead, alive = claim(tenant, (budget, 60), (places, 0)), claim(tenant, (budget, 10))
    assert (await counters.reserve(dead)).running
    assert await reserve(counters, alive)
    clock.advance(LEASE_MS / 2000)
    assert await counters.renew(alive)
    clock.advance(LEASE_MS / 2000)
    assert LEASE_MS <= 10_000
    verdict = await counters.reserve(claim(tenant, (budget, 90), (places, 0)))
    assert verdict.outcome is Outcome.ADMITTED
    assert verdict.running
    assert not await counters.renew(dead)


async def test_usage_of_a_call_whose_reservation_is_gone_is_booked_all_the_same(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    budget = await seeded(counters, tenant, day(clock, 100), clock)
    stalled = claim(tenant, (budget, 60))
    assert await reserve(counters, stalled)
    clock.advance(20)
    assert await reserve(counters, claim(tenant, (budget, 1)))
    for _ in range(2):
        counters.settle(settlement(stalled, 44, at_ms=ms(clock)))
    assert (await counters.read(tenant, (budget,)))[0].used == 45


async def test_what_a_seed_already_knew_is_not_booked_again(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    spooled_at = ms(clock)
    clock.advance(1)
    budget = await seeded(counters, tenant, day(clock, 100), clock, used=44)
    counters.settle(settlement(claim(tenant, (budget, 60)), 44, at_ms=spooled_at))
    assert (await counters.read(tenant, (budget,)))[0].used == 44


async def test_a_line_that_is_not_seeded_admits_nothing(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    known = await seeded(counters, tenant, day(clock, 100), clock)
    unknown = day(clock, 100, "user:x:tokens_per_day")
    verdict = await counters.reserve(claim(tenant, (known, 1), (unknown, 1), (rate(5), 1)))
    assert (verdict.outcome, verdict.unseeded) == (Outcome.UNSEEDED, (1,))
    assert [each.used for each in await counters.read(tenant, (known, rate(5)))] == [0, 0]


async def test_a_seed_replaces_only_when_it_is_told_to(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    budget = await seeded(counters, tenant, day(clock, 100), clock, used=10)
    await counters.seed(tenant, [Seed(budget, budget.start_ms, 99, ms(clock))])
    assert (await counters.read(tenant, (budget,)))[0].used == 10
    await counters.seed(tenant, [Seed(budget, budget.start_ms, 99, ms(clock))], replace=True)
    assert (await counters.read(tenant, (budget,)))[0].used == 99


async def test_a_new_day_begins_by_itself_and_late_usage_belongs_to_its_own_day(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    today = await seeded(counters, tenant, day(clock, 100), clock)
    late = claim(tenant, (today, 100))
    assert await reserve(counters, late)
    clock.advance(timedelta(milliseconds=today.end_ms - ms(clock)))
    tomorrow = Seed(today, today.end_ms, 0, ms(clock))
    await counters.seed(tenant, [tomorrow])
    fresh = claim(tenant, (today, 100))
    assert await reserve(counters, fresh)
    counters.settle(settlement(late, 100, at_ms=ms(clock)))
    assert (await counters.read(tenant, (today,)))[0] == Standing(100, 0, DAY_MS)


async def test_places_are_taken_and_given_up_while_a_call_is_held(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    one = running(1)
    first, second = claim(tenant, (one, 0)), claim(tenant, (one, 0))
    assert (await counters.reserve(first)).running
    waiting = await counters.reserve(second)
    assert (waiting.outcome, waiting.running) == (Outcome.ADMITTED, False)
    assert not await counters.renew(second, running=True)
    assert await counters.renew(first, running=False)
    assert await counters.renew(second, running=True)
    assert await counters.renew(second, running=True)
    assert not await counters.renew(first, running=True)
    counters.settle(settlement(second, 0, at_ms=ms(clock)))
    counters.settle(settlement(first, 0, at_ms=ms(clock)))
    assert (await counters.read(tenant, (one,)))[0].used == 0


async def test_of_a_thousand_at_once_exactly_as_many_come_in_as_the_budget_admits(
    counters: SeededCounters, tenant: str, clock: FrozenClock
) -> None:
    budget = await seeded(counters, tenant, day(clock, 137 * 7 + 6), clock)
    verdicts = await asyncio.gather(*(counters.reserve(claim(tenant, (budget, 7))) for _ in range(1000)))
    assert sum(each.outcome is Outcome.ADMITTED for each in verdicts) == 137
    assert (await counters.read(tenant, (budget,)))[0].used == 137 * 7


@pytest.mark.services
@pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis")
async def test_a_call_that_an_older_version_held_is_freed_when_its_process_has_died(
    tenant: str, clock: FrozenClock
) -> None:
    counters, server = RedisCounters(url=REDIS_URL, clock=clock), redis.asyncio.Redis.from_url(REDIS_URL)
    requests, places, budget = rate(5), running(3), day(clock, 100)
    lines, prefix = (requests, places, budget), f"atrium:limits:{{{tenant}}}:"
    try:
        await seeded(counters, tenant, budget, clock, used=7)
        assert await reserve(counters, claim(tenant, (requests, 1), (places, 0), (budget, 20)))
        await server.delete(f"{prefix}calls", f"{prefix}leases")
        # Its lines one by one, as they stand in a claim.
        await server.eval(
            "redis.call('HSET', KEYS[1], 'old', cmsgpack.pack({ARGV[1], ARGV[2], {0, 0, tonumber(ARGV[3])}, true}))",
            1,
            f"{prefix}calls",
            msgspec.msgpack.encode([[int(line.kind), *dataclasses.astuple(line)[1:]] for line in lines]),
            msgspec.msgpack.encode((1, 0, 20)),
            budget.start_ms,
        )
        await server.zadd(f"{prefix}leases", {"old": ms(clock) + 1})
        clock.advance(1)
        assert await reserve(counters, claim(tenant, (requests, 0), (places, 0), (budget, 1)))
        assert [each.used for each in await counters.read(tenant, lines)] == [1, 1, 8]
    finally:
        await server.aclose()
        await counters.close()


# Steps of a random history: (what, which call, amounts, seconds that pass before it).
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "settle", "refund", "renew", "take", "leave", "seed", "read"]),
        st.integers(0, 7),
        st.tuples(st.integers(0, 2), st.integers(0, 130), st.integers(0, 400)),
        st.sampled_from([0, 0, 0.001, 0.25, 3, 9, 61, 40_000]),
    ),
    max_size=40,
)
_LIMITS = st.tuples(st.integers(1, 5), st.integers(1, 200), st.integers(1, 3), st.integers(0, 900))


async def _tell(
    counters: SeededCounters, tenant: str, clock: FrozenClock, limits: tuple[int, ...], steps: list
) -> list[object]:
    """What the counters answer to a history."""
    requests, tokens, places, sums = limits
    today = day(clock, sums)
    month = Line(
        LineKind.MONTH, "key:k:tokens_per_month", sums * 2, today.start_ms - 3 * DAY_MS,
        today.start_ms + 2 * DAY_MS, today.start_ms + 9 * DAY_MS,
    )  # fmt: skip
    # In no order: over Redis lines are laid out by what keeps them.
    lines = LineSet((today, rate(requests), running(places), month, rate(tokens, "user:u:tokens_per_minute")))
    told: list[object] = []
    for number, (act, which, (ones, some, many), seconds) in enumerate(steps):
        clock.advance(seconds)
        values = (many, ones, 0, many, some)
        asked = Claim(f"call-{which}", tenant, lines, values)
        if act == "reserve":
            verdict: Verdict = await counters.reserve(Claim(f"call-{number}", tenant, lines, values))
            told.append(verdict)
        elif act == "settle":
            counters.settle(Settlement(asked, values, ms(clock)))
        elif act == "refund":
            counters.refund(asked)
        elif act == "seed":
            line = (today, month)[which % 2]
            start_ms, _ = period_at(line, ms(clock))
            await counters.seed(tenant, [Seed(line, start_ms, many, ms(clock))], replace=ones == 2)
        elif act == "read":
            told.append(await counters.read(tenant, lines))
        else:
            wanted = {"renew": None, "take": True, "leave": False}[act]
            told.append(await counters.renew(asked, running=wanted))
    told.append(await counters.read(tenant, lines))
    return told


@pytest.mark.services
@pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis")
@settings(max_examples=150)
@given(limits=_LIMITS, steps=_STEPS)
def test_both_say_the_same_of_any_history(limits: tuple[int, ...], steps: list) -> None:
    async def tell() -> None:
        here, there = FrozenClock(), FrozenClock()
        tenant = uuid.uuid4().hex
        over_redis = RedisCounters(url=REDIS_URL, clock=there)
        try:
            expected = await _tell(MemoryCounters(clock=here), tenant, here, limits, steps)
            assert await _tell(over_redis, tenant, there, limits, steps) == expected
        finally:
            await over_redis.close()

    asyncio.run(tell())
