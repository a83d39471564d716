"""A question whose answer is waited for: the REST door of a Run."""

import uuid

from django.db import close_old_connections

from assistants.services.runs import close_runs, find_message, follow_run, start_run
from assistants.types import MessageView
from substrate.bridge import wait_for
from tenants.types import Principal


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
    return wait_for(work, closing=close_runs)
