"""How limits are counted, for one tenant, in whole numbers. Pure; the scripts of Redis say the same in Lua.

A rate is a bucket (the generic cell rate algorithm, ITU-T I.371): its debt shrinks by `limit` shares a millisecond,
and one unit is `MINUTE_MS` shares, so that a whole limit is paid back in a minute and nothing is ever rounded. The
burst is the whole limit. A settled call may leave a debt beyond that: it is paid back first. A day or month sums what
was settled and what is held by calls under way. A running line counts calls that have their place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenants.limit_types import (
    MINUTE_MS,
    Claim,
    Line,
    LineKind,
    Outcome,
    Seed,
    Settlement,
    Standing,
    Verdict,
    period_at,
)

# A call that was settled is known for this long; settling it again does nothing.
REMEMBER_MS = 300_000
_NEVER_MS = 1 << 62
# Callers of one tenant whose lines are looked up once.
_MOST_BOUND = 1_024
_UNKNOWN = Standing(0, 0, 0)
_RATE, _RUNNING = LineKind.RATE, LineKind.RUNNING


@dataclass(slots=True)
class _Sum:
    """A day or month of one line."""

    settled: int
    held: int = 0
    seeded_ms: int = 0


@dataclass(slots=True)
class _Bucket:
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
class _Tally:
    """How many calls of a line run."""

    calls: int = 0


@dataclass(frozen=True, slots=True)
class _Bound:
    """Lines with the counters that they mean, each with its place among the lines and its limit, kind by kind.

    Calls of one caller bring the same lines, so it is looked up once and holds for `from_ms` ≤ now < `until_ms`.
    Sums come with the end of their day or month; `unseeded` are the places of those that nobody has told yet.
    """

    lines: tuple[Line, ...]
    rates: tuple[tuple[int, _Bucket, int], ...]
    running: tuple[tuple[int, _Tally, int], ...]
    sums: tuple[tuple[int, _Sum, int, int], ...]
    unseeded: tuple[int, ...]
    from_ms: int
    until_ms: int

    def has_room(self) -> bool:
        """Whether one more call may run."""
        return not self.running or all(tally.calls < limit for _, tally, limit in self.running)

    def run(self, change: int) -> None:
        """So many more calls run."""
        for _, tally, _ in self.running:
            tally.calls += change


@dataclass(slots=True)
class _Held:
    """A call under way: what it holds, and until when."""

    claim: Claim
    bound: _Bound
    running: bool
    expires_ms: int


@dataclass(slots=True)
class _Refusal:
    """The line that says no: its place, and the wait until it would say yes. None has spoken yet at -1."""

    index: int = -1
    wait_ms: int = -1
    terminal: bool = False

    def speak(self, index: int, wait_ms: int, *, terminal: bool) -> None:
        """One that a wait of seconds does not help stands before those that it helps, then the longest wait."""
        if terminal > self.terminal or (terminal == self.terminal and wait_ms > self.wait_ms):
            self.index, self.wait_ms, self.terminal = index, wait_ms, terminal


class TenantCount:
    """All counters of one tenant. Each method is one step that nothing else comes between; times are Unix ms."""

    def __init__(self) -> None:
        """Nothing is counted and nothing seeded."""
        self._rates: dict[str, _Bucket] = {}
        self._sums: dict[tuple[LineKind, int, str], _Sum] = {}
        self._running: dict[str, _Tally] = {}
        self._calls: dict[str, _Held] = {}
        self._done: dict[str, int] = {}
        # By the identity of the lines, which are kept with it.
        self._bound: dict[int, _Bound] = {}
        # No reservation expires before this.
        self._soonest_ms = _NEVER_MS

    def reserve(self, claim: Claim, *, now_ms: int, lease_ms: int) -> Verdict:
        """Hold all that `claim` asks for, or nothing."""
        if now_ms >= self._soonest_ms:
            self._sweep(now_ms)
        bound = self._bind(claim.lines, now_ms)
        if bound.unseeded:
            return Verdict(Outcome.UNSEEDED, (), unseeded=bound.unseeded)
        debts = [bucket.debt_at(now_ms, limit) for _, bucket, limit in bound.rates]
        if not _fits(bound, claim.values, debts):
            refusal = _refused(bound, claim.values, debts, now_ms)
            standings = self.read(claim.lines, now_ms=now_ms)
            return Verdict(Outcome.REFUSED, standings, refused=refusal.index, wait_ms=refusal.wait_ms)
        room = bound.has_room()
        standings = _hold(bound, claim.values, debts, now_ms, running=room)
        expires_ms = now_ms + lease_ms
        self._calls[claim.id] = _Held(claim, bound, room, expires_ms)
        if expires_ms < self._soonest_ms:
            self._soonest_ms = expires_ms
        return Verdict(Outcome.ADMITTED, standings, running=room)

    def forget_sums(self) -> None:
        """Nothing is seeded again. Rates stay what they are, and what calls hold is freed as ever."""
        self._sums.clear()
        self._bound.clear()

    def renew(self, ids: Iterable[str], *, now_ms: int, lease_ms: int) -> list[bool]:
        """Hold calls longer; False for each that is not held any more."""
        found = [self._calls.get(each) for each in ids]
        for call in found:
            if call is not None:
                call.expires_ms = now_ms + lease_ms
        return [call is not None for call in found]

    def place(self, call_id: str, *, wanted: bool, now_ms: int) -> bool:
        """Count a call among those that run, or no longer. False when there is no room, or the call is not held."""
        self._sweep(now_ms)
        call = self._calls.get(call_id)
        if call is None:
            return False
        if call.running == wanted:
            return True
        if wanted and not call.bound.has_room():
            return False
        call.bound.run(1 if wanted else -1)
        call.running = wanted
        return True

    def settle(self, settlement: Settlement, *, now_ms: int) -> bool:
        """Book what a call has used and free what it held; False when that was done before."""
        claim = settlement.claim
        if self._was_done(claim.id, now_ms):
            return False
        call = self._calls.pop(claim.id, None)
        if call is None:
            self._book_late(settlement)
        else:
            _free(call, settlement.values, now_ms)
        return True

    def read(self, lines: Sequence[Line], *, now_ms: int) -> tuple[Standing, ...]:
        """How each line stands."""
        return tuple(self._standing(line, now_ms) for line in lines)

    def seed(self, seeds: Iterable[Seed], *, replace: bool) -> None:
        """Give lines what ledger and spool say; those that are seeded already are left alone unless `replace`."""
        for seed in seeds:
            key = (seed.line.kind, seed.start_ms, seed.line.field)
            known = self._sums.get(key)
            if known is None:
                self._sums[key] = _Sum(seed.used, seeded_ms=seed.at_ms)
            elif replace:
                known.settled, known.seeded_ms = seed.used, seed.at_ms

    def forget_before(self, now_ms: int) -> None:
        """Let go of days and months that are long over."""
        # A month and a week: nothing under way reaches back so far.
        oldest = now_ms - 40 * 86_400_000
        for key in [key for key in self._sums if key[1] < oldest]:
            del self._sums[key]
        self._bound.clear()

    def _bind(self, lines: tuple[Line, ...], now_ms: int) -> _Bound:
        """The counters that `lines` mean now."""
        known = self._bound.get(id(lines))
        if known is not None and known.from_ms <= now_ms < known.until_ms:
            return known
        rates, running, sums, unseeded = [], [], [], []
        from_ms, until_ms = -_NEVER_MS, _NEVER_MS
        for index, line in enumerate(lines):
            if line.kind is _RATE:
                rates.append((index, self._rates.setdefault(line.field, _Bucket()), line.limit))
            elif line.kind is _RUNNING:
                running.append((index, self._running.setdefault(line.field, _Tally()), line.limit))
            else:
                start_ms, end_ms = period_at(line, now_ms)
                if start_ms != line.start_ms:
                    # The period after the one that the line was made in.
                    from_ms = max(from_ms, start_ms)
                if now_ms < end_ms:
                    until_ms = min(until_ms, end_ms)
                found = self._sums.get((line.kind, start_ms, line.field))
                if found is None:
                    unseeded.append(index)
                else:
                    sums.append((index, found, line.limit, end_ms))
        bound = _Bound(lines, tuple(rates), tuple(running), tuple(sums), tuple(unseeded), from_ms, until_ms)
        if not unseeded:
            if len(self._bound) >= _MOST_BOUND:
                self._bound.clear()
            self._bound[id(lines)] = bound
        return bound

    def _standing(self, line: Line, now_ms: int) -> Standing:
        if line.kind is LineKind.RATE:
            bucket = self._rates.get(line.field)
            debt = bucket.debt_at(now_ms, line.limit) if bucket is not None else 0
            used = -(-debt // MINUTE_MS)
            return Standing(used, max(0, line.limit - used), -(-debt // line.limit))
        if line.kind is LineKind.RUNNING:
            tally = self._running.get(line.field)
            used = tally.calls if tally is not None else 0
            return Standing(used, max(0, line.limit - used), 0)
        start, end = period_at(line, now_ms)
        known = self._sums.get((line.kind, start, line.field))
        used = known.settled + known.held if known else 0
        return Standing(used, max(0, line.limit - used), max(0, end - now_ms), seeded=known is not None)

    def _book_late(self, settlement: Settlement) -> None:
        """The reservation is gone (expired, or never made here): what was used still counts, unless a seed knew of it."""
        for line, used in zip(settlement.claim.lines, settlement.values, strict=True):
            if line.kind >= LineKind.DAY:
                start, _ = period_at(line, settlement.at_ms)
                known = self._sums.get((line.kind, start, line.field))
                if known is not None and known.seeded_ms < settlement.at_ms:
                    known.settled += used

    def _sweep(self, now_ms: int) -> None:
        if now_ms < self._soonest_ms:
            return
        for each in [each for each, call in self._calls.items() if call.expires_ms <= now_ms]:
            _free(self._calls.pop(each), None, now_ms)
        self._soonest_ms = min((call.expires_ms for call in self._calls.values()), default=_NEVER_MS)

    def _was_done(self, call_id: str, now_ms: int) -> bool:
        # Marks stand in order of time, so the old ones are in front.
        while self._done:
            oldest = next(iter(self._done))
            if self._done[oldest] > now_ms:
                break
            del self._done[oldest]
        if call_id in self._done:
            return True
        self._done[call_id] = now_ms + REMEMBER_MS
        return False


def _fits(bound: _Bound, values: Sequence[int], debts: Sequence[int]) -> bool:
    """Whether nothing says no to a call that asks for `values`. `debts` stand beside the rates."""
    for (index, _, limit), debt in zip(bound.rates, debts):  # noqa: B905 - as many
        if debt + (values[index] - limit) * MINUTE_MS > 0:
            return False
    for index, known, limit, _ in bound.sums:  # noqa: SIM110 - a generator takes twice as long
        if known.settled + known.held + values[index] > limit:
            return False
    return True


def _refused(bound: _Bound, values: Sequence[int], debts: Sequence[int], now_ms: int) -> _Refusal:
    """What says no to a call that asks for `values` and does not fit. `debts` stand beside the rates."""
    refusal = _Refusal()
    for (index, _, limit), debt in zip(bound.rates, debts, strict=True):
        over = debt + (values[index] - limit) * MINUTE_MS
        if over > 0:
            refusal.speak(index, -(-over // limit), terminal=False)
    for index, known, limit, end_ms in bound.sums:
        if known.settled + known.held + values[index] > limit:
            refusal.speak(index, max(0, end_ms - now_ms), terminal=True)
    return refusal


def _hold(
    bound: _Bound, values: Sequence[int], debts: Sequence[int], now_ms: int, *, running: bool
) -> tuple[Standing, ...]:
    """Take what nothing says no to; how the lines stand then. `debts` stand beside the rates."""
    standings: list[Standing] = [_UNKNOWN] * len(bound.lines)
    for (index, bucket, limit), owed in zip(bound.rates, debts, strict=True):
        debt = owed + values[index] * MINUTE_MS
        bucket.debt, bucket.at_ms = debt, now_ms
        used = -(-debt // MINUTE_MS)
        standings[index] = Standing(used, limit - used if used < limit else 0, -(-debt // limit))
    for index, known, limit, end_ms in bound.sums:
        known.held += values[index]
        used = known.settled + known.held
        reset_ms = end_ms - now_ms
        standings[index] = Standing(used, limit - used, reset_ms if reset_ms > 0 else 0)
    if running:
        bound.run(1)
    for index, tally, limit in bound.running:
        used = tally.calls
        standings[index] = Standing(used, limit - used if used < limit else 0, 0)
    return tuple(standings)


def _free(call: _Held, used: Sequence[int] | None, now_ms: int) -> None:
    """What the call held is free; `used` is booked. Without it (the call's process died) rates stay as they are."""
    bound, held = call.bound, call.claim.values
    for index, known, _, _ in bound.sums:
        known.held -= held[index]
        if used is not None:
            known.settled += used[index]
    if used is not None:
        for index, bucket, limit in bound.rates:
            if used[index] != held[index]:
                debt = bucket.debt_at(now_ms, limit) + (used[index] - held[index]) * MINUTE_MS
                bucket.debt, bucket.at_ms = debt if debt > 0 else 0, now_ms
    if call.running:
        bound.run(-1)
