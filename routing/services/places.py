"""Lines of calls that wait until fewer of their kind run: one for each set of limits, first come first served.

Each process has its own lines; the first of each asks the counters again and again, and at once when a call of this
process has ended.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

# The first in line asks this often whether another process has made room; those behind it look whether they are first.
ASK_EVERY_S = 0.05
LOOK_EVERY_S = 1.0

# A tenant, and the names of the counters that say how many may run.
Place = tuple[str, tuple[str, ...]]


class Lines:
    """All lines of a process."""

    def __init__(self) -> None:
        """Nobody waits. `by_place` has the places that anybody stands in line for, and is theirs to look at."""
        self.by_place: dict[Place, deque[asyncio.Future[None]]] = {}

    def wake(self, tenant: str) -> None:
        """A call of the tenant has ended: the first of each of its lines asks at once."""
        for place, line in self.by_place.items():
            if place[0] == tenant and not line[0].done():
                line[0].set_result(None)

    async def wait(self, place: Place, take: Callable[[], Awaitable[bool]], deadline: float) -> bool:
        """Stand in line until `take` succeeds; False when that was not before `deadline` (of the loop's clock)."""
        loop = asyncio.get_running_loop()
        line = self.by_place.setdefault(place, deque())
        turn: asyncio.Future[None] = loop.create_future()
        line.append(turn)
        try:
            while True:
                first = line[0] is turn
                if first and await take():
                    return True
                left = deadline - loop.time()
                if left <= 0:
                    return False
                if turn.done():
                    line[line.index(turn)] = turn = loop.create_future()
                await asyncio.wait({turn}, timeout=min(left, ASK_EVERY_S if first else LOOK_EVERY_S))
        finally:
            line.remove(turn)
            if not line:
                self.by_place.pop(place, None)
            elif not line[0].done():
                line[0].set_result(None)
