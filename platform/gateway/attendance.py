"""Standing beside the task that serves a request: has its client left, does it read, is it kept waiting in silence?"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self

from gateway.limits import GatewayLimits
from kernel.errors import AtriumError
from kernel.streams import PeerGone

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
# Returns the refusal once the caller may not go on.
UntilRefused = Callable[[], Awaitable[AtriumError]]
HEARTBEAT = b": keep-alive\n\n"


class Attendance:
    """Cancels the task that entered it when the client leaves or stops reading (then it raises PeerGone), or when the
    caller's rights end (then it raises their refusal).

    Costs one timer while a request is quick; the watcher starts only after `watch_after_s`, once. For streams
    `attend_stream` adds heartbeats and the limit on slow readers; the writer marks each write by `writing`.
    """

    __slots__ = (
        "_beat", "_guard", "_limits", "_loop", "_next_pulse", "_receive", "_start", "_task", "_until_refused",
        "_watcher", "_write", "cause", "refusal", "time", "touched", "writing",
    )  # fmt: skip

    def __init__(
        self, receive: Receive, limits: GatewayLimits, until_refused: UntilRefused | None = None
    ) -> None:
        """`receive` must already have given the whole request body."""
        self._receive = receive
        self._limits = limits
        self._until_refused = until_refused
        self._task = task = _this_task()
        self._loop = task.get_loop()
        # The clock of `touched`, which the writer sets with every write.
        self.time = self._loop.time
        self._start: asyncio.TimerHandle | None = None
        self._next_pulse: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None
        self._guard: asyncio.Task[None] | None = None
        self.refusal: AtriumError | None = None
        self._write: Callable[[bytes], Awaitable[None]] | None = None
        self.cause = ""
        self.writing = False
        self.touched = 0.0

    def __enter__(self) -> Self:
        """Begin to watch, a little later."""
        self._start = self._loop.call_later(self._limits.watch_after_s, self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the watch. Raises PeerGone, or the refusal, in place of the cancellation that the watch asked for."""
        if self._start is not None:
            self._start.cancel()
        if self._next_pulse is not None:
            self._next_pulse.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._beat is not None:
            self._beat.cancel()
        if self._guard is not None:
            self._guard.cancel()
        if self.cause:
            others = self._task.uncancel()
            if kind is asyncio.CancelledError and not others:
                raise (self.refusal or PeerGone(self.cause)) from error

    def attend_stream(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """From now on send heartbeats through `write` after silence, and give up a client that does not read."""
        self._write = write
        self.touched = self._loop.time()
        if self._watcher is not None:
            self._look_after()

    def _look_after(self) -> None:
        self._next_pulse = self._loop.call_later(self._limits.pulse_s, self._pulse)

    def _begin(self) -> None:
        if self._write is not None:
            self._look_after()
        self._watcher = self._loop.create_task(self._watch(), name="watch client")
        if self._until_refused is not None:
            self._guard = self._loop.create_task(self._see_out(self._until_refused), name="watch rights")

    async def _see_out(self, until_refused: UntilRefused) -> None:
        self.refusal = await until_refused()
        self._give_up("rights ended")

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._give_up("client left")

    def _pulse(self) -> None:
        self._look_after()
        silent = self._loop.time() - self.touched
        if self.writing:
            if silent >= self._limits.slow_reader_s:
                self._give_up("client does not read")
        elif silent >= self._limits.heartbeat_s and self._write is not None:
            self._beat = self._loop.create_task(_send_beat(self._write), name="heartbeat")

    def _give_up(self, cause: str) -> None:
        if not self.cause:
            self.cause = cause
            self._task.cancel()


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a request is attended to by the task that serves it")
    return task


async def _send_beat(write: Callable[[bytes], Awaitable[None]]) -> None:
    await write(HEARTBEAT)
