"""Who decides how many replicas a pool has (W7): Atrium's own policy, and those of others by their sources' formulas.

All are told the same of the pool and have the same bounds and the same target: so many calls in each replica. Where a
source has a default it is used; `tests/benchmarks/test_scaling_arms.py` pins each by figures worked out by hand.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from routing.scaling import PoolScaler
from routing.scaling_types import ScalingMode, ScalingPolicy, Signals


@dataclass(frozen=True, slots=True)
class Sight:
    """What an arm is told. Times in seconds; `signals` has all that is seen, the rest is what other arms measure."""

    at: float
    now: datetime
    signals: Signals

    @property
    def calls(self) -> int:
        """Calls that run or wait."""
        return self.signals.running + self.signals.waiting


class ScalingArm(Protocol):
    """Asked every `period` seconds how many replicas there should be; `judges`: by how promises are kept."""

    period: float
    judges: bool

    def desired(self, sight: Sight) -> int:
        """How many."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What every arm keeps to; `target` calls in each replica."""

    least: int
    most: int
    target: float

    def within(self, number: int) -> int:
        """`number`, or the nearest bound."""
        return max(self.least, min(self.most, number))


class Atrium:
    """`routing.scaling`, the production code."""

    period = 5.0
    judges = True

    def __init__(self, bounds: Bounds, *, start_s: int, ttft_ms: int, tpot_ms: int) -> None:
        """Its target is its own. `start_s` is what a replica needs until it is ready."""
        self._scaler = PoolScaler()
        self._policy = ScalingPolicy(
            mode=ScalingMode.ON,
            minimum=bounds.least,
            maximum=bounds.most,
            start_s=start_s,
            ttft_ms=ttft_ms,
            tpot_ms=tpot_ms,
            idle_s=300,
        )

    def desired(self, sight: Sight) -> int:
        """As production decides."""
        return self._scaler.decide(self._policy, sight.signals).desired


class Hpa:
    """Kubernetes' HorizontalPodAutoscaler on a metric of type AverageValue: running and waiting calls for each replica.

    `replica_calculator.go`: the number stays while |calls / (target · replicas) − 1| ≤ 0.1, else ⌈calls / target⌉. Then
    `horizontal.go` with the defaults of `behavior`: up by the larger of 100 % and 4 pods in 15 s, down to the largest
    recommendation of the last 300 s. Every 15 s. Zero is KEDA's part: after 300 s without a call (`cooldownPeriod`), and
    back with the first one, looked for every 30 s (`pollingInterval`).
    """

    period = 15.0
    judges = False
    TOLERANCE = 0.1
    STABLE_S = 300.0
    UP_PODS, UP_S = 4, 15.0
    COOLDOWN_S, POLL_S = 300.0, 30.0

    def __init__(self, bounds: Bounds) -> None:
        """Nothing recommended yet."""
        self._bounds = bounds
        self._recommended: deque[tuple[float, int]] = deque()
        self._grown: deque[tuple[float, int]] = deque()
        self._active_at = 0.0

    def desired(self, sight: Sight) -> int:
        """The number for the scale subresource."""
        there, at = sight.signals.provisioned, sight.at
        if sight.calls:
            self._active_at = at
        if self._bounds.least == 0:
            if there == 0:
                return 1 if sight.calls and at % self.POLL_S < self.period else 0
            if at - self._active_at >= self.COOLDOWN_S:
                self._recommended.clear()
                return 0
        number = self._stable(at, max(1, self.raw(sight.calls, there)))
        return self._paced(at, there, max(1, self._bounds.within(number)))

    def raw(self, calls: int, there: int) -> int:
        """The recommendation."""
        if there and abs(calls / (self._bounds.target * there) - 1) <= self.TOLERANCE:
            return there
        return math.ceil(calls / self._bounds.target)

    def _stable(self, at: float, number: int) -> int:
        self._recommended.append((at, number))
        while self._recommended[0][0] < at - self.STABLE_S:
            self._recommended.popleft()
        return max(each for _, each in self._recommended)

    def _paced(self, at: float, there: int, number: int) -> int:
        while self._grown and self._grown[0][0] <= at - self.UP_S:
            self._grown.popleft()
        before = there - sum(each for _, each in self._grown)
        limit = max(2 * before, before + self.UP_PODS)
        number = min(number, max(there, limit))
        if number > there:
            self._grown.append((at, number - there))
        # What was recommended while there were fewer is no reason to grow now.
        return number if number >= there or number < there else there


