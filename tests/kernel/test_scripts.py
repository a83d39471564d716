"""Scripts over one connection: answers of any kind, a Redis that forgot the scripts, a connection that was closed."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from kernel.scripts import ScriptPipeline

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")
pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis"),
]
TEXT = "return ARGV[1]"
NOTHING = "return nil"
BROKEN = "return redis.call('HGET', KEYS[1])"


@pytest.fixture
async def server() -> AsyncIterator[redis.asyncio.Redis]:
    made = redis.asyncio.Redis.from_url(REDIS_URL)
    yield made
    await made.aclose()


@pytest.fixture
async def calls() -> AsyncIterator[ScriptPipeline]:
    made = ScriptPipeline(
        redis.asyncio.Redis.from_url(REDIS_URL, protocol=2, socket_timeout=None, client_name="scripts-test"),
        timeout_s=2.0,
        unreachable=(redis.RedisError, OSError, TimeoutError),
        refused=redis.exceptions.ResponseError,
        forgotten=redis.exceptions.NoScriptError,
    )
    yield made
    await made.close()


async def test_each_call_of_a_turn_gets_its_own_answer_or_error(calls: ScriptPipeline) -> None:
    asked = [
        calls.send(TEXT, "k", "1"),
        calls.send(NOTHING, "k"),
        calls.send(BROKEN, "k"),
        calls.send(TEXT, "k", "2"),
    ]
    first, nothing, broken, last = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, nothing, last) == (b"1", None, b"2")
    assert isinstance(broken, redis.exceptions.ResponseError)


async def test_who_does_not_wait_hears_the_answer(calls: ScriptPipeline) -> None:
    heard: list[Any] = []
    calls.tell(heard.append, TEXT, "k", "told")
    calls.tell(heard.append, NOTHING, "k")
    await calls.send(TEXT, "k", "after")
    assert heard == [b"told", None]


async def test_scripts_that_were_forgotten_are_loaded_again(
    calls: ScriptPipeline, server: redis.asyncio.Redis
) -> None:
    assert await calls.send(TEXT, "k", "before") == b"before"
    await server.script_flush()
    assert await calls.send(TEXT, "k", "after") == b"after"


async def test_a_connection_that_the_server_closed_is_opened_again_without_an_error(
    calls: ScriptPipeline, server: redis.asyncio.Redis
) -> None:
    assert await calls.send(TEXT, "k", "before") == b"before"
    for each in await server.client_list():
        if each["name"] == "scripts-test":
            await server.client_kill_filter(_id=each["id"])
    await asyncio.sleep(0.05)
    assert await calls.send(TEXT, "k", "after") == b"after"
