"""The HTTP adapter against the fake engine: every fault, and what cancelling does."""

import asyncio
import dataclasses
import socket
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from fakes.engine_server import Behaviour, EngineServer, vector_of
from msgspec import structs

from inference.adapters.openai_compatible import OpenAICompatibleEngine
from inference.types import Chunk, EngineRequest, ReplicaSpec, Surface
from kernel.errors import EngineRefused, EngineUnavailable, UpstreamFailed

TENANT = uuid.UUID(int=1)


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    async with EngineServer() as engine:
        yield engine


@pytest.fixture
async def engine() -> AsyncIterator[OpenAICompatibleEngine]:
    adapter = OpenAICompatibleEngine(connect_s=0.5)
    yield adapter
    await adapter.close()


def replica(server: EngineServer, **fields: Any) -> ReplicaSpec:
    spec = ReplicaSpec("r1", "pool", "org/public", "openai", server.url, "tiny", 8)
    return dataclasses.replace(spec, **fields)


def request(**fields: Any) -> EngineRequest:
    body = {"model": "org/public", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    made = EngineRequest(Surface.CHAT, body, TENANT, "request-1", first_byte_timeout_s=3, idle_timeout_s=1)
    return structs.replace(made, **fields)


async def collect(stream: AsyncIterator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in stream]


async def test_a_whole_answer(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    completion = await engine.complete(replica(server), request())
    assert completion.text.split() == [f"word{number}" for number in range(8)]
    assert completion.usage.completion_tokens == 8
    assert orjson.loads(completion.body)["model"] == "org/public"


@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.COMPLETIONS])
@pytest.mark.parametrize("cut", [0, 1, 7, 1000])
async def test_a_stream_however_its_bytes_are_cut(
    server: EngineServer, engine: OpenAICompatibleEngine, surface: Surface, cut: int
) -> None:
    server.behaviour = Behaviour(write_bytes=cut, comments=True, events_per_write=3)
    body = {"messages": []} if surface is Surface.CHAT else {"prompt": "hi"}
    chunks = await collect(engine.stream(replica(server), request(surface=surface, body=body)))
    assert "".join(chunk.text for chunk in chunks).split() == [f"word{number}" for number in range(8)]
    assert sum(chunk.tokens for chunk in chunks) == 8
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    frames = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
    assert {frame["model"] for frame in frames} == {"org/public"}
    assert all(frame["choices"] for frame in frames)
    assert not any("usage" in frame for frame in frames)
    usages = [chunk.usage.completion_tokens for chunk in chunks if chunk.usage]
    assert usages == sorted(usages)
    assert usages[-1] == 8


@pytest.mark.parametrize(("fields", "vllm"), [({}, False), ({"n": 2}, True)])
async def test_engines_are_not_asked_for_counts_that_they_cannot_give(
    server: EngineServer, engine: OpenAICompatibleEngine, fields: dict[str, Any], vllm: bool
) -> None:
    await collect(engine.stream(replica(server, vllm=vllm), request(body={"messages": []} | fields)))
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("no_counts", "tokens"), [(False, 8), (True, 3)])
async def test_several_tokens_in_one_event_count_as_what_they_are_where_the_engine_tells(
    server: EngineServer, engine: OpenAICompatibleEngine, no_counts: bool, tokens: int
) -> None:
    server.behaviour = Behaviour(words_per_event=3, no_counts=no_counts, die_after=3)
    made = 0

    async def read() -> None:
        nonlocal made
        async for chunk in engine.stream(replica(server), request()):
            made += chunk.tokens

    with pytest.raises(UpstreamFailed):
        await read()
    assert made == tokens


async def test_a_caller_who_asks_for_counts_is_shown_them(
    server: EngineServer, engine: OpenAICompatibleEngine
) -> None:
    body = {"messages": [], "stream_options": {"continuous_usage_stats": True}}
    chunks = await collect(engine.stream(replica(server), request(body=body)))
    frames = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
    assert [frame["usage"]["completion_tokens"] for frame in frames] == [*range(1, 9), 8]


