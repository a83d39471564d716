"""What the counters of one tenant hold: rates, sums, calls that run, and which of them the lines of a caller mean.

Here is nothing of how calls are counted (`tenants.counting` has that): it is laid out for steps that walk over it with
every call. What is written with every call is a class with slots, which takes two thirds of a struct's time; what is made
with every call is a struct.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from tenants.limit_types import (
    MINUTE_MS,
    Claim,
    Line,
    LineKind,
    LineSet,
    Seed,
    Settlement,
    Standing,
    period_at,
    standing_of,
)

NEVER_MS = 1 << 62
# One object of all: who has only rates is bound for ever.
_ALWAYS_MS = -NEVER_MS
# Days and months that are over are let go of so often.
_TIDY_MS = 3_600_000
# A month and a week: nothing under way reaches back so far.
_KEPT_MS = 40 * 86_400_000
_RATE, _RUNNING = LineKind.RATE, LineKind.RUNNING


@dataclass(slots=True)
class Sum:
    """A day or month of one line."""

    settled: int
    held: int = 0
    seeded_ms: int = 0


@dataclass(slots=True)
class Bucket:
    """A rate: the debt that it had at `at_ms`."""

    debt: int = 0
    at_ms: int = 0

    def debt_at(self, now_ms: int, limit: int) -> int:
        """The debt that is left; never below 0."""
        debt, since_ms = self.debt, now_ms - self.at_ms
        if since_ms > 0:
            debt -= limit * since_ms
        return debt if debt > 0 else 0


@dataclass(slots=True)
class Tally:
    """How many calls of a line run."""

    calls: int = 0


class TenantCount:
    """All counters of one tenant. `owner` is whose they are, `age` how often they were forgotten. Times are Unix ms."""

    __slots__ = ("_rates", "_running", "_sums", "_tidy_ms", "age", "owner")

    def __init__(self, owner: object) -> None:
        """Nothing is counted and nothing seeded."""
        self.owner = owner
        self.age = 0
        self._rates: dict[str, Bucket] = {}
        self._sums: dict[tuple[LineKind, int, str], Sum] = {}
        self._running: dict[str, Tally] = {}
        self._tidy_ms = 0

    def bind(self, lines: LineSet, now_ms: int) -> "Bound":
        """The counters that `lines` mean now, which they keep unless some of them must be seeded first."""
        if now_ms >= self._tidy_ms:
            self._tidy(now_ms)
        bound = Bound(self, lines.all)
        rates, running, sums, unseeded = [], [], [], []
        for index, line in enumerate(lines.all):
            if line.kind is _RATE:
                bucket = self._rates.setdefault(line.field, Bucket())
                rates.append((index, bucket, line.limit, line.limit * MINUTE_MS))
            elif line.kind is _RUNNING:
                running.append((index, self._running.setdefault(line.field, Tally()), line.limit))
            else:
                found = self._sums.get((line.kind, bound.period_of(line, now_ms), line.field))
                if found is None:
                    unseeded.append(index)
                else:
                    sums.append((index, found, line.limit))
        bound.rates, bound.running, bound.sums = tuple(rates), tuple(running), tuple(sums)
        bound.unseeded = tuple(unseeded)
        if not unseeded:
            lines.kept = bound
        return bound

    def forget_sums(self) -> None:
        """Nothing is seeded again. Rates stay what they are, and what calls hold is freed as ever."""
        self._sums.clear()
        self.age += 1

    def shown(self, line: Line, now_ms: int) -> int:
        """What the counter of a line shows; -1 of a day or month that is not seeded."""
        if line.kind is _RATE:
            bucket = self._rates.get(line.field)
            return bucket.debt_at(now_ms, line.limit) if bucket is not None else 0
        if line.kind is _RUNNING:
            tally = self._running.get(line.field)
            return tally.calls if tally is not None else 0
        known = self._sums.get((line.kind, period_at(line, now_ms)[0], line.field))
        return known.settled + known.held if known is not None else -1

    def read(self, lines: Sequence[Line], *, now_ms: int) -> tuple[Standing, ...]:
        """How each line stands."""
        return tuple(standing_of(line, self.shown(line, now_ms), now_ms) for line in lines)

    def seed(self, seeds: Iterable[Seed], *, replace: bool) -> None:
        """Give lines what ledger and spool say; those that are seeded already are left alone unless `replace`."""
        for seed in seeds:
            key = (seed.line.kind, seed.start_ms, seed.line.field)
            known = self._sums.get(key)
            if known is None:
                self._sums[key] = Sum(seed.used, seeded_ms=seed.at_ms)
            elif replace:
                known.settled, known.seeded_ms = seed.used, seed.at_ms

    def book_late(self, settlement: Settlement) -> None:
        """The reservation is gone (expired, or never made here): what was used still counts, unless a seed knew of it."""
        for line, used in zip(settlement.claim.lines, settlement.values, strict=True):
            if line.kind >= LineKind.DAY:
                start, _ = period_at(line, settlement.at_ms)
                known = self._sums.get((line.kind, start, line.field))
                if known is not None and known.seeded_ms < settlement.at_ms:
                    known.settled += used

    def _tidy(self, now_ms: int) -> None:
        """Let go of days and months that are long over; in a new one there are none."""
        if self._tidy_ms:
            for key in [key for key in self._sums if key[1] < now_ms - _KEPT_MS]:
                del self._sums[key]
        self._tidy_ms = now_ms + _TIDY_MS


class Bound:
    """Lines with the counters that they mean, kind by kind: its place among the lines, the counter, the limit; of a rate
    the greatest debt as well, which is the whole limit's.

    Calls of one caller bring the same lines, so it is looked up once and holds for `from_ms` ≤ now < `until_ms`, while
    `tenant` has the `age` that it had then. `unseeded` are the places of days and months that nobody has told yet.
    """

    __slots__ = ("age", "from_ms", "lines", "rates", "running", "sums", "tenant", "unseeded", "until_ms")

    def __init__(self, tenant: TenantCount, lines: tuple[Line, ...]) -> None:
        """Of no counter so far."""
        self.tenant = tenant
        self.age = tenant.age
        self.lines = lines
        self.rates: tuple[tuple[int, Bucket, int, int], ...] = ()
        self.running: tuple[tuple[int, Tally, int], ...] = ()
        self.sums: tuple[tuple[int, Sum, int], ...] = ()
        self.unseeded: tuple[int, ...] = ()
        self.from_ms, self.until_ms = _ALWAYS_MS, NEVER_MS

    def period_of(self, line: Line, now_ms: int) -> int:
        """The start of the day or month of `line` that holds now; this does not hold beyond it."""
        start_ms, end_ms = period_at(line, now_ms)
        if start_ms != line.start_ms:
            # The period after the one that the line was made in.
            self.from_ms = max(self.from_ms, start_ms)
        if now_ms < end_ms:
            self.until_ms = min(self.until_ms, end_ms)
        return start_ms

    def has_room(self) -> bool:
        """Whether one more call may run."""
        for _, tally, limit in self.running:  # noqa: SIM110 - a generator takes twice as long
            if tally.calls >= limit:
                return False
        return True

    def run(self, change: int) -> None:
        """So many more calls run."""
        for _, tally, _ in self.running:
            tally.calls += change


class Held(Struct, gc=False):
    """A call under way: what it holds, and until when."""

    claim: Claim
    bound: Bound
    running: bool
    expires_ms: int


class Done:
    """Which calls were settled, each known for a while: what is done twice counts once.

    In two parts of one such while each, so that the old ones go all together.
    """

    __slots__ = ("_before", "_now", "_remember_ms", "_turn_ms")

    def __init__(self, remember_ms: int) -> None:
        """A call is known for `remember_ms`."""
        self._remember_ms = remember_ms
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._turn_ms = 0

    def note(self, call_id: str, now_ms: int) -> bool:
        """The call is settled now; False when it was before."""
        if now_ms >= self._turn_ms:
            self._before, self._now = self._now, {}
            self._turn_ms = now_ms + self._remember_ms
        known_ms = self._now.get(call_id) or self._before.get(call_id, 0)
        if known_ms > now_ms:
            return False
        self._now[call_id] = now_ms + self._remember_ms
        return True
