"""Two models side by side: which pairs count for what, and how sure the figures are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factories.pairs import ANSWERED, make_pair
from msgspec.structs import replace

from routing.comparing import CUTS, ENOUGH, Comparison, Spread, bounds, compare, share
from tenants.types import PairEntry, PairSide, PairState

NOW = datetime(2026, 11, 24, 4, 10, tzinfo=UTC)
START = bounds(CUTS["24h"], NOW)


def compared(*pairs: PairEntry, copied: dict[tuple[str, str], int] | None = None) -> list[Comparison]:
    return compare(pairs, copied or {}, start=START, cut=CUTS["24h"])


def pair(copied_ms: int = 2_000, **values: Any) -> PairEntry:
    return make_pair(copied=PairSide(80, copied_ms, 11, 60, 9_000, "length"), **values)


def test_a_range_ends_with_the_step_that_goes_on() -> None:
    assert datetime(2026, 11, 23, 5, tzinfo=UTC) == START
    assert bounds(CUTS["1h"], NOW) == datetime(2026, 11, 24, 3, 15, tzinfo=UTC)
    assert bounds(CUTS["7d"], NOW) == datetime(2026, 11, 17, 6, tzinfo=UTC)


def test_the_same_calls_of_both_are_told_and_the_others_counted() -> None:
    failed = {"state": PairState.FAILED, "agreement": None, "copied": PairSide()}
    (found,) = compared(
        pair(1_000),
        pair(3_000),
        pair(2_000, stream=False, answered=replace(ANSWERED, first_ms=0)),
        make_pair(error="too_slow", **failed),
        make_pair(error="insufficient_quota", **{**failed, "state": PairState.DROPPED}),
    )
    assert (found.compared, found.failed, found.dropped) == (3, 1, 1)
    assert found.causes == {"too_slow": 1, "insufficient_quota": 1}
    assert found.answered.total_ms == Spread(900, 900)
    assert found.copied.total_ms == Spread(2_000, 3_000)
    assert (found.copied.completion_tokens, found.copied.cost_nano) == (60, 9_000)
    assert (found.answered.ends, found.copied.ends) == ({"stop": 3}, {"length": 3})
    assert found.first_ms is not None
    assert (found.first_ms.value, found.first_ms.count) == (-40, 2)
    assert found.total_ms is not None
    assert found.total_ms.value == pytest.approx(1_100)
    assert found.cost_nano is not None
    assert found.cost_nano.value == 5_000
    assert found.failures is not None
    assert found.failures.value == 0.25


def test_few_pairs_have_no_bounds_and_many_have_the_normal_ones() -> None:
    (few,) = compared(*[pair(ms) for ms in range(ENOUGH - 1)])
    assert few.total_ms is not None
    assert (few.total_ms.low, few.total_ms.high) == (None, None)
    (many,) = compared(*[pair(900 + (100 if at % 2 else -100)) for at in range(100)])
    assert many.total_ms is not None
    assert many.total_ms.low is not None
    assert many.total_ms.high is not None
    # The standard deviation of ±100 is 100.5, of its mean a tenth of that.
    assert many.total_ms.value == pytest.approx(0)
    assert many.total_ms.high == pytest.approx(1.96 * 10.05, rel=0.01)
    assert many.total_ms.low == pytest.approx(-many.total_ms.high)


def test_an_agreement_never_lies_beyond_what_it_can_be() -> None:
    (found,) = compared(*[pair(agreement=1.0 if at else 0.0, same=at > 5) for at in range(40)])
    assert found.agreement is not None
    assert found.agreement.high == 1.0
    assert found.same is not None
    assert found.same.value == pytest.approx(34 / 40)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Of Brown, Cai, DasGupta: Interval estimation for a binomial proportion (2001), and by hand.
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 100, 0.0018, 0.0545)],
)
def test_the_interval_of_a_share(hits: int, count: int, low: float, high: float) -> None:
    found = share(hits, count)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert share(0, 0) is None


def test_what_is_copied_now_comes_first_even_without_any_pair() -> None:
    old = pair(model="a", shadow="b")
    found = compared(old, pair(), copied={("small", "large"): 5, ("new", "large"): 1})
    assert [(each.model, each.percent, each.compared) for each in found] == [
        ("new", 1, 0),
        ("small", 5, 1),
        ("a", None, 1),
    ]
    assert (found[0].agreement, found[0].failures, found[0].answered.total_ms) == (
        None, None, Spread(None, None)
    )  # fmt: skip
    assert compared() == []


def test_steps_hold_medians_of_their_own() -> None:
    hour = timedelta(hours=1)
    (found,) = compared(
        pair(1_000, started_at=START), pair(3_000, started_at=START + hour / 2, agreement=None),
        pair(500, started_at=START + 23 * hour, agreement=0.25),
    )  # fmt: skip
    assert len(found.steps) == 24
    first, last = found.steps[0], found.steps[-1]
    assert (first.start, first.compared, first.copied_ms, first.agreement) == (START, 2, 1_000, 0.75)
    assert (last.compared, last.answered_ms, last.copied_ms, last.agreement) == (1, 900, 500, 0.25)
    assert found.steps[1].copied_ms is None
