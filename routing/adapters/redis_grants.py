"""What a process hears of its tickets that wait in Redis."""

import asyncio
import uuid

import redis
import redis.asyncio
import structlog
from msgspec import Struct

log = structlog.get_logger(__name__)

Unreachable = (redis.RedisError, OSError, TimeoutError)
AGAIN_S = 1.0


class Held(Struct, frozen=True):
    """The ticket has a slot of `replica`."""

    replica: str


class Shed(Struct, frozen=True):
    """The ticket had to make room; in `retry_ms` it may come again."""

    retry_ms: float


class Gone(Struct, frozen=True):
    """No replica is left that the ticket may go to."""


Outcome = Held | Shed | Gone | None


class Grants:
    """The futures of tickets that wait, settled by messages. A message may be lost: heartbeats ask."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """`owner` names this process."""
        self.owner = uuid.uuid4().hex
        # A timeout of the library's own would wait in ways that may lose a cancellation: `listen` would go on for ever.
        self._client = redis.asyncio.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=timeout_s
        )
        self._expected: dict[str, asyncio.Future[Outcome]] = {}

    def expect(self, ticket: str) -> "asyncio.Future[Outcome]":
        """What becomes of `ticket`; None when its place was lost."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._expected[ticket] = future
        return future

    def settle(self, ticket: str, outcome: Outcome) -> None:
        """It is known what became of `ticket`."""
        future = self._expected.get(ticket)
        if future is not None and not future.done():
            future.set_result(outcome)

    def forget(self, ticket: str) -> None:
        """Nobody waits for `ticket` any more."""
        self._expected.pop(ticket, None)

    async def listen(self) -> None:
        """Listen for ever; a broken connection is opened again."""
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(f"atrium:sched:grants:{self.owner}")
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            self._hear(message["data"].decode())
            except Unreachable as error:
                log.warning("grants_lost", error=str(error))
                await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    def _hear(self, message: str) -> None:
        outcome, ticket, value = message.split(" ")
        self.settle(ticket, Held(value) if outcome == "held" else Shed(float(value)))
