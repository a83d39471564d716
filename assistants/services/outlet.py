"""What a Run says, on its way into the log: small pieces are gathered, so that a frame is not spent on each token."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import structlog

from assistants.errors import RunFinished
from assistants.ports import RunLog
from kernel.errors import AtriumError, NotFound, Unavailable

log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 0.025
RETRY_AFTER_S = 0.5


class Outlet:
    """Gathers text and appends it each 25 ms; text that the log does not take now is kept and tried again.

    A write whose answer was lost may have arrived: it is repeated as it was, with the mark by which the log knows it.
    """

    def __init__(self, run_log: RunLog, run_id: uuid.UUID) -> None:
        """Writes into the log of `run_id`."""
        self._log = run_log
        self._run_id = run_id
        self._said: list[str] = []
        self._waiting: list[str] = []
        # The mark and the text of a write of which it is not known whether the log has taken it.
        self._unsure: tuple[str, str] | None = None
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._refused: AtriumError | None = None

    @property
    def text(self) -> str:
        """Everything said so far."""
        return "".join(self._said)

    def say(self, text: str) -> None:
        """Take text. Raises what the log refused earlier text with: RunTooLong."""
        if self._refused is not None:
            raise self._refused
        if text:
            self._said.append(text)
            self._waiting.append(text)
            self._dirty.set()

    async def tell(self, body: Mapping[str, Any]) -> None:
        """Append an event other than text, after the text before it. Raises AtriumError."""
        await self.flush()
        await self._log.append(self._run_id, body)

    async def flush(self) -> None:
        """Append what waits. Raises AtriumError; the text then still waits."""
        async with self._writing:
            while self._unsure is not None or self._waiting:
                await self._write()

    async def _write(self) -> None:
        if self._unsure is None:
            pieces, self._waiting = self._waiting, []
            self._dirty.clear()
            self._unsure = (uuid.uuid4().hex, "".join(pieces))
        mark, text = self._unsure
        body = {"type": "message.delta", "text": text}
        writing = asyncio.ensure_future(self._log.append(self._run_id, body, mark=mark))
        try:
            await asyncio.shield(writing)
        finally:
            # Who is cancelled meanwhile waits until it is known: what the log has taken must not be written twice.
            if not writing.done():
                await asyncio.wait([writing])
            if not writing.cancelled() and writing.exception() is None:
                self._unsure = None

    async def flush_often(self) -> None:
        """Flush for ever, the first piece at once. A log that is away is tried again, one that is gone no more."""
        while True:
            await self._dirty.wait()
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("run_log_away", message_id=str(self._run_id), error=str(error))
                await asyncio.sleep(RETRY_AFTER_S)
                self._dirty.set()
            except (NotFound, RunFinished) as error:
                log.warning("run_log_lost", message_id=str(self._run_id), error=str(error))
                return
            except AtriumError as error:
                self._refused = error
                return
            await asyncio.sleep(FLUSH_EVERY_S)
