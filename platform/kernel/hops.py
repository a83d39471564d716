"""The way of one request through the house: hops, noted as they end, cheap enough for every token's path.

Who opens a request (a door, a job) makes a `Trail` and puts it at hand by `on_trail`; whoever does a part of the work
notes it by `note_hop` or `hop`. Nobody below knows who looks at it: when the request has ended its opener hands the
trail to `meters()`, which settings name. Facts are names, counts, times and outcomes, never content.

What it costs a request is measured by `benchmarks/hops.py`.
"""

import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

from kernel.backends import backends

Fact = str | int | float | bool
Facts = Mapping[str, Fact]

# A job may call a model a thousand times: beyond this, hops are counted and not kept.
MOST_HOPS = 64


# One part of the way: its name, when it began and ended (of `time.perf_counter`; a mark ends as it begins), its facts.
# A plain tuple: one with names takes three times as long to make.
Hop = tuple[str, float, float, Facts]


class Asker(Protocol):
    """Who asked: what a principal shows of itself to the floors below."""

    @property
    def tenant_id(self) -> uuid.UUID:
        """The tenant."""
        ...

    @property
    def user_id(self) -> uuid.UUID | None:
        """The user, if it is one."""
        ...

    @property
    def api_key_id(self) -> uuid.UUID | None:
        """The key, if it is one."""
        ...


class Trail:
    """One request's way. `door` is `v1`, `ws`, `rest` or `job`; `route` is the path or kind of work, of a bounded set.

    `status` is the HTTP status (of a Run the one it would have had), `state` `completed`, `failed` or `cancelled`,
    `error` its code. `first_byte` is 0 until there is one.
    """

    __slots__ = (
        "asker", "assistant", "began", "door", "ended", "error", "first_byte", "hops", "method", "model", "parent",
        "path", "request_id", "route", "state", "status", "stream", "trace_id",
    )  # fmt: skip

    def __init__(self, door: str, request_id: str, trace_id: str, *, began: float = 0.0) -> None:
        """Begins now, or at `began` of `time.perf_counter`."""
        self.door = door
        self.request_id = request_id
        self.trace_id = trace_id
        self.began = began or perf_counter()
        self.ended = self.first_byte = 0.0
        self.hops: list[Hop] = []
        self.method = self.path = self.model = self.assistant = ""
        self.route = self.error = self.parent = ""
        self.state = "completed"
        self.status = 0
        self.stream = False
        self.asker: Asker | None = None

    def note(self, name: str, began: float, facts: Facts = {}) -> None:  # noqa: B006 - never changed
        """A hop that began at `began` has ended now."""
        hop = name, began, perf_counter(), facts
        if len(self.hops) < MOST_HOPS:
            self.hops.append(hop)
        else:
            meters().passed(hop)

    @property
    def total_ms(self) -> float:
        """From its beginning to its end, or to now."""
        return ((self.ended or perf_counter()) - self.began) * 1000

    @property
    def first_byte_ms(self) -> float:
        """From its beginning to its first byte; 0 when there was none."""
        return (self.first_byte - self.began) * 1000 if self.first_byte else 0.0

    def finish(self) -> None:
        """The request has ended: hand its way to who measures. To be called once."""
        self.ended = perf_counter()
        meters().finished(self)


class Meters(Protocol):
    """Who measures. Every method is quick and raises nothing."""

    def finished(self, trail: Trail) -> None:
        """A request or job has ended."""
        ...

    def passed(self, hop: Hop) -> None:
        """A hop that its trail does not keep."""
        ...

    def level(self, name: str, change: int) -> None:
        """Something that is open (a WebSocket) has become more or less."""
        ...


def meters() -> Meters:
    """The meters of this process."""
    found: Meters = backends["meters"]
    return found


_current: ContextVar[Trail | None] = ContextVar("atrium_trail", default=None)


def current_trail() -> Trail | None:
    """The trail at hand, or None where nobody opened one."""
    return _current.get()


def note_hop(name: str, began: float, facts: Facts = {}) -> None:  # noqa: B006 - never changed
    """Note on the trail at hand, if any, that `name` went on from `began` until now."""
    trail = _current.get()
    if trail is not None:
        trail.note(name, began, facts)


def note_asker(asker: Asker) -> None:
    """Say on the trail at hand, if any, who asked."""
    trail = _current.get()
    if trail is not None:
        trail.asker = asker


def note_error(code: str) -> None:
    """Say on the trail at hand, if any, what went wrong."""
    trail = _current.get()
    if trail is not None:
        trail.error = code


class hop:
    """Notes its block as one hop; facts found meanwhile go into `facts`. An error is noted by its code."""

    __slots__ = ("_began", "_name", "facts")

    def __init__(self, name: str) -> None:
        """Begins when it is entered."""
        self._name = name
        self._began = 0.0
        self.facts: dict[str, Fact] = {}

    def __enter__(self) -> Self:
        """Begin."""
        self._began = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note it, whatever happened."""
        if error is not None:
            self.facts["outcome"] = getattr(error, "code", type(error).__name__)
        note_hop(self._name, self._began, self.facts)


class on_trail:
    """Makes `trail` the one at hand within the block."""

    __slots__ = ("_token", "_trail")

    def __init__(self, trail: Trail) -> None:
        """Nothing happens before it is entered."""
        self._trail = trail

    def __enter__(self) -> Trail:
        """Put it at hand."""
        self._token = _current.set(self._trail)
        return self._trail

    def __exit__(self, *_: object) -> None:
        """What was at hand before is again."""
        _current.reset(self._token)
