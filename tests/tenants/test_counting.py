"""What a process counts in memory: it does not grow with the months, and what it has looked up it finds again."""

import pytest
from fakes.clocks import FrozenClock

from kernel.clock import unix_ms
from tenants.adapters.memory_counters import MemoryCounters
from tenants.counting import Calls
from tenants.limit_types import (
    LEASE_MS,
    Claim,
    Level,
    Limit,
    Line,
    LineKind,
    LineSet,
    Measure,
    Outcome,
    Seed,
    Settlement,
)
from tenants.planning import line_of

DAY_S = 86_400


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def day_line(clock: FrozenClock, amount: int = 1_000_000) -> Line:
    return line_of(Limit(Level.TENANT, "", Measure.TOKENS_PER_DAY, amount), clock.now(), "UTC")


def rate_line(clock: FrozenClock) -> Line:
    return line_of(Limit(Level.TENANT, "", Measure.REQUESTS_PER_MINUTE, 1_000_000), clock.now(), "UTC")


async def call(counters: MemoryCounters, lines: LineSet, clock: FrozenClock, *, id: str = "1") -> Outcome:
    """From its reservation to its end."""
    claim = Claim(id, "t", lines, (1,) * len(lines))
    verdict = await counters.reserve(claim)
    if verdict.outcome is Outcome.ADMITTED:
        counters.settle(Settlement(claim, claim.values, unix_ms(clock)))
    return verdict.outcome


async def seed(counters: MemoryCounters, line: Line, clock: FrozenClock, used: int = 0) -> None:
    await counters.seed("t", [Seed(line, line.start_ms, used, unix_ms(clock))])


async def test_days_that_are_long_over_are_let_go_of(clock: FrozenClock) -> None:
    counters = MemoryCounters(clock=clock)
    for number in range(120):
        line = day_line(clock)
        await seed(counters, line, clock)
        assert await call(counters, LineSet((line,)), clock, id=str(number)) is Outcome.ADMITTED
        clock.advance(DAY_S)
    assert 38 <= len(counters._tenants["t"]._sums) <= 42


async def test_what_a_new_one_was_told_is_not_taken_for_old(clock: FrozenClock) -> None:
    counters = MemoryCounters(clock=clock)
    line = Line(LineKind.DAY, "tenant::tokens_per_day", 1_000, 0, 1 << 60, 1 << 61)
    await seed(counters, line, clock, used=999)
    assert await call(counters, LineSet((line,)), clock) is Outcome.ADMITTED


async def test_what_lines_mean_is_looked_up_once_however_many_others_call(clock: FrozenClock) -> None:
    counters, lines = MemoryCounters(clock=clock), LineSet((rate_line(clock),))
    await call(counters, lines, clock, id="first")
    before = lines.kept
    for number in range(10_001):
        others = LineSet((rate_line(clock),))
        await counters.reserve(Claim(str(number), f"other-{number}", others, (1,)))
    await call(counters, lines, clock, id="second")
    assert before is not None
    assert lines.kept is before


async def test_lines_are_looked_up_again_in_their_next_period(clock: FrozenClock) -> None:
    counters, line = MemoryCounters(clock=clock), day_line(clock, 1)
    lines = LineSet((line,))
    await seed(counters, line, clock)
    assert await call(counters, lines, clock, id="today") is Outcome.ADMITTED
    assert await call(counters, lines, clock, id="again") is Outcome.REFUSED
    clock.advance(DAY_S)
    assert await call(counters, lines, clock, id="unseeded") is Outcome.UNSEEDED
    await counters.seed("t", [Seed(line, line.end_ms, 0, unix_ms(clock))])
    assert await call(counters, lines, clock, id="tomorrow") is Outcome.ADMITTED


async def test_counters_that_were_forgotten_are_not_counted_on(clock: FrozenClock) -> None:
    counters, line = MemoryCounters(clock=clock), day_line(clock, 1)
    lines = LineSet((line,))
    await seed(counters, line, clock)
    assert await call(counters, lines, clock, id="before") is Outcome.ADMITTED
    await counters.forget("t")
    assert await counters.known("t") == 0
    assert await call(counters, lines, clock, id="unseeded") is Outcome.UNSEEDED
    await seed(counters, line, clock)
    assert await call(counters, lines, clock, id="after") is Outcome.ADMITTED


async def test_lines_that_other_counters_were_asked_with_are_counted_here(clock: FrozenClock) -> None:
    line = day_line(clock, 1)
    lines = LineSet((line,))
    for _ in range(2):
        counters = MemoryCounters(clock=clock)
        await seed(counters, line, clock)
        assert await call(counters, lines, clock, id="first") is Outcome.ADMITTED
        assert await call(counters, lines, clock, id="second") is Outcome.REFUSED


async def test_who_has_no_calls_under_way_has_none_to_look_through(clock: FrozenClock) -> None:
    counters, lines = MemoryCounters(clock=clock), LineSet((rate_line(clock),))
    assert await call(counters, lines, clock) is Outcome.ADMITTED
    assert isinstance(counters._calls, Calls)
    assert counters._calls._soonest_ms > unix_ms(clock) + 1_000 * LEASE_MS


async def test_calls_that_nobody_renews_end_with_their_lease_whoever_calls_next(clock: FrozenClock) -> None:
    counters = MemoryCounters(clock=clock)
    lines = LineSet((Line(LineKind.RUNNING, "tenant::concurrency", 1),))
    held = await counters.reserve(Claim("dead", "t", lines, (0,)))
    assert held.running
    clock.advance(LEASE_MS / 1000 + 0.001)
    await counters.reserve(Claim("other", "another", LineSet((rate_line(clock),)), (1,)))
    verdict = await counters.reserve(Claim("next", "t", lines, (0,)))
    assert verdict.running
