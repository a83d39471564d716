"""A pool that wakes: how many will wait when its first replica is ready, and until when they are a crowd. Pure."""

import math

from msgspec import Struct

from routing.pace import Load
from routing.scaling_types import ScalingPolicy, Signals

# Those who waited for a start are to be served in so much of `drain_s`.
DRAIN = 1 / 3
# What came is counted as having come in no less time.
LEAST_LOOK_S = 5.0
# Calls that waited for a start are among those that are measured for so long after they were a crowd.
MEASURED_S = 60.0


class _Start(Struct):
    """When a pool without replicas was woken, since when calls may have come, and when a replica was ready."""

    asked_at: float
    began_at: float
    ready_at: float | None = None


class Awakening:
    """One pool's: from its first call until those who came meanwhile are no crowd any more."""

    def __init__(self) -> None:
        """It does not wake."""
        self.over_at = -math.inf
        self._start: _Start | None = None
        self._quiet_at = math.inf

    @property
    def on(self) -> bool:
        """Whether it wakes."""
        return self._start is not None

    def follow(self, policy: ScalingPolicy, signals: Signals, *, most: float) -> bool:
        """Note what is seen; whether it has woken just now: a replica has `most` calls and no more, or `drain_s` are over."""
        at = signals.at
        if signals.provisioned == 0 and not signals.waiting:
            self._quiet_at, self._start = at, None
        elif signals.provisioned == 0 and self._start is None:
            self._start = _Start(at, min(self._quiet_at, at - LEAST_LOOK_S))
        start = self._start
        if start is None:
            return False
        # That those waited long for whom no replica was there is no reason for more.
        self.over_at = at + MEASURED_S
        if signals.ready and start.ready_at is None:
            start.ready_at = at
        few = signals.ready and signals.running + signals.waiting <= most * signals.ready
        if few or (start.ready_at is not None and at - start.ready_at > policy.drain_s):
            self._start = None
        return self._start is None

    def crowd(self, policy: ScalingPolicy, signals: Signals, load: Load) -> float:
        """How many calls will wait when the first replica is ready; 0 when the pool does not wake."""
        start, full = self._start, float(signals.provisioned * signals.slots)
        if start is None:
            return 0.0
        if signals.ready:
            # Who is asked for now comes when they have been served.
            return min(float(signals.running + signals.waiting), full)
        gone = min(1.0, (signals.at - start.asked_at) / policy.start_s)
        coming = load.coming(signals.waiting, signals.at - start.began_at)
        crowd = signals.waiting + coming * policy.start_s * (1 - gone)
        # The later it is, the less is left for those who are asked for now.
        return max(min(crowd, full), crowd - gone * signals.slots)

    def turns(self, policy: ScalingPolicy, seconds: float) -> float:
        """How many of a crowd a slot serves, one after the other, when each takes so many seconds."""
        return max(1.0, policy.drain_s * DRAIN / seconds)
