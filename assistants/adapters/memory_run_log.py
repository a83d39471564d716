"""The run log of the embedded profile: in this process, bounded, gone with it."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from assistants.errors import RunFinished, RunTaken, RunTooLong
from assistants.types import RunEvent
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound, Unavailable

LEASE_S = 3.5
KEEP_S = 600.0
# A run that nobody held for so long has lost its owner, and no sweep has ended it yet.
ORPHANED_S = 10.0


@dataclass(eq=False, slots=True)
class _Log:
    """One run: its events, who holds it until when (monotonic seconds), when it was finished."""

    owner: str = ""
    lease_until: float = 0.0
    events: list[RunEvent] = field(default_factory=list)
    size: int = 0
    finished_at: float | None = None
    # Of the last event that had one: its mark and its seq.
    marked: tuple[str, int] = ("", 0)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, body: Mapping[str, Any], size: int) -> int:
        """Add an event and wake the readers."""
        event = RunEvent(len(self.events) + 1, body)
        self.events.append(event)
        self.size += size
        self.grown.set()
        self.grown = asyncio.Event()
        return event.seq


class MemoryRunLog:
    """Holds at most `run_bytes` per run and about `total_bytes` in all; finished runs leave after ten minutes, the
    oldest sooner when room is needed. Readers keep a position, not a copy: a slow one costs nothing."""

    def __init__(
        self,
        *,
        run_bytes: int = 4 * 1024 * 1024,
        total_bytes: int = 64 * 1024 * 1024,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Bounds in bytes of the events' JSON."""
        self._run_bytes = run_bytes
        self._total_bytes = total_bytes
        self._clock = clock
        self._logs: dict[uuid.UUID, _Log] = {}
        self._total = 0

    async def append(self, run_id: uuid.UUID, body: Mapping[str, Any], *, mark: str = "") -> int:
        """Add an event, unless it has the last mark; returns its `seq`. Raises RunFinished, RunTooLong, NotFound."""
        log = self._found(run_id)
        if mark and mark == log.marked[0]:
            return log.marked[1]
        if log.finished_at is not None:
            raise RunFinished
        size = len(orjson.dumps(body))
        if log.size + size > self._run_bytes:
            raise RunTooLong
        seq = self._add(log, body, size)
        if mark:
            log.marked = (mark, seq)
        return seq

    async def read_from(self, run_id: uuid.UUID, last_seq: int) -> AsyncGenerator[RunEvent, None]:
        """The events after `last_seq` and those to come. Raises NotFound when the log is gone."""
        log = self._found(run_id)
        position = max(0, last_seq)
        while True:
            grown = log.grown
            while position < len(log.events):
                yield log.events[position]
                position += 1
            if log.finished_at is not None:
                return
            if grown.is_set():
                continue
            try:
                async with asyncio.timeout(1.0):
                    await grown.wait()
            except TimeoutError:
                if self._clock.monotonic() > log.lease_until + ORPHANED_S:
                    return

    async def stop(self, run_id: uuid.UUID) -> None:
        """Ask the owner to stop. Raises NotFound."""
        self._found(run_id).stop.set()

    async def claim(self, run_id: uuid.UUID, owner: str) -> "MemoryRunClaim":
        """Own the run for a few seconds. Raises RunTaken, RunFinished, or Unavailable when there is no room for another run."""
        self._forget_old()
        now = self._clock.monotonic()
        log = self._logs.get(run_id)
        if log is None:
            if self._total >= self._total_bytes:
                raise Unavailable("Too many answers are being kept.", retry_after_s=5.0)
            log = self._logs[run_id] = _Log()
        elif log.finished_at is not None:
            raise RunFinished
        elif log.owner and log.lease_until > now:
            raise RunTaken
        log.owner, log.lease_until = owner, now + LEASE_S
        return MemoryRunClaim(self, run_id, log, owner)

    async def finish(self, run_id: uuid.UUID, body: Mapping[str, Any]) -> int:
        """Add the last event and close the log; returns its `seq`. Raises NotFound."""
        log = self._found(run_id)
        if log.finished_at is not None:
            return len(log.events)
        log.finished_at = self._clock.monotonic()
        return self._add(log, body, len(orjson.dumps(body)))

    def renew(self, log: _Log, owner: str) -> bool:
        """Extend the lease when `owner` still has it."""
        if log.owner != owner or log.finished_at is not None:
            return False
        log.lease_until = self._clock.monotonic() + LEASE_S
        return True

    def release(self, run_id: uuid.UUID, log: _Log, owner: str) -> None:
        """End the lease; a log without events goes."""
        if log.owner != owner:
            return
        log.owner, log.lease_until = "", 0.0
        if not log.events and self._logs.get(run_id) is log:
            del self._logs[run_id]

    def _add(self, log: _Log, body: Mapping[str, Any], size: int) -> int:
        self._total += size
        return log.add(body, size)

    def _found(self, run_id: uuid.UUID) -> _Log:
        log = self._logs.get(run_id)
        if log is None:
            raise NotFound
        return log

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        finished = [
            (log.finished_at, run_id) for run_id, log in self._logs.items() if log.finished_at is not None
        ]
        for finished_at, run_id in sorted(finished):
            if now - finished_at < KEEP_S and self._total < self._total_bytes:
                break
            self._total -= self._logs.pop(run_id).size


class MemoryRunClaim:
    """The owner's hold on a run of this process."""

    def __init__(self, logs: MemoryRunLog, run_id: uuid.UUID, log: _Log, owner: str) -> None:
        """Made by `MemoryRunLog.claim`."""
        self._logs = logs
        self._run_id = run_id
        self._log = log
        self._owner = owner

    async def stop_asked(self) -> None:
        """Return once a stop was asked."""
        await self._log.stop.wait()

    async def renew(self) -> bool:
        """Hold the run for a few more seconds; False when it was taken away."""
        return self._logs.renew(self._log, self._owner)

    async def release(self) -> None:
        """Let the run go."""
        self._logs.release(self._run_id, self._log, self._owner)

    async def events_so_far(self) -> tuple[RunEvent, ...]:
        """All events that the log holds now."""
        return tuple(self._log.events)
