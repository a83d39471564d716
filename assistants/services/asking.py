"""A question whose answer is waited for: the REST door of a Run."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asgiref.sync import SyncToAsync, async_to_sync
from django.db import close_old_connections

from assistants.services.runs import close_runs, find_message, follow_run, start_run
from assistants.types import MessageView
from kernel.backends import backends
from tenants.types import Principal

T = TypeVar("T")


def ask(
    *,
    principal: Principal,
    request_id: str,
    content: str,
    conversation_id: uuid.UUID | None = None,
    assistant: str | None = None,
    model: str | None = None,
) -> MessageView:
    """Ask, wait for the end of the answer, and return it, whatever its state. Not to be called from a coroutine.

    The Run goes on when the caller leaves. Raises as `start_run`.
    """

    async def work() -> MessageView:
        started = await start_run(
            principal=principal,
            request_id=request_id,
            content=content,
            assistant=assistant,
            model=model,
            conversation_id=conversation_id,
            origin="rest",
        )
        async for _ in follow_run(principal=principal, message_id=started.message_id):
            pass
        return await find_message(principal=principal, message_id=started.message_id)

    # The view's own connection is not needed while others work for it.
    close_old_connections()
    return _wait_for(work)


def _wait_for(work: Callable[[], Awaitable[T]]) -> T:
    """On the server's own loop, where its Runs and directories live; in a loop of its own where there is none."""
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
        await close_runs()
        await backends.close()
