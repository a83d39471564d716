"""Wakes readers of run logs and owners of runs: one Redis pub/sub connection per process, whatever their number.

A lost message costs its reader the poll interval: bells only say that it is worth looking.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis.asyncio
import structlog

from kernel.streams import Supervisor

log = structlog.get_logger(__name__)

STOP_CHANNEL = b"atrium:run-stops"
GROWN_CHANNEL = "atrium:run-grown:"
RECONNECT_S = 0.5


class Bell:
    """Rings for all that wait at the moment. Take `rung` before looking, wait on it after."""

    def __init__(self) -> None:
        """Silent."""
        self.rung = asyncio.Event()
        self.listeners = 0

    def ring(self) -> None:
        """Wake everyone who waits."""
        self.rung.set()
        self.rung = asyncio.Event()


class Bells:
    """The bells of the runs that this process follows, and the stops of the runs it owns."""

    def __init__(self, client: redis.asyncio.Redis, on_stop: Callable[[uuid.UUID], None]) -> None:
        """`on_stop` hears the id of each run that shall stop, of this process or not. Nothing runs before `start`."""
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._on_stop = on_stop
        self._bells: dict[bytes, Bell] = {}
        self._wanted = asyncio.Event()
        self._tasks = Supervisor(limit=2, on_error=_report)

    def start(self) -> None:
        """Listen from now on."""
        if not len(self._tasks):
            self._tasks.start("run_bells", self._listen())

    async def close(self) -> None:
        """End the connection."""
        await self._tasks.close()
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    @contextmanager
    def following(self, run_id: uuid.UUID) -> Iterator[Bell]:
        """The bell of a run, shared by all who follow it in this process."""
        self.start()
        channel = f"{GROWN_CHANNEL}{run_id}".encode()
        bell = self._bells.get(channel)
        if bell is None:
            bell = self._bells[channel] = Bell()
            self._wanted.set()
        bell.listeners += 1
        try:
            yield bell
        finally:
            bell.listeners -= 1
            if not bell.listeners:
                del self._bells[channel]
                self._wanted.set()

    async def _listen(self) -> None:
        while True:
            try:
                await self._pubsub.subscribe(STOP_CHANNEL)
                _mind_cancellation()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._subscribe_wanted())
                    group.create_task(self._receive())
            except* (redis.RedisError, OSError) as errors:
                log.warning("run_bells_lost", error=str(errors.exceptions[0]))
            await asyncio.sleep(RECONNECT_S)
            self._wanted.set()

    async def _subscribe_wanted(self) -> None:
        """Keep the subscriptions equal to the bells; many changes at once become one command."""
        subscribed: set[bytes] = set()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            wanted = set(self._bells)
            if new := wanted - subscribed:
                await self._pubsub.subscribe(*new)
            if old := subscribed - wanted:
                await self._pubsub.unsubscribe(*old)
            _mind_cancellation()
            for channel in new:
                # What was written before the subscription stood would not have rung.
                if bell := self._bells.get(channel):
                    bell.ring()
            subscribed = wanted

    async def _receive(self) -> None:
        while True:
            message = await self._pubsub.get_message(timeout=5.0)
            _mind_cancellation()
            if message is None:
                continue
            if message["channel"] == STOP_CHANNEL:
                self._on_stop(uuid.UUID(message["data"].decode()))
            elif bell := self._bells.get(message["channel"]):
                bell.ring()


def _mind_cancellation() -> None:
    """Raise the cancellation that the client swallowed: it does so while it connects."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _report(name: str, error: BaseException) -> None:
    log.error("run_bells_ended", error=str(error))
