"""The contract of the run log, for both adapters. Redis is there when ATRIUM_TEST_REDIS_URL names one."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from assistants.adapters.memory_run_log import MemoryRunLog
from assistants.adapters.redis_run_log import RedisRunLog
from assistants.errors import RunFinished, RunTaken, RunTooLong
from assistants.ports import RunLog
from kernel.errors import NotFound, Unavailable
from kernel.ids import uuid7

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")
needs_redis = pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis")


@pytest.fixture(params=["memory", pytest.param("redis", marks=[needs_redis, pytest.mark.services])])
async def run_log(request: pytest.FixtureRequest) -> AsyncIterator[RunLog]:
    """A run log of either kind, bounded to 10 kB a run."""
    if request.param == "memory":
        yield MemoryRunLog(run_bytes=10_000)
        return
    adapter = RedisRunLog(url=REDIS_URL, run_bytes=10_000)
    yield adapter
    await adapter.close()


def text(number: int) -> dict[str, Any]:
    """A delta to append."""
    return {"type": "message.delta", "text": f"{number} "}


async def collect(run_log: RunLog, run_id: uuid.UUID, last_seq: int = 0) -> list[int]:
    """The seqs from `last_seq` to the end of the run."""
    return [event.seq async for event in run_log.read_from(run_id, last_seq)]


async def test_events_are_numbered_and_replayed(run_log: RunLog) -> None:
    """From any position a reader gets what came after it, to the end, as it was written."""
    run_id = uuid7()
    await run_log.claim(run_id, "me")
    assert [await run_log.append(run_id, text(n)) for n in range(3)] == [1, 2, 3]
    assert await run_log.finish(run_id, {"type": "message.completed"}) == 4
    assert await collect(run_log, run_id) == [1, 2, 3, 4]
    assert await collect(run_log, run_id, 2) == [3, 4]
    assert await collect(run_log, run_id, 4) == []
    events = [event.body async for event in run_log.read_from(run_id, 2)]
    assert events == [text(2), {"type": "message.completed"}]


async def test_a_write_that_is_repeated_with_its_mark_is_there_once(run_log: RunLog) -> None:
    """Also when others without a mark came between, and when the run has ended meanwhile."""
    run_id = uuid7()
    await run_log.claim(run_id, "me")
    assert [await run_log.append(run_id, text(1), mark="a") for _ in range(3)] == [1, 1, 1]
    assert await run_log.append(run_id, text(2)) == 2
    assert await run_log.append(run_id, text(1), mark="a") == 1
    assert [await run_log.append(run_id, text(3), mark="b") for _ in range(2)] == [3, 3]
    await run_log.finish(run_id, {"type": "message.completed"})
    assert await run_log.append(run_id, text(3), mark="b") == 3
    assert [event.body async for event in run_log.read_from(run_id, 0)][:3] == [text(1), text(2), text(3)]
    assert await collect(run_log, run_id) == [1, 2, 3, 4]


async def test_readers_follow_live(run_log: RunLog) -> None:
    """Readers that came before, amid and after see the same; none waits a poll interval for a word."""
    run_id = uuid7()
    await run_log.claim(run_id, "me")
    early = asyncio.ensure_future(collect(run_log, run_id))
    await asyncio.sleep(0.2)
    late = []
    for number in range(40):
        await run_log.append(run_id, text(number))
        if number % 10 == 0:
            late.append(asyncio.ensure_future(collect(run_log, run_id, 5)))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(0.7):
        await run_log.finish(run_id, {"type": "message.completed"})
        assert await early == list(range(1, 42))
        assert await asyncio.gather(*late) == [list(range(6, 42))] * 4


async def test_a_finished_run_stays_as_it_is(run_log: RunLog) -> None:
    """Nothing follows the end; finishing and stopping again change nothing."""
    run_id = uuid7()
    await run_log.claim(run_id, "me")
    await run_log.append(run_id, text(1))
    assert await run_log.finish(run_id, {"type": "message.stopped"}) == 2
    assert await run_log.finish(run_id, {"type": "error"}) == 2
    with pytest.raises(RunFinished):
        await run_log.append(run_id, text(2))
    with pytest.raises(RunFinished):
        await run_log.claim(run_id, "other")
    await run_log.stop(run_id)
    assert await collect(run_log, run_id) == [1, 2]


async def test_unknown_runs(run_log: RunLog) -> None:
    """A run that nobody claimed cannot be read, written, finished or stopped."""
    run_id = uuid7()
    async with asyncio.timeout(0.5):
        with pytest.raises(NotFound):
            await collect(run_log, run_id)
    for act in (run_log.append(run_id, text(1)), run_log.finish(run_id, text(1)), run_log.stop(run_id)):
        with pytest.raises(NotFound):
            await act


async def test_one_owner_at_a_time(run_log: RunLog) -> None:
    """A claim holds against others until it is released; an unused one leaves nothing behind."""
    run_id = uuid7()
    claim = await run_log.claim(run_id, "one")
    with pytest.raises(RunTaken):
        await run_log.claim(run_id, "two")
    assert await claim.renew()
    await claim.release()
    with pytest.raises(NotFound):
        await run_log.append(run_id, text(1))
    second = await run_log.claim(run_id, "two")
    assert not await claim.renew()
    await run_log.append(run_id, text(1))
    assert [event.seq for event in await second.events_so_far()] == [1]


async def test_stop_reaches_the_owner(run_log: RunLog) -> None:
    """At once, and also when the owner only listens later."""
    run_id = uuid7()
    claim = await run_log.claim(run_id, "me")
    await run_log.append(run_id, text(1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await claim.stop_asked()
    await run_log.stop(run_id)
    async with asyncio.timeout(0.5):
        await claim.stop_asked()
        await claim.stop_asked()


async def test_a_run_is_bounded(run_log: RunLog) -> None:
    """Past its bytes nothing is appended but the end."""
    run_id = uuid7()
    await run_log.claim(run_id, "me")
    big = {"type": "message.delta", "text": "x" * 4_000}
    await run_log.append(run_id, big)
    await run_log.append(run_id, big)
    with pytest.raises(RunTooLong):
        await run_log.append(run_id, big)
    assert await run_log.finish(run_id, {"type": "error"}) == 3


async def test_a_reader_that_leaves_costs_nothing(run_log: RunLog) -> None:
    """Leaving in the middle of a run, waiting or not, disturbs nobody."""
    run_id = uuid7()
    await run_log.claim(run_id, "me")
    await run_log.append(run_id, text(1))
    async with aclosing(run_log.read_from(run_id, 0)) as events:
        assert (await anext(events)).seq == 1
    waiting = asyncio.ensure_future(collect(run_log, run_id))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await run_log.finish(run_id, text(2))
    assert await collect(run_log, run_id) == [1, 2]


class StandingClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        """At a thousand seconds."""
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """The seconds set."""
        return self.seconds

    def now(self) -> Any:
        """Not asked for."""
        raise NotImplementedError


async def test_memory_lease_and_keeping_time() -> None:
    """The lease ends after three and a half seconds, a finished log after ten minutes, a full house at once."""
    clock = StandingClock()
    run_log = MemoryRunLog(clock=clock, total_bytes=1_000)
    first, second = uuid7(), uuid7()
    claim = await run_log.claim(first, "one")
    clock.seconds += 3.4
    with pytest.raises(RunTaken):
        await run_log.claim(first, "two")
    clock.seconds += 0.2
    await run_log.claim(first, "two")
    assert not await claim.renew()
    await run_log.append(first, text(1))
    await run_log.finish(first, text(2))
    clock.seconds += 599
    await run_log.claim(second, "one")
    assert await collect(run_log, first) == [1, 2]
    clock.seconds += 2
    await run_log.claim(uuid7(), "one")
    with pytest.raises(NotFound):
        await collect(run_log, first)
    await run_log.append(second, {"text": "x" * 1_000})
    with pytest.raises(Unavailable):
        await run_log.claim(uuid7(), "one")
    await run_log.finish(second, text(1))
    await run_log.claim(uuid7(), "one")
    with pytest.raises(NotFound):
        await collect(run_log, second)


async def test_memory_readers_leave_an_orphan() -> None:
    """A run whose owner is gone ends for its readers without a last event."""
    clock = StandingClock()
    run_log = MemoryRunLog(clock=clock)
    run_id = uuid7()
    await run_log.claim(run_id, "one")
    await run_log.append(run_id, text(1))
    reader = asyncio.ensure_future(collect(run_log, run_id))
    await asyncio.sleep(0.05)
    clock.seconds += 16
    assert await reader == [1]


@needs_redis
@pytest.mark.services
async def test_redis_from_two_processes() -> None:
    """What one process writes another follows; a stop crosses over; a dead owner's run can be taken over."""
    here, there = RedisRunLog(url=REDIS_URL), RedisRunLog(url=REDIS_URL)
    try:
        run_id = uuid7()
        claim = await here.claim(run_id, "here")
        reader = asyncio.ensure_future(collect(there, run_id))
        await here.append(run_id, text(1))
        await there.stop(run_id)
        async with asyncio.timeout(0.5):
            await claim.stop_asked()
        with pytest.raises(RunTaken):
            await there.claim(run_id, "there")
        await asyncio.sleep(3.7)
        taken = await there.claim(run_id, "there")
        assert not await claim.renew()
        assert [event.body for event in await taken.events_so_far()] == [text(1)]
        await there.finish(run_id, {"type": "error"})
        with pytest.raises(RunFinished):
            await here.append(run_id, text(2))
        assert await reader == [1, 2]
    finally:
        await here.close()
        await there.close()


@needs_redis
@pytest.mark.services
async def test_redis_tells_a_stop_even_without_bells() -> None:
    """A stop whose message was lost is seen at the next renewal."""
    run_log = RedisRunLog(url=REDIS_URL)
    try:
        run_id = uuid7()
        claim = await run_log.claim(run_id, "me")
        await run_log._client.hset(f"atrium:run:{{{run_id}}}:meta", "stop", "1")  # type: ignore[misc]
        assert await claim.renew()
        async with asyncio.timeout(0.1):
            await claim.stop_asked()
    finally:
        await run_log.close()


async def test_redis_that_is_away_is_unavailable() -> None:
    """Nothing listens there: every act says so in the kernel's words."""
    run_log = RedisRunLog(url="redis://127.0.0.1:9")
    try:
        with pytest.raises(Unavailable):
            await run_log.append(uuid7(), text(1))
        with pytest.raises(Unavailable):
            await run_log.claim(uuid7(), "me")
    finally:
        await run_log.close()
