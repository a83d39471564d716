"""The engine connections: framing of every kind, reuse, what is stale, broken or unasked, and leaving early."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from inference.adapters.http_pool import HIGH_WATER, Answer, AnswerBroken, ConnectionStale, HttpPool, Target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[tuple[HttpPool, Target]]:
    """A raw server on loopback and a pool to ask it."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = HttpPool(connect_s=1.0, keep_s=4.0)
    try:
        yield pool, Target.of(f"http://127.0.0.1:{port}/v1/x")
    finally:
        await pool.close()
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length: "):
            length = int(line.partition(b": ")[2])
    return head, await reader.readexactly(length)


async def read_all(answer: Answer) -> bytes:
    parts = []
    while part := await answer.read_some():
        parts.append(part)
    return b"".join(parts)


def always(*writes: bytes, end: bool = False) -> Serve:
    """A server that answers each request by these writes, one turn of the loop apart."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            for each in writes:
                writer.write(each)
                await writer.drain()
                await asyncio.sleep(0.005)
            if end:
                return

    return serve


@pytest.mark.parametrize(
    ("writes", "end", "kept"),
    [
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",), False, True),
        ((b"HTTP/1.1 200 OK\r\ncont", b"ent-length: 5\r\n\r", b"\nhel", b"lo"), False, True),
        (
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"),
            False,
            True,
        ),
        (
            (
                b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            ),
            False,
            True,
        ),
        ((b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhel", b"lo"), True, False),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",), True, False),
        ((b"HTTP/1.0 200 OK\r\n\r\nhello",), True, False),
    ],
)
async def test_every_framing(writes: tuple[bytes, ...], end: bool, kept: bool) -> None:
    async with serving(always(*writes, end=end)) as (pool, target):
        for _ in range(2):
            answer = await pool.request("POST", target, [("x-a", "b")], b"{}", within_s=5.0)
            assert answer.status == 200
            assert await read_all(answer) == b"hello"
            assert answer.ended
            assert await answer.read_some() == b""
            answer.release()
            with pytest.raises(AnswerBroken):
                await answer.read_some()
        assert bool(pool._idle[target.end]) == kept


async def test_the_request_is_whole_and_its_connection_used_again() -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            head, body = await read_request(reader)
            heads.append(head)
            bodies.append(body)
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")

    big = b"x" * 3_000_000
    async with serving(serve) as (pool, target):
        for _ in range(3):
            answer = await pool.request(
                "POST", target, [("content-type", "application/json")], big, within_s=5.0
            )
            assert (answer.status, answer.content_length) == (404, 2)
            assert await read_all(answer) == b"no"
            answer.release()
        plain = await pool.request("GET", target, [], within_s=5.0)
        assert await read_all(plain) == b"no"
        plain.release()
    assert connections == 1
    assert bodies == [big, big, big, b""]
    assert heads[0].startswith(b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"content-length" not in heads[3]


@pytest.mark.parametrize(
    "writes",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",),
        (b"HTTP/1.1 200 OK\r\ncontent-len",),
        (b"SSH-2.0-OpenSSH\r\n",),
        (),
    ],
)
async def test_an_answer_that_breaks_off(writes: tuple[bytes, ...]) -> None:
    async with serving(always(*writes, end=True)) as (pool, target):
        with pytest.raises(AnswerBroken) as broken:
            await read_all(await pool.request("POST", target, [], b"{}", within_s=5.0))
        assert not isinstance(broken.value, ConnectionStale)


async def test_what_came_before_the_break_is_given_first() -> None:
    async with serving(always(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello", end=True)) as (
        pool,
        target,
    ):
        answer = await pool.request("POST", target, [], b"{}", within_s=5.0)
        await asyncio.sleep(0.05)
        assert await answer.read_some() == b"hello"
        with pytest.raises(AnswerBroken):
            await answer.read_some()
        answer.close()


async def test_a_kept_connection_that_closed_is_not_used() -> None:
    async with serving(always(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", end=True)) as (pool, target):
        for _ in range(3):
            answer = await pool.request("POST", target, [], b"{}", within_s=5.0)
            assert await read_all(answer) == b"ok"
            answer.release()
            # Turns of the loop, not time, let the end of the connection arrive: both ends live in it.
            for _ in range(10):
                await asyncio.sleep(0.005)


async def test_a_kept_connection_that_closes_under_the_request_is_stale() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await read_request(reader)

    async with serving(serve) as (pool, target):
        answer = await pool.request("POST", target, [], b"{}", within_s=5.0)
        await read_all(answer)
        answer.release()
        with pytest.raises(ConnectionStale):
            await pool.request("POST", target, [], b"{}", within_s=5.0)


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ok)
        await asyncio.sleep(0.02)
        writer.write(ok.replace(b"\r\nok", b"\r\nNO"))
        await read_request(reader)

    async with serving(serve) as (pool, target):
        for _ in range(2):
            answer = await pool.request("POST", target, [], b"{}", within_s=5.0)
            assert await read_all(answer) == b"ok"
            answer.release()
            # Turns of the loop, not time, let the end of the connection arrive: both ends live in it.
            for _ in range(10):
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("leave", ["close", "release", "cancel"])
async def test_leaving_early_closes_the_connection(leave: str) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if leave != "cancel":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        try:
            await reader.read()
        finally:
            gone.set()

    async with serving(serve) as (pool, target):
        if leave == "cancel":
            asking = asyncio.ensure_future(pool.request("POST", target, [], b"{}", within_s=5.0))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        else:
            answer = await pool.request("POST", target, [], b"{}", within_s=5.0)
            assert await answer.read_some() == b"hello"
            getattr(answer, leave)()
        async with asyncio.timeout(1):
            await gone.wait()
        assert not pool._idle.get(target.end)


async def test_a_reader_that_lags_holds_the_engine_back() -> None:
    piece = b"y" * 65_536
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * 400))
        for _ in range(400):
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        await reader.read()

    async with serving(serve) as (pool, target):
        answer = await pool.request("POST", target, [], b"{}", within_s=5.0)
        await asyncio.sleep(0.2)
        assert sent < len(piece) * 400
        first = await answer.read_some()
        assert len(first) < HIGH_WATER + 512 * 1024
        assert len(first) + len(await read_all(answer)) == len(piece) * 400
        answer.release()


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"])
async def test_the_time_limit_holds_until_it_is_put_off(begin: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(begin)
            await asyncio.sleep(0.2)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[len(begin) :])

    async with serving(serve) as (pool, target):
        with pytest.raises(TimeoutError):
            await read_all(await pool.request("POST", target, [], b"{}", within_s=0.05))
        if begin:
            answer = await pool.request("POST", target, [], b"{}", within_s=0.05)
            answer.expect_within(5.0)
            assert await read_all(answer) == b"hello"
            answer.release()
            assert pool._idle[target.end]


@pytest.mark.parametrize(("first_s", "second_s"), [(5.0, 0.05), (0.1, 5.0)])
async def test_a_kept_connection_has_the_time_limit_of_the_request_at_hand(
    first_s: float, second_s: float
) -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            await read_request(reader)
            asked += 1
            if asked == 2:
                await asyncio.sleep(0.3)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    async with serving(serve) as (pool, target):
        first = await pool.request("POST", target, [], b"{}", within_s=first_s)
        assert await read_all(first) == b"hello"
        first.release()
        [kept] = pool._idle[target.end]
        if second_s < 0.3:
            with pytest.raises(TimeoutError):
                await pool.request("POST", target, [], b"{}", within_s=second_s)
        else:
            second = await pool.request("POST", target, [], b"{}", within_s=second_s)
            assert await read_all(second) == b"hello"
            second.release()
            assert pool._idle[target.end] == [kept]


async def test_nobody_listens() -> None:
    async with serving(always()) as (_, target):
        pass
    with pytest.raises(OSError, match=r"."):
        await HttpPool(connect_s=1, keep_s=1).request("POST", target, [], b"{}", within_s=1)


def test_targets() -> None:
    plain = Target.of("http://[::1]:8000/v1/a?b=c")
    assert (plain.host, plain.port, plain.secure, plain.path) == ("::1", 8000, False, "/v1/a?b=c")
    assert "\r\nhost: [::1]:8000\r\n" in plain.head
    secure = Target.of("https://engines.example/v1")
    assert (secure.port, secure.secure) == (443, True)
    assert "\r\nhost: engines.example\r\n" in secure.head
    for wrong in ("ftp://a/b", "/v1", "http://"):
        with pytest.raises(ValueError, match="not an http address"):
            Target.of(wrong)


async def test_headers_cannot_be_split() -> None:
    pool = HttpPool(connect_s=1, keep_s=1)
    with pytest.raises(ValueError, match="line end"):
        await pool.request("POST", Target.of("http://127.0.0.1:1/"), [("a", "b\r\nc: d")], b"", within_s=1)
