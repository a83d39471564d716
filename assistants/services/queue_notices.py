"""Where a message stands in the queue of its model, told while it waits there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from routing.types import QueuePlace


def queued_event(place: QueuePlace) -> dict[str, Any]:
    """The event that tells of it; the wait is None as long as nothing was measured."""
    wait_s = place.expected_wait_s
    return {
        "type": "message.queued",
        "position": place.position,
        "expected_wait_s": None if wait_s is None else round(wait_s, 1),
    }


class QueueNotices:
    """Passes the newest place on, one at a time; a place that was told already is not told again."""

    def __init__(self, tell: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """`tell` takes the events, and does not raise."""
        self._tell = tell
        self._newest: QueuePlace | None = None
        self._noted = asyncio.Event()
        self._telling = asyncio.Lock()
        self._ended = False

    def note(self, place: QueuePlace) -> None:
        """The message waits at `place`."""
        if place != self._newest:
            self._newest = place
            self._noted.set()

    async def pass_on(self) -> None:
        """Tell for ever."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            async with self._telling:
                if self._newest is not None and not self._ended:
                    await self._tell(queued_event(self._newest))

    async def end(self) -> None:
        """The message waits no longer: after this nothing is told."""
        self._ended = True
        async with self._telling:
            pass
