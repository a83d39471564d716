"""A TCP proxy in front of an engine that can cut a stream in its middle, as an engine that is killed does."""

import asyncio
import contextlib
from urllib.parse import urlsplit


class CuttingProxy:
    """Listens on a free port for the engine at `url`; an async context manager.

    `cut_after`: every answer is cut once so many events of it have passed (None: none is). `cut` counts how many were.
    """

    def __init__(self, url: str, *, cut_after: int | None = None) -> None:
        """`url` is the engine's OpenAI base URL."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self.cut_after = cut_after
        self.cut = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL of the proxy."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> "CuttingProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_connection(self._host, self._port)

        events = 0

        async def ask() -> None:
            nonlocal events
            while data := await reader.read(65536):
                if data.startswith(b"POST"):
                    # Another call on a kept connection.
                    events = 0
                engine_writer.write(data)
            engine_writer.close()

        asking = asyncio.ensure_future(ask())
        with contextlib.suppress(OSError):
            while data := await engine_reader.read(65536):
                before, events = events, events + data.count(b"data: ")
                if self.cut_after is not None and events > self.cut_after:
                    self.cut += 1
                    # Up to where it is cut: an engine that is busy sends many events at once.
                    parts = data.split(b"data: ")[: max(0, self.cut_after - before) + 1]
                    writer.write(b"data: ".join(parts))
                    break
                writer.write(data)
        asking.cancel()
        engine_writer.close()
        writer.close()
