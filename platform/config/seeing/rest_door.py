"""The REST API's way: an ASGI layer around Django, so that its trails end on the server's own loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from config.static import Receive, Scope, Send
from kernel.hops import Trail, on_trail
from kernel.ids import accept_request_id, new_trace_id, parse_parent_span, parse_traceparent

# What programs call: both are followed and measured.
API = ("/api/", "/scim/")
CLIENT_LEFT = 499


class RestDoor:
    """Opens a trail for each request of the API; who asked and what went wrong is noted inside."""

    def __init__(self, application: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        """`application` is Django's."""
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its ids settled."""
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._application(scope, receive, send)
            return
        trail = _open(scope)

        async def listen(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                trail.status = message["status"]
            await send(message)

        try:
            with on_trail(trail):
                await self._application(scope, receive, listen)
            trail.state = "failed" if trail.status >= 400 else "completed"
        except asyncio.CancelledError:
            trail.state, trail.status = "cancelled", trail.status or CLIENT_LEFT
            raise
        except BaseException:
            trail.state, trail.status = "failed", trail.status or 500
            raise
        finally:
            trail.status = trail.status or CLIENT_LEFT
            trail.finish()


def _open(scope: Scope) -> Trail:
    """The trail of a request, whose ids go on to Django as its headers."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    parent = headers.get(b"traceparent")
    trail = Trail(
        "rest",
        accept_request_id(headers.get(b"x-request-id")),
        parse_traceparent(parent) or new_trace_id(),
    )
    trail.parent = parse_parent_span(parent)
    trail.method, trail.path, trail.route = scope["method"], scope["path"], "api"
    named = (b"x-request-id", b"traceparent")
    scope["headers"] = [
        *((name, value) for name, value in scope["headers"] if name not in named),
        (b"x-request-id", trail.request_id.encode()),
        (b"traceparent", f"00-{trail.trace_id}-{trail.parent or '0' * 15 + '1'}-01".encode()),
    ]
    return trail
