"""How limits are counted, for one tenant, in whole numbers. Pure; the scripts of Redis say the same in Lua.

A rate is a bucket (the generic cell rate algorithm, ITU-T I.371): its debt shrinks by `limit` shares a millisecond,
and one unit is `MINUTE_MS` shares, so that a whole limit is paid back in a minute and nothing is ever rounded. The
burst is the whole limit. A settled call may leave a debt beyond that: it is paid back first. A day or month sums what
was settled and what is held by calls under way. A running line counts calls that have their place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
_RATE, _RUNNING = LineKind.RATE, LineKind.RUNNING


def remaining_debt(debt: int, since_ms: int, limit: int) -> int:
    """What is left of a bucket's debt after `since_ms` milliseconds; never below 0."""
    if since_ms > 0:
        debt -= limit * since_ms
    return debt if debt > 0 else 0


@dataclass(slots=True)
class _Sum:
    """A day or month of one line."""

    settled: int
    held: int = 0
    seeded_ms: int = 0


@dataclass(slots=True)
class _Held:
    """A call under way: what it holds, and until when. `sums` stand beside the lines, None where none is counted."""

    claim: Claim
    sums: list[_Sum | None]
    running: bool
    expires_ms: int


@dataclass(slots=True)
class _Look:
    """What a claim finds, line by line, before anything is changed. `debts` of rates, `sums` and `ends` of periods."""

    debts: list[int] = field(default_factory=list)
    sums: list[_Sum | None] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    unseeded: list[int] = field(default_factory=list)
    room: bool = True
    refused: int = -1
    wait_ms: int = -1
    terminal: bool = False

    def refuse(self, index: int, wait_ms: int, *, terminal: bool) -> None:
        """A line says no. One that a wait of seconds does not help stands before those that it helps."""
        if terminal > self.terminal or (terminal == self.terminal and wait_ms > self.wait_ms):
            self.refused, self.wait_ms, self.terminal = index, wait_ms, terminal


