"""What every response cache promises, in process and over Redis."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest
from fakes.clocks import FrozenClock

from routing.adapters.memory_answers import ENTRY_BYTES, MemoryResponseCache
from routing.adapters.redis_answers import RedisResponseCache
from routing.ports import ResponseCache

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")

redis_only = pytest.param(
    "redis",
    marks=[
        pytest.mark.services,
        pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis"),
    ],
)


@pytest.fixture(params=["memory", redis_only])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[ResponseCache]:
    if request.param == "memory":
        yield MemoryResponseCache()
        return
    made = RedisResponseCache(url=REDIS_URL)
    yield made
    await made.close()


@pytest.fixture
def tenant() -> str:
    return str(uuid.uuid4())


async def test_what_was_put_is_found_until_it_is_replaced(cache: ResponseCache, tenant: str) -> None:
    assert await cache.get(tenant, "a") is None
    await cache.put(tenant, "a", b"one", 60)
    await cache.put(tenant, "b", b"\x00\xff", 60)
    assert await cache.get(tenant, "a") == b"one"
    assert await cache.get(tenant, "b") == b"\x00\xff"
    await cache.put(tenant, "a", b"two", 60)
    assert await cache.get(tenant, "a") == b"two"


async def test_one_tenant_never_finds_what_is_another_ones(cache: ResponseCache, tenant: str) -> None:
    await cache.put(tenant, "a", b"secret", 60)
    assert await cache.get(str(uuid.uuid4()), "a") is None


async def test_an_entry_ends_with_its_time(cache: ResponseCache, tenant: str) -> None:
    await cache.put(tenant, "a", b"one", 1)
    await cache.put(tenant, "b", b"two", 60)
    await asyncio.sleep(1.1)
    assert await cache.get(tenant, "a") is None
    assert await cache.get(tenant, "b") == b"two"


async def test_a_tenant_is_forgotten_whole_and_alone(cache: ResponseCache, tenant: str) -> None:
    other = str(uuid.uuid4())
    for key in ("a", "b"):
        await cache.put(tenant, key, b"one", 60)
        await cache.put(other, key, b"two", 60)
    await cache.forget(tenant)
    assert [await cache.get(tenant, key) for key in ("a", "b")] == [None, None]
    assert [await cache.get(other, key) for key in ("a", "b")] == [b"two", b"two"]


async def test_in_a_process_the_least_recently_used_leave_first() -> None:
    cache = MemoryResponseCache(most_bytes=3 * (ENTRY_BYTES + 1 + 1 + 100), clock=FrozenClock())
    for key in "abc":
        await cache.put("t", key, bytes(100), 60)
    assert await cache.get("t", "a") is not None
    await cache.put("t", "d", bytes(100), 60)
    assert [key for key in "abcd" if await cache.get("t", key) is not None] == ["a", "c", "d"]
    await cache.put("t", "e", bytes(10_000), 60)
    assert await cache.get("t", "e") is None
    assert await cache.get("t", "d") is not None


async def test_while_redis_is_away_every_call_is_a_miss_at_once() -> None:
    cache = RedisResponseCache(url="redis://127.0.0.1:1/0")
    async with asyncio.timeout(5):
        await cache.put("t", "a", b"one", 60)
        assert await cache.get("t", "a") is None
        await cache.forget("t")
    await cache.close()
