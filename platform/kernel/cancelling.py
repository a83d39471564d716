"""Cancellations that a client of Redis would lose.

redis-py sends under `asyncio.wait_for` where it has a timeout of its own. In Python 3.11 that returns normally when the
task is cancelled in the very turn of the loop in which the sending ends: a loop that was told to end goes on for ever.
The client is the caller's: this knows its methods, and not the library, which adapters alone may know.
"""

import asyncio
from functools import cache
from typing import Any, TypeVar

Client = TypeVar("Client")


def hearing(client: Client) -> Client:
    """`client`, an asyncio client of redis-py that was not used yet, whose sending raises each cancellation."""
    pool: Any = getattr(client, "connection_pool")  # noqa: B009 - the library's name, of whatever client it is
    pool.connection_class = hearing_class(pool.connection_class)
    return client


@cache
def hearing_class(connection: Any) -> Any:
    """The class of connections with a sending that raises a cancellation which came meanwhile."""

    async def send_packed_command(self: Any, *args: Any, **kwargs: Any) -> Any:
        task = asyncio.current_task()
        # Who tidies up after a cancellation was cancelled before; that one is heard already.
        before = task.cancelling() if task is not None else 0
        sent = await connection.send_packed_command(self, *args, **kwargs)
        if task is not None and task.cancelling() > before:
            # Its answer would be taken for that of the next command.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError
        return sent

    name = f"Hearing{connection.__name__}"
    return type(name, (connection,), {"send_packed_command": send_packed_command})
