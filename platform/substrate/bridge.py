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


def wait_for(work: Callable[[], Awaitable[T]]) -> T:
    """The outcome of `work()`; raises what it raises. Not to be called from a coroutine."""
    main: asyncio.AbstractEventLoop | None = getattr(SyncToAsync.threadlocal, "main_event_loop", None)
    if main is not None and main.is_running():
        return async_to_sync(_run)(work)
    return asyncio.run(_run_and_close(work))


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


async def _run_and_close(work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    finally:
        await backends.close()
