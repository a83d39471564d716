"""What one `/v1` request costs this process: Python's whole part of its way, without sockets.

uvicorn's protocol, the gateway, routing, the engine's adapter, the usage spool, the log and the meters are the real
ones; client and engine are stand-ins that answer in the next turn of the loop. So the figure holds still on a machine
that does other work too, where requests per second mean nothing: the least processor time of many short rounds.

`.venv/bin/python benchmarks/one_request.py` prints microseconds a request; `--profile` shows where they go.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(ROOT / "benchmarks")]
HOME = Path(os.environ.setdefault("ATRIUM_HOME", str(ROOT / "var" / "bench" / "one-request")))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# What a server sets up, which commands do not: series in files.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(HOME / "series"))
(HOME / "series").mkdir(parents=True, exist_ok=True)

import django  # noqa: E402 - the paths and variables come first

django.setup()

import uvicorn  # noqa: E402
import uvloop  # noqa: E402
from django.core.management import call_command  # noqa: E402
from load_runs import chat_body  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

from config.http import JoinedHttpProtocol  # noqa: E402
from config.lifespan import Lifespan  # noqa: E402
from config.server import SERVER_OPTIONS  # noqa: E402
from inference.adapters import http_pool  # noqa: E402
from inference.services import register_engine  # noqa: E402
from kernel.backends import backends  # noqa: E402
from tenants.services import create_tenant, issue_api_key  # noqa: E402

CONNECTIONS = 16
# Short enough that some rounds fall between the turns of other processes.
ROUND = 160
WORDS = 32
USAGE = '"usage":{"prompt_tokens":12,"completion_tokens":32,"total_tokens":44}'
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n{}\r\n\r\n"


def _event(choices: str, more: str = "") -> bytes:
    event = f'{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{choices}]{more}}}'
    return _chunked(f"data: {event}\n\n".encode())


def _chunked(part: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(part), part)


def _answer() -> list[bytes]:
    message = f'{{"role":"assistant","content":"{" ".join(["word"] * WORDS)}"}}'
    body = (
        '{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,'
        f'"message":{message},"finish_reason":"stop"}}],{USAGE}}}'
    ).encode()
    return [HEAD.format("application/json", f"Content-Length: {len(body)}").encode() + body]


def _stream() -> list[bytes]:
    head = HEAD.format("text/event-stream", "Transfer-Encoding: chunked").encode()
    word = _event('{"index":0,"delta":{"content":"word "},"finish_reason":null}')
    last = _event('{"index":0,"delta":{"content":""},"finish_reason":"stop"}')
    end = _event("", f",{USAGE}") + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return [head + word, *[word] * (WORDS - 1), last, end]


class Wire(asyncio.Transport):
    """A transport that gives what is written to `heard`."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        """Open until closed."""
        super().__init__()
        self._heard = heard

    def write(self, data: Any) -> None:
        """Hand it over."""
        self._heard(data)

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def get_write_buffer_size(self) -> int:
        """Everything is handed over at once."""
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Where it claims to come from."""
        return ("127.0.0.1", 1) if name in ("sockname", "peername") else default

    def pause_reading(self) -> None:
        """The other side never hurries."""

    def resume_reading(self) -> None:
        """The other side never hurries."""

    def abort(self) -> None:
        """Nothing to close."""

    def close(self) -> None:
        """Nothing to close."""


class Engine:
    """Connections to an engine that answers each request with `parts`, one in each turn of the loop."""

    def __init__(self, parts: list[bytes]) -> None:
        """Takes the place of the pool's own `_connect`."""
        self._parts = parts

    async def connect(self, target: http_pool.Target) -> http_pool._Connection:
        """A connection that is there at once."""
        loop = asyncio.get_running_loop()
        connection = http_pool._Connection(loop, target.end)

        def send(at: int) -> None:
            if at + 1 < len(self._parts):
                loop.call_soon(send, at + 1)
            connection.data_received(self._parts[at])

        connection.connection_made(Wire(lambda _: loop.call_soon(send, 0)))
        return connection