class TenantCount:
    """All counters of one tenant. Each method is one step that nothing else comes between; times are Unix ms."""

    def __init__(self) -> None:
        """Nothing is counted and nothing seeded."""
        self._rates: dict[str, tuple[int, int]] = {}
        self._sums: dict[tuple[LineKind, int, str], _Sum] = {}
        self._running: dict[str, int] = {}
        self._calls: dict[str, _Held] = {}
        self._done: dict[str, int] = {}
        # No reservation expires before this.
        self._soonest_ms = _NEVER_MS

    def reserve(self, claim: Claim, *, now_ms: int, lease_ms: int) -> Verdict:
        """Hold all that `claim` asks for, or nothing."""
        self._sweep(now_ms)
        look = self._look(claim, now_ms)
        if look.unseeded:
            return Verdict(Outcome.UNSEEDED, (), unseeded=tuple(look.unseeded))
        if look.refused >= 0:
            standings = self.read(claim.lines, now_ms=now_ms)
            return Verdict(Outcome.REFUSED, standings, refused=look.refused, wait_ms=look.wait_ms)
        standings = self._hold(claim, look, now_ms)
        self._calls[claim.id] = _Held(claim, look.sums, look.room, now_ms + lease_ms)
        self._soonest_ms = min(self._soonest_ms, now_ms + lease_ms)
        return Verdict(Outcome.ADMITTED, standings, running=look.room)

    def forget_sums(self) -> None:
        """Nothing is seeded again. Rates stay what they are, and what calls hold is freed as ever."""
        self._sums.clear()

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
        lines = [line for line in call.claim.lines if line.kind is LineKind.RUNNING]
        if wanted and any(self._running.get(line.field, 0) >= line.limit for line in lines):
            return False
        for line in lines:
            self._count(line.field, 1 if wanted else -1)
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
            self._free(call, settlement.values, now_ms)
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

    def _look(self, claim: Claim, now_ms: int) -> _Look:
        look = _Look()
        debts, sums, ends = look.debts, look.sums, look.ends
        rates, counted = self._rates, self._sums
        for index, (line, value) in enumerate(zip(claim.lines, claim.values, strict=True)):
            kind, limit, debt, end = line.kind, line.limit, 0, 0
            known: _Sum | None = None
            if kind is _RATE:
                owed = rates.get(line.field)
                if owed is not None:
                    debt = remaining_debt(owed[0], now_ms - owed[1], limit)
                over = debt + (value - limit) * MINUTE_MS
                if over > 0:
                    look.refuse(index, -(-over // limit), terminal=False)
            elif kind is _RUNNING:
                look.room = look.room and self._running.get(line.field, 0) < limit
            else:
                end = line.end_ms
                if now_ms < end:
                    known = counted.get((kind, line.start_ms, line.field))
                else:
                    start, end = period_at(line, now_ms)
                    known = counted.get((kind, start, line.field))
                if known is None:
                    look.unseeded.append(index)
                elif known.settled + known.held + value > limit:
                    look.refuse(index, max(0, end - now_ms), terminal=True)
            debts.append(debt)
            sums.append(known)
            ends.append(end)
        return look

    def _hold(self, claim: Claim, look: _Look, now_ms: int) -> tuple[Standing, ...]:
        """Take what the look found room for; how the lines stand then."""
        standings = []
        rows = zip(claim.lines, claim.values, look.debts, look.sums, look.ends, strict=True)
        for line, value, debt, known, end in rows:
            reset_ms = 0
            if known is not None:
                known.held += value
                used = known.settled + known.held
                reset_ms = end - now_ms if end > now_ms else 0
            elif line.kind is _RATE:
                owed = debt + value * MINUTE_MS
                self._rates[line.field] = (owed, now_ms)
                used, reset_ms = -(-owed // MINUTE_MS), -(-owed // line.limit)
            else:
                used = self._running.get(line.field, 0)
                if look.room:
                    used += 1
                    self._running[line.field] = used
            left = line.limit - used
            standings.append(Standing(used, left if left > 0 else 0, reset_ms))
        return tuple(standings)

    def _standing(self, line: Line, now_ms: int) -> Standing:
        if line.kind is LineKind.RATE:
            debt = self._debt(line, now_ms)
            used = -(-debt // MINUTE_MS)
            return Standing(used, max(0, line.limit - used), -(-debt // line.limit))
        if line.kind is LineKind.RUNNING:
            used = self._running.get(line.field, 0)
            return Standing(used, max(0, line.limit - used), 0)
        start, end = period_at(line, now_ms)
        known = self._sums.get((line.kind, start, line.field))
        used = known.settled + known.held if known else 0
        return Standing(used, max(0, line.limit - used), max(0, end - now_ms), seeded=known is not None)

    def _debt(self, line: Line, now_ms: int) -> int:
        found = self._rates.get(line.field)
        return 0 if found is None else remaining_debt(found[0], now_ms - found[1], line.limit)

    def _free(self, call: _Held, used: Sequence[int] | None, now_ms: int) -> None:
        """What the call held is free; `used` is booked. Without it (the call's process died) rates stay as they are."""
        claim = call.claim
        booked = claim.values if used is None else used
        for line, held, amount, known in zip(claim.lines, claim.values, booked, call.sums, strict=True):
            if known is not None:
                known.held -= held
                if used is not None:
                    known.settled += amount
            elif line.kind is _RATE:
                if amount != held:
                    debt = self._debt(line, now_ms) + (amount - held) * MINUTE_MS
                    self._rates[line.field] = (debt if debt > 0 else 0, now_ms)
            elif call.running:
                self._count(line.field, -1)

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
            self._free(self._calls.pop(each), None, now_ms)
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

    def _count(self, name: str, change: int) -> None:
        count = self._running.get(name, 0) + change
        if count > 0:
            self._running[name] = count
        else:
            self._running.pop(name, None)
