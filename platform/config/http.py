"""uvicorn's HTTP protocol with fewer system calls: what one turn of the loop writes to a socket leaves in one write.

ASGI sends the head of an answer and its body as two messages, and uvloop writes each to the socket at once: two system
calls and two packets for each small answer. Heads are looked at once, where uvicorn looks at each header four times.
Measured on `/v1` with 16 connections: see `benchmarks/`.
"""

import asyncio
import functools
from typing import Any

from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from console.live_hub import LiveHub
from kernel.backends import backends

# What has gathered beyond this is written without waiting for the turn's end, so that backpressure is felt in time.
WRITE_THROUGH = 64 * 1024
# What no header may hold, but for the tab.
CONTROL = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
WITHOUT_BODY = (204, 304)


class JoinedTransport:
    """A transport that gathers writes until the turn of the loop ends; all else goes to the transport itself."""

    __slots__ = ("_gathered", "_loop", "_scheduled", "_size", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Takes the place of `transport` for the protocol."""
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        self._size = 0
        self._scheduled = False
        # Asked several times with every request.
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        """Everything that is not about writing."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write `data` at the end of this turn, after what was written before."""
        self._gathered.append(data)
        self._size += len(data)
        if self._size > WRITE_THROUGH:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn_ended)

    def writelines(self, parts: Any) -> None:
        """Write each of `parts`."""
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        """Write what has gathered, then the end."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Write what has gathered, then close."""
        self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Write what has gathered; the new protocol (a WebSocket's) goes on with this transport."""
        self._flush()
        self._transport.set_protocol(protocol)

    def get_write_buffer_size(self) -> int:
        """Bytes that are not yet with the operating system."""
        return self._size + self._transport.get_write_buffer_size()

    def _turn_ended(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        gathered = self._gathered
        if not gathered:
            return
        self._gathered = []
        self._size = 0
        if not self.is_closing():
            self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))


@functools.lru_cache(maxsize=1024)
def _layout(status: int, names: tuple[bytes, ...]) -> tuple[bytes, int] | None:
    """A head with these headers, a place in it for each value, and which of them is the length (-1: in chunks).

    None for what is uvicorn's to write, or to refuse.
    """
    lowered = [name.lower() for name in names]
    if status in WITHOUT_BODY or any(HEADER_RE.search(name) for name in names):
        return None
    if {b"connection", b"transfer-encoding"}.intersection(lowered) or lowered.count(b"content-length") > 1:
        return None
    length = lowered.index(b"content-length") if b"content-length" in lowered else -1
    lines = [STATUS_LINE[status], *(name.replace(b"%", b"%%") + b": %b\r\n" for name in lowered)]
    if length < 0:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"".join(lines) + b"\r\n", length


class JoinedCycle(RequestResponseCycle):
    """uvicorn's request and answer; the heads and the parts of a stream that are most common are written shorter."""

    # Whether parts of a stream may be written as they come: its head is out, and nothing yet of its end.
    flowing = False

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's own, which is asked for all that is not common."""
        if self.flowing:
            body: Any = message.get("body")
            if body and message.get("more_body") and not (self.flow.write_paused or self.disconnected):
                self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
                return
            self.flowing = bool(message.get("more_body"))
            if body and not (self.flowing or self.flow.write_paused or self.disconnected) and self.keep_alive:
                self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                self._completed()
                return
        elif not (self.flow.write_paused or self.disconnected or self.access_log):
            if not self.response_started:
                if message["type"] == "http.response.start" and self._begin(message):
                    return
            elif (
                message["type"] == "http.response.body"
                and not (self.response_complete or self.chunked_encoding)
                and self._end(message)
            ):
                return
        await super().send(message)

    def _begin(self, message: HTTPResponseStartEvent) -> bool:
        """Write the head; False when it is for uvicorn to write, or to refuse."""
        if not self.keep_alive or self.scope["method"] == "HEAD":
            return False
        headers = (*self.default_headers, *message.get("headers", ()))
        names, values = zip(*headers, strict=True) if headers else ((), ())
        layout = _layout(message["status"], names)
        # Control characters would end a line where none ends.
        if layout is None or len(told := b"".join(values)) != len(told.translate(None, CONTROL)):
            return False
        head, length = layout
        self.expected_content_length = 0 if length < 0 else int(values[length])
        self.chunked_encoding = self.flowing = length < 0
        self.response_started = True
        self.waiting_for_100_continue = False
        self.transport.write(head % values)
        return True

    def _end(self, message: Any) -> bool:
        """Write the whole of a body whose length was told; False when it is for uvicorn to write, or to refuse."""
        body = message.get("body", b"")
        if len(body) != self.expected_content_length or message.get("more_body") or not self.keep_alive:
            return False
        if self.scope["method"] == "HEAD":
            return False
        self.transport.write(body)
        self.expected_content_length = 0
        self._completed()
        return True

    def _completed(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.on_response()


class JoinedHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol over a joined transport; at the process's end it asks live streams to leave."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn types it
        """Put the joined transport between uvicorn and the socket."""
        super().connection_made(JoinedTransport(transport, self.loop))  # type: ignore[arg-type]  # duck-typed

    def on_headers_complete(self) -> None:
        """A request begins: its answer is ours to write."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            # uvicorn names the class in the middle of a long method; the task that will use it has not run yet.
            self.cycle.__class__ = JoinedCycle

    def shutdown(self) -> None:
        """The server stops: streams that would never end by themselves end now, before its patience does."""
        super().shutdown()
        hub: LiveHub = backends["live_changes"]
        hub.leave()
