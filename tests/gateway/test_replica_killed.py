"""One of four engines is killed under a hundred streams: every answer comes whole, or says that it does not."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from fakes.demo import start_ready_demo
from fakes.live_server import ROOT, LiveServer, free_port

pytestmark = pytest.mark.stack

STREAMS = 100
ENGINES = 4
WORDS = 300
GAP_S = 0.02
# Words that a stream must have said before the engine dies, so that each one is caught in its middle.
SAID_BEFORE = 20
EXPECTED = "".join(f"word{number} " for number in range(WORDS))
# Within which a dead replica gets no more calls.
OUT_S = 2.0

_FURNITURE = """
import json
from inference.services import register_engine
for url in {urls!r}:
    register_engine(pool="four", model="tiny", url=url, vllm=True, max_concurrency=64)
print(json.dumps("done"))
"""


@dataclass
class Cell:
    """A server, its key, and four engines by their port; the engines are processes of their own."""

    server: LiveServer
    key: str
    engines: dict[int, subprocess.Popen[bytes]]


@dataclass
class Told:
    """What a client was told of one answer."""

    text: str = ""
    reason: str | None = None
    continued: int = 0
    tokens: int | None = None
    error: str = ""


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    engines = {port: _engine(port) for port in (free_port() for _ in range(ENGINES))}
    demo = start_ready_demo(tmp_path / "home")
    try:
        demo.server.run_code(_FURNITURE.format(urls=[f"http://127.0.0.1:{port}/v1" for port in engines]))
        demo.server.wait_for_model(demo.api_key, "tiny")
        yield Cell(demo.server, demo.api_key, engines)
    finally:
        demo.server.stop()
        for engine in engines.values():
            engine.kill()
            engine.communicate()


def _engine(port: int) -> subprocess.Popen[bytes]:
    words = ["--port", str(port), "--words", str(WORDS), "--gap", str(GAP_S)]
    engine = subprocess.Popen(
        [sys.executable, "tests/fakes/engine_server.py", *words], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert engine.stdout is not None
    assert engine.stdout.readline().startswith(b"listening")
    return engine


async def test_a_killed_replica_loses_no_request(cell: Cell) -> None:
    under_way = asyncio.Semaphore(0)
    async with _client(cell) as client:
        streams = [asyncio.create_task(listen(client, number, under_way)) for number in range(STREAMS)]
        for _ in range(STREAMS):
            await under_way.acquire()
        running = {port: await _running_on(client, port) for port in cell.engines}
        port = max(running, key=lambda each: running[each])
        on_the_killed = running[port]
        cell.engines[port].kill()
        told = await asyncio.gather(*streams)
        later = await asyncio.gather(*(listen(client, number, under_way) for number in range(ENGINES)))
    whole = [each for each in told if each.text == EXPECTED and each.reason == "stop"]
    continued = [each for each in whole if each.continued]
    silent = [each for each in told if each.text != EXPECTED and not each.error]
    sys.stdout.write(
        f"{STREAMS} streams, spread as {sorted(running.values())}: {len(whole)} whole, {len(continued)} continued\n"
    )
    assert on_the_killed >= STREAMS // ENGINES
    assert silent == []
    assert all(EXPECTED.startswith(each.text) for each in told), "a character was lost or said twice"
    assert len(whole) >= 0.99 * STREAMS
    assert len(continued) >= 0.9 * on_the_killed
    assert all(each.tokens == WORDS for each in whole), "each is billed for what it said, once"
    assert [each.text for each in later] == [EXPECTED] * ENGINES


async def test_a_killed_replica_is_out_within_two_seconds(cell: Cell) -> None:
    port = next(iter(cell.engines))
    cell.engines[port].kill()
    killed = time.monotonic()
    async with _client(cell) as client:
        states: dict[str, str] = {}
        while time.monotonic() - killed < OUT_S:
            status, listed = await asyncio.to_thread(
                cell.server.request, "GET", "/api/v1/replicas?limit=50", key=cell.key
            )
            assert status == 200
            states = {each["url"]: each["state"] for each in listed["results"]}
            if states[f"http://127.0.0.1:{port}/v1"] != "ready":
                break
            await asyncio.sleep(0.05)
        out_after = time.monotonic() - killed
        told = await asyncio.gather(*(listen(client, number, asyncio.Semaphore(0)) for number in range(20)))
    sys.stdout.write(f"out after {out_after:.2f} s\n")
    assert states[f"http://127.0.0.1:{port}/v1"] != "ready"
    assert [each.text for each in told] == [EXPECTED] * 20


def _client(cell: Cell) -> ClientSession:
    headers = {"authorization": f"Bearer {cell.key}"}
    return ClientSession(
        cell.server.url, headers=headers, timeout=ClientTimeout(total=100), connector=TCPConnector(limit=0)
    )


async def _running_on(client: ClientSession, port: int) -> int:
    async with client.get(f"http://127.0.0.1:{port}/control") as answer:
        running: int = (await answer.json())["running"]
        return running


async def listen(client: ClientSession, number: int, under_way: asyncio.Semaphore) -> Told:
    """One streamed answer to its end; says by `under_way` when it is in its middle."""
    told, said = Told(), 0
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": f"Count, caller {number}."}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with client.post("/v1/chat/completions", json=body) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            event = orjson.loads(line[6:])
            told.error = str(event.get("error") or told.error)
            told.continued = event.get("continued") or told.continued
            told.tokens = event["usage"]["completion_tokens"] if event.get("usage") else told.tokens
            for choice in event.get("choices", ()):
                told.text += choice["delta"].get("content") or ""
                told.reason = choice["finish_reason"] or told.reason
                said += 1
                if said == SAID_BEFORE:
                    under_way.release()
    return told
