"""Fakes behind `/ws/chat`: Runs by hand, callers whose right can be taken away, a client in the same loop."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import orjson

from assistants.types import RunEvent, StartedRun
from gateway.consumer import ChatConsumer, SocketDoors, SocketLimits
from kernel.errors import NotFound, Unavailable
from kernel.ids import uuid7
from tenants.permissions import permissions_of
from tenants.types import Principal, Role

PRINCIPAL = Principal(
    uuid.UUID(int=7),
    "acme",
    Role.MEMBER,
    api_key_id=uuid.UUID(int=8),
    permissions=permissions_of(Role.MEMBER),
)


@dataclass
class FakeRuns:
    """Runs whose events tests append; a run ends with its `message.completed` or when it is stopped."""

    events: dict[uuid.UUID, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[uuid.UUID] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    sessions: list[tuple[str, str | None]] = field(default_factory=list)
    refuse: Exception | None = None
    fails: Exception | None = None
    log_away: bool = False
    following: int = 0

    def doors(self) -> SocketDoors:
        """The bundle that the consumer takes."""
        return SocketDoors(
            authenticate_key=self._authenticate_key,
            authenticate_session=self._authenticate_session,
            start_run=self._start,
            follow_run=self._follow,
            stop_run=self._stop,
        )

    def tell(self, message_id: uuid.UUID, *bodies: dict[str, Any]) -> None:
        """Append events to a run."""
        self.events.setdefault(message_id, []).extend(bodies)

    async def _authenticate_key(self, key: str) -> Principal:
        self.keys.append(key)
        if self.refuse is not None:
            raise self.refuse
        return PRINCIPAL

    async def _authenticate_session(self, session: str, tenant: str | None) -> Principal:
        self.sessions.append((session, tenant))
        if self.refuse is not None:
            raise self.refuse
        return PRINCIPAL

    async def _start(self, **asked: Any) -> StartedRun:
        self.asked.append(asked)
        if self.fails is not None:
            raise self.fails
        message_id = uuid7()
        self.tell(message_id, {"type": "message.started", "request_id": asked["request_id"]})
        return StartedRun(message_id, uuid7(), asked["request_id"], repeated=False)

    async def _follow(
        self, *, principal: Principal, message_id: uuid.UUID, last_seq: int
    ) -> AsyncGenerator[RunEvent, None]:
        if message_id not in self.events:
            raise NotFound("There is no such message.")
        if self.log_away:
            raise Unavailable
        self.following += 1
        try:
            seq = last_seq
            while True:
                events = self.events[message_id]
                while seq < len(events):
                    body = events[seq]
                    seq += 1
                    yield RunEvent(seq, {**body, "message_id": str(message_id)})
                    if body["type"] == "message.completed":
                        return
                await asyncio.sleep(0.01)
        finally:
            self.following -= 1

    async def _stop(self, *, principal: Principal, message_id: uuid.UUID) -> None:
        if message_id not in self.events:
            raise NotFound("There is no such message.")
        self.stopped.append(message_id)


class SocketClient:
    """One WebSocket to the consumer, without a server. `stalled` keeps the client from taking frames."""

    def __init__(
        self,
        runs: FakeRuns,
        *,
        subprotocols: tuple[str, ...] = ("atrium.v1", "atrium.bearer.atr_test"),
        headers: dict[str, str] | None = None,
        query: str = "",
        limits: SocketLimits | None = None,
    ) -> None:
        """Connects at `open`."""
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.stalled = asyncio.Event()
        self._scope = {
            "type": "websocket",
            "client": ("192.0.2.7", 50_000),
            "path": "/ws/chat",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "subprotocols": list(subprotocols),
        }
        self._application: Any = ChatConsumer.as_asgi(doors=runs.doors(), limits=limits)
        self.task: asyncio.Task[None] | None = None

    async def open(self) -> dict[str, Any]:
        """Connect; the server's first message: accept or close."""
        self.task = asyncio.ensure_future(self._application(self._scope, self._to_server.get, self._take))
        await self._to_server.put({"type": "websocket.connect"})
        return await self.message()

    async def _take(self, message: dict[str, Any]) -> None:
        while self.stalled.is_set():  # noqa: ASYNC110 - as a full socket buffer would
            await asyncio.sleep(0.01)
        await self._from_server.put(message)

    async def message(self, timeout_s: float = 3.0) -> dict[str, Any]:
        """The server's next ASGI message."""
        async with asyncio.timeout(timeout_s):
            return await self._from_server.get()

    async def frame(self, timeout_s: float = 3.0) -> dict[str, Any]:
        """The server's next frame."""
        message = await self.message(timeout_s)
        assert message["type"] == "websocket.send", message
        found: dict[str, Any] = orjson.loads(message["text"])
        return found

    async def close_code(self) -> int:
        """The code the server closes with; frames before it are passed over."""
        while True:
            message = await self.message()
            if message["type"] == "websocket.close":
                code: int = message["code"]
                return code

    async def send(self, frame: Any) -> None:
        """Send a frame: text and bytes as they are, anything else as JSON."""
        if isinstance(frame, bytes):
            await self._to_server.put({"type": "websocket.receive", "bytes": frame})
            return
        text = frame if isinstance(frame, str) else orjson.dumps(frame).decode()
        await self._to_server.put({"type": "websocket.receive", "text": text})

    async def leave(self) -> None:
        """Disconnect and wait for the consumer's end."""
        await self._to_server.put({"type": "websocket.disconnect", "code": 1001})
        if self.task is not None:
            async with asyncio.timeout(3):
                await self.task
