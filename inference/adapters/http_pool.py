"""A pool of kept-alive HTTP/1.1 connections to engines: just what a model call needs, and nothing that costs time.

Why not a general client: this stands in the way of every token. Measured on two cores, an answer through the gateway
costs 0.14 ms of processor time in aiohttp's client and 0.04 ms here (`benchmarks/`). httptools parses, asyncio carries.
No redirects, no cookies, no proxies, no compression: engines are named by an operator and answer for themselves.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

# A reader that lags so far behind stops the reading from the engine, until it has caught up.
HIGH_WATER = 256 * 1024
IDLE_CONNECTIONS = 512

Headers = Sequence[tuple[str, str]]


class AnswerBroken(OSError):
    """The engine closed the connection, or sent what is not HTTP, before its answer had ended."""


class ConnectionStale(AnswerBroken):
    """A kept connection was closed before a byte of the answer came: the engine never saw the request."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: a connection's end, and the path there.

    `address` is the IP address to connect to where the host's name must not be looked up again. `end` is what
    connections are kept by, `head` how every request to it begins after its method: told once, asked with every call.
    """

    host: str
    port: int
    secure: bool
    path: str
    address: str = ""
    end: tuple[str, int, bool] = field(init=False)
    head: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """`end` and `head` follow from the rest."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"
        object.__setattr__(self, "end", (self.host, self.port, self.secure))
        if "\r" in self.path + authority or "\n" in self.path + authority:
            raise ValueError("an address holds a line end")
        lines = f"{self.path} HTTP/1.1", f"host: {authority}", "accept-encoding: identity"
        object.__setattr__(self, "head", "\r\n".join(lines))

    @classmethod
    def of(cls, url: str) -> "Target":
        """The target of an http or https `url`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http address: {url}")
        secure = parts.scheme == "https"
        path = parts.path or "/"
        if parts.query:
            path = f"{path}?{parts.query}"
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure, path)


class Answer:
    """An answer whose head has come. Read it to its end and `release` it, or `close` it."""

    __slots__ = ("_connection", "_pool", "content_length", "content_type", "status")

    def __init__(self, pool: "HttpPool", connection: "_Connection") -> None:
        """`connection` is this answer's alone until it is released."""
        self._pool = pool
        self._connection: _Connection | None = connection
        self.status = connection.status
        self.content_length = connection.content_length
        self.content_type = connection.content_type

    @property
    def ended(self) -> bool:
        """Whether all of it has come (read or not)."""
        return self._connection is None or self._connection.ended

    def read_some(self) -> Awaitable[bytes]:
        """What has come since the last read, waiting for more when there is nothing; empty at the end.

        Raises AnswerBroken when the connection ended before the answer, or was closed here.
        """
        # No coroutine of its own: every token of a stream comes this way.
        if self._connection is None:
            raise AnswerBroken("the answer was given back")
        return self._connection.read_some()

    def expect_within(self, seconds: float) -> None:
        """In place of the time limit until now: what comes next, or the end, must have come within `seconds`.

        Reading raises TimeoutError when it has not.
        """
        if self._connection is not None:
            self._connection.expect_within(seconds)

    def release(self) -> None:
        """Keep the connection when the answer has ended, else close it. Twice does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.take_back(connection)

    def close(self) -> None:
        """Close the connection, which tells the engine to stop. After `release` it does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


class HttpPool:
    """Connections by end. One per event loop; `close` ends them all."""

    def __init__(self, *, connect_s: float, keep_s: float) -> None:
        """`connect_s`: the longest a connection may take to come about; `keep_s`: how long one is kept unused."""
        self._connect_s = connect_s
        self._keep_s = keep_s
        self._idle: dict[tuple[str, int, bool], list[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        target: Target,
        headers: Headers,
        body: bytes = b"",
        *,
        within_s: float,
        fresh: bool = False,
    ) -> Answer:
        """Send a request; the answer once its head is there.

        It must have ended within `within_s` seconds (see `Answer.expect_within`). `fresh` takes no kept connection.

        Raises OSError: ConnectionStale and other AnswerBroken, TimeoutError of the connection, what connecting raises.
        """
        raw = _head(method, target, headers, body) + body
        kept = None if fresh else self._take(target)
        connection = kept or await self._connect(target)
        try:
            await connection.ask(raw, within_s)
        except BaseException:
            connection.abort()
            raise
        return Answer(self, connection)

    def take_back(self, connection: "_Connection") -> None:
        """Keep a connection whose answer has ended; close any other."""
        idle = self._idle.setdefault(connection.end, [])
        if not connection.rest() or len(idle) >= IDLE_CONNECTIONS:
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        idle.append(connection)
        # The oldest stand in front: they leave as soon as they are past their time.
        while idle and idle[0].idle_since + self._keep_s < connection.idle_since:
            idle.pop(0).abort()

    async def close(self) -> None:
        """Close every kept connection."""
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()
        # Transports report their end in the next turn of the loop.
        await asyncio.sleep(0)

    def _take(self, target: Target) -> "_Connection | None":
        idle = self._idle.get(target.end)
        oldest = time.monotonic() - self._keep_s
        while idle:
            connection = idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, target: Target) -> "_Connection":
        loop = asyncio.get_running_loop()
        context = None
        if target.secure:
            self._tls = self._tls or ssl.create_default_context()
            context = self._tls
        async with asyncio.timeout(self._connect_s):
            _, connection = await loop.create_connection(
                lambda: _Connection(loop, target.end),
                target.address or target.host,
                target.port,
                ssl=context,
                server_hostname=target.host if context is not None else None,
            )
        return connection


