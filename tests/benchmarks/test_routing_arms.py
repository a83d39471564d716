"""The other routers' policies, each against cases worked out by hand from its source's formula."""

import random
from collections.abc import Sequence

import pytest

from benchmarks.routing import arms
from benchmarks.routing.arms import Arm, Seen
from benchmarks.routing.engine import Profile, Replica, Request
from benchmarks.routing.virtual import Timeline


def replicas(count: int = 3) -> list[Seen]:
    timeline = Timeline()
    return [Seen(Replica(timeline, f"r{number}", Profile())) for number in range(count)]


def request(*blocks: int, tokens: int = 0) -> Request:
    return Request(
        id=0,
        tenant="t",
        user="u",
        klass="standard",
        arrival=0.0,
        blocks=blocks,
        prompt_tokens=tokens or 64 * len(blocks) + 1,
        output_tokens=10,
    )


def names(arm: Arm, seen: Sequence[Seen], count: int, made: Request | None = None) -> list[str]:
    return [arm.choose(made or request(), seen).replica.name for _ in range(count)]


def test_round_robin_takes_turns() -> None:
    assert names(arms.RoundRobin(), replicas(), 4) == ["r1", "r2", "r0", "r1"]


def test_least_request_and_power_of_two_count_own_calls() -> None:
    seen = replicas()
    seen[0].in_flight, seen[1].in_flight, seen[2].in_flight = 2, 1, 5
    assert names(arms.LeastRequest(random.Random(1)), seen, 1) == ["r1"]
    # Of two at random the less loaded: the most loaded of three never.
    assert "r2" not in names(arms.PowerOfTwo(random.Random(1)), seen, 50)


def test_production_stack_follows_the_longest_prefix_whatever_the_load() -> None:
    seen, arm = replicas(), arms.ProductionStackPrefix(random.Random(1))
    first = arm.choose(request(1, 2, 3), seen)
    first.in_flight = 1000
    assert {arm.choose(request(1, 2, 9), seen).replica.name for _ in range(10)} == {first.replica.name}


def test_sglang_follows_a_prefix_above_half_of_the_prompt_else_the_smallest_tree() -> None:
    seen, arm = replicas(2), arms.SglangCacheAware()
    assert names(arm, seen, 1, request(1, 2, 3, 4)) == ["r0"]
    # Two of four are no more than the threshold of a half.
    assert names(arm, seen, 1, request(1, 2, 8, 9)) == ["r1"]
    assert names(arm, seen, 1, request(1, 2, 3, 7)) == ["r0"]


@pytest.mark.parametrize(("load", "chosen"), [(32, "r0"), (33, "r1")])
def test_sglang_leaves_the_prefix_when_loads_differ_by_more_than_32(load: int, chosen: str) -> None:
    seen, arm = replicas(2), arms.SglangCacheAware()
    arm.choose(request(1, 2), seen)
    seen[0].in_flight = load
    assert names(arm, seen, 1, request(1, 2)) == [chosen]


def test_llm_d_weighs_queue_cache_use_and_prefix_two_two_three() -> None:
    seen, arm = replicas(2), arms.LlmD(random.Random(1))
    for each in seen:
        each.polled_kv = 0.5
    first = arm.choose(request(1, 2, 3), seen)
    other = next(each for each in seen if each is not first)
    # prefix 3·1 + kv 2·0.5 + queue 2·0 = 4 against kv 2·0.5 + queue 2·1 = 3.
    first.polled_waiting = 5
    assert arm.choose(request(1, 2, 3), seen) is first
    # A fuller cache: 3 + 2·0 + 0 = 3 against 2·0.55 + 2 = 3.1.
    first.polled_kv, other.polled_kv = 1.0, 0.45
    assert arm.choose(request(1, 2, 3), seen) is other


def test_dynamo_adds_prefill_blocks_and_decode_blocks() -> None:
    seen, arm = replicas(2), arms.DynamoCost()
    made = request(1, 2, 3, 4, tokens=256)
    assert arm.choose(made, seen) is seen[0]
    # 4 cached: 0 + 3 active + 4 = 7 against 4 + 0 + 4 = 8.
    seen[0].active_blocks = 3
    assert arm.choose(made, seen) is seen[0]
    # 0 + 5 + 4 = 9 against 8.
    seen[0].active_blocks = 5
    assert arm.choose(made, seen) is seen[1]


def test_dynamo_forgets_its_decisions_after_two_minutes() -> None:
    seen, arm = replicas(2), arms.DynamoCost()
    made = request(1, 2, 3, 4, tokens=256)
    arm.choose(made, seen)
    seen[0].active_blocks = 1
    assert arm.choose(made, seen) is seen[0]
    seen[0].replica.timeline.now = 121.0
    assert arm.choose(made, seen) is seen[1]


def test_vllm_adds_six_times_what_waits_above_half_of_the_cache() -> None:
    seen, arm = replicas(2), arms.VllmDp()
    # 2 + 2·6·(0.9 − 0.5) = 6.8 against 6.
    seen[0].polled_waiting, seen[0].polled_kv = 2, 0.9
    seen[1].polled_running = 6
    assert names(arm, seen, 2) == ["r1", "r1"]
    seen[1].polled_running = 7
    assert names(arm, seen, 2) == ["r0", "r0"]
    # Own calls since the snapshot count.
    seen[0].in_flight = 9
    assert names(arm, seen, 1) == ["r1"]
