"""For how long a pool keeps replicas that it does not need now: so that one load makes none come and go. Pure.

What was needed within `down_after_s` is kept; twice as long what came, when it was so much for a short while only, for a
load that comes and goes may come again. Nothing is stopped while more is needed than on average in that time, or than what
comes. When no call comes at all, one is enough after the time that a start takes. Who stops a replica and misses it within `down_after_s` keeps
the next twice as long.
"""

import math
from collections import deque
from itertools import pairwise

from msgspec import Struct

from routing.pace import mean
from routing.scaling_types import ScalingPolicy

# What remains after stopping one is to do all work of that time, and this much of a replica's more.
SPARE = 0.15
# Work that is this much of a replica above those there is not worth another; soon after one was stopped, this much.
SLACK, SLACK_SOON = 0.1, 0.5
# Needs that differ by less are the same.
ALIKE = 0.01
# So many times `down_after_s` are remembered. A peak lasted when there was this much of it for so many of them.
REMEMBERED = 4
PEAK = 0.75
LASTING = 2
# All is as before a replica was missed when that has not happened for so many times `down_after_s`.
FORGIVEN = 20


class _Need(Struct, frozen=True):
    """At a moment, what the work asked for in replicas; `came`: what came alone, without what waits and what may come."""

    at: float
    need: float
    came: float


class Holding:
    """What one pool needed of late, and what became of stopping its replicas."""

    def __init__(self) -> None:
        """Nothing needed, nothing missed."""
        self._needs: deque[_Need] = deque()
        self._grown_at = self._stopped_at = self._missed_at = -math.inf

    def note(self, policy: ScalingPolicy, at: float, need: float, came: float) -> None:
        """So much is needed now."""
        self._needs.append(_Need(at, need, came))
        while self._needs[0].at < at - REMEMBERED * policy.down_after_s:
            self._needs.popleft()

    def forget(self) -> None:
        """Nothing that was needed before is a reason to keep anything."""
        self._needs.clear()

    def changed(self, policy: ScalingPolicy, at: float, change: int) -> None:
        """So many more replicas were asked for; less than 0: so many fewer."""
        if change < 0:
            self._stopped_at = at
        elif change > 0:
            self._grown_at = at
            if at - self._stopped_at < policy.down_after_s:
                self._missed_at, self._stopped_at = at, -math.inf

    def slack(self, policy: ScalingPolicy, at: float) -> float:
        """How much of a replica's work is not worth another one."""
        return SLACK_SOON if at - self._stopped_at < policy.down_after_s else SLACK

    def kept(self, policy: ScalingPolicy, at: float, there: int, idle_s: float) -> int:
        """How many of those there are kept, at least one, when no call ran or waited for `idle_s`."""
        started_s = min(policy.down_after_s, policy.start_s)
        if at - self._grown_at < policy.down_after_s or at - self._needs[0].at < started_s:
            return there
        missed = at - self._missed_at <= FORGIVEN * policy.down_after_s
        if idle_s >= started_s and not missed:
            return min(there, 1)
        long_s = policy.down_after_s * (2 if missed else 1)
        within = [each for each in self._needs if each.at >= at - long_s]
        came = (
            within if self._lasted(policy) else [each for each in self._needs if each.at >= at - 2 * long_s]
        )
        last = self._needs[-1]
        if last.need > last.came + ALIKE or last.need > mean([each.need for each in came]) + ALIKE:
            return there
        most = max(max(each.need for each in within), max(each.came for each in came))
        return min(there, max(1, math.ceil(most + SPARE)))

    def _lasted(self, policy: ScalingPolicy) -> bool:
        """Whether about as much as at the peak came for long."""
        peak = PEAK * max(each.came for each in self._needs)
        seconds = sum(later.at - each.at for each, later in pairwise(self._needs) if each.came >= peak)
        return seconds >= LASTING * policy.down_after_s
