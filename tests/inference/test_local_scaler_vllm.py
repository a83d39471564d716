"""A real vLLM engine, started and stopped by the local scaler, and asked in between."""

import asyncio
import os
import uuid
from pathlib import Path

import pytest
from fakes.live_server import free_port
from fakes.vllm import command_of

from inference.adapters.local_scaler import LocalScaler
from inference.adapters.openai_compatible import OpenAICompatibleEngine
from inference.fleets import Fleet
from inference.types import EngineRequest, ReplicaSpec, Surface

PIDS = [pid for pid in os.environ.get("ATRIUM_TEST_VLLM_PIDS", "").split(",") if pid]
MODEL = os.environ.get("ATRIUM_TEST_VLLM_MODEL", "tiny")
STARTS_WITHIN_S = 400.0

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not PIDS, reason="ATRIUM_TEST_VLLM_PIDS names no engine"),
    pytest.mark.timeout(STARTS_WITHIN_S + 60),
]


async def test_a_real_engine_is_started_asked_and_stopped(tmp_path: Path) -> None:
    command, environment = command_of(PIDS[0])
    port = free_port()
    said = {"command": command, "model": "org/tiny", "ports": (port, port), "environment": environment}
    scaler = LocalScaler(pools={"gpu": said}, folder=str(tmp_path))
    try:
        await scaler.scale("gpu", 1, ())
        fleet = await ready(scaler)
        (one,) = fleet.engines
        adapter = OpenAICompatibleEngine()
        asked = EngineRequest(
            Surface.CHAT,
            {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "ignore_eos": True},
            uuid.UUID(int=1),
            uuid.uuid4().hex,
        )
        answer = await adapter.complete(
            ReplicaSpec("r", "gpu", "org/tiny", "openai", one.url, MODEL, 8), asked
        )
        await adapter.close()
        assert answer.usage.completion_tokens == 4
        await scaler.scale("gpu", 0, (one.url,))
        left = await scaler.observe("gpu")
        assert left is not None
        assert left.engines == ()
    finally:
        await scaler.close()
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await asyncio.open_connection("127.0.0.1", port)


async def ready(scaler: LocalScaler) -> Fleet:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while True:
            fleet = await scaler.observe("gpu")
            assert fleet is not None
            assert fleet.engines, "it has ended"
            if fleet.engines[0].ready:
                return fleet
            await asyncio.sleep(0.5)
