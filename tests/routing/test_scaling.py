"""How many replicas a pool should have: the rule by itself, told what is seen and what time it is."""

from datetime import datetime

import msgspec
import pytest
from fakes.scaled_pools import BEGIN, SLOTS, Pool, obey, policy, whys
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import BadInput
from routing.pace import line
from routing.scaling import PoolScaler, affordable, floor_of
from routing.scaling_types import (
    Schedule,
    Signals,
    Why,
    read_scaling_policy,
    written_scaling_policy,
)
from routing.types import PoolWork


def test_what_is_needed_is_the_work_over_what_a_replica_does() -> None:
    pool = Pool(policy(), ready=8, provisioned=8)
    decision = pool.go(300, rate=4.8)
    # 4.8 calls a second, of which a replica at 60 % of its slots does 1.2 when each takes 5 s whatever is beside it. Until
    # more of its slots were seen in use, a fuller replica is thought slower.
    assert 4.8 / 1.2 <= decision.need < 1.5 * 4.8 / 1.2
    assert decision.desired == 8, "nothing is stopped before it has been too much for `down_after_s`"


def test_more_is_asked_for_at_once_and_replicas_on_their_way_count() -> None:
    pool = Pool(policy(), ready=2, provisioned=2)
    assert pool.go(120, rate=1.5).desired == 2
    first = pool.go(30, rate=6.0)
    assert first.desired >= 5
    pool.provisioned = first.desired
    # They are not ready, and the queue grows: only what it takes to be rid of it within a minute is added.
    later = pool.go(60, rate=6.0)
    assert later.desired <= first.desired + 4
    assert later.desired < 20


def test_less_only_when_nothing_has_needed_it_for_long_enough() -> None:
    pool = Pool(policy(down_after_s=300), ready=6, provisioned=6)
    pool.go(800, rate=6.0, follow=obey)
    before = pool.provisioned
    pool.go(250, rate=1.0, follow=obey)
    assert pool.provisioned == before
    assert Why.HELD in whys(pool.seen[-1])
    pool.go(150, rate=1.0, follow=obey)
    assert pool.provisioned < before / 2


def test_a_short_dip_stops_nothing_and_a_steady_load_never_changes_its_mind() -> None:
    pool = Pool(policy(), ready=4, provisioned=4)
    pool.go(900, rate=4.0, follow=obey)
    at_rest = pool.provisioned
    changes = {each.desired for each in pool.seen[-60:]}
    assert changes == {at_rest}
    pool.go(120, rate=0.5, follow=obey)
    pool.go(300, rate=4.0, follow=obey)
    assert {each.desired for each in pool.seen[-80:]} == {at_rest}


def test_a_new_evaluator_stops_nothing_before_it_has_watched() -> None:
    pool = Pool(policy(down_after_s=200), ready=9, provisioned=9)
    assert pool.go(195, rate=0.0).desired == 9
    assert pool.go(60, rate=0.0).desired == 1


def test_a_steady_rise_is_met_where_it_will_be() -> None:
    pool = Pool(policy(start_s=120), ready=20, provisioned=3)
    pool.ready = 4
    for step in range(40):
        pool.go(5, rate=2.0 + step * 0.05)
    decision = pool.seen[-1]
    assert Why.TREND in whys(decision)
    now = next(each.replicas for each in decision.reasons if each.why is Why.DEMAND)
    assert 1.2 * now < decision.need <= 1.5 * now + 0.01


def test_a_jump_is_no_trend() -> None:
    pool = Pool(policy(), ready=10, provisioned=10)
    pool.go(150, rate=1.0)
    pool.go(60, rate=6.0)
    assert not any(Why.TREND in whys(each) for each in pool.seen[-12:-4])


def test_a_broken_promise_asks_for_more_once_all_replicas_are_there() -> None:
    pool = Pool(policy(), ready=4, provisioned=4, ttft_ratio=1.3)
    pool.go(100, rate=2.0)
    decision = pool.seen[-1]
    assert Why.SLO in whys(decision)
    assert decision.desired == 6, "⌈4 · 1.3 − 0.1⌉"
    pool.provisioned = 6
    assert Why.SLO not in whys(pool.go(30, rate=2.0)), "the ones on their way come first"


def test_a_pool_near_its_promise_stops_nothing() -> None:
    pool = Pool(policy(down_after_s=60), ready=4, provisioned=4, ttft_ratio=0.9)
    assert pool.go(600, rate=0.3).desired == 4


def test_a_pool_sleeps_when_it_was_idle_and_one_call_wakes_it() -> None:
    pool = Pool(policy(minimum=0, down_after_s=60, idle_s=120), ready=1, provisioned=1)
    pool.go(100, rate=0.5, follow=obey)
    assert pool.go(100, rate=0.0, follow=obey).desired == 1
    asleep = pool.go(60, rate=0.0, follow=obey)
    assert (asleep.desired, whys(asleep)) == (0, {Why.IDLE})
    pool.waiting = 1
    awake = pool.go(5, rate=0.0)
    assert awake.desired == 1
    assert whys(awake) & {Why.WAKE, Why.DEMAND, Why.BACKLOG}


