"""uvicorn's HTTP protocol with fewer system calls: what one turn of the loop writes to a socket leaves in one write.

ASGI sends the head of an answer and its body as two messages, and uvloop writes each to the socket at once: two system
calls and two packets for each small answer. Measured on `/v1` with 16 connections: see `benchmarks/`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from console.live_hub import LiveHub
from kernel.backends import backends

# What has gathered beyond this is written without waiting for the turn's end, so that backpressure is felt in time.
WRITE_THROUGH = 64 * 1024


class JoinedTransport:
    """A transport that gathers writes until the turn of the loop ends; all else goes to the transport itself."""

    __slots__ = ("_gathered", "_loop", "_scheduled", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Takes the place of `transport` for the protocol."""
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []
        self._size = 0
        self._scheduled = False

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
        if not self._transport.is_closing():
            self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))


class JoinedHttpProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol over a joined transport; at the process's end it asks live streams to leave."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn types it
        """Put the joined transport between uvicorn and the socket."""
        super().connection_made(JoinedTransport(transport, self.loop))  # type: ignore[arg-type]  # duck-typed

    def shutdown(self) -> None:
        """The server stops: streams that would never end by themselves end now, before its patience does."""
        super().shutdown()
        hub: LiveHub = backends["live_changes"]
        hub.leave()
