"""One request and its answer over ASGI: headers read once, body with a limit, JSON or event stream out."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from gateway.attendance import Attendance, Receive, UntilRefused
from gateway.errors import Header
from gateway.limits import GatewayLimits
from kernel.context import address_of
from kernel.errors import BadInput, TooLarge
from kernel.hops import Trail
from kernel.ids import (
    accept_request_id,
    new_ids,
    new_span_id,
    new_trace_id,
    parse_parent_span,
    parse_traceparent,
)
from kernel.streams import PeerGone

Scope = MutableMapping[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

JSON: Header = (b"content-type", b"application/json")
EVENTS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Exchange:
    """The request at hand. What becomes known on the way (tenant, model, times) is noted for the access log."""

    __slots__ = ("_attendance", "_receive", "_send", "address", "arrived", "assistant", "body_ms", "ended", "error", "first_byte_at",
                 "headers", "key_prefix", "limits", "method", "model", "path", "query", "queue_ms", "replica", "request_id",
                 "status", "stream", "tenant", "trace_id", "traceparent", "trail", "until_refused")  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: GatewayLimits) -> None:
        """Reads the ids that the caller offers (`x-request-id`, `traceparent`), or makes new ones."""
        self.arrived = time.perf_counter()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.address = address_of(scope)
        self.limits = limits
        self._receive = receive
        self._send = send
        self._attendance: Attendance | None = None
        offered = self.headers.get(b"x-request-id")
        parent = self.headers.get(b"traceparent")
        if offered is None and parent is None:
            self.request_id, self.trace_id, span_id = new_ids()
        else:
            span_id = new_span_id()
            self.request_id = accept_request_id(offered.decode("latin-1") if offered else None)
            self.trace_id = (
                parse_traceparent(parent.decode("latin-1")) if parent else None
            ) or new_trace_id()
        # Of the span that engines are told of.
        self.traceparent = f"00-{self.trace_id}-{span_id}-01"
        self.trail = Trail("v1", self.request_id, self.trace_id, began=self.arrived)
        if parent is not None:
            self.trail.parent = parse_parent_span(parent.decode("latin-1"))
        self.status = 0
        self.first_byte_at = 0.0
        self.tenant = self.key_prefix = self.model = self.assistant = self.replica = self.error = ""
        self.queue_ms = self.body_ms = 0.0
        self.stream = self.ended = False
        self.until_refused: UntilRefused | None = None

    def elapsed_ms(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.arrived) * 1000

    def attend(self) -> Attendance:
        """The watch over this request's client and its rights; enter it once the body is read."""
        self._attendance = Attendance(self._receive, self.limits, self.until_refused)
        return self._attendance

    async def read_body(self) -> bytes:
        """The whole body. Raises TooLarge over the limit, BadInput when it comes too slowly, PeerGone."""
        limit = self.limits.body_bytes
        declared = self.headers.get(b"content-length")
        if declared is not None and declared.isdigit():
            _refuse_over(int(declared), limit)
        began = time.perf_counter()
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            _refuse_over(len(body), limit)
        else:
            try:
                async with asyncio.timeout(self.limits.body_s):
                    body = await self._read_parts(message, limit)
            except TimeoutError as error:
                raise BadInput("The request body came too slowly.") from error
        self.body_ms = (time.perf_counter() - began) * 1000
        return body

    async def _read_parts(self, message: MutableMapping[str, Any], limit: int) -> bytes:
        parts = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise PeerGone("client left while sending its request")
            parts += message.get("body", b"")
            _refuse_over(len(parts), limit)
            if not message.get("more_body"):
                return bytes(parts)
            message = await self._receive()

    async def answer(self, status: int, body: bytes, headers: list[Header]) -> None:
        """Send a whole JSON answer."""
        headers.append(JSON)
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send(self._head(status, headers))
        self.ended = True
        await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self, headers: list[Header]) -> None:
        """Send the head of an event stream, and begin to attend to its reader."""
        self.stream = True
        headers.extend(EVENTS)
        await self._send(self._head(200, headers))
        if self._attendance is not None:
            self._attendance.attend_stream(self.write)

    async def write(self, events: bytes) -> None:
        """Send whole server-sent events. Waits while the client does not read; its attendance bounds that wait."""
        attendance = self._attendance
        if attendance is None:
            await self._send({"type": "http.response.body", "body": events, "more_body": True})
            return
        attendance.writing = True
        await self._send({"type": "http.response.body", "body": events, "more_body": True})
        attendance.writing = False
        attendance.touched = attendance.time()

    async def end_stream(self, events: bytes) -> None:
        """Send the last events and end the answer."""
        self.ended = True
        if self._attendance is not None:
            self._attendance.writing = True
        await self._send({"type": "http.response.body", "body": events, "more_body": False})

    def end_trail(self, state: str) -> None:
        """The request has ended as `state`: what was noted for the access log completes its trail."""
        trail = self.trail
        trail.state, trail.status, trail.error = state, self.status, self.error
        trail.method, trail.path = self.method, self.path
        trail.model, trail.assistant = self.model, self.assistant
        trail.stream, trail.first_byte = self.stream, self.first_byte_at
        trail.finish()

    def _head(self, status: int, headers: list[Header]) -> Mapping[str, Any]:
        headers.append((b"x-request-id", self.request_id.encode("latin-1")))
        self.status = status
        self.first_byte_at = time.perf_counter()
        return {"type": "http.response.start", "status": status, "headers": headers}


def _refuse_over(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"The request body is over the limit of {limit} bytes.")
