"""Probes: a dead engine goes out, comes back, and one engine is asked once for all it serves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes.engines import Act, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.services import begin_stream, probing, replica_available, stream
from inference.types import EngineRequest, ReplicaSpec, Surface
from kernel.backends import backends
from kernel.errors import EngineUnavailable, UpstreamFailed
from kernel.ids import uuid7


class CountingEngine(ScriptedEngine):
    """Counts health checks."""

    asked = 0

    async def health(self, replica: ReplicaSpec) -> None:
        CountingEngine.asked += 1
        await super().health(replica)


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CountingEngine]:
    monkeypatch.setattr(probing, "EVERY_S", 0.05)
    monkeypatch.setattr(probing, "JITTER_S", 0.01)
    CountingEngine.asked = 0
    made = CountingEngine()
    backends.replace("engine.scripted", made)
    directory = ModelDirectory()
    backends.replace("model_directory", directory)
    directory.show(
        (
            model_spec("a", replica_spec("r1", url="http://one.invalid/v1"), replica_spec("r2")),
            model_spec("b", replica_spec("r3", url="http://one.invalid/v1"), replica_spec("r4", url="")),
        )
    )
    yield made
    await backends.close()


async def until(condition: bool, replica: str) -> None:
    async with asyncio.timeout(2):
        while replica_available(replica) != condition:  # noqa: ASYNC110 - the promise is about time
            await asyncio.sleep(0.01)


async def test_a_dead_engine_goes_out_and_comes_back(engine: CountingEngine) -> None:
    running = asyncio.ensure_future(probing.probe_replicas_forever())
    engine.down.add("r1")
    await until(False, "r1")
    # The same engine serves another model; it is asked once and judged for both.
    await until(False, "r3")
    assert replica_available("r2")
    assert replica_available("r4")
    engine.down.clear()
    await until(True, "r1")
    await until(True, "r3")
    running.cancel()
    await asyncio.wait([running])


async def test_an_engine_is_asked_once_a_round_and_built_in_ones_never(engine: CountingEngine) -> None:
    running = asyncio.ensure_future(probing.probe_replicas_forever())
    await asyncio.sleep(0.03)
    running.cancel()
    await asyncio.wait([running])
    assert CountingEngine.asked == 2


def request() -> EngineRequest:
    return EngineRequest(Surface.CHAT, {"messages": []}, uuid7(), "r")


async def test_attempts_tell_health(engine: CountingEngine) -> None:
    replica = replica_spec("r2")
    engine.script("r2", *[Act(error=EngineUnavailable("gone"))] * 2, Act(words=3, dies_after=1), Act())
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            await begin_stream(replica, request())

    async def read() -> int:
        return len([chunk async for chunk in stream(replica, request())])

    with pytest.raises(UpstreamFailed):
        await read()
    # The first byte forgave the two failures before; the death in the middle counts as one.
    assert replica_available("r2")
    assert await read() == 4
