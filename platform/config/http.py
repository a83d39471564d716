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
def _named(name: bytes) -> bytes:
    """How the line of this header begins; empty for what is no name."""
    return b"" if HEADER_RE.search(name) else name.lower() + b": "


class JoinedCycle(RequestResponseCycle):
    """uvicorn's request and answer; the heads and the parts of a stream that are most common are written shorter."""

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's own, which is asked for all that is not common."""
        if not (self.flow.write_paused or self.disconnected or self.access_log):
            if message["type"] == "http.response.start" and not self.response_started:
                if self._begin(message):
                    return
            elif self.chunked_encoding and self._go_on(message):
                return
        await super().send(message)

    def _begin(self, message: HTTPResponseStartEvent) -> bool:
        """Write the head; False when it is for uvicorn to write, or to refuse."""
        status = message["status"]
        if not self.keep_alive or self.scope["method"] == "HEAD" or status in WITHOUT_BODY:
            return False
        lines = [STATUS_LINE[status]]
        length = -1
        for name, value in (*self.default_headers, *message.get("headers", ())):
            begin = _named(name)
            if begin == b"content-length: ":
                length = int(value)
            elif begin in (b"", b"connection: ", b"transfer-encoding: "):
                return False
            lines.append(b"%b%b\r\n" % (begin, value))
        if length < 0:
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        # Of each line the end alone is control characters.
        if len(head.translate(None, CONTROL)) + 2 * len(lines) != len(head):
            return False
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = length < 0
        self.expected_content_length = max(0, length)
        self.transport.write(head + b"\r\n")
        return True

    def _go_on(self, message: Any) -> bool:
        """Write a part of a stream; False when it is for uvicorn to write."""
        body = message.get("body", b"")
        if (
            not body
            or not message.get("more_body")
            or self.response_complete
            or self.scope["method"] == "HEAD"
        ):
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True


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
