"""The replica where a call is answered soonest."""

from collections.abc import Mapping

from routing.balancing import cheapest
from routing.types import PREFILL_TPS, ReplicaSlots


def chosen(
    *replicas: ReplicaSlots,
    running: Mapping[str, int] | None = None,
    in_flight: Mapping[str, int] | None = None,
    turn: int = 0,
) -> str | None:
    calls, tokens = running or {}, in_flight or {}
    found = cheapest(replicas, lambda id: calls.get(id, 0), lambda id: tokens.get(id, 0), turn=turn)
    return found.id if found else None


def test_the_replica_with_the_fewest_tokens_to_read_first() -> None:
    two = (ReplicaSlots("a", 4, uncached_tokens=100), ReplicaSlots("b", 4, uncached_tokens=100))
    assert chosen(*two, in_flight={"a": 800, "b": 300}) == "b"
    assert chosen(*two, in_flight={"a": 200, "b": 300}, running={"a": 3}) == "a"


def test_a_cached_prompt_is_worth_what_it_need_not_be_read() -> None:
    warm = ReplicaSlots("warm", 4, uncached_tokens=100)
    cold = ReplicaSlots("cold", 4, uncached_tokens=4100)
    assert chosen(warm, cold, in_flight={"warm": 3900}) == "warm"
    assert chosen(warm, cold, in_flight={"warm": 4200}) == "cold"


def test_speed_and_extra_seconds_count() -> None:
    slow = ReplicaSlots("slow", 4, prefill_tps=1000, uncached_tokens=1000)
    fast = ReplicaSlots("fast", 4, prefill_tps=4000, uncached_tokens=1000)
    assert chosen(slow, fast, in_flight={"fast": 2900}) == "fast"
    assert chosen(slow, fast, in_flight={"fast": 3100}) == "slow"
    far = ReplicaSlots("far", 4, uncached_tokens=1000, extra_s=0.2)
    near = ReplicaSlots("near", 4, uncached_tokens=1000)
    assert chosen(far, near) == "near"
    assert chosen(far, near, in_flight={"near": round(0.3 * PREFILL_TPS)}) == "far"


def test_what_costs_the_same_within_a_hundredth_goes_by_share_and_turn() -> None:
    small = ReplicaSlots("small", 2, uncached_tokens=1000)
    large = ReplicaSlots("large", 8, uncached_tokens=1005)
    assert chosen(small, large, running={"small": 1, "large": 3}) == "large"
    assert [chosen(small, large, turn=turn) for turn in range(4)] == ["small", "large"] * 2


def test_full_replicas_and_spent_budgets_are_closed() -> None:
    full = ReplicaSlots("full", 2)
    spent = ReplicaSlots("spent", 8, token_budget=1000, uncached_tokens=5000)
    assert chosen(full, spent, running={"full": 2}, in_flight={"spent": 1000}) is None
    # One prompt may overstep the budget, or a large one would never be read.
    assert chosen(full, spent, running={"full": 2}, in_flight={"spent": 999}) == "spent"
    assert chosen() is None