def test_a_pool_that_may_not_sleep_does_not() -> None:
    pool = Pool(policy(minimum=2, down_after_s=60, idle_s=60), ready=2, provisioned=2)
    decision = pool.go(600, rate=0.0, follow=obey)
    assert decision.desired == 2
    assert Why.MINIMUM in whys(decision)


def test_budget_floors_and_ceiling_in_their_order() -> None:
    hour = 3_000_000_000
    paid = policy(replica_hourly_nano=hour, budget_hourly_nano=4 * hour + 1, minimum=1)
    assert affordable(paid) == 4
    pool = Pool(paid, ready=4, provisioned=4)
    pool.go(100, rate=2.0)
    decision = pool.go(60, rate=20.0)
    assert decision.desired == 4
    assert Why.BUDGET in whys(decision)
    critical = msgspec.structs.replace(paid, critical_floor=6)
    decision = Pool(critical, ready=4, provisioned=4).go(5, rate=0.0)
    assert decision.desired == 6, "the floor of `critical` is not taken away by a budget"
    decision = Pool(policy(maximum=3), ready=3, provisioned=3).go(200, rate=30.0)
    assert decision.desired == 3
    assert Why.MAXIMUM in whys(decision)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-01-01T07:59:00+01:00", 0),
        ("2026-01-01T08:00:00+01:00", 4),
        ("2026-01-01T17:59:00+01:00", 4),
        ("2026-01-01T18:00:00+01:00", 0),
        ("2026-01-03T12:00:00+01:00", 0),  # a Saturday
        ("2026-01-03T23:00:00+01:00", 2),
        ("2026-01-04T01:30:00+01:00", 2),  # Saturday's, which goes on
        ("2026-01-03T01:30:00+01:00", 0),  # Friday's, which there is none
        ("2026-07-01T06:30:00+00:00", 4),  # 08:30 in summer
    ],
)
def test_schedules_are_of_the_policy_s_calendar(at: str, expected: int) -> None:
    said = policy(
        timezone="Europe/Berlin",
        schedules=(
            Schedule("08:00", "18:00", 4, days=(0, 1, 2, 3, 4)),
            Schedule("22:00", "02:00", 2, days=(5,)),
        ),
    )
    assert floor_of(said, datetime.fromisoformat(at)) == expected


def test_a_schedule_is_met_when_it_begins() -> None:
    said = policy(start_s=120, schedules=(Schedule("00:05", "01:00", 5),))
    pool = Pool(said)
    assert pool.go(170, rate=0.0).desired == 1
    decision = pool.go(15, rate=0.0)
    assert decision.desired == 5
    assert Why.SCHEDULE in whys(decision)


def test_a_queue_that_was_emptied_is_counted_from_anew() -> None:
    pool = Pool(policy(), ready=3, provisioned=3)
    pool.go(200, rate=2.0)
    pool.done = 0.0
    assert pool.go(60, rate=2.0).need < 4


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"minimum": 5, "maximum": 4}, "minimum"),
        ({"maximum": 2, "critical_floor": 3}, "critical_floor"),
        ({"maximum": 2, "schedules": (Schedule("08:00", "09:00", 3),)}, "schedules"),
        ({"schedules": (Schedule("08:00", "08:00", 1),)}, "schedules"),
        ({"budget_hourly_nano": 5}, "replica_hourly_nano"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
    ],
)
def test_what_contradicts_itself_is_told(fields: dict[str, object], where: str) -> None:
    with pytest.raises(BadInput) as told:
        policy(**fields).check()
    assert told.value.param == where


def test_a_policy_is_read_strictly() -> None:
    said = policy(schedules=(Schedule("08:00", "09:00", 1, days=(1,)),))
    assert read_scaling_policy(written_scaling_policy(said)) == said
    for bad in ({"minimun": 1}, {"mode": "yes"}, {"maximum": 0}, {"schedules": [{"from_time": "25:00"}]}):
        with pytest.raises(msgspec.ValidationError):
            read_scaling_policy(bad)


def test_the_line_through_points_knows_how_sure_it_is() -> None:
    assert line([(0, 1), (1, 3), (2, 5)]) == (2.0, 0.0)
    slope, error = line([(0, 0), (1, 1), (2, 0), (3, 1)])
    assert slope == pytest.approx(0.2)
    assert error > slope / 2
    assert line([(0, 1), (1, 1)])[0] == 0.0


numbers = st.integers(0, 10**9)


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), numbers, numbers, numbers, numbers, numbers),
        min_size=1,
        max_size=30,
    ),
    ratio=st.floats(0, 1e6),
    minimum=st.integers(0, 5),
    critical=st.integers(0, 5),
)
def test_whatever_is_seen_the_answer_is_within_the_bounds(
    looks: list[tuple[int, int, int, int, int, int, int]], ratio: float, minimum: int, critical: int
) -> None:
    said = policy(minimum=minimum, critical_floor=critical, maximum=7, tokens_per_replica=5)
    scaler = PoolScaler()
    for at, (ready, provisioned, running, waiting, work, done, refused) in enumerate(looks):
        signals = Signals(
            at=at * 5.0,
            now=BEGIN,
            ready=ready,
            provisioned=provisioned,
            running=running,
            waiting=waiting,
            work=PoolWork(work, work, done, refused),
            slots=SLOTS,
            tpot_ratio=ratio,
        )
        decision = scaler.decide(said, signals)
        assert max(minimum, critical) <= decision.desired <= 7
