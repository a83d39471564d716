"""What every semantic cache promises, in process and over Redis."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest
from fakes.clocks import FrozenClock

from assistants.adapters.memory_alike import ENTRY_BYTES, MemorySemanticCache
from assistants.adapters.redis_alike import RedisSemanticCache
from assistants.ports import MOST_QUESTIONS, MOST_SHELVES, MOST_TENANT_SHELVES, SemanticCache
from assistants.types import Shelf

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")

redis_only = pytest.param(
    "redis",
    marks=[
        pytest.mark.services,
        pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis"),
    ],
)


@pytest.fixture(params=["memory", redis_only])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[SemanticCache]:
    if request.param == "memory":
        yield MemorySemanticCache()
        return
    made = RedisSemanticCache(url=REDIS_URL)
    yield made
    await made.close()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(str(uuid.uuid4()), "assistant", "a")


async def test_what_was_put_is_found_until_it_is_replaced(cache: SemanticCache, shelf: Shelf) -> None:
    assert await cache.questions(shelf) == {}
    assert await cache.answer(shelf, "one") is None
    await cache.put(shelf, "one", b"q1", b"\x00\xff", 60)
    await cache.put(shelf, "two", b"q2", b"a2", 60)
    assert await cache.questions(shelf) == {"one": b"q1", "two": b"q2"}
    assert await cache.answer(shelf, "one") == b"\x00\xff"
    await cache.put(shelf, "one", b"q3", b"a3", 60)
    assert await cache.questions(shelf) == {"one": b"q3", "two": b"q2"}
    assert await cache.answer(shelf, "one") == b"a3"


async def test_nothing_is_found_on_another_shelf(cache: SemanticCache, shelf: Shelf) -> None:
    await cache.put(shelf, "one", b"q", b"secret", 60)
    for other in (
        Shelf(str(uuid.uuid4()), shelf.assistant, shelf.key),
        Shelf(shelf.tenant, "another", shelf.key),
        Shelf(shelf.tenant, shelf.assistant, "b"),
    ):
        assert await cache.questions(other) == {}
        assert await cache.answer(other, "one") is None


async def test_an_entry_ends_with_its_time(cache: SemanticCache, shelf: Shelf) -> None:
    await cache.put(shelf, "short", b"q", b"a", 1)
    await cache.put(shelf, "long", b"q", b"b", 60)
    await asyncio.sleep(2.1)
    assert await cache.questions(shelf) == {"long": b"q"}
    assert await cache.answer(shelf, "short") is None
    assert await cache.answer(shelf, "long") == b"b"
    # What is over and was not swept yet is put again.
    await cache.put(shelf, "short", b"q2", b"a2", 60)
    assert await cache.questions(shelf) == {"long": b"q", "short": b"q2"}
    assert await cache.answer(shelf, "short") == b"a2"


async def test_a_shelf_is_bounded_what_would_end_first_leaves(cache: SemanticCache, shelf: Shelf) -> None:
    for number in range(MOST_QUESTIONS):
        await cache.put(shelf, str(number), b"q", b"a", 1000 - number)
    await cache.put(shelf, "new", b"q", b"a", 2000)
    there = await cache.questions(shelf)
    assert len(there) == MOST_QUESTIONS
    assert "new" in there
    assert str(MOST_QUESTIONS - 1) not in there
    assert await cache.answer(shelf, str(MOST_QUESTIONS - 1)) is None
    # What is put in the place of another one sends nobody away.
    await cache.put(shelf, "new", b"q", b"b", 2000)
    assert len(await cache.questions(shelf)) == MOST_QUESTIONS


async def test_an_assistant_has_so_many_shelves_the_last_written_stay(
    cache: SemanticCache, shelf: Shelf
) -> None:
    other = Shelf(shelf.tenant, "another", "a")
    await cache.put(other, "one", b"q", b"a", 60)
    shelves = [Shelf(shelf.tenant, shelf.assistant, str(number)) for number in range(MOST_SHELVES + 1)]
    for each in shelves[:-1]:
        await cache.put(each, "one", b"q", b"a", 60)
    await cache.put(shelves[0], "two", b"q", b"a", 60)
    await cache.put(shelves[-1], "one", b"q", b"a", 60)
    there = [bool(await cache.questions(each)) for each in shelves]
    assert there == [True, False, *[True] * (MOST_SHELVES - 1)]
    assert await cache.answer(shelves[1], "one") is None
    assert await cache.questions(other)


async def test_a_tenant_has_so_many_shelves(cache: SemanticCache, shelf: Shelf) -> None:
    shelves = [Shelf(shelf.tenant, str(number), "a") for number in range(MOST_TENANT_SHELVES + 2)]
    for each in shelves:
        await cache.put(each, "one", b"q", b"a", 60)
    there = [bool(await cache.questions(each)) for each in shelves]
    assert there == [False, False, *[True] * MOST_TENANT_SHELVES]


async def test_a_tenant_is_forgotten_whole_and_alone(cache: SemanticCache, shelf: Shelf) -> None:
    foreign = Shelf(str(uuid.uuid4()), shelf.assistant, shelf.key)
    for each in (shelf, Shelf(shelf.tenant, "another", "b"), foreign):
        await cache.put(each, "one", b"q", b"a", 60)
    await cache.forget(shelf.tenant)
    await cache.forget(shelf.tenant)
    assert await cache.questions(shelf) == {}
    assert await cache.answer(shelf, "one") is None
    assert await cache.questions(Shelf(shelf.tenant, "another", "b")) == {}
    assert await cache.questions(foreign) == {"one": b"q"}


async def test_in_a_process_bytes_are_bounded_over_all_tenants() -> None:
    cache = MemorySemanticCache(most_bytes=3 * (ENTRY_BYTES + 101), clock=FrozenClock())
    shelves = [Shelf(str(number), "assistant", "a") for number in range(4)]
    for each in shelves:
        await cache.put(each, "one", b"q", bytes(100), 60)
    assert [bool(await cache.questions(each)) for each in shelves] == [False, True, True, True]
    await cache.put(shelves[0], "one", b"q", bytes(10_000), 60)
    assert await cache.questions(shelves[0]) == {}
    assert await cache.questions(shelves[3])


async def test_in_a_process_what_is_over_is_swept_whoever_writes() -> None:
    clock = FrozenClock()
    cache = MemorySemanticCache(most_bytes=2 * (ENTRY_BYTES + 101), clock=clock)
    first, second, third = (Shelf(str(number), "assistant", "a") for number in range(3))
    await cache.put(second, "one", b"q", bytes(100), 3600)
    await cache.put(first, "one", b"q", bytes(100), 10)
    # `first` was written last but is over: without the sweep `second` would make room.
    clock.advance(61)
    await cache.put(third, "one", b"q", bytes(100), 3600)
    assert [len(await cache.questions(each)) for each in (first, second, third)] == [0, 1, 1]


async def test_while_redis_is_away_every_question_is_new_at_once(shelf: Shelf) -> None:
    cache = RedisSemanticCache(url="redis://127.0.0.1:1/0")
    async with asyncio.timeout(5):
        await cache.put(shelf, "one", b"q", b"a", 60)
        assert await cache.questions(shelf) == {}
        assert await cache.answer(shelf, "one") is None
        await cache.forget(shelf.tenant)
    await cache.close()
