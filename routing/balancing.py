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
    lowest = 1.0
    equals: list[ReplicaSlots] = []
    for each in replicas:
        share = running(each.id) / each.max_concurrency
        if share < lowest:
            lowest = share
            equals = [each]
        elif share == lowest < 1.0:
            equals.append(each)
    return equals[turn % len(equals)] if equals else None


def usable(replicas: Iterable[ReplicaSlots], avoid: frozenset[str]) -> tuple[ReplicaSlots, ...]:
    """The replicas that are not to be avoided."""
    return tuple(each for each in replicas if each.id not in avoid)
