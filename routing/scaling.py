"""How many replicas a pool should have. Pure: who drives it tells what is seen and what time it is.

The measure is work in tokens, and what a replica does of it is learned. In a replica with n calls at once each call takes
h(n) = a + b·n seconds, so that it does n / h(n) calls' tokens a second (Little's law); a and b are a line through what was
seen of late. Let D be the tokens that come in a second, served, waiting or refused, Q those that wait:

    demand  = D / (what a replica does with the calls that it should have)
    backlog = (D + Q / drain) / (what it does when full)      the queue, to be gone within `drain` seconds
    need    = the larger of both

The queue counts by the time that it takes, not by its size: one that has grown while replicas were on their way is no
reason for a hundred more. Demand that rises steadily is met where it will be when a replica that is started now is ready.
Replicas on their way count as there.

Fast up: what is needed now is asked for at once. Slow down: only what nothing has needed for a while is stopped, with
room to spare, so that one load makes no replica come and go.
"""

import math
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

from routing.scaling_types import Decision, Reason, ScalingPolicy, Schedule, Signals, Why

# A replica is well used when so much of its slots is.
TARGET_USE = 0.6
# Work that is this much of a replica above those there is not worth another.
SLACK = 0.1
# What remains after stopping one is to do all work of the last minutes, and this much of a replica's more.
SPARE = 0.15
# Demand is a mean over so long: single calls come and go.
DEMAND_S = 30.0
TREND_S = 100.0
# Of a slope that much is believed which is above so many times its own uncertainty.
SURE = 1.5
# No more is expected than so many times what comes now.
MOST_TREND = 1.5
# Above its promise a pool gets more at once, at most so many times; from here on it gets no less.
SLO_CALM = 0.8
MOST_SLO = 1.5
# After a change, calls that were slow before it are still among those that are measured.
SETTLE_S = 60.0
# Who stops a replica and misses it before `down_after_s` are over waits twice as long before the next, at most so many
# times; all is as before when that has not happened for so many times `down_after_s`.
MOST_REGRETS = 1
FORGIVEN = 20
DAY = timedelta(days=1)


class Pace(Struct):
    """How long calls take in a replica with n of them: a line through what was seen, of which half is forgotten after
    `HALF_LIFE_S`. Before anything is seen at several n, a full replica is thought three times as slow as an empty one.
    """

    HALF_LIFE_S = 1200.0
    FULL_TIMES = 3.0

    weight: float = 0.0
    n_sum: float = 0.0
    h_sum: float = 0.0
    nn_sum: float = 0.0
    nh_sum: float = 0.0
    at: float = 0.0

    def note(self, at: float, n: float, seconds: float) -> None:
        """In a replica with `n` calls each took `seconds`."""
        kept = 0.5 ** ((at - self.at) / self.HALF_LIFE_S) if self.weight else 0.0
        self.at = at
        for name, value in (
            ("weight", 1.0),
            ("n_sum", n),
            ("h_sum", seconds),
            ("nn_sum", n * n),
            ("nh_sum", n * seconds),
        ):
            setattr(self, name, getattr(self, name) * kept + value)

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return self.weight > 0

    def seconds(self, n: float, slots: int) -> float:
        """How long a call takes in a replica with `n` of them."""
        n_mean, h_mean = self.n_sum / self.weight, self.h_sum / self.weight
        # The supposed slope through the mean, and as sure of it as of ten looks a quarter of the slots apart.
        supposed = h_mean / (n_mean + slots / (self.FULL_TIMES - 1))
        sure = 10 * (slots / 4) ** 2
        spread = self.nn_sum - self.weight * n_mean**2
        slope = (self.nh_sum - self.weight * n_mean * h_mean + sure * supposed) / (spread + sure)
        slope = min(max(0.0, slope), h_mean / max(n_mean, 1e-9))
        return max(h_mean + slope * (n - n_mean), 1e-3)


class _Look(Struct, frozen=True):
    """One moment: what had come by then, and the work that ran, in tokens; calls in each ready replica; what was done."""

    at: float
    come: float
    running: float
    done: float
    ready: int
    calls: float


