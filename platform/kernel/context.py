"""What is true for the request or job at hand: its request id and trace id, carried to every log line and hop."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from kernel.ids import new_request_id, new_trace_id


class RequestContext(NamedTuple):
    """Identity of one request or job across processes. `trace_id` is the W3C trace id, 32 hex characters; `address` is
    the client's, "" where there is none (a job, a command)."""

    request_id: str
    trace_id: str
    address: str = ""


_current: ContextVar[RequestContext | None] = ContextVar("atrium_request_context", default=None)


def current_request() -> RequestContext | None:
    """The context of the request or job at hand, or None outside of any."""
    return _current.get()


def ensure_request() -> RequestContext:
    """The context at hand, or a fresh one for work that nobody asked for (a timer, a shell)."""
    return _current.get() or RequestContext(new_request_id(), new_trace_id())


def address_of(scope: Mapping[str, Any]) -> str:
    """The client's address in an ASGI scope, as trusted proxies tell it; "" where the server knows none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


class request_context:
    """Makes `context` the one at hand within the block."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: RequestContext) -> None:
        """Nothing happens before it is entered."""
        self._context = context

    def __enter__(self) -> RequestContext:
        """Put it at hand."""
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        """What was at hand before is again."""
        _current.reset(self._token)
