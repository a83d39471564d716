"""How synchronous code (REST views, commands) waits for asynchronous ports.

Within the server the coroutine runs on the server's own event loop, with its backends and their warm connections. In
a command or a test there is no such loop: a fresh one is made for the call, and what it built is closed with it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asgiref.sync import SyncToAsync, async_to_sync

from kernel.backends import backends

T = TypeVar("T")


async def _nothing() -> None:
    return


def wait_for(work: Callable[[], Awaitable[T]], closing: Callable[[], Awaitable[None]] = _nothing) -> T:
    """The outcome of `work()`; raises what it raises. Not to be called from a coroutine.

    `closing` ends what else the work has begun where the loop is one of its own.
    """
    main: asyncio.AbstractEventLoop | None = getattr(SyncToAsync.threadlocal, "main_event_loop", None)
    if main is not None and main.is_running():
        return async_to_sync(_run)(work)
    return asyncio.run(_run_and_close(work, closing))


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


async def _run_and_close(work: Callable[[], Awaitable[T]], closing: Callable[[], Awaitable[None]]) -> T:
    try:
        return await work()
    finally:
        await closing()
        await backends.close()