class PoolScaler:
    """The memory that decisions about one pool rest on: what the last minutes were like, and how fast replicas are."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.pace = Pace()
        self._seen: deque[_Look] = deque()
        self._needs: deque[tuple[float, float]] = deque()
        self._began: float | None = None
        self._busy_at = 0.0
        self._changed_at = -math.inf
        self._replicas = (-1, -1)
        self._stopped_at = self._regret_at = -math.inf
        self._regrets = 0

    def decide(self, policy: ScalingPolicy, signals: Signals) -> Decision:
        """How many replicas there should be. To be asked every few seconds."""
        at = signals.at
        if self._began is None:
            self._began = self._busy_at = at
        if signals.running or signals.waiting or signals.woken:
            self._busy_at = at
        if self._replicas != (signals.ready, signals.provisioned):
            self._replicas, self._changed_at = (signals.ready, signals.provisioned), at
        self._look(signals)
        need, reasons = self._need(policy, signals)
        self._needs.append((at, need))
        while self._needs[0][0] < at - self._patience(policy, at):
            self._needs.popleft()
        wanted = self._wanted(policy, signals, need, reasons)
        desired = _bounded(policy, signals.now, wanted, reasons)
        self._note(policy, at, desired - signals.provisioned)
        return Decision(desired, signals.provisioned, signals.ready, round(need, 3), tuple(reasons))

    def _patience(self, policy: ScalingPolicy, at: float) -> float:
        """For how long a replica must have been too much: longer after one was missed soon after it had been stopped."""
        if self._regrets and at - self._regret_at > FORGIVEN * policy.down_after_s:
            self._regrets = 0
        return float(policy.down_after_s * 2**self._regrets)

    def _note(self, policy: ScalingPolicy, at: float, change: int) -> None:
        if change < 0:
            self._stopped_at = at
        elif change > 0 and at - self._stopped_at < policy.down_after_s:
            self._regrets = min(MOST_REGRETS, self._regrets + 1)
            self._regret_at, self._stopped_at = at, -math.inf

    def _look(self, signals: Signals) -> None:
        work, at = signals.work, signals.at
        come = work.done + work.refused + work.running + work.waiting
        if self._seen and work.done < self._seen[-1].done:
            # The queue's memory was lost: what was counted before cannot be compared.
            self._seen.clear()
        calls = signals.running / signals.ready if signals.ready else 0.0
        self._seen.append(_Look(at, come, work.running, work.done, signals.ready, calls))
        while self._seen[0].at < at - TREND_S:
            self._seen.popleft()
        recent = [each for each in self._seen if each.at >= at - DEMAND_S]
        if len({each.ready for each in recent}) > 1 or recent[-1].at - recent[0].at < DEMAND_S / 2:
            return
        done = recent[-1].done - recent[0].done
        calls = _mean([each.calls for each in recent])
        if done > 0 and calls >= 1:
            running = _mean([each.running for each in recent])
            self.pace.note(at, calls, running * (recent[-1].at - recent[0].at) / done)

    def _need(self, policy: ScalingPolicy, signals: Signals) -> tuple[float, list[Reason]]:
        """What the work asks for, in replicas, and what spoke for it, the last one deciding."""
        calls, work = signals.running + signals.waiting, signals.work
        tokens = (work.running + work.waiting) / calls if calls else 0.0
        target = TARGET_USE * signals.slots
        if policy.tokens_per_replica and tokens:
            target = min(float(signals.slots), max(1.0, policy.tokens_per_replica / tokens))
        if not self.pace.known or not tokens:
            # How fast replicas are is known when the first one has answered: until then, by their slots. So a crowd at a
            # pool that has never answered is not all left to the first replica, which learned its pace overfull.
            need = calls / target
            return need, [Reason(Why.DEMAND, round(need, 3))] if need else []
        best = target * tokens / self.pace.seconds(target, signals.slots)
        full = max(best, signals.slots * tokens / self.pace.seconds(signals.slots, signals.slots))
        demand = self._rate()
        trend = min(self._slope() * policy.start_s, demand * (MOST_TREND - 1))
        # While none is ready the queue grows until one is.
        queue = work.waiting + (0 if signals.ready else demand * policy.start_s)
        backlog = (demand + queue / policy.drain_s) / full
        parts = [Reason(Why.DEMAND, demand / best)]
        need = parts[0].replicas
        if trend > 0:
            parts.append(Reason(Why.TREND, (demand + trend) / best))
            need = parts[-1].replicas
        if backlog > need:
            parts.append(Reason(Why.BACKLOG, backlog))
            need = backlog
        ratio = max(signals.ttft_ratio, signals.tpot_ratio)
        settled = signals.ready >= signals.provisioned and signals.at - self._changed_at >= SETTLE_S
        if ratio > 1 and settled and signals.ready * min(ratio, MOST_SLO) > need:
            need = signals.ready * min(ratio, MOST_SLO)
            parts.append(Reason(Why.SLO, need))
        return need, [Reason(each.why, round(each.replicas, 3)) for each in parts]

    def _rate(self) -> float:
        """Tokens that came in a second, of late."""
        recent = [each for each in self._seen if each.at >= self._seen[-1].at - DEMAND_S]
        span = recent[-1].at - recent[0].at
        return max(0.0, (recent[-1].come - recent[0].come) / span) if span > 0 else 0.0

    def _slope(self) -> float:
        """By how many tokens a second more each second brings; 0 when it does not, or not surely.

        What has jumped rises in one half of the time alone: it is no trend, and is where it will be.
        """
        looks = list(self._seen)
        if looks[-1].at - looks[0].at < TREND_S * 0.9:
            return 0.0
        points = [
            ((one.at + other.at) / 2, (other.come - one.come) / (other.at - one.at))
            for one, other in pairwise(looks)
            if other.at > one.at
        ]
        slope, error = line(points)
        half = len(points) // 2
        return max(0.0, min(slope - SURE * error, line(points[:half])[0], line(points[half:])[0]))

    def _wanted(self, policy: ScalingPolicy, signals: Signals, need: float, reasons: list[Reason]) -> int:
        """The number before floors and ceilings: more at once, less when nothing has needed it for long enough."""
        there = signals.provisioned
        now = math.ceil(need - SLACK)
        if now > there:
            return now
        waits = signals.waiting or signals.running or signals.woken
        if waits and there == 0:
            reasons.append(Reason(Why.WAKE, 1))
            return 1
        watched = signals.at - (self._began or 0.0) >= policy.down_after_s
        kept = min(there, max(1, math.ceil(max(each for _, each in self._needs) + SPARE)))
        if not watched or max(signals.ttft_ratio, signals.tpot_ratio) > SLO_CALM:
            kept = there
        if kept > max(1, now):
            reasons.append(Reason(Why.HELD, kept))
        if watched and kept <= 1 and not waits and signals.at - self._busy_at >= policy.idle_s:
            reasons.append(Reason(Why.IDLE, 0))
            return 0
        return kept


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line of least squares through the points, and its standard error."""
    if len(points) < 3:
        return 0.0, math.inf
    x_mean, y_mean = _mean([x for x, _ in points]), _mean([y for _, y in points])
    xx = sum((x - x_mean) ** 2 for x, _ in points)
    if not xx:
        return 0.0, math.inf
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / xx
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope, math.sqrt(rest / (len(points) - 2) / xx)


