"""Our HTTP protocol says what uvicorn's own says, byte for byte, in fewer writes."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from config.http import WRITE_THROUGH, JoinedHttpProtocol, JoinedTransport

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]
GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
JSON = (b"content-type", b"application/json")


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def saying(*messages: Message) -> App:
    """An application that says `messages`."""

    async def app(scope: object, receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
        for message in messages:
            await send(message)

    return app


def head(status: int, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def answer_of(kind: type[HttpToolsProtocol], app: App, request: bytes) -> Wire:
    """What the protocol writes for one request."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", interface="asgi3")
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
    wire = Wire()
    protocol = kind(config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop())
    protocol.connection_made(wire)
    protocol.data_received(request)
    await asyncio.gather(*state.tasks)
    await asyncio.sleep(0)
    protocol.connection_lost(None)
    return wire


ANSWERS: dict[str, tuple[bytes, list[Message]]] = {
    "json": (GET, [head(200, JSON, (b"content-length", b"2")), part(b"{}")]),
    "names are lowered": (GET, [head(200, (b"Content-Length", b"2"), (b"X-A", b"b\tc")), part(b"{}")]),
    "in pieces": (GET, [head(200, (b"content-length", b"4")), part(b"ab", more=True), part(b"cd")]),
    "stream": (GET, [head(200, JSON), part(b"ab", more=True), part(b"", more=True), part(b"cd")]),
    "stream with an empty end": (GET, [head(200), part(b"ab", more=True), part(b"")]),
    "stream by name": (
        GET,
        [head(200, (b"transfer-encoding", b"chunked")), part(b"ab", more=True), part(b"")],
    ),
    "empty": (GET, [head(404, (b"content-length", b"0")), part(b"")]),
    "no content": (GET, [head(204), part(b"")]),
    "HEAD": (GET.replace(b"GET", b"HEAD"), [head(200, (b"content-length", b"2")), part(b"{}")]),
    "HEAD of a stream": (GET.replace(b"GET", b"HEAD"), [head(200), part(b"ab", more=True), part(b"cd")]),
    "HTTP/1.0": (GET.replace(b"1.1", b"1.0"), [head(200, (b"content-length", b"2")), part(b"{}")]),
    "client closes": (
        GET.replace(b"Host", b"Connection: close\r\nHost"),
        [head(200, (b"content-length", b"2")), part(b"{}")],
    ),
    "server closes": (GET, [head(200, (b"connection", b"close"), (b"content-length", b"2")), part(b"{}")]),
    "a header that would split the answer": (GET, [head(200, (b"x-a", b"b\r\nset-cookie: c")), part(b"")]),
    "a line end alone": (GET, [head(200, (b"x-a", b"b\nc")), part(b"")]),
    "a NUL": (GET, [head(200, (b"x-a", b"\0")), part(b"")]),
    "a name that is none": (GET, [head(200, (b"x a", b"b")), part(b"")]),
    "too long": (GET, [head(200, (b"content-length", b"1")), part(b"ab")]),
    "too short": (GET, [head(200, (b"content-length", b"3")), part(b"ab")]),
    "no body": (GET, [head(200, (b"content-length", b"3"))]),
    "nothing at all": (GET, []),
    "body first": (GET, [part(b"ab", more=True)]),
    "two heads": (GET, [head(200), head(200), part(b"")]),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_bytes_are_those_of_uvicorn(name: str) -> None:
    request, messages = ANSWERS[name]
    theirs = await answer_of(HttpToolsProtocol, saying(*messages), request)
    ours = await answer_of(JoinedHttpProtocol, saying(*messages), request)
    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert ours.closed == theirs.closed


async def test_a_small_answer_leaves_in_one_write() -> None:
    ours = await answer_of(JoinedHttpProtocol, saying(*ANSWERS["json"][1]), GET)
    assert len(ours.writes) == 1


async def test_the_next_request_of_a_connection_is_answered_too() -> None:
    ours = await answer_of(JoinedHttpProtocol, saying(*ANSWERS["json"][1]), GET + GET)
    assert b"".join(ours.writes).count(b"HTTP/1.1 200 OK") == 2


async def test_much_at_once_is_written_before_the_turn_ends() -> None:
    wire = Wire()
    joined = JoinedTransport(wire, asyncio.get_running_loop())
    joined.write(b"a")
    assert not wire.writes
    joined.write(b"b" * WRITE_THROUGH)
    assert [len(each) for each in wire.writes] == [WRITE_THROUGH + 1]
    joined.write(b"c")
    await asyncio.sleep(0)
    assert wire.writes[1:] == [b"c"]
