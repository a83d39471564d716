"""The HTTP adapter against real vLLM: what the fake engine only claims."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from inference.adapters.openai_compatible import OpenAICompatibleEngine
from inference.types import EngineRequest, ReplicaSpec, Surface
from kernel.errors import EngineRefused

URLS = [url for url in os.environ.get("ATRIUM_TEST_VLLM_URLS", "").split(",") if url]
MODEL = os.environ.get("ATRIUM_TEST_VLLM_MODEL", "tiny")

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not URLS, reason="ATRIUM_TEST_VLLM_URLS names no engine"),
]


@pytest.fixture
async def engine() -> AsyncIterator[OpenAICompatibleEngine]:
    adapter = OpenAICompatibleEngine()
    yield adapter
    await adapter.close()


def replica(number: int = 0) -> ReplicaSpec:
    return ReplicaSpec("r1", "pool", "org/public", "openai", URLS[number], MODEL, 8)


def request(text: str = "hello", tenant: int = 1, **body: Any) -> EngineRequest:
    messages = [{"role": "user", "content": text}]
    return EngineRequest(
        Surface.CHAT,
        {"messages": messages, "temperature": 0, "ignore_eos": True, **body},
        uuid.UUID(int=tenant),
        uuid.uuid4().hex,
        priority=2,
    )


async def test_a_stream_and_a_whole_answer(engine: OpenAICompatibleEngine) -> None:
    whole = await engine.complete(replica(), request(max_tokens=24))
    assert orjson.loads(whole.body)["model"] == "org/public"
    assert whole.usage.completion_tokens == 24
    assert whole.finish_reason == "length"
    chunks = [chunk async for chunk in engine.stream(replica(), request(max_tokens=24))]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert chunks[-1].usage is not None or chunks[-2].usage is not None
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usages[-1].completion_tokens == 24
    frames = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
    assert {frame["model"] for frame in frames} == {"org/public"}
    assert all(frame["choices"] for frame in frames)
    await engine.health(replica())


async def test_leaving_is_seen_by_the_engine_within_a_second(engine: OpenAICompatibleEngine) -> None:
    stream = engine.stream(replica(), request(max_tokens=900))
    await anext(stream)
    assert (await engine.load(replica())).running >= 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert await _idle_after(engine) < 1.0


async def test_cancelling_a_whole_answer_is_seen_too(engine: OpenAICompatibleEngine) -> None:
    task = asyncio.ensure_future(engine.complete(replica(), request(max_tokens=900)))
    async with asyncio.timeout(5):
        while not (await engine.load(replica())).running:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    assert await _idle_after(engine) < 1.0


async def _idle_after(engine: OpenAICompatibleEngine) -> float:
    began = time.monotonic()
    while (await engine.load(replica())).running and time.monotonic() - began < 5:  # noqa: ASYNC110 - over HTTP
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_tenants_do_not_share_the_prefix_cache(engine: OpenAICompatibleEngine) -> None:
    text = f"{uuid.uuid4()} " + "the same long prefix of two tenants " * 20

    async def cached(tenant: int) -> int:
        completion = await engine.complete(replica(), request(text, tenant, max_tokens=1))
        return completion.usage.cached_tokens

    assert await cached(1) == 0
    if not await cached(1):
        pytest.fail("the engine does not tell cached tokens: start it with --enable-prompt-tokens-details")
    assert await cached(2) == 0


async def test_refusals(engine: OpenAICompatibleEngine) -> None:
    with pytest.raises(EngineRefused) as caught:
        await engine.complete(replica(), request("word " * 5000, max_tokens=5))
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(EngineRefused):
        await engine.complete(replica(), request(temperature=-3))
