"""How limits are counted, for one tenant, in whole numbers. Pure; the scripts of Redis say the same in Lua.

A rate is a bucket (the generic cell rate algorithm, ITU-T I.371): its debt shrinks by `limit` shares a millisecond,
and one unit is `MINUTE_MS` shares, so that a whole limit is paid back in a minute and nothing is ever rounded. The
burst is the whole limit. A settled call may leave a debt beyond that: it is paid back first. A day or month sums what
was settled and what is held by calls under way. A running line counts calls that have their place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tenants.counted import Bound, Bucket, Done, Held, Sum, Tally
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
    standing_of,
)

# A call that was settled is known for this long; settling it again does nothing.
REMEMBER_MS = 300_000
_NEVER_MS = 1 << 62
# Callers of one tenant whose lines are looked up once.
_MOST_BOUND = 1_024
# Old periods, and lines that were replaced, are let go of so often.
_TIDY_MS = 3_600_000
_RATE, _RUNNING = LineKind.RATE, LineKind.RUNNING
_ADMITTED = Outcome.ADMITTED


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

    __slots__ = ("_bound", "_calls", "_done", "_rates", "_running", "_soonest_ms", "_sums", "_tidy_ms")

    def __init__(self, done: Done | None = None) -> None:
        """Nothing is counted and nothing seeded. `done` may be one for many tenants: ids of calls are unique."""
        self._rates: dict[str, Bucket] = {}
        self._sums: dict[tuple[LineKind, int, str], Sum] = {}
        self._running: dict[str, Tally] = {}
        self._calls: dict[str, Held] = {}
        self._done = done or Done(REMEMBER_MS)
        # By the identity of the lines, which are kept with it.
        self._bound: dict[int, Bound] = {}
        # No reservation expires before this.
        self._soonest_ms = _NEVER_MS
        self._tidy_ms = 0

    def reserve(self, claim: Claim, *, now_ms: int, lease_ms: int) -> Verdict:
        """Hold all that `claim` asks for, or nothing."""
        if now_ms >= self._soonest_ms:
            self._sweep(now_ms)
        bound = self._bound.get(id(claim.lines))
        if bound is None or not bound.from_ms <= now_ms < bound.until_ms:
            bound = self._bind(claim.lines, now_ms)
            if bound.unseeded:
                return Verdict(Outcome.UNSEEDED, at_ms=now_ms, unseeded=bound.unseeded)
        counts = _counts_with(bound, claim.values, now_ms)
        if counts is None:
            refusal = _refused(bound, claim.values, now_ms)
            shown = tuple([self._count(line, now_ms) for line in claim.lines])
            return Verdict(Outcome.REFUSED, shown, now_ms, refusal.index, refusal.wait_ms)
        running = bound.has_room()
        _hold(bound, claim.values, counts, now_ms, running=running)
        expires_ms = now_ms + lease_ms
        self._calls[claim.id] = Held(claim, bound, running, expires_ms)
        if expires_ms < self._soonest_ms:
            self._soonest_ms = expires_ms
        return Verdict(_ADMITTED, tuple(counts), now_ms, -1, 0, running)

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
        if not self._done.note(claim.id, now_ms):
            return False
        call = self._calls.pop(claim.id, None)
        if call is None:
            self._book_late(settlement)
        else:
            _free(call, settlement.values, now_ms)
        if not self._calls:
            self._soonest_ms = _NEVER_MS
        return True

    def read(self, lines: Sequence[Line], *, now_ms: int) -> tuple[Standing, ...]:
        """How each line stands."""
        return tuple(standing_of(line, self._count(line, now_ms), now_ms) for line in lines)

    def seed(self, seeds: Iterable[Seed], *, replace: bool) -> None:
        """Give lines what ledger and spool say; those that are seeded already are left alone unless `replace`."""
        for seed in seeds:
            key = (seed.line.kind, seed.start_ms, seed.line.field)
            known = self._sums.get(key)
            if known is None:
                self._sums[key] = Sum(seed.used, seeded_ms=seed.at_ms)
            elif replace:
                known.settled, known.seeded_ms = seed.used, seed.at_ms

    def _tidy(self, now_ms: int) -> None:
        """Let go of days and months that are long over."""
        self._tidy_ms = now_ms + _TIDY_MS
        # A month and a week: nothing under way reaches back so far.
        oldest = now_ms - 40 * 86_400_000
        for key in [key for key in self._sums if key[1] < oldest]:
            del self._sums[key]
        self._bound.clear()

    def _bind(self, lines: tuple[Line, ...], now_ms: int) -> Bound:
        """The counters that `lines` mean now."""
        if not self._tidy_ms:
            # There is nothing old in a new one.
            self._tidy_ms = now_ms + _TIDY_MS
        elif now_ms >= self._tidy_ms:
            self._tidy(now_ms)
        rates, running, sums, unseeded = [], [], [], []
        from_ms, until_ms = -_NEVER_MS, _NEVER_MS
        for index, line in enumerate(lines):
            if line.kind is _RATE:
                bucket = self._rates.setdefault(line.field, Bucket())
                rates.append((index, bucket, line.limit, line.limit * MINUTE_MS))
            elif line.kind is _RUNNING:
                running.append((index, self._running.setdefault(line.field, Tally()), line.limit))
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
                    sums.append((index, found, line.limit))
        bound = Bound(lines, tuple(rates), tuple(running), tuple(sums), tuple(unseeded), from_ms, until_ms)
        if not unseeded:
            if len(self._bound) >= _MOST_BOUND:
                self._bound.clear()
            self._bound[id(lines)] = bound
        return bound

    def _count(self, line: Line, now_ms: int) -> int:
        """What the counter of a line shows; -1 of a day or month that is not seeded."""
        if line.kind is _RATE:
            bucket = self._rates.get(line.field)
            return bucket.debt_at(now_ms, line.limit) if bucket is not None else 0
        if line.kind is _RUNNING:
            tally = self._running.get(line.field)
            return tally.calls if tally is not None else 0
        known = self._sums.get((line.kind, period_at(line, now_ms)[0], line.field))
        return known.settled + known.held if known is not None else -1

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


def _counts_with(bound: Bound, values: Sequence[int], now_ms: int) -> list[int] | None:
    """What the counters of rates and sums would show with `values` on top, 0 of the others; None where one says no."""
    counts = [0] * len(values)
    for index, bucket, limit, most in bound.rates:
        debt = bucket.debt
        if debt:
            since_ms = now_ms - bucket.at_ms
            if since_ms > 0:
                debt -= limit * since_ms
                if debt < 0:
                    debt = 0
        debt += values[index] * MINUTE_MS
        if debt > most:
            return None
        counts[index] = debt
    for index, known, limit in bound.sums:
        used = known.settled + known.held + values[index]
        if used > limit:
            return None
        counts[index] = used
    return counts


def _refused(bound: Bound, values: Sequence[int], now_ms: int) -> _Refusal:
    """What says no to a call that asks for `values` and does not fit."""
    refusal = _Refusal()
    for index, bucket, limit, most in bound.rates:
        over = bucket.debt_at(now_ms, limit) + values[index] * MINUTE_MS - most
        if over > 0:
            refusal.speak(index, -(-over // limit), terminal=False)
    for index, known, limit in bound.sums:
        if known.settled + known.held + values[index] > limit:
            _, end_ms = period_at(bound.lines[index], now_ms)
            refusal.speak(index, max(0, end_ms - now_ms), terminal=True)
    return refusal


def _hold(bound: Bound, values: Sequence[int], counts: list[int], now_ms: int, *, running: bool) -> None:
    """Take what nothing says no to; `counts` are completed by what runs."""
    for index, bucket, _, _ in bound.rates:
        bucket.debt = counts[index]
        bucket.at_ms = now_ms
    for index, known, _ in bound.sums:
        known.held += values[index]
    for index, tally, _ in bound.running:
        if running:
            tally.calls += 1
        counts[index] = tally.calls


def _free(call: Held, used: Sequence[int] | None, now_ms: int) -> None:
    """What the call held is free; `used` is booked. Without it (the call's process died) rates stay as they are."""
    bound, held = call.bound, call.claim.values
    if call.running:
        for _, tally, _ in bound.running:
            tally.calls -= 1
    if used is None:
        for index, known, _ in bound.sums:
            known.held -= held[index]
        return
    for index, known, _ in bound.sums:
        known.held -= held[index]
        known.settled += used[index]
    for index, bucket, limit, _ in bound.rates:
        change = used[index] - held[index]
        if change:
            debt, since_ms = bucket.debt, now_ms - bucket.at_ms
            if since_ms > 0:
                debt -= limit * since_ms
            if debt < 0:
                debt = 0
            debt += change * MINUTE_MS
            bucket.debt = debt if debt > 0 else 0
            bucket.at_ms = now_ms
