"""Processes tell that they are there: now and then, through a database that is away, and when they end."""

import asyncio
from collections.abc import Iterator

import pytest

from config import heartbeat
from config.heartbeat import BeatHeartbeat, take_leave, tell_forever
from kernel.errors import Unavailable
from substrate.processes import ProcessView, list_processes
from substrate.units import close_units, run_unit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _units() -> Iterator[None]:
    yield
    close_units()


async def told() -> list[ProcessView]:
    return await run_unit(list_processes)


async def test_a_server_tells_while_it_runs_and_when_it_ends() -> None:
    telling = asyncio.ensure_future(tell_forever())
    async with asyncio.timeout(5):
        while not await told():  # noqa: ASYNC110 - a row of the database is waited for
            await asyncio.sleep(0.01)
    telling.cancel()
    (found,) = await told()
    assert (found.role, found.running) == ("all", True)

    await take_leave()

    assert await told() == []


async def test_a_database_that_is_away_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    async def away_twice(*args: object, **kwargs: object) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable

    monkeypatch.setattr(heartbeat, "run_unit", away_twice)
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    telling = asyncio.ensure_future(tell_forever())
    async with asyncio.timeout(5):
        while len(tries) < 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    telling.cancel()


async def test_a_worker_speaks_for_beat_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    heart = BeatHeartbeat()
    await heart.tell()
    first = {each.role: each.seen_at for each in await told()}
    await heart.tell()

    assert set(first) == {"beat"}
    assert {each.role: each.seen_at for each in await told()} == first
