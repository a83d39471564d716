"""Units of work: how async code touches the database.

One synchronous function, run in a bounded pool of threads of our own, with a time limit. The function opens its own
`tenant_scope` or `system_scope` (and with it its transaction). The thread's connection goes back to Django's pool, or
is checked for age, after each unit. Nothing async ever runs inside a transaction.
"""

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connections

from kernel.errors import Unavailable

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class UnitPool:
    """A bounded pool of threads for units of work; one per process, built lazily, closed by the lifespan."""

    def __init__(self, *, threads: int, timeout_s: float, waiting: int) -> None:
        """`threads` units run at once, at most `waiting` more wait; each unit and its wait take `timeout_s` at most."""
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="unit")
        self._timeout_s = timeout_s
        self._limit = threads + waiting
        self._active = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread. Raises Unavailable when the pool is full, the time is up or the database is away.

        A unit that is late goes on in its thread until the database's own statement timeout ends it.
        """
        if self._active >= self._limit:
            raise Unavailable("The database is busy.", retry_after_s=1.0)
        self._active += 1
        context = contextvars.copy_context()
        future = asyncio.get_running_loop().run_in_executor(self._executor, context.run, _clean, work)
        future.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(future)
        except TimeoutError as error:
            raise Unavailable("The database did not answer in time.", retry_after_s=1.0) from error

    def close(self) -> None:
        """Wait for the units at work and end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _ended(self, future: "asyncio.Future[T]") -> None:
        self._active -= 1
        if not future.cancelled():
            future.exception()


def _clean(work: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return work()
    except (OperationalError, InterfaceError) as error:
        log.warning("database_failed", error=str(error))
        raise Unavailable("The database is not available.", retry_after_s=1.0) from error
    finally:
        if settings.UNITS["CLOSE_CONNECTIONS"]:
            connections.close_all()
        else:
            close_old_connections()


@functools.cache
def _pool() -> UnitPool:
    limits = settings.UNITS
    return UnitPool(threads=limits["THREADS"], timeout_s=limits["TIMEOUT_S"], waiting=limits["WAITING"])


async def run_unit(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the synchronous `work(*args, **kwargs)` as a unit of work. Raises what it raises, or Unavailable."""
    return await _pool().run(functools.partial(work, *args, **kwargs))


def close_units() -> None:
    """End the pool of this process; the next unit builds a new one."""
    if _pool.cache_info().currsize:
        _pool().close()
        _pool.cache_clear()
