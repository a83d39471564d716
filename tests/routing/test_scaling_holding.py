"""For how long replicas are kept that nobody needs, and how a pool wakes."""

import math
from itertools import pairwise

import pytest
from fakes.scaled_pools import BEGIN, SLOTS, Pool, obey, policy, whys

from routing.awakening import Awakening
from routing.holding import Holding
from routing.pace import Load
from routing.scaling_types import Decision, Signals, Why
from routing.types import PoolWork


def test_what_was_needed_for_a_short_while_is_kept_twice_as_long() -> None:
    pool = Pool(policy(down_after_s=300), ready=6, provisioned=6)
    pool.go(400, rate=6.0, follow=obey)
    before = pool.provisioned
    pool.go(550, rate=1.0, follow=obey)
    assert pool.provisioned == before, "it may come again"
    pool.go(150, rate=1.0, follow=obey)
    assert pool.provisioned < before / 2


def test_a_load_in_waves_makes_no_replica_come_and_go() -> None:
    pool = Pool(policy(), ready=6, provisioned=6)
    changes: list[tuple[float, int]] = []

    def follow(pool: Pool, decision: Decision) -> None:
        if decision.desired != pool.provisioned:
            changes.append((pool.at, decision.desired - pool.provisioned))
        obey(pool, decision)

    for step in range(540):
        pool.go(5, rate=4 - 2 * math.cos(2 * math.pi * step / 180), follow=follow)
    assert not [
        one for (at, one), (later, other) in pairwise(changes) if one * other < 0 and later - at < 300
    ]
    assert max(each.desired for each in pool.seen[60:]) <= 7


def test_soon_after_one_was_stopped_half_a_replica_s_work_starts_none() -> None:
    holding, said = Holding(), policy(down_after_s=300)
    assert holding.slack(said, 0.0) == pytest.approx(0.1)
    holding.changed(said, 0.0, -1)
    assert holding.slack(said, 299.0) == pytest.approx(0.5)
    assert holding.slack(said, 300.0) == pytest.approx(0.1)


@pytest.mark.parametrize(("missed", "kept"), [(False, 2), (True, 5)])
def test_who_misses_a_replica_just_stopped_keeps_the_next_twice_as_long(missed: bool, kept: int) -> None:
    holding, said = Holding(), policy(down_after_s=60, start_s=60)
    for at in range(0, 345, 5):
        holding.note(said, at, 4.0 if at < 250 else 1.0, 4.0 if at < 250 else 1.0)
        if at == 240 and missed:
            holding.changed(said, at, -1)
        if at == 250:
            holding.changed(said, at, 1)
    assert holding.kept(said, 345.0, 6, 0.0) == kept


def test_without_a_call_one_replica_is_enough_after_the_time_of_a_start() -> None:
    pool = Pool(policy(down_after_s=300, start_s=60), ready=4, provisioned=4)
    pool.go(700, rate=4.0, follow=obey)
    before = pool.provisioned
    pool.go(55, rate=0.0, follow=obey)
    assert pool.provisioned == before
    pool.go(15, rate=0.0, follow=obey)
    assert pool.provisioned == 1


def test_a_crowd_at_a_sleeping_pool_is_not_answered_by_one_replica() -> None:
    pool = Pool(policy(minimum=0), ready=1, provisioned=1)
    pool.go(120, rate=1.0)
    pool.ready = pool.provisioned = 0
    decision = pool.go(30, rate=4.0)
    # 4 calls a second need three or four, and those that come within the minute of the start are to be served too.
    assert 4 <= decision.desired <= 10


def test_a_crowd_at_a_pool_that_has_never_answered_is_counted_by_slots() -> None:
    pool = Pool(policy(minimum=0), ready=0, provisioned=0)
    assert pool.go(5, 0.4).desired == 1, "one call wakes one"
    pool.provisioned = 1
    # 16 calls have come in 40 s, and at least four will in the next 20: the slots of two.
    assert pool.go(35, 0.4).desired == 2


