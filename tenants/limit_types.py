"""What crosses the doors about limits: rules, the lines that counters keep, and what became of a claim."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from msgspec import Struct

# The greatest amount that doubles (Lua's numbers) still count exactly, rounded down; of money that is nine millions.
MOST = 9_000_000_000_000_000
# Of what refills evenly: a minute of it, counted in milliseconds' shares, stays below `MOST`.
MOST_PER_MINUTE = 10_000_000_000
MINUTE_MS = 60_000
# A reservation whose process has died is free again after this long.
LEASE_MS = 8_000
SUBJECT_LENGTH = 255


class Level(StrEnum):
    """Whose limit it is. A call must keep those of every level together."""

    TENANT = "tenant"
    GROUP = "group"
    USER = "user"
    KEY = "key"
    MODEL = "model"


class LineKind(IntEnum):
    """How a line is counted; the scripts of Redis know these numbers. A stock is what is there: no call counts it."""

    STOCK = -1
    RATE = 0
    RUNNING = 1
    DAY = 2
    MONTH = 3


class Measure(StrEnum):
    """What is limited. Money is in nano-units; days and months are of the tenant's calendar; storage is bytes of the
    documents that are there.
    """

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    CONCURRENCY = "concurrency"
    TOKENS_PER_DAY = "tokens_per_day"
    TOKENS_PER_MONTH = "tokens_per_month"
    MONEY_PER_DAY = "money_per_day"
    MONEY_PER_MONTH = "money_per_month"
    STORAGE_BYTES = "storage_bytes"
    DOCUMENTS = "documents"

    @property
    def most(self) -> int:
        """The greatest amount that a limit may have."""
        return MOST_PER_MINUTE if self.kind is LineKind.RATE else MOST

    @property
    def kind(self) -> LineKind:
        """How calls are counted against it."""
        return _KINDS[self]

    @property
    def is_stock(self) -> bool:
        """Whether it counts what is there: of the tenant, its groups, its users."""
        return self.kind is LineKind.STOCK

    @property
    def is_tokens(self) -> bool:
        """Whether it counts tokens."""
        return self in _TOKENS

    @property
    def is_money(self) -> bool:
        """Whether it counts nano-units."""
        return self in _MONEY


_KINDS: Mapping[Measure, LineKind] = {
    Measure.REQUESTS_PER_MINUTE: LineKind.RATE,
    Measure.TOKENS_PER_MINUTE: LineKind.RATE,
    Measure.CONCURRENCY: LineKind.RUNNING,
    Measure.TOKENS_PER_DAY: LineKind.DAY,
    Measure.TOKENS_PER_MONTH: LineKind.MONTH,
    Measure.MONEY_PER_DAY: LineKind.DAY,
    Measure.MONEY_PER_MONTH: LineKind.MONTH,
    Measure.STORAGE_BYTES: LineKind.STOCK,
    Measure.DOCUMENTS: LineKind.STOCK,
}
_TOKENS = frozenset({Measure.TOKENS_PER_MINUTE, Measure.TOKENS_PER_DAY, Measure.TOKENS_PER_MONTH})
_MONEY = frozenset({Measure.MONEY_PER_DAY, Measure.MONEY_PER_MONTH})


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule in force: `subject` is the id of the group, user, key or model, empty for the tenant itself.

    `hard` refuses (None: only warns), `soft` warns (None: never). `inherited` says that the rule is that of every
    subject of its level and not this one's own.
    """

    level: Level
    subject: str
    measure: Measure
    hard: int | None
    soft: int | None = None
    inherited: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One counter of a tenant, with the limit it must keep. `field` names it: level, subject, measure.

    Of a day or month: the Unix milliseconds where the present one starts and ends, and where the next one ends.
    """

    kind: LineKind
    field: str
    limit: int
    start_ms: int = 0
    end_ms: int = 0
    next_end_ms: int = 0


class LineSet:
    """The lines of all calls of a caller, in their order.

    `kept` is what the counters of this process work out for them, and theirs alone: of ten thousand callers in turn it
    is found without a look into tables that have long left the processor's memory.
    """

    __slots__ = ("all", "kept")

    def __init__(self, lines: Iterable[Line]) -> None:
        """Nothing is worked out yet."""
        self.all = tuple(lines)
        self.kept: object = None

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self.all)

    def __iter__(self) -> Iterator[Line]:
        """Line by line."""
        return iter(self.all)

    def __getitem__(self, index: int) -> Line:
        """The line at a place."""
        return self.all[index]


class Claim(Struct, frozen=True, gc=False):
    """What a call asks of the counters of its tenant. `values` stand beside `lines`: what each may be charged at most.

    Of a running line the value is 0. `id` is the call's own, unique.
    """

    id: str
    tenant: str
    lines: LineSet
    values: tuple[int, ...]


class Settlement(Struct, frozen=True, gc=False):
    """What a call has used in the end, line by line. `at_ms` is when its usage went into the spool, Unix time."""

    claim: Claim
    values: tuple[int, ...]
    at_ms: int


class Outcome(IntEnum):
    """What became of a claim; the scripts of Redis know these numbers."""

    ADMITTED = 0
    REFUSED = 1
    UNSEEDED = 2


class Standing(Struct, frozen=True):
    """How a line stands. `reset_ms` is the time until it is whole again. Of a line that is not seeded, nothing is used."""

    used: int
    remaining: int
    reset_ms: int
    seeded: bool = True


class Verdict(Struct, frozen=True, gc=False):
    """Whether a claim is reserved; `counts` is what its lines' counters show after that, at `at_ms` (see `standing_of`).

    Of a refusal: `refused` is the index of the line that said no, `wait_ms` the time until it would say yes. `running`
    says that the call is counted among those that run (it is, too, when no line counts them). Unseeded: nothing is
    reserved, for what some line has counted is not known; `unseeded` are those lines' indexes.
    """

    outcome: Outcome
    counts: tuple[int, ...] = ()
    at_ms: int = 0
    refused: int = -1
    wait_ms: int = 0
    running: bool = False
    unseeded: tuple[int, ...] = ()
    local: bool = False


@dataclass(frozen=True, slots=True)
class CountersState:
    """How a process counts now: exact, or within its own share of each limit, and whether the counters answer it.

    `emptied` is how often it found that they had forgotten everything.
    """

    exact: bool = True
    reachable: bool = True
    emptied: int = 0


@dataclass(frozen=True, slots=True)
class Seed:
    """What ledger and spool say that a line of a day or month has counted, as it was known at `at_ms`."""

    line: Line
    start_ms: int
    used: int
    at_ms: int


@dataclass(slots=True)
class TenantLimits:
    """All rules of a tenant, as processes keep them: by level, then by subject ("" is every subject of that level).

    `recount` says that its counters are to be told anew what ledger and spool say; `over`, the only part that changes, that
    the process keeps them no longer.
    """

    tenant_id: uuid.UUID
    timezone: str
    rules: Mapping[Level, Mapping[str, tuple[Limit, ...]]] = field(default_factory=dict)
    recount: bool = False
    over: bool = field(default=False, compare=False)

    def of(self, level: Level, subject: str) -> tuple[Limit, ...]:
        """The rules that hold for `subject`: its own, measure by measure, before those of every subject."""
        by_subject = self.rules.get(level)
        if not by_subject:
            return ()
        own = by_subject.get(subject, ()) if subject or level is Level.TENANT else ()
        if level is Level.TENANT:
            return own
        general = by_subject.get("", ())
        if not general:
            return own
        named = {each.measure for each in own}
        return (*own, *(_inherit(each, subject) for each in general if each.measure not in named))


def _inherit(rule: Limit, subject: str) -> Limit:
    return Limit(rule.level, subject, rule.measure, rule.hard, rule.soft, inherited=True)


@dataclass(frozen=True, slots=True)
class QuotaView:
    """A rule as its administrators see it. `name` is what people call the subject."""

    id: uuid.UUID
    level: Level
    subject: str
    name: str
    measure: Measure
    hard: int | None
    soft: int | None
    version: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class QuotaStanding:
    """A rule with what is used against it. `state` is `ok`, `warned` or `reached`; `resets_at` None where nothing resets.

    `source` tells where the amount comes from: `own` of the subject, or `inherited` from the rule for all of its level.
    """

    limit: Limit
    name: str
    used: int
    remaining: int | None
    resets_at: datetime | None
    state: str
    source: str
    quota_id: uuid.UUID | None = None
    version: str = ""


def field_of(level: Level, subject: str, measure: Measure) -> str:
    """The name of a counter within its tenant."""
    return f"{level.value}:{subject}:{measure.value}"


def refused_by(claim: Claim, verdict: Verdict) -> Line:
    """The line that said no."""
    return claim.lines[verdict.refused]


def standing_of(line: Line, count: int, at_ms: int) -> Standing:
    """How a line stands whose counter shows `count`: of a rate its debt in milliseconds' shares, else what is used; -1 of
    a day or month that is not seeded.
    """
    if line.kind is LineKind.RATE:
        used = -(-count // MINUTE_MS)
        return Standing(used, max(0, line.limit - used), -(-count // line.limit))
    reset_ms = max(0, period_at(line, at_ms)[1] - at_ms) if line.kind >= LineKind.DAY else 0
    used = max(0, count)
    return Standing(used, max(0, line.limit - used), reset_ms, seeded=count >= 0)


def sums_needed(lines: Sequence[Line], now_ms: int) -> list[tuple[Line, int, int]]:
    """The lines of days and months, each with the start and end of the period that holds `now_ms`."""
    return [(line, *period_at(line, now_ms)) for line in lines if line.kind >= LineKind.DAY]


def period_at(line: Line, now_ms: int) -> tuple[int, int]:
    """Start and end of the period of `line` at `now_ms`: the present one, or the next one once that is over."""
    return (line.start_ms, line.end_ms) if now_ms < line.end_ms else (line.end_ms, line.next_end_ms)
