"""How others decide on replicas (W7), each against cases worked out by hand from its source's formula."""

from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.routing.elastic import flaps
from benchmarks.routing.scaling_arms import Bounds, Hpa, Kpa, LlmDSlo, Sight
from routing.scaling_types import Signals
from routing.types import PoolWork

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BOUNDS = Bounds(1, 20, 10.0)


def sight(at: float, *, there: int, calls: int, ready: int | None = None, ratio: float = 0.0) -> Sight:
    signals = Signals(
        at=at,
        now=BEGIN + timedelta(seconds=at),
        ready=there if ready is None else ready,
        provisioned=there,
        running=calls,
        waiting=0,
        work=PoolWork(),
        slots=20,
        ttft_ratio=ratio,
    )
    return Sight(at, signals.now, signals)


@pytest.mark.parametrize(
    ("calls", "there", "expected"),
    [
        (42, 4, 4),  # 42 / 40 − 1 = 0.05, within the tolerance
        (45, 4, 5),  # 0.125: ⌈45 / 10⌉
        (35, 4, 4),  # −0.125: ⌈35 / 10⌉
        (29, 4, 3),
        (81, 4, 9),
    ],
)
def test_hpa_divides_by_the_target_outside_of_its_tolerance(calls: int, there: int, expected: int) -> None:
    assert Hpa(BOUNDS).raw(calls, there) == expected


def test_hpa_goes_down_to_the_largest_of_five_minutes_and_up_by_twice_or_four() -> None:
    hpa = Hpa(BOUNDS)
    # 200 calls want 20; from 3 it may go to max(6, 7) = 7 within 15 s.
    assert hpa.desired(sight(0, there=3, calls=200)) == 7
    assert hpa.desired(sight(15, there=7, calls=200)) == 14
    assert hpa.desired(sight(30, there=14, calls=50)) == 20
    # The last recommendation of 20 was at 15 s: it counts until 315 s.
    assert hpa.desired(sight(315, there=20, calls=50)) == 20
    assert hpa.desired(sight(330, there=20, calls=50)) == 5


def test_keda_takes_the_pool_to_zero_after_its_cooldown_and_back_when_it_looks() -> None:
    hpa = Hpa(Bounds(0, 20, 10.0))
    assert hpa.desired(sight(0, there=1, calls=3)) == 1
    assert hpa.desired(sight(285, there=1, calls=0)) == 1
    assert hpa.desired(sight(300, there=1, calls=0)) == 0
    assert hpa.desired(sight(315, there=0, calls=4)) == 0
    assert hpa.desired(sight(330, there=0, calls=4)) == 1


def test_kpa_panics_at_twice_its_target_and_never_goes_down_in_it() -> None:
    kpa = Kpa(BOUNDS)
    # ⌈25 / 10⌉ = 3 of 2 ready: 1.5 < 2, no panic; the stable mean counts.
    assert kpa.judge(0, 2, stable=18, panic=25) == 2
    # ⌈41 / 10⌉ = 5 of 2 ready: 2.5 ≥ 2.
    assert kpa.judge(2, 2, stable=20, panic=41) == 5
    assert kpa.judge(4, 5, stable=22, panic=12) == 5
    assert kpa.judge(62, 5, stable=22, panic=12) == 5
    # 60 s after the last alarm have passed.
    assert kpa.judge(64, 5, stable=22, panic=12) == 3


def test_kpa_halves_at_most() -> None:
    assert Kpa(BOUNDS).judge(0, 9, stable=5, panic=5) == 4


def test_kpa_keeps_one_for_its_grace_before_zero() -> None:
    kpa = Kpa(Bounds(0, 20, 10.0))
    assert kpa.desired(sight(0, there=1, calls=5)) == 1
    for at in range(2, 90, 2):
        assert kpa.desired(sight(at, there=1, calls=0)) == 1, at
    # The call of second 0 leaves the mean of 60 s at 60; 30 s after that.
    assert kpa.desired(sight(90, there=1, calls=0)) == 0
    assert kpa.desired(sight(92, there=0, calls=1)) == 1


@pytest.mark.parametrize(
    ("s", "there", "ready", "expected"),
    [
        (1.1, 4, 4, 8),  # 4 + ⌈4 · (1.1 / 0.55 − 1)⌉
        (1.1, 4, 2, 4),  # half are ready: 1.1 · 2/4 / 0.55 = 1
        (0.5, 4, 4, 4),
        (0.2, 4, 4, 2),  # 4 − ⌊4 · (1 − 0.5)⌋
        (0.35, 4, 4, 4),  # ⌊4 · 0.125⌋ = 0
    ],
)
def test_llm_d_follows_the_promise(s: float, there: int, ready: int, expected: int) -> None:
    assert LlmDSlo(BOUNDS).raw(s, there, ready) == expected


def test_llm_d_goes_up_after_30_seconds_and_down_by_one_in_120() -> None:
    arm = LlmDSlo(BOUNDS)
    wanted = [arm.desired(sight(at, there=4, calls=9, ratio=0.5)) for at in range(0, 195, 15)]
    assert set(wanted) == {4}
    later = [arm.desired(sight(at, there=4, calls=9, ratio=0.1)) for at in range(195, 600, 15)]
    # At 210 s the mean of 45 s asks for 3. What was asked for at 195 s counts until 375 s: at 390 s one goes, at 510 s another.
    assert [195 + 15 * at for at, number in enumerate(later) if number == 3] == [390, 510]


def test_a_flap_is_a_change_of_mind_within_five_minutes() -> None:
    assert flaps([(0, 2), (100, 1), (500, -1), (700, 1), (1100, -1)]) == 1
