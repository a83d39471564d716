"""Structured concurrency: nothing is left running, errors come out as they are."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from kernel.errors import ServerOverloaded, Unavailable
from kernel.streams import PeerGone, Supervisor, beside, run_until, within


async def never() -> None:
    await asyncio.Event().wait()


async def test_the_result_of_the_work_comes_out_and_the_watch_is_ended() -> None:
    ended = asyncio.Event()

    async def watch() -> None:
        try:
            await never()
        finally:
            ended.set()

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await run_until(watch, work()) == 7
    assert ended.is_set()


async def test_work_is_cancelled_and_cleaned_up_when_the_peer_leaves() -> None:
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            cleaned.append("slot freed")

    async def leave() -> None:
        await asyncio.sleep(0.01)

    with pytest.raises(PeerGone):
        await run_until(leave, work())
    assert cleaned == ["slot freed"]


async def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    async def work() -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        await run_until(never, work())


async def test_cancelling_the_whole_ends_both() -> None:
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await never()
        finally:
            ended.append(name)

    whole = asyncio.ensure_future(run_until(lambda: endless("watch"), endless("work")))
    await asyncio.sleep(0.01)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert sorted(ended) == ["watch", "work"]


async def items(*pauses: float) -> AsyncIterator[int]:
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        yield number


async def test_items_in_time_all_come_through() -> None:
    assert [item async for item in within(items(0, 0, 0), first_s=1, next_s=1)] == [0, 1, 2]


@pytest.mark.parametrize(("pauses", "got"), [((0.5, 0), []), ((0, 0.5), [0])], ids=["first", "later"])
async def test_a_late_item_is_a_timeout(pauses: tuple[float, ...], got: list[int]) -> None:
    seen = []

    async def read() -> None:
        async for item in within(items(*pauses), first_s=0.02, next_s=0.02):
            seen.append(item)

    with pytest.raises(TimeoutError):
        await read()
    assert seen == got


async def test_first_and_later_items_have_limits_of_their_own() -> None:
    assert [item async for item in within(items(0.05, 0), first_s=1, next_s=0.02)] == [0, 1]


async def test_supervised_work_is_bounded() -> None:
    supervisor = Supervisor(limit=1, on_error=lambda name, error: None)
    supervisor.start("one", never())
    with pytest.raises(ServerOverloaded):
        supervisor.start("two", never())
    assert len(supervisor) == 1
    await supervisor.close()
    assert len(supervisor) == 0


async def test_supervised_work_that_ends_makes_room() -> None:
    supervisor = Supervisor(limit=1, on_error=lambda name, error: None)
    await supervisor.start("one", asyncio.sleep(0))
    await asyncio.sleep(0)
    await supervisor.start("two", asyncio.sleep(0))


async def test_errors_of_supervised_work_are_heard_and_cancelling_is_none() -> None:
    heard: list[tuple[str, str]] = []

    async def fail() -> None:
        raise Unavailable("away")

    supervisor = Supervisor(limit=3, on_error=lambda name, error: heard.append((name, str(error))))
    failing = supervisor.start("failing", fail())
    supervisor.start("endless", never())
    await asyncio.gather(failing, return_exceptions=True)
    await supervisor.close()
    assert heard == [("failing", "away")]


async def test_closing_waits_for_the_finally_of_each() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0.01)
            ended.append(number)

    supervisor = Supervisor(limit=5, on_error=lambda name, error: None)
    for number in range(5):
        supervisor.start(str(number), work(number))
    await asyncio.sleep(0)
    await supervisor.close()
    assert sorted(ended) == [0, 1, 2, 3, 4]


async def test_work_beside_that_swallows_its_end_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    async with asyncio.timeout(5):
        async with beside(stubborn()):
            await asyncio.sleep(0)
    assert swallowed == 2


async def test_what_work_beside_raises_is_lost() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async with beside(fail()):
        await asyncio.sleep(0.01)