class Kpa:
    """Knative's autoscaler on concurrency, running and waiting calls.

    `autoscaler.go` with the defaults of `config-autoscaler`: the mean of 60 s, and of 6 s for panic; panic from twice of
    what the ready pods should have, until 60 s after, never down in it; at most 1000 times more and half of what is
    ready; every 2 s. To zero after 30 s more (`scale-to-zero-grace-period`); back at once, the activator tells.
    """

    period = 2.0
    judges = False
    STABLE_S, PANIC_S = 60.0, 6.0
    PANIC, MOST_UP, MOST_DOWN = 2.0, 1000.0, 2.0
    GRACE_S = 30.0

    def __init__(self, bounds: Bounds) -> None:
        """Not in panic."""
        self._bounds = bounds
        self._seen: deque[tuple[float, int]] = deque()
        self._panic_at: float | None = None
        self._most_in_panic = 0
        self._zero_at: float | None = None

    def desired(self, sight: Sight) -> int:
        """The number for the deployment."""
        at = sight.at
        self._seen.append((at, sight.calls))
        while self._seen[0][0] <= at - self.STABLE_S:
            self._seen.popleft()
        stable = _mean(each for _, each in self._seen)
        panic = _mean(each for when, each in self._seen if when > at - self.PANIC_S)
        number = self.judge(at, sight.signals.ready, stable, panic)
        if number == 0 and self._bounds.least == 0 and sight.signals.provisioned:
            self._zero_at = self._zero_at if self._zero_at is not None else at
            return 0 if at - self._zero_at >= self.GRACE_S else max(1, sight.signals.provisioned)
        self._zero_at = None
        return self._bounds.within(number)

    def judge(self, at: float, ready: int, stable: float, panic: float) -> int:
        """The rule itself, from the two means."""
        pods = max(1, ready)
        up, down = math.ceil(self.MOST_UP * pods), math.floor(pods / self.MOST_DOWN)
        wanted, in_panic = (math.ceil(each / self._bounds.target) for each in (stable, panic))
        number, alarmed = min(max(wanted, down), up), min(max(in_panic, down), up)
        if in_panic / pods >= self.PANIC:
            self._panic_at = at
        elif self._panic_at is not None and self._panic_at + self.STABLE_S < at:
            self._panic_at, self._most_in_panic = None, 0
        if self._panic_at is None:
            return number
        self._most_in_panic = max(self._most_in_panic, number, alarmed)
        return self._most_in_panic


class LlmDSlo:
    """llm-d's law on the promise itself (`slo-aware-keda.md`).

    s is the mean over 45 s of the larger ratio of the 90th percentile to its promise, capped at 2. Above 0.55 with r of n
    ready: n + ⌈n·(s·r/n / 0.55 − 1)⌉; below 0.40: n − ⌊n·(1 − s/0.40)⌋. Up by 100 % or 4 in 60 s when it has been asked for
    30 s, down by 1 in 120 s when for 180 s. Every 15 s.
    """

    period = 15.0
    judges = True
    HIGH, LOW, MOST, MEAN_S = 0.55, 0.40, 2.0, 45.0
    UP_PODS, UP_S, UP_STABLE_S = 4, 60.0, 30.0
    DOWN_S, DOWN_STABLE_S = 120.0, 180.0

    def __init__(self, bounds: Bounds) -> None:
        """Nothing measured yet."""
        self._bounds = bounds
        self._seen: deque[tuple[float, float]] = deque()
        self._recommended: deque[tuple[float, int]] = deque()
        self._up_at = self._down_at = -math.inf

    def desired(self, sight: Sight) -> int:
        """The number for the scale subresource."""
        signals, at = sight.signals, sight.at
        there = signals.provisioned
        if there == 0:
            return self._bounds.within(1 if sight.calls else 0)
        ratio = min(max(signals.ttft_ratio, signals.tpot_ratio), self.MOST)
        self._seen.append((at, ratio))
        while self._seen[0][0] <= at - self.MEAN_S:
            self._seen.popleft()
        number = self.raw(_mean(each for _, each in self._seen), there, signals.ready)
        self._recommended.append((at, number))
        while self._recommended[0][0] < at - self.DOWN_STABLE_S:
            self._recommended.popleft()
        up = min(each for when, each in self._recommended if when >= at - self.UP_STABLE_S)
        down = max(each for _, each in self._recommended)
        if up > there and at - self._up_at >= self.UP_S:
            self._up_at = at
            return self._bounds.within(min(up, max(2 * there, there + self.UP_PODS)))
        if down < there and at - self._down_at >= self.DOWN_S:
            self._down_at = at
            return self._bounds.within(there - 1)
        return self._bounds.within(there)

    def raw(self, s: float, there: int, ready: int) -> int:
        """The law."""
        if s > self.HIGH:
            return max(there, there + math.ceil(there * (s * ready / there / self.HIGH - 1)))
        if s < self.LOW:
            return there - math.floor(there * (1 - s / self.LOW))
        return there


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
