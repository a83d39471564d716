"""How many replicas a pool should have. Pure: who drives it tells what is seen and what time it is.

The measure is work in tokens, and what a replica does of it is learned. In a replica with n calls at once each call takes
h(n) = a + b·n seconds, so that it does n / h(n) calls' tokens a second (Little's law); a and b are a line through what was
seen of late (`pace`). Let D be the tokens that come in a second, served, waiting or refused, Q those that wait:

    demand  = D / (what a replica does with the calls that it should have)
    backlog = (D + Q / drain) / (what it does when full)      the queue, to be gone within `drain` seconds
    need    = the larger of both

The queue counts by the time that it takes, not by its size: one that has grown while replicas were on their way is no
reason for a hundred more. Demand that rises steadily is met where it will be when a replica that is started now is ready.
Replicas on their way count as there. A pool that wakes gets at once what those need who will wait when its first replica
is ready (`awakening`).

Fast up: what is needed now is asked for at once. Slow down: only what nothing has needed for a while is stopped, with
room to spare, so that one load makes no replica come and go (`holding`).
"""

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from routing.awakening import Awakening
from routing.holding import Holding
from routing.pace import Load
from routing.scaling_types import Decision, Reason, ScalingPolicy, Schedule, Signals, Why

# A replica is well used when so much of its slots is.
TARGET_USE = 0.6
# No more is expected than so many times what comes now.
MOST_TREND = 1.5
# Above its promise a pool gets more at once, at most so many times; from here on it gets no less.
SLO_CALM = 0.8
MOST_SLO = 1.5
# After a change, calls that were slow before it are still among those that are measured.
SETTLE_S = 60.0
DAY = timedelta(days=1)


class PoolScaler:
    """The memory that decisions about one pool rest on: what the last minutes were like, and how fast replicas are."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.load = Load()
        self._waking = Awakening()
        self._holding = Holding()
        self._began: float | None = None
        self._busy_at = 0.0
        self._changed_at = -math.inf
        self._replicas = (-1, -1)

    def decide(self, policy: ScalingPolicy, signals: Signals) -> Decision:
        """How many replicas there should be. To be asked every few seconds."""
        at = signals.at
        if self._began is None:
            self._began = self._busy_at = at
        if signals.running or signals.waiting or signals.woken:
            self._busy_at = at
        if self._replicas != (signals.ready, signals.provisioned):
            self._replicas, self._changed_at = (signals.ready, signals.provisioned), at
        self._look(policy, signals)
        need, reasons = self._need(policy, signals)
        self._holding.note(policy, at, need, reasons[0].replicas if reasons else 0.0)
        wanted = self._wanted(policy, signals, need, reasons)
        desired = _bounded(policy, signals.now, wanted, reasons)
        self._holding.changed(policy, at, desired - signals.provisioned)
        return Decision(desired, signals.provisioned, signals.ready, round(need, 3), tuple(reasons))

    def _look(self, policy: ScalingPolicy, signals: Signals) -> None:
        woke = self._waking.follow(policy, signals, most=TARGET_USE * signals.slots)
        guessed = not self.load.pace.known
        self.load.look(signals, steady=not self._waking.on)
        if woke or (guessed and self.load.pace.known):
            # What the crowd needed it has had; and what was reckoned by slots alone counts no more.
            self._holding.forget()

    def _need(self, policy: ScalingPolicy, signals: Signals) -> tuple[float, list[Reason]]:
        """What the work asks for, in replicas, and what spoke for it, the last one deciding."""
        calls, work, pace, slots = (
            signals.running + signals.waiting,
            signals.work,
            self.load.pace,
            signals.slots,
        )
        tokens = (work.running + work.waiting) / calls if calls else 0.0
        target = TARGET_USE * slots
        if policy.tokens_per_replica and tokens:
            target = min(float(slots), max(1.0, policy.tokens_per_replica / tokens))
        crowd = self._waking.crowd(policy, signals, self.load)
        if not pace.known or not tokens:
            # How fast replicas are is known when the first one has answered: until then, by their slots. So a crowd at a
            # pool that has never answered is not all left to the first replica, which learned its pace overfull.
            need = crowd / slots if crowd else calls / target
            return need, [Reason(Why.WAKE if crowd else Why.DEMAND, round(need, 3))] if need else []
        best = target * tokens / pace.seconds(target, slots)
        full = max(best, slots * tokens / pace.seconds(slots, slots))
        demand = self.load.rate()
        trend = min(self.load.slope() * policy.start_s, demand * (MOST_TREND - 1))
        # While none is ready the queue grows until one is.
        queue = work.waiting + (0 if signals.ready or crowd else demand * policy.start_s)
        parts = [Reason(Why.DEMAND, demand / best)]
        if trend > 0:
            parts.append(Reason(Why.TREND, (demand + trend) / best))
        backlog = (demand + queue / policy.drain_s) / full
        if backlog > parts[-1].replicas:
            parts.append(Reason(Why.BACKLOG, backlog))
        waking = crowd / slots / self._waking.turns(policy, pace.seconds(slots, slots))
        if waking > parts[-1].replicas:
            parts.append(Reason(Why.WAKE, waking))
        promised = self._promised(signals)
        if promised > parts[-1].replicas:
            parts.append(Reason(Why.SLO, promised))
        return parts[-1].replicas, [Reason(each.why, round(each.replicas, 3)) for each in parts]

    def _promised(self, signals: Signals) -> float:
        """What a broken promise asks for, when all replicas are there and what is measured came since."""
        ratio = max(signals.ttft_ratio, signals.tpot_ratio)
        since = max(self._changed_at, self._waking.over_at) + SETTLE_S
        if ratio <= 1 or signals.ready < signals.provisioned or signals.at < since:
            return 0.0
        return signals.ready * min(ratio, MOST_SLO)

    def _wanted(self, policy: ScalingPolicy, signals: Signals, need: float, reasons: list[Reason]) -> int:
        """The number before floors and ceilings: more at once, less when nothing has needed it for long enough."""
        there, at = signals.provisioned, signals.at
        now = math.ceil(need - self._holding.slack(policy, at))
        if now > there:
            return now
        waits = signals.waiting or signals.running or signals.woken
        if waits and there == 0:
            reasons.append(Reason(Why.WAKE, 1))
            return 1
        watched = at - (self._began or 0.0) >= policy.down_after_s
        idle_s = at - self._busy_at
        kept = there
        if watched and max(signals.ttft_ratio, signals.tpot_ratio) <= SLO_CALM:
            kept = self._holding.kept(policy, at, there, idle_s)
        if kept > max(1, now):
            reasons.append(Reason(Why.HELD, kept))
        if watched and kept <= 1 and not waits and idle_s >= policy.idle_s:
            reasons.append(Reason(Why.IDLE, 0))
            return 0
        return kept


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
