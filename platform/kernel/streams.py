"""Structured concurrency for streams: sibling tasks, supervised background tasks, time limits between items."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from kernel.errors import ServerOverloaded

T = TypeVar("T")


class PeerGone(Exception):
    """The one we work for has left; raised to cancel the work done for it."""


async def run_until(watch: Callable[[], Awaitable[object]], work: Coroutine[Any, Any, T]) -> T:
    """Run `work` beside `watch`; when `watch` returns first, cancel `work`, wait for its `finally` and raise PeerGone.

    Errors of `work` come out as they are.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(watch())
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise PeerGone
    finally:
        for each in (task, watcher):
            each.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


# How long work beside a block has to end before it is cancelled again.
TOLD_AGAIN_S = 0.25


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the block, and end it with the block. What `work` raises is lost: it tells others itself."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        # A client that swallows a cancellation, as redis-py may when a reply comes at that moment, is told again.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=TOLD_AGAIN_S)
        if not task.cancelled():
            task.exception()


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """What each of `work` returns, in order, all run at once. The first error cancels the others and comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def within(stream: AsyncIterator[T], *, first_s: float, next_s: float) -> AsyncIterator[T]:
    """The items of `stream`; TimeoutError when the first takes longer than `first_s` or a later one than `next_s`."""
    limit = first_s
    while True:
        try:
            async with asyncio.timeout(limit):
                item = await anext(stream)
        except StopAsyncIteration:
            return
        yield item
        limit = next_s


class Supervisor:
    """Keeps background tasks: bounded in number, none lost to the garbage collector, all ended by `close`."""

    def __init__(self, *, limit: int, on_error: Callable[[str, BaseException], None]) -> None:
        """At most `limit` tasks at once; `on_error(name, error)` hears of each that failed."""
        self._limit = limit
        self._on_error = on_error
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many tasks run now."""
        return len(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background. Raises ServerOverloaded at the limit."""
        if len(self._tasks) >= self._limit:
            work.close()
            raise ServerOverloaded
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settled(self) -> None:
        """Return when no task runs."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cancel all tasks and wait until each has run its `finally`."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(task.get_name(), error)