def test_a_pool_wakes_at_once_as_it_was_when_it_was_awake_last() -> None:
    pool = Pool(policy(minimum=0, idle_s=60, start_s=60), ready=2, provisioned=2)
    pool.go(600, rate=1.0, follow=obey)
    pool.go(700, rate=0.0, follow=obey)
    assert pool.provisioned == 0
    # About 60 calls, a second apart, will wait when the first replica is ready.
    woken = pool.go(5, rate=1.0)
    assert Why.WAKE in whys(woken)
    assert 2 <= woken.desired <= 5
    load = pool.scaler.load
    assert load.coming(4, 5.0) == pytest.approx(1.0, rel=0.1), "as it used to"
    assert load.coming(40, 10.0) == pytest.approx(3.37, rel=0.01), "more surely comes"
    assert load.coming(4, 30.0) == pytest.approx(0.067, rel=0.01), "what came speaks against it"
    assert load.coming(1, 5.0) == 0.0
    assert Load().coming(4, 5.0) == pytest.approx(0.4), "what it was like is not known of a new one"


def test_a_call_astray_wakes_one_replica() -> None:
    pool = Pool(policy(minimum=0, idle_s=60, start_s=60), ready=3, provisioned=3)
    pool.go(600, rate=2.0, follow=obey)
    pool.go(700, rate=0.0, follow=obey)
    assert pool.go(5, rate=0.2).desired == 1


def seen(at: float, ready: int, provisioned: int, running: int, waiting: int) -> Signals:
    return Signals(at, BEGIN, ready, provisioned, running, waiting, PoolWork(), SLOTS)


def test_a_crowd_is_one_until_it_is_served() -> None:
    waking, said, load = Awakening(), policy(start_s=100, drain_s=60), Load()
    assert not waking.follow(said, seen(0, 0, 0, 0, 0), most=6)
    assert not waking.on
    waking.follow(said, seen(5, 0, 0, 0, 25), most=6)
    assert waking.on
    # (25 − 5) / 5 a second surely come, for 100 s.
    assert waking.crowd(said, seen(5, 0, 0, 0, 25), load) == pytest.approx(425)
    # Late, one replica's part is left to those that were asked for.
    assert waking.crowd(said, seen(95, 0, 3, 0, 60), load) == pytest.approx(60 + 5.5 - 9, abs=0.1)
    waking.follow(said, seen(105, 1, 3, 10, 50), most=6)
    assert waking.crowd(said, seen(105, 1, 3, 10, 50), load) == 30, "no more than is on its way"
    assert waking.follow(said, seen(130, 3, 3, 18, 0), most=6), "six calls each"
    assert waking.over_at == 190
    assert not waking.on


def test_a_few_calls_at_once_are_no_flood() -> None:
    waking, said, load = Awakening(), policy(start_s=120), Load()
    waking.follow(said, seen(4.95, 0, 0, 0, 0), most=6)
    waking.follow(said, seen(5.0, 0, 0, 0, 3), most=6)
    # As if they had come in five seconds: (3 − √3) / 5 a second.
    assert waking.crowd(said, seen(5.0, 0, 0, 0, 3), load) == pytest.approx(3 + 120 * 0.2536, abs=0.1)


def test_a_crowd_that_is_not_served_in_time_and_one_that_went_are_none() -> None:
    waking, said = Awakening(), policy(start_s=100, drain_s=60)
    waking.follow(said, seen(5, 0, 0, 0, 25), most=6)
    waking.follow(said, seen(105, 1, 1, 10, 50), most=6)
    assert not waking.follow(said, seen(165, 1, 1, 10, 50), most=6)
    assert waking.follow(said, seen(170, 1, 1, 10, 50), most=6)
    waking.follow(said, seen(300, 0, 0, 0, 1), most=6)
    waking.follow(said, seen(400, 0, 0, 0, 0), most=6)
    assert not waking.on


def test_the_wait_for_a_start_asks_for_no_more_by_the_promise() -> None:
    pool = Pool(policy(minimum=0, idle_s=60, start_s=60), ready=1, provisioned=1)
    pool.go(400, rate=1.0, follow=obey)
    pool.go(700, rate=0.0, follow=obey)
    pool.provisioned = first = pool.go(5, rate=1.0).desired
    pool.go(55, rate=1.0)
    pool.ready, pool.ttft_ratio = first, 20.0
    pool.go(90, rate=1.0, follow=obey)
    assert not any(Why.SLO in whys(each) for each in pool.seen[-18:])
    pool.go(60, rate=1.0, follow=obey)
    assert any(Why.SLO in whys(each) for each in pool.seen[-12:]), "those measured now did not wait for it"