def _head(method: str, target: Target, headers: Headers, body: bytes) -> bytes:
    told = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if told.count("\n") != len(headers) or told.count("\r") != len(headers):
        raise ValueError("a header holds a line end")
    length = f"content-length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {target.head}\r\n{told}{length}\r\n".encode("latin-1")


class _Connection(asyncio.Protocol):
    """One connection; at most one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: tuple[str, int, bool]) -> None:
        self.end = end
        self.idle_since = 0.0
        self.status = 0
        self.content_length: int | None = None
        self.content_type = ""
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._asked = self._used = self._touched = self._headed = self._ended = self._keep = self._paused = (
            False
        )
        self._framed = False
        self._error: OSError | None = None
        # One timer for all requests of the connection, which is put off when it comes too early: one for each request
        # would be made and cancelled with every call.
        self._clock: asyncio.TimerHandle | None = None
        self._due = math.inf

    @property
    def usable(self) -> bool:
        """Whether it is open and nothing is under way on it."""
        return self._error is None and not self._asked and self._transport is not None

    async def ask(self, raw: bytes, within_s: float) -> None:
        """Send a request and wait for the head of its answer."""
        if self._transport is None or self._error is not None:
            raise ConnectionStale("the kept connection is closed")
        self._asked = True
        self._touched = self._headed = self._ended = self._framed = False
        self.content_length, self.content_type = None, ""
        self.expect_within(within_s)
        self._transport.write(raw)
        while not self._headed:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            await self._waiter

    async def read_some(self) -> bytes:
        """The bytes of the body that have come; empty at its end. Raises AnswerBroken."""
        while not self._parts:
            if self._ended:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            await self._waiter
        parts, self._parts, self._size = self._parts, [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def rest(self) -> bool:
        """Make ready for the next request; False when the connection cannot be used again."""
        fit = self._ended and self._keep and not self._parts and self._error is None
        self._asked = not fit
        self._used = True
        self._due = math.inf
        return fit

    @property
    def ended(self) -> bool:
        """Whether the whole answer has come."""
        return self._ended

    def abort(self) -> None:
        """Close at once."""
        self._error = self._error or AnswerBroken("the connection was closed here")
        self._end_clock()
        if self._transport is not None:
            self._transport.abort()

    def expect_within(self, within_s: float) -> None:
        """The answer must have ended, or been given more time, within so many seconds."""
        self._due = due = self._loop.time() + within_s
        clock = self._clock
        if clock is None or clock.when() > due:
            if clock is not None:
                clock.cancel()
            self._clock = self._loop.call_at(due, self._expire)

    def _end_clock(self) -> None:
        self._due = math.inf
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _expire(self) -> None:
        self._clock = None
        if self._loop.time() < self._due < math.inf:
            # It was set for an earlier request.
            self._clock = self._loop.call_at(self._due, self._expire)
        elif self._due < math.inf and not self._ended:
            self._error = self._error or TimeoutError("the answer did not come in time")
            self.abort()
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        """Bytes from the engine."""
        if not self._asked:
            # Nobody asked: whatever this is, it must not become the answer to the next request.
            self._fail("the engine spoke unasked")
            return
        self._touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the engine's answer is not HTTP")
            return
        if self._size > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self._headed and self._waiter is not None:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; an answer without a stated length ends by that."""
        self._transport = None
        self._end_clock()
        if self._headed and not self._framed and exc is None and self._error is None:
            self._ended = True
        if self._error is None:
            stale = self._used and not self._touched
            kind = ConnectionStale if stale else AnswerBroken
            self._error = kind("the engine closed the connection")
        self._wake()

    def _fail(self, why: str) -> None:
        self._error = self._error or AnswerBroken(why)
        self.abort()
        self._wake()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header: only those that say what the body is matter."""
        lowered = name.lower()
        if lowered == b"content-length":
            self.content_length = int(value)
            self._framed = True
        elif lowered == b"transfer-encoding":
            self._framed = True
        elif lowered == b"content-type":
            self.content_type = value.partition(b";")[0].strip().decode("latin-1").lower()

    def on_headers_complete(self) -> None:
        """The head has ended; that of an interim answer (1xx) is passed over."""
        self.status = self._parser.get_status_code()
        self._headed = self.status >= 200

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._parts.append(body)
        self._size += len(body)

    def on_message_complete(self) -> None:
        """The answer has ended."""
        if self._headed:
            self._ended = True
            self._keep = self._parser.should_keep_alive()
