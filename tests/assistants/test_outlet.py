"""What a Run says reaches its log once, whatever interrupts the writing."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from assistants.services.outlet import Outlet
from kernel.errors import Unavailable


class SlowLog:
    """Takes text at once and says so when it is `let`; `away` it takes nothing, `mute` it takes it and cannot say so."""

    def __init__(self, *, away: bool = False, mute: bool = False) -> None:
        self.away = away
        self.mute = mute
        self.taken: list[str] = []
        self.mark = ""
        self.began = asyncio.Event()
        self.let = asyncio.Event()

    async def append(self, run_id: uuid.UUID, body: Mapping[str, Any], *, mark: str = "") -> int:
        if not self.away and (not mark or mark != self.mark):
            self.taken.append(body.get("text", body["type"]))
            self.mark = mark or self.mark
        self.began.set()
        await self.let.wait()
        if self.away or self.mute:
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


async def test_text_that_the_log_has_not_taken_is_written_before_the_next() -> None:
    log = SlowLog(away=True)
    outlet = await interrupted(log)
    log.away = False
    await outlet.tell({"type": "message.completed"})
    assert log.taken == ["one ", "two", "message.completed"]


async def test_text_whose_receipt_was_lost_is_not_written_again() -> None:
    log = SlowLog(mute=True)
    outlet = await interrupted(log)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await outlet.flush()
    log.mute = False
    await outlet.tell({"type": "message.completed"})
    assert log.taken == ["one ", "two", "message.completed"]
    assert outlet.text == "one two"
