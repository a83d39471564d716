"""Which tenants are slow: against the one in the middle, never a tenant alone, never by a handful of requests."""

import pytest

from tenants.slowness import marked, slowest, usual_ms
from tenants.tallies import Tally, bucket_of
from tenants.types import UsageGroup


def group(name: str, ms: int | None, requests: int = 40) -> UsageGroup:
    """A tenant whose requests all have their first token after `ms`."""
    first = {} if ms is None else {bucket_of(ms): requests}
    return UsageGroup(name, name, Tally(completed=requests, first_tokens=first).shown())


def slow(*groups: UsageGroup) -> list[str]:
    """Names of those that are marked."""
    return [each.group for each in marked(groups) if each.slow]


def test_the_one_that_waits_twice_as_long_is_marked() -> None:
    assert slow(group("a", 500), group("b", 7_000), group("c", 600)) == ["b"]
    assert slow(group("a", 500), group("b", 700), group("c", 900)) == []


def test_a_busy_slow_tenant_does_not_move_what_is_usual() -> None:
    rows = [group("busy", 9_000, requests=10_000), group("a", 500), group("b", 520)]
    assert slow(*rows) == ["busy"]
    assert 475 <= (usual_ms(rows) or 0) <= 550


@pytest.mark.parametrize(
    "rows",
    [
        [group("alone", 9_000)],
        [group("a", 20), group("b", 90)],
        [group("a", 500), group("few", 9_000, requests=3)],
        [group("a", None), group("b", None)],
        [],
    ],
)
def test_nothing_is_marked_that_nobody_notices(rows: list[UsageGroup]) -> None:
    assert slow(*rows) == []
    assert [each.group for each in marked(rows)] == [each.group for each in rows]


def test_of_two_the_slower_one_is_marked() -> None:
    assert slow(group("a", 500), group("b", 4_000)) == ["b"]


def test_the_slowest_come_first_and_few_requests_are_left_out() -> None:
    rows = [group("a", 500), group("b", 4_000), group("c", 900), group("few", 9_000, requests=3)]
    assert [each.group for each in slowest(rows, 2)] == ["b", "c"]
