"""What a process counts in memory: it does not grow with the months, and idle tenants cost the busy ones nothing."""

from fakes.clocks import FrozenClock

from kernel.clock import unix_ms
from tenants.adapters.memory_counters import MemoryCounters
from tenants.counting import TenantCount
from tenants.limit_types import Claim, Level, Limit, Line, LineKind, Measure, Outcome, Seed, Settlement
from tenants.planning import line_of

LEASE_MS = 8_000
DAY_S = 86_400


def day_line(clock: FrozenClock) -> Line:
    rule = Limit(Level.TENANT, "", Measure.TOKENS_PER_DAY, 1_000_000)
    return line_of(rule, clock.now(), "UTC")


def call(count: TenantCount, line: Line, number: int, clock: FrozenClock) -> Outcome:
    claim = Claim(str(number), "t", (line,), (1,))
    verdict = count.reserve(claim, now_ms=unix_ms(clock), lease_ms=LEASE_MS)
    if verdict.outcome is Outcome.UNSEEDED:
        count.seed([Seed(line, line.start_ms, 0, unix_ms(clock))], replace=False)
        verdict = count.reserve(claim, now_ms=unix_ms(clock), lease_ms=LEASE_MS)
    count.settle(Settlement(claim, (1,), unix_ms(clock)), now_ms=unix_ms(clock))
    return verdict.outcome


def test_days_that_are_long_over_are_let_go_of() -> None:
    clock, count = FrozenClock(), TenantCount()
    for number in range(120):
        assert call(count, day_line(clock), number, clock) is Outcome.ADMITTED
        clock.advance(DAY_S)
    assert 38 <= len(count._sums) <= 42
    assert len(count._bound) == 1


def test_what_a_new_one_was_told_is_not_taken_for_old() -> None:
    clock, count = FrozenClock(), TenantCount()
    line = Line(LineKind.DAY, "tenant::tokens_per_day", 1_000, 0, 1 << 60, 1 << 61)
    count.seed([Seed(line, 0, 999, 1)], replace=False)
    verdict = count.reserve(Claim("1", "t", (line,), (1,)), now_ms=unix_ms(clock), lease_ms=LEASE_MS)
    assert verdict.outcome is Outcome.ADMITTED


async def test_ten_thousand_calls_of_others_do_not_make_a_tenant_look_its_counters_up_again() -> None:
    clock = FrozenClock()
    counters, line = (
        MemoryCounters(clock=clock),
        line_of(Limit(Level.TENANT, "", Measure.REQUESTS_PER_MINUTE, 1_000_000), clock.now(), "UTC"),
    )
    lines = (line,)
    await counters.reserve(Claim("first", "idle", lines, (1,)))
    before = counters._tenants["idle"]._bound[id(lines)]
    for number in range(10_001):
        await counters.reserve(Claim(str(number), "busy", lines, (1,)))
    await counters.reserve(Claim("second", "idle", lines, (1,)))
    assert counters._tenants["idle"]._bound[id(lines)] is before


async def test_a_tenant_without_calls_under_way_has_none_to_look_through() -> None:
    clock, count = FrozenClock(), TenantCount()
    line = line_of(Limit(Level.TENANT, "", Measure.REQUESTS_PER_MINUTE, 1_000), clock.now(), "UTC")
    assert call(count, line, 1, clock) is Outcome.ADMITTED
    assert count._soonest_ms > unix_ms(clock) + 1_000 * LEASE_MS
