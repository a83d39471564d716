"""What an operator says of how many replicas a pool has, what is seen of the pool, and what is decided from both.

A policy is one document, replaced as a whole and read strictly, as those of `choice_types`. Money is in nano-units.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from kernel.errors import BadInput
from routing.types import PoolWork

MOST_REPLICAS = 1_000
MOST_SCHEDULES = 20
# What a JSON number holds exactly in a browser.
MOST_NANO = 9 * 10**15

Replicas = Annotated[int, Meta(ge=0, le=MOST_REPLICAS)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]
Nano = Annotated[int, Meta(ge=0, le=MOST_NANO)]
Weekday = Annotated[int, Meta(ge=0, le=6)]
DayTime = Annotated[str, Meta(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")]


class ScalingMode(StrEnum):
    """Nothing is decided; decided and written down; also done."""

    OFF = "off"
    DRY_RUN = "dry_run"
    ON = "on"


class Schedule(Struct, frozen=True, forbid_unknown_fields=True):
    """At least `replicas` on these `days` (0 is Monday; none: every day), from one time of the policy's calendar until
    another; over midnight, as part of the day on which it began, when the first is later.
    """

    from_time: DayTime
    until_time: DayTime
    replicas: Replicas
    days: Annotated[tuple[Weekday, ...], Meta(max_length=7)] = ()


class ScalingPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """How many replicas a pool has.

    `minimum` 0 lets the pool sleep after `idle_s` without a call. A call that comes while no replica is in service is held
    for one, for `wake_s` at most. `critical_floor` stays whatever the budget says, for
    the class `critical`. `tokens_per_replica` is how many tokens one replica should have in its running calls; 0: as
    many as 60 % of its slots hold. `ttft_ms` and `tpot_ms` are promised; 0 promises
    nothing. A backlog is to be gone within `drain_s`. A replica needs `start_s` until it is ready, as long as
    nobody has measured it. It must have been too much for `down_after_s` before it is stopped. `replica_hourly_nano` is
    what a replica costs in an hour, `budget_hourly_nano` what all may; 0: no budget.
    """

    mode: ScalingMode = ScalingMode.OFF
    minimum: Replicas = 1
    maximum: Annotated[int, Meta(ge=1, le=MOST_REPLICAS)] = 1
    critical_floor: Replicas = 0
    tokens_per_replica: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    ttft_ms: Milliseconds = 0
    tpot_ms: Milliseconds = 0
    drain_s: Annotated[int, Meta(ge=5, le=3_600)] = 60
    start_s: Annotated[int, Meta(ge=1, le=3_600)] = 120
    down_after_s: Annotated[int, Meta(ge=30, le=7_200)] = 300
    idle_s: Annotated[int, Meta(ge=30, le=86_400)] = 900
    wake_s: Annotated[int, Meta(ge=5, le=3_600)] = 120
    replica_hourly_nano: Nano = 0
    budget_hourly_nano: Nano = 0
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    schedules: Annotated[tuple[Schedule, ...], Meta(max_length=MOST_SCHEDULES)] = ()

    def check(self) -> None:
        """Return when nothing in it contradicts anything else. Raises BadInput, which names the field."""
        if self.minimum > self.maximum:
            raise BadInput("The minimum is above the maximum.", param="minimum")
        if self.critical_floor > self.maximum:
            raise BadInput("The floor of `critical` is above the maximum.", param="critical_floor")
        if any(each.replicas > self.maximum for each in self.schedules):
            raise BadInput("A schedule asks for more than the maximum.", param="schedules")
        if any(each.from_time == each.until_time for each in self.schedules):
            raise BadInput("A schedule begins and ends at the same time.", param="schedules")
        if self.budget_hourly_nano and not self.replica_hourly_nano:
            raise BadInput("A budget needs the price of a replica.", param="replica_hourly_nano")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadInput("There is no such time zone.", param="timezone") from error


class Wakefulness(StrEnum):
    """Replicas are in service (or are nobody's to start); none is, until a call comes; none is yet, and one is started."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    WAKING = "waking"


class ScalingView(Struct, frozen=True):
    """A policy as operators see it; `updated_at` is None before it was ever set.

    `starts_in_s` is how long the pool took to wake the last times, None before the first.
    """

    policy: ScalingPolicy
    updated_at: datetime | None
    version: str
    wakefulness: Wakefulness = Wakefulness.AWAKE
    starts_in_s: float | None = None


class Signals(Struct, frozen=True):
    """What is seen of a pool at one moment.

    `at` is of a monotonic clock, in seconds, `now` of the calendar. `provisioned` replicas were asked for and are ready or
    on their way; those that drain count no more. `running` and `waiting` are calls, `work` is the same in tokens. `slots`
    is how many calls one replica takes at once. `woken`: a call came that no replica was there for, and none is yet. The ratios are TTFT and TPOT of late over their promise; 0 when unknown.
    """

    at: float
    now: datetime
    ready: int
    provisioned: int
    running: int
    waiting: int
    work: PoolWork
    slots: int
    ttft_ratio: float = 0.0
    tpot_ratio: float = 0.0
    woken: bool = False


class Sleeper(Struct, frozen=True):
    """A pool of which a replica is started when a call comes and none is there.

    A call is held for `hold_s` at most. `starts_in_s` is how long the pool took to wake the last times, None before the
    first; `waking_at` since when it is waking.
    """

    pool: str
    model: str
    region: str
    hold_s: float
    starts_in_s: float | None = None
    waking_at: datetime | None = None

    def left_s(self, now: datetime) -> float | None:
        """In how many seconds it should be there; None when nobody has measured it, or it is later than it was."""
        if self.starts_in_s is None:
            return None
        gone = (now - self.waking_at).total_seconds() if self.waking_at is not None else 0.0
        left = self.starts_in_s - max(0.0, gone)
        return left if left > 0 else None


class Why(StrEnum):
    """What spoke for a number of replicas."""

    DEMAND = "demand"
    BACKLOG = "backlog"
    TREND = "trend"
    SLO = "slo"
    WAKE = "wake"
    HELD = "held"
    IDLE = "idle"
    MINIMUM = "minimum"
    SCHEDULE = "schedule"
    CRITICAL = "critical"
    MAXIMUM = "maximum"
    BUDGET = "budget"


class Reason(Struct, frozen=True):
    """One thing that spoke for `replicas` of them (parts of one where it is a share of the work)."""

    why: Why
    replicas: float


class Decision(Struct, frozen=True):
    """How many replicas a pool should have, and why. `need` is what its work alone asks for, in replicas."""

    desired: int
    provisioned: int
    ready: int
    need: float
    reasons: tuple[Reason, ...]


def read_scaling_policy(document: object) -> ScalingPolicy:
    """The policy that a document says. Raises msgspec.ValidationError, which names the place."""
    return msgspec.convert(document, ScalingPolicy)


def written_scaling_policy(policy: ScalingPolicy) -> dict[str, object]:
    """The policy as JSON."""
    found: dict[str, object] = msgspec.to_builtins(policy)
    return found