async def test_connections_are_used_again(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    await collect(engine.stream(replica(server), request()))
    await engine.complete(replica(server), request())
    assert server.cancelled == 0
    assert sum(len(kept) for kept in engine._pool._idle.values()) == 1


async def test_what_the_engine_is_sent(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    body = {
        "messages": [],
        "cache_salt": "mine",
        "kv_transfer_params": {"do_remote_decode": True},
        "vllm_xargs": {"a": 1},
        "priority": -5,
        "top_k": 3,
        "stream_options": {"continuous_usage_stats": True, "include_usage": False},
    }
    sent = request(body=body, priority=2, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    await collect(engine.stream(replica(server, api_key="engine-key"), sent))
    await engine.complete(replica(server, vllm=False), request(body=body))
    streamed, whole = server.requests
    assert streamed.body["model"] == "tiny"
    assert streamed.body["top_k"] == 3
    assert streamed.body["priority"] == 2
    assert streamed.body["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}
    assert not {"kv_transfer_params", "vllm_xargs"} & set(streamed.body)
    salt = streamed.body["cache_salt"]
    assert salt != "mine"
    assert len(salt) <= 128
    assert salt.isalnum()
    assert streamed.headers["x-request-id"] == "request-1"
    assert streamed.headers["traceparent"] == sent.traceparent
    assert streamed.headers["authorization"] == "Bearer engine-key"
    assert set(whole.body) == {"messages", "top_k", "model"}
    assert "authorization" not in whole.headers


async def test_tenants_have_different_salts(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    for tenant in (TENANT, TENANT, uuid.UUID(int=2)):
        await engine.complete(replica(server), request(tenant_id=tenant))
    salts = [received.body["cache_salt"] for received in server.requests]
    assert salts[0] == salts[1] != salts[2]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 401, 404])
async def test_statuses_that_mean_another_replica(
    server: EngineServer, engine: OpenAICompatibleEngine, status: int
) -> None:
    server.behaviour = Behaviour(status=status, message="internal details")
    for attempt in (
        engine.complete(replica(server), request()),
        collect(engine.stream(replica(server), request())),
    ):
        with pytest.raises(EngineUnavailable) as caught:
            await attempt
        assert "internal" not in caught.value.message


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_refusals_are_passed_on(
    server: EngineServer, engine: OpenAICompatibleEngine, status: int
) -> None:
    server.behaviour = Behaviour(status=status, message="temperature must be below 2")
    for attempt in (
        engine.complete(replica(server), request()),
        collect(engine.stream(replica(server), request())),
    ):
        with pytest.raises(EngineRefused, match="temperature must be below 2") as caught:
            await attempt
        assert caught.value.engine_status == status


async def test_nobody_listens(engine: OpenAICompatibleEngine) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = EngineServer(port=free.getsockname()[1])
        with pytest.raises(EngineUnavailable, match="not reachable"):
            await engine.complete(replica(nowhere), request())
        with pytest.raises(EngineUnavailable):
            await engine.health(replica(nowhere))


async def test_somebody_listens_but_never_accepts(engine: OpenAICompatibleEngine) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.create_connection(address)]
        try:
            begun = time.monotonic()
            with pytest.raises(EngineUnavailable):
                await engine.complete(replica(EngineServer(port=address[1])), request(first_byte_timeout_s=1))
            assert time.monotonic() - begun < 2.5
        finally:
            for filler in fillers:
                filler.close()


async def test_death_before_the_first_byte(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(die_after=0)
    for attempt in (
        engine.complete(replica(server), request()),
        collect(engine.stream(replica(server), request())),
    ):
        with pytest.raises(EngineUnavailable):
            await attempt


async def test_death_after_the_first_token(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(die_after=3, gap_s=0.01)
    seen: list[Chunk] = []

    async def read_on() -> None:
        async for chunk in engine.stream(replica(server), request()):
            seen.append(chunk)

    with pytest.raises(UpstreamFailed, match="broke off") as caught:
        await read_on()
    assert not isinstance(caught.value, EngineUnavailable)
    assert "".join(chunk.text for chunk in seen).split() == ["word0", "word1", "word2"]


async def test_an_end_that_is_no_end(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(error_after=2)
    with pytest.raises(UpstreamFailed, match="reported an error"):
        await collect(engine.stream(replica(server), request()))


async def test_rubbish(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(rubbish=True)
    attempts = (
        engine.complete(replica(server), request()),
        collect(engine.stream(replica(server), request())),
        engine.embed(replica(server), request(surface=Surface.EMBEDDINGS, body={"input": ["a"]})),
    )
    for attempt in attempts:
        with pytest.raises(UpstreamFailed) as caught:
            await attempt
        assert not isinstance(caught.value, EngineUnavailable)


async def test_an_engine_that_is_shutting_down(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(abort=True)
    for attempt in (
        engine.complete(replica(server), request()),
        collect(engine.stream(replica(server), request())),
    ):
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await attempt


async def test_silence_before_the_first_byte(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(hang=True)
    late = request(first_byte_timeout_s=0.2)
    for attempt in (engine.complete(replica(server), late), collect(engine.stream(replica(server), late))):
        begun = time.monotonic()
        with pytest.raises(EngineUnavailable, match="in time"):
            await attempt
        assert time.monotonic() - begun < 1.0
    await server.until_idle()


async def test_a_head_and_then_silence_is_late_too(
    server: EngineServer, engine: OpenAICompatibleEngine
) -> None:
    server.behaviour = Behaviour(comments=True, gap_s=5, events_per_write=1, text="x")
    begun = time.monotonic()
    with pytest.raises(UpstreamFailed, match="fell silent"):
        await collect(engine.stream(replica(server), request(first_byte_timeout_s=10, idle_timeout_s=0.2)))
    assert 0.15 < time.monotonic() - begun < 4.0
    await server.until_idle()


async def test_slow_but_steady_is_fine(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    server.behaviour = Behaviour(words=6, gap_s=0.1, first_byte_s=0.3)
    chunks = await collect(engine.stream(replica(server), request(idle_timeout_s=2.0)))
    assert sum(chunk.tokens for chunk in chunks) == 6


async def test_leaving_a_stream_stops_the_engine_within_a_second(
    server: EngineServer, engine: OpenAICompatibleEngine
) -> None:
    server.behaviour = Behaviour(endless=True, gap_s=0.01)
    stream = engine.stream(replica(server), request())
    await anext(stream)
    assert server.running == 1
    await stream.aclose()  # type: ignore[attr-defined]
    await server.until_idle(1.0)
    assert server.cancelled == 1


async def test_cancelling_stops_the_engine_within_a_second(
    server: EngineServer, engine: OpenAICompatibleEngine
) -> None:
    server.behaviour = Behaviour(hang=True)
    for attempt in (
        engine.complete(replica(server), request()),
        collect(engine.stream(replica(server), request())),
    ):
        task = asyncio.ensure_future(attempt)
        await server.until_running()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await server.until_idle(1.0)
    assert server.cancelled == 2


async def test_a_kept_connection_that_the_engine_closed_costs_no_request(
    server: EngineServer, engine: OpenAICompatibleEngine
) -> None:
    await engine.complete(replica(server), request())
    await server.stop()
    await server.start()
    completion = await engine.complete(replica(server), request())
    assert completion.usage.completion_tokens == 8


async def test_vectors(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    inputs = [f"text {number}" for number in range(20)]
    asked = request(surface=Surface.EMBEDDINGS, body={"input": inputs, "model": "x"})
    embeddings = await engine.embed(replica(server), asked)
    assert [list(row) for row in embeddings.vectors] == [
        pytest.approx(vector_of(text, 32)) for text in inputs
    ]
    assert embeddings.usage.prompt_tokens == 40
    assert server.requests[0].body["encoding_format"] == "base64"


async def test_health_and_load(server: EngineServer, engine: OpenAICompatibleEngine) -> None:
    await engine.health(replica(server))
    load = await engine.load(replica(server))
    assert (load.running, load.waiting, load.kv_usage, load.cache_tokens) == (0, 0, 0.25, 8_000)
    server.behaviour = Behaviour(healthy=False)
    with pytest.raises(EngineUnavailable):
        await engine.health(replica(server))