class Clients:
    """Connections of clients, each of which asks again as soon as its answer has ended."""

    def __init__(self, config: uvicorn.Config, request: bytes, *, stream: bool) -> None:
        """`request` is sent again and again."""
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._stream = stream
        self._left = self._open = 0
        self._done: asyncio.Future[None] | None = None
        state = ServerState()
        self._connections = [self._connect(config, state) for _ in range(CONNECTIONS)]

    def _connect(self, config: uvicorn.Config, state: ServerState) -> JoinedHttpProtocol:
        protocol = JoinedHttpProtocol(config=config, server_state=state, app_state={}, _loop=self._loop)

        def heard(data: bytes) -> None:
            if self._stream and not data.endswith(b"0\r\n\r\n"):
                return
            if not self._stream and not data.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(bytes(data[:200]).decode())
            self._open -= 1
            if self._left:
                self._ask(protocol)
            elif not self._open and self._done is not None:
                self._done.set_result(None)

        protocol.connection_made(Wire(heard))
        return protocol

    def _ask(self, protocol: JoinedHttpProtocol) -> None:
        self._left -= 1
        self._open += 1
        self._loop.call_soon(protocol.data_received, self._request)

    async def run(self, count: int) -> float:
        """Processor seconds of `count` requests."""
        self._left, self._done = count, self._loop.create_future()
        began = time.process_time()
        for protocol in self._connections:
            self._ask(protocol)
        await self._done
        return time.process_time() - began


def prepare() -> str:
    """A key of an installation of its own, made once."""
    noted = HOME / "key"
    call_command("migrate", verbosity=0, interactive=False)
    if not noted.exists():
        tenant = create_tenant(slug="bench", name="Bench")
        register_engine(
            pool="bench",
            model="bench",
            url="http://127.0.0.1:1/v1",
            max_concurrency=1000,
            input_price="1",
            output_price="2",
        )
        noted.write_text(issue_api_key(tenant_id=tenant.id, name="bench").key)
    shutil.rmtree(HOME / "spool", ignore_errors=True)
    return noted.read_text()


def request_bytes(key: str, *, stream: bool) -> bytes:
    """What the load generator of `make bench` sends."""
    body = json.dumps(chat_body(stream=stream)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: {len(body)}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\r\n"
    )
    return head.encode() + body


async def measure(key: str, *, rounds: int, profile: bool) -> None:
    """Print the figures."""
    config = uvicorn.Config("config.asgi:application", **SERVER_OPTIONS)
    config.load()
    lifespan = Lifespan()
    await lifespan.startup()
    pool = backends["engine.openai"]._pool
    for kind, parts in (("JSON", _answer()), ("stream", _stream())):
        pool._idle.clear()
        pool._connect = Engine(parts).connect
        clients = Clients(config, request_bytes(key, stream=kind == "stream"), stream=kind == "stream")
        await clients.run(ROUND)
        if profile:
            profiler = cProfile.Profile()
            profiler.enable()
            await clients.run(10 * ROUND)
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(60)
            continue
        times = sorted([await clients.run(ROUND) * 1e6 / ROUND for _ in range(rounds)])
        per_chunk = f" ({times[0] / WORDS:.2f} a chunk)" if kind == "stream" else ""
        print(f"{kind}: {times[0]:.1f} µs{per_chunk}, median {times[len(times) // 2]:.1f}", flush=True)
    await lifespan.shutdown()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="of 160 requests each (default 60)")
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    options = parser.parse_args()
    key = prepare()
    with (HOME / "access.log").open("wb") as log:
        # The access log goes where standard error does.
        os.dup2(log.fileno(), 2)
        uvloop.run(measure(key, rounds=options.rounds, profile=options.profile))


if __name__ == "__main__":
    main()