def floor_of(policy: ScalingPolicy, now: datetime) -> int:
    """What the schedules ask for at a moment."""
    local = now.astimezone(ZoneInfo(policy.timezone))
    return max((each.replicas for each in policy.schedules if _holds(each, local)), default=0)


def affordable(policy: ScalingPolicy) -> int | None:
    """How many replicas the budget pays; None when there is no budget."""
    if not policy.budget_hourly_nano:
        return None
    return policy.budget_hourly_nano // max(1, policy.replica_hourly_nano)


def _holds(schedule: Schedule, local: datetime) -> bool:
    time, begin, end = local.strftime("%H:%M"), schedule.from_time, schedule.until_time
    day = local
    if begin < end:
        inside = begin <= time < end
    else:
        inside = time >= begin or time < end
        if time < end:
            day = local - DAY
    return inside and (not schedule.days or day.weekday() in schedule.days)


def _bounded(policy: ScalingPolicy, now: datetime, wanted: int, reasons: list[Reason]) -> int:
    """The number within floors and ceilings: the budget stands above floors but that of `critical`, the maximum above all."""
    number = wanted
    # What a schedule asks for is to be ready when it begins.
    soon = now + timedelta(seconds=policy.start_s)
    scheduled = max(floor_of(policy, now), floor_of(policy, soon))
    for why, floor in ((Why.MINIMUM, policy.minimum), (Why.SCHEDULE, scheduled)):
        if number < floor:
            number = floor
            reasons.append(Reason(why, floor))
    paid = affordable(policy)
    if paid is not None and number > paid:
        number = paid
        reasons.append(Reason(Why.BUDGET, paid))
    if number < policy.critical_floor:
        number = policy.critical_floor
        reasons.append(Reason(Why.CRITICAL, number))
    if number > policy.maximum:
        number = policy.maximum
        reasons.append(Reason(Why.MAXIMUM, number))
    return number


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
