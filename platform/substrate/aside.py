"""Work that nobody waits for: done beside the requests that begin it, bounded, and lost rather than in the way."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from kernel.errors import ServerOverloaded
from kernel.streams import Supervisor

log = structlog.get_logger(__name__)

# At the end of a process what has begun has so long to finish.
CLOSE_S = 1.0


class Aside:
    """One per process and event loop: small writes to caches, whose loss costs one miss."""

    def __init__(self, *, limit: int = 200) -> None:
        """At most `limit` pieces of work at once; what comes then is dropped."""
        self._tasks = Supervisor(limit=limit, on_error=_report)
        self.dropped = 0

    def do(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        """Begin `work` and return at once; False when it was dropped. It must bound its own time."""
        try:
            self._tasks.start(name, work)
        except ServerOverloaded:
            self.dropped += 1
            return False
        return True

    async def settled(self) -> None:
        """Return when nothing is under way."""
        await self._tasks.settled()

    async def close(self) -> None:
        """Give what has begun a moment, then end it."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.settled()
        except TimeoutError:
            log.warning("work_aside_ended", count=len(self._tasks))
        await self._tasks.close()


def _report(name: str, error: BaseException) -> None:
    log.error("work_aside_failed", work=name, error=str(error), kind=type(error).__name__)
