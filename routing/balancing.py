"""Which of several replicas a call goes to: the one where it will be answered soonest, in seconds."""

from collections.abc import Callable, Iterable

from routing.headroom import KEPT
from routing.types import ReplicaSlots

# Costs that differ by less than this share are the same: what is known of speeds is no better.
ALIKE = 1.01


def cheapest(
    replicas: Iterable[ReplicaSlots],
    running: Callable[[str], int],
    in_flight: Callable[[str], int],
    *,
    turn: int = 0,
    may: Callable[[ReplicaSlots], bool] | None = None,
) -> ReplicaSlots | None:
    """The open replica with the smallest cost, or None when none is open.

    The cost is (tokens in flight + the call's own uncached tokens) / speed of prefill + extra, in seconds. Of those
    whose cost is within 1 % of the smallest, the one with the smallest share of its slots in use; of equals there,
    `turn` picks one in rotation, for without it the first would always take the first call. `may` is asked of replicas
    that are not open for everybody (`headroom.is_wide`).
    """
    costs: list[tuple[float, float, ReplicaSlots]] = []
    lowest = 0.0
    for each in replicas:
        calls, tokens = running(each.id), in_flight(each.id)
        # As `is_open` and `is_wide`, without the calls: this is done for every replica of every call.
        most, budget = each.max_concurrency, each.token_budget
        if calls >= most or (budget and tokens >= budget):
            continue
        if (calls >= most - most // KEPT or (tokens and budget)) and may is not None and not may(each):
            continue
        cost = (tokens + each.uncached_tokens) / each.prefill_tps + each.extra_s
        if not costs or cost < lowest:
            lowest = cost
        costs.append((cost, calls / most, each))
    if len(costs) < 2:
        return costs[0][2] if costs else None
    alike = [found for found in costs if found[0] <= lowest * ALIKE]
    share = min(found[1] for found in alike)
    equals = [found[2] for found in alike if found[1] == share]
    return equals[turn % len(equals)]


def is_open(replica: ReplicaSlots, running: int, in_flight: int) -> bool:
    """Whether the replica takes another call: a slot is free, and its tokens in flight are below its budget.

    The call's own size does not count here. Otherwise small calls would pass a large one for ever; so the budget is
    overstepped by one prompt at most.
    """
    if running >= replica.max_concurrency:
        return False
    return not replica.token_budget or in_flight < replica.token_budget


def usable(replicas: Iterable[ReplicaSlots], avoid: frozenset[str]) -> tuple[ReplicaSlots, ...]:
    """The replicas that are not to be avoided."""
    return tuple(each for each in replicas if each.id not in avoid)
