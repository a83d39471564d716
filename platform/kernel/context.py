"""What is true for the request or job at hand: its request id and trace id, carried to every log line and hop."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from kernel.ids import new_request_id, new_trace_id


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Identity of one request or job across processes. `trace_id` is the W3C trace id, 32 hex characters."""

    request_id: str
    trace_id: str


_current: ContextVar[RequestContext | None] = ContextVar("atrium_request_context", default=None)


def current_request() -> RequestContext | None:
    """The context of the request or job at hand, or None outside of any."""
    return _current.get()


def ensure_request() -> RequestContext:
    """The context at hand, or a fresh one for work that nobody asked for (a timer, a shell)."""
    return _current.get() or RequestContext(new_request_id(), new_trace_id())


@contextmanager
def request_context(context: RequestContext) -> Iterator[RequestContext]:
    """Make `context` the one at hand within the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
