"""Weighted fair sharing by virtual token counters (VTC; Sheng et al., "Fairness in Serving Large Language Models",
OSDI 2024).

Whoever has used least, by weight, goes next. Prompts are charged when their call is granted a slot, answers as they are
made, and both are corrected by what the engine says in the end. Who comes back after a pause is lifted to the least
counter of those who wait, so nobody saves up for later by being away. Between two that wait all the time the services
never differ by more than 2 · max(w_in · longest prompt, w_out · tokens in flight) / weight, plus what was not charged
yet: charges come in portions of 64 tokens or 100 ms for each running call.
"""

import heapq
from collections.abc import Mapping, Set

READ_WEIGHT = 1
WRITE_WEIGHT = 2
# Counters are whole numbers, in thousandths of a token at weight 1.
UNITS = 1000
# Counters of those who do not wait are kept while they are fewer.
MOST_COUNTERS = 10_000


def cost(read: int, written: int, weight: int) -> int:
    """What tokens cost the one who used them, in units of the counters; rounded down."""
    return (READ_WEIGHT * read + WRITE_WEIGHT * written) * UNITS // weight


class Counters:
    """What each of some sharers has used, and which of them wait."""

    __slots__ = ("last", "most", "used", "waiting", "weight", "weights")

    def __init__(self) -> None:
        """Nobody has used anything."""
        self.used: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.weights: dict[str, int] = {}
        self.weight = 0
        # Who was the last to wait no longer, or to be served without waiting.
        self.last = ""
        # With more counters, those that say nothing are looked for.
        self.most = MOST_COUNTERS

    def join(self, name: str, weight: int, least: int | None) -> None:
        """One more ticket of `name` waits. `least` is the smallest counter of those who wait, None when nobody does."""
        count = self.waiting.get(name, 0)
        if not count:
            self.lift(name, least)
        self.waiting[name] = count + 1
        self.weight += weight - self.weights.get(name, 0)
        self.weights[name] = weight

    def lift(self, name: str, least: int | None) -> None:
        """Who comes anew begins where the others are."""
        floor = self.used.get(self.last, 0) if least is None else least
        self.used[name] = max(floor, self.used.get(name, 0))

    def leave(self, name: str) -> bool:
        """One ticket of `name` waits no longer. True when it was the last one."""
        count = self.waiting[name] - 1
        if count:
            self.waiting[name] = count
            return False
        del self.waiting[name]
        self.weight -= self.weights.pop(name)
        self.last = name
        return True

    def charge(self, name: str, amount: int) -> None:
        """Add to (or, by a correction, take from) what `name` has used."""
        self.used[name] = max(0, self.used.get(name, 0) + amount)

    def prune(self, least: int | None) -> None:
        """Forget counters that say nothing: their owners would be lifted above them."""
        floor = self.used.get(self.last, 0) if least is None else least
        for name, used in list(self.used.items()):
            if used < floor and name not in self.waiting and name != self.last:
                del self.used[name]
        self.most = max(MOST_COUNTERS, 2 * len(self.used))


class Order:
    """Some sharers by what they have used, the least first; of equals the one whose name comes first.

    A heap whose entries may lag behind: counters grow, so an old entry comes up early and is put right then. Where a
    counter shrinks, `lowered` must be told.
    """

    __slots__ = ("_heap", "_members", "_used")

    def __init__(self, used: Mapping[str, int]) -> None:
        """`used` are the counters that it looks at."""
        self._used = used
        self._members: set[str] = set()
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def add(self, name: str) -> None:
        """`name` takes part."""
        if name not in self._members:
            self._members.add(name)
            self.lowered(name)

    def discard(self, name: str) -> None:
        """`name` takes part no longer."""
        self._members.discard(name)
        if not self._members:
            self._heap.clear()

    def lowered(self, name: str) -> None:
        """The counter of `name` is smaller than it was."""
        if name not in self._members:
            return
        heapq.heappush(self._heap, (self._used[name], name))
        if len(self._heap) > 2 * len(self._members) + 16:
            self._heap = [(self._used[each], each) for each in self._members]
            heapq.heapify(self._heap)

    def least(self) -> tuple[int, str]:
        """The counter and the name of who goes next. There must be one."""
        heap, used, members = self._heap, self._used, self._members
        while True:
            counter, name = heap[0]
            if name not in members:
                heapq.heappop(heap)
            elif used[name] == counter:
                return counter, name
            else:
                heapq.heapreplace(heap, (used[name], name))

    def least_but(self, back: Set[str]) -> tuple[int, str] | None:
        """The counter and the name of the first one that is not kept `back`; None when all are."""
        if self._members <= back:
            return None
        skipped: dict[str, int] = {}
        while True:
            counter, name = self.least()
            if name not in back:
                break
            # Some names have several entries.
            heapq.heappop(self._heap)
            skipped[name] = counter
        for each, used in skipped.items():
            heapq.heappush(self._heap, (used, each))
        return counter, name
