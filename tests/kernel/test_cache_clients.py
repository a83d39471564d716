"""A cache in Redis is never waited for long."""

import asyncio
import time

import pytest
import redis.asyncio
from redis.exceptions import TimeoutError as NoAnswer

from kernel.cache_clients import TIMEOUT_S, cache_client


async def test_a_cache_that_is_silent_costs_its_timeout_once() -> None:
    asked = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))
        # Until the client has left.
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = cache_client(redis.asyncio.Redis, f"redis://127.0.0.1:{port}/0", connections=3)
    before = time.monotonic()
    with pytest.raises(NoAnswer):
        await client.get("x")
    took = time.monotonic() - before
    await client.aclose()
    server.close()

    assert TIMEOUT_S <= took < 2 * TIMEOUT_S
    assert len(asked) == 1
    assert client.connection_pool.max_connections == 3


async def test_it_hears_cancellations() -> None:
    client = cache_client(redis.asyncio.Redis, "redis://127.0.0.1:1/0", connections=1)
    assert client.connection_pool.connection_class.__name__ == "HearingConnection"
    await client.aclose()
