"""How calls are counted against limits, in whole numbers. Pure; the scripts of Redis say the same in Lua.

A rate is a bucket (the generic cell rate algorithm, ITU-T I.371): its debt shrinks by `limit` shares a millisecond,
and one unit is `MINUTE_MS` shares, so that a whole limit is paid back in a minute and nothing is ever rounded. The
burst is the whole limit. A settled call may leave a debt beyond that: it is paid back first. A day or month sums what
was settled and what is held by calls under way. A running line counts calls that have their place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tenants.counted import NEVER_MS, Bound, Done, Held
from tenants.limit_types import MINUTE_MS, Claim, Outcome, Settlement, Verdict, period_at

# A call that was settled is known for this long; settling it again does nothing.
REMEMBER_MS = 300_000
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


class Calls:
    """The calls under way of all tenants, whose ids are unique: of ten thousand tenants in turn each would find tables of
    its own cold. Each method is one step that nothing else comes between; times are Unix ms.
    """

    __slots__ = ("_done", "_held", "_soonest_ms")

    def __init__(self) -> None:
        """Nothing is under way."""
        self._held: dict[str, Held] = {}
        self._done = Done(REMEMBER_MS)
        # No reservation expires before this.
        self._soonest_ms = NEVER_MS

    def reserve(self, bound: Bound, claim: Claim, *, now_ms: int, lease_ms: int) -> Verdict:
        """Hold all that `claim` asks for, or nothing. `bound` are its lines."""
        if now_ms >= self._soonest_ms:
            self._sweep(now_ms)
        counts = _counts_with(bound, claim.values, now_ms)
        if counts is None:
            refusal = _refused(bound, claim.values, now_ms)
            shown = tuple([bound.tenant.shown(line, now_ms) for line in bound.lines])
            return Verdict(Outcome.REFUSED, shown, now_ms, refusal.index, refusal.wait_ms)
        running = bound.has_room()
        _hold(bound, claim.values, counts, now_ms, running=running)
        expires_ms = now_ms + lease_ms
        self._held[claim.id] = Held(claim, bound, running, expires_ms)
        if expires_ms < self._soonest_ms:
            self._soonest_ms = expires_ms
        return Verdict(_ADMITTED, tuple(counts), now_ms, -1, 0, running)

    def renew(self, call_id: str, *, now_ms: int, lease_ms: int) -> bool:
        """Hold a call longer; False when it is not held any more."""
        call = self._held.get(call_id)
        if call is None:
            return False
        call.expires_ms = now_ms + lease_ms
        return True

    def place(self, call_id: str, *, wanted: bool, now_ms: int) -> bool:
        """Count a call among those that run, or no longer. False when there is no room, or the call is not held."""
        self._sweep(now_ms)
        call = self._held.get(call_id)
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
        """Book what a call has used and free what it held, unless that was done before. False when it was not held: what
        it has used is booked nowhere yet.
        """
        call_id = settlement.claim.id
        if not self._done.note(call_id, now_ms):
            return True
        call = self._held.pop(call_id, None)
        if not self._held:
            self._soonest_ms = NEVER_MS
        if call is None:
            return False
        _free(call, settlement.values, now_ms)
        return True

    def _sweep(self, now_ms: int) -> None:
        if now_ms < self._soonest_ms:
            return
        for each in [each for each, call in self._held.items() if call.expires_ms <= now_ms]:
            _free(self._held.pop(each), None, now_ms)
        self._soonest_ms = min((call.expires_ms for call in self._held.values()), default=NEVER_MS)


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
