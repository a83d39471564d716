"""Runs between processes, over a real Redis: followed, stopped, taken over when their owner is killed, cut off from Redis."""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakes.desk import Desk
from fakes.engines import Act
from fakes.redis_server import REDIS, RedisServer

from assistants.adapters.redis_run_log import RedisRunLog
from assistants.ownership import owner_of
from assistants.services import find_message, follow_run, start_run, stop_run, sweep_runs
from assistants.services.transcripts import NewRun, open_run
from assistants.types import MessageState, StartedRun
from kernel.backends import backends
from kernel.ids import uuid7
from substrate.units import run_unit

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(REDIS is None, reason="no redis-server on this machine"),
]

# A process that owns a run, says two things about it, and then hangs.
_OWNER = """
import asyncio, sys, uuid
from assistants.adapters.redis_run_log import RedisRunLog
async def main():
    log = RedisRunLog(url=sys.argv[1])
    run_id = uuid.UUID(sys.argv[2])
    claim = await log.claim(run_id, "doomed")
    await log.append(run_id, {"type": "message.started", "request_id": "r", "conversation_id": "c"})
    await log.append(run_id, {"type": "message.delta", "text": "half an ans"})
    print("said", flush=True)
    while True:
        await claim.renew()
        await asyncio.sleep(0.5)
asyncio.run(main())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may end."""
    running = RedisServer(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def here(desk: Desk, server: RedisServer) -> Desk:
    """This process, with its run log in Redis."""
    desk.run_log = RedisRunLog(url=server.url)
    backends.replace("run_log", desk.run_log)
    return desk


@pytest.fixture
async def there(server: RedisServer) -> AsyncIterator[RedisRunLog]:
    """The run log as another process has it."""
    other = RedisRunLog(url=server.url)
    yield other
    await other.close()


async def ask(desk: Desk) -> StartedRun:
    """Start a Run here."""
    return await start_run(
        principal=desk.principal, request_id=uuid.uuid4().hex, content="hello?", model="tiny"
    )


async def kinds(log: RedisRunLog, run: StartedRun) -> list[str]:
    """The kinds of a Run's events, to its end, as `log` tells them."""
    async with asyncio.timeout(15):
        return [event.body["type"] async for event in log.read_from(run.message_id, 0)]


async def test_another_process_follows_and_stops(here: Desk, there: RedisRunLog) -> None:
    """What is said here is read there as it comes; a stop from there ends it here within a second."""
    here.engine.usual = Act(words=10_000, gap_s=0.01)
    run = await ask(here)
    reader = asyncio.ensure_future(kinds(there, run))
    await asyncio.sleep(0.5)
    assert not reader.done()
    began = time.monotonic()
    await there.stop(run.message_id)
    told = await reader
    assert time.monotonic() - began < 1.0
    assert told[:2] == ["message.started", "message.routed"]
    assert told[-1] == "message.stopped"
    assert told.count("message.delta") > 3
    stored = await find_message(principal=here.principal, message_id=run.message_id)
    assert stored.state is MessageState.STOPPED
    assert here.engine.cancelled == 1


async def test_a_killed_owner_costs_five_seconds(here: Desk, there: RedisRunLog, server: RedisServer) -> None:
    """The Run fails with its partial text, and its readers hear of it, five seconds after the kill at the latest."""
    new = NewRun(here.tenant.id, owner_of(here.principal), uuid7(), uuid.uuid4().hex, "hello?", "", None)
    run = await run_unit(open_run, new)
    owner = await asyncio.to_thread(
        lambda: subprocess.Popen(
            [sys.executable, "-c", _OWNER, server.url, str(run.message_id)],
            stdout=subprocess.PIPE,
            env=dict(os.environ),
        )
    )
    assert owner.stdout is not None
    assert await asyncio.to_thread(owner.stdout.readline) == b"said\n"
    reader = asyncio.ensure_future(kinds(there, run))
    assert await sweep_runs() == 0
    owner.kill()
    began = time.monotonic()
    swept = 0
    while not swept and time.monotonic() - began < 10:
        swept = await sweep_runs()
        await asyncio.sleep(0.5)
    assert await reader == ["message.started", "message.delta", "error"]
    assert time.monotonic() - began < 5
    owner.wait()
    owner.stdout.close()
    stored = await find_message(principal=here.principal, message_id=run.message_id)
    assert (stored.state, stored.content) == (MessageState.FAILED, "half an ans")
    assert stored.error_code == "interrupted"


async def test_redis_restarts_while_an_answer_is_written(here: Desk, server: RedisServer) -> None:
    """The log is gone with it; the answer is written to its end or ends as interrupted, and the row tells it."""
    here.engine.usual = Act(words=100, gap_s=0.02)
    run = await ask(here)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(15):
        while True:
            stored = await find_message(principal=here.principal, message_id=run.message_id)
            if stored.state is not MessageState.RUNNING:
                break
            await asyncio.sleep(0.2)
    assert stored.content.startswith("w w w")
    events = [
        event.body["type"] async for event in follow_run(principal=here.principal, message_id=run.message_id)
    ]
    assert events[0] == "message.snapshot"
    assert events[-1] in ("message.completed", "error")
    again = await ask(here)
    await stop_run(principal=here.principal, message_id=again.message_id)
