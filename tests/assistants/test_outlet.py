"""What a Run says reaches its log once, whatever interrupts the writing."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from assistants.services.outlet import Outlet
from kernel.errors import Unavailable


class SlowLog:
    """Takes text at once and says so when it is `let`; `away` it takes nothing."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.taken: list[str] = []
        self.began = asyncio.Event()
        self.let = asyncio.Event()

    async def append(self, run_id: uuid.UUID, body: Mapping[str, Any]) -> int:
        if not self.away:
            self.taken.append(body.get("text", body["type"]))
        self.began.set()
        await self.let.wait()
        if self.away:
            raise Unavailable
        return len(self.taken)


async def interrupted(log: SlowLog) -> Outlet:
    """An outlet whose writer was ended while the log had not answered yet, as at the end of an answer."""
    outlet = Outlet(log, uuid.uuid4())  # type: ignore[arg-type]
    writer = asyncio.ensure_future(outlet.flush_often())
    outlet.say("one ")
    await log.began.wait()
    writer.cancel()
    await asyncio.sleep(0)
    outlet.say("two")
    log.let.set()
    with pytest.raises(asyncio.CancelledError):
        await writer
    return outlet


async def test_text_that_the_log_has_taken_is_not_written_again() -> None:
    log = SlowLog()
    outlet = await interrupted(log)
    await outlet.tell({"type": "message.completed"})
    assert log.taken == ["one ", "two", "message.completed"]


async def test_text_that_the_log_has_not_taken_is_written_with_the_next() -> None:
    log = SlowLog(away=True)
    outlet = await interrupted(log)
    log.away = False
    await outlet.tell({"type": "message.completed"})
    assert log.taken == ["one two", "message.completed"]
