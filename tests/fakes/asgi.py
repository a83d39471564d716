"""A client that calls an ASGI application in the same loop: for tests of the wire without a server."""

import asyncio
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Answered:
    """What an application sent: status, headers, and the body in the pieces it came in."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces)

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    def events(self) -> list[Any]:
        """The data of the server-sent events; `[DONE]` stays text, comments are left out."""
        found = []
        for block in self.body.decode().split("\n\n"):
            if block.startswith("data: "):
                text = block.removeprefix("data: ")
                found.append(text if text == "[DONE]" else orjson.loads(text))
        return found


class AsgiClient:
    """One request at a time to `application`."""

    def __init__(self, application: Any, *, key: str = "atr_test") -> None:
        """`key` is sent as Bearer; empty sends no authorization."""
        self._application = application
        self._key = key

    async def post(self, path: str, body: Any, **options: Any) -> Answered:
        """POST `body`: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.request("POST", path, raw, **options)

    async def get(self, path: str, **options: Any) -> Answered:
        """GET `path`."""
        return await self.request("GET", path, b"", **options)

    async def request(
        self,
        method: str,
        path: str,
        raw: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        leave: asyncio.Event | None = None,
        block_writes_after: int | None = None,
        pieces: int = 1,
        piece_gap_s: float = 0.0,
    ) -> Answered:
        """`leave` disconnects the client when set; after `block_writes_after` body sends the client reads no more. Each of the
        body's `pieces` comes `piece_gap_s` after the one before.
        """
        answered = Answered()
        sent = {"content-length": str(len(raw)), **(headers or {})}
        if self._key:
            sent["authorization"] = f"Bearer {self._key}"
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        step = max(1, -(-len(raw) // pieces))
        parts = [raw[start : start + step] for start in range(0, len(raw), step)] or [b""]

        async def receive() -> MutableMapping[str, Any]:
            if parts:
                await asyncio.sleep(piece_gap_s)
                return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
            await (leave or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                answered.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            if block_writes_after is not None and len(answered.pieces) >= block_writes_after:
                await asyncio.Event().wait()
            answered.pieces.append(message.get("body", b""))
            answered.ended = not message.get("more_body", False)

        await self._application(scope, receive, send)
        return answered
