"""Which of several replicas a call goes to: the one that is least loaded for its size."""

from collections.abc import Callable, Iterable

from routing.types import ReplicaSlots


def least_loaded(
    replicas: Iterable[ReplicaSlots], running: Callable[[str], int], *, turn: int = 0
) -> ReplicaSlots | None:
    """The replica with the smallest share of its slots in use, or None when all are full.

    The share is running / max_concurrency, so that unequal replicas fill evenly. Of equals, `turn` picks one in
    rotation: without it the first would always take the first call.
    """
    free = [
        (running(each.id) / each.max_concurrency, each)
        for each in replicas
        if running(each.id) < each.max_concurrency
    ]
    if not free:
        return None
    lowest = min(share for share, _ in free)
    equals = [each for share, each in free if share == lowest]
    return equals[turn % len(equals)]


def usable(replicas: Iterable[ReplicaSlots], avoid: frozenset[str]) -> tuple[ReplicaSlots, ...]:
    """The replicas that are not to be avoided."""
    return tuple(each for each in replicas if each.id not in avoid)
