"""The share of heavy calls is what was asked for, whatever the scores look like."""

import random
import uuid

import pytest

from routing.shares import MOST_TENANTS, WINDOW, Shares, Sketch

TENANT = uuid.UUID(int=1)


def share_of(scores: list[float], percent: int, prior: tuple[float, ...] = ()) -> float:
    chance = random.Random(7)
    sketch, heavy = Sketch(prior), 0
    for score in scores:
        heavy += sketch.threshold(percent).heavy(score, chance.random)
        sketch.note(score)
    return heavy / len(scores)


@pytest.mark.parametrize("percent", [5, 30, 70])
def test_the_share_holds_for_any_traffic(percent: int) -> None:
    chance = random.Random(3)
    spread = [chance.random() for _ in range(4_000)]
    low = [chance.betavariate(1, 20) for _ in range(4_000)]
    few = [chance.choice((0.1, 0.1, 0.1, 0.9)) for _ in range(4_000)]
    same = [0.5] * 4_000
    for scores in (spread, low, few, same):
        assert share_of(scores, percent) == pytest.approx(percent / 100, abs=0.03)


def test_it_follows_traffic_that_changes() -> None:
    chance = random.Random(4)
    before = [chance.random() * 0.3 for _ in range(2_000)]
    after = [0.5 + chance.random() * 0.3 for _ in range(4_000)]
    assert share_of([*before, *after], 30) == pytest.approx(0.3, abs=0.09)


def test_none_and_all() -> None:
    scores = [random.Random(5).random() for _ in range(500)]
    assert share_of(scores, 0) == 0
    assert share_of(scores, 100, prior=(0.5,)) > 0.97


def test_it_is_bounded() -> None:
    sketch = Sketch((0.5,) * 10)
    for number in range(3 * WINDOW):
        sketch.note(number / 1_000)
    assert len(sketch) == WINDOW
    shares = Shares((0.1, 0.9), most=3)
    for number in range(MOST_TENANTS):
        shares.of(uuid.UUID(int=number))
    fresh = shares.of(uuid.UUID(int=0))
    fresh.note(0.4)
    assert len(shares.of(uuid.UUID(int=0))) == 3
    assert len(shares.peek(uuid.UUID(int=1))) == 2
