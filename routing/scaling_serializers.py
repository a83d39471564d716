"""Shapes of the REST API of scaling."""

from typing import Any

from rest_framework import serializers

from routing.scaling_types import MOST_NANO, MOST_REPLICAS, ScalingMode, Wakefulness, Why
from substrate.rest import StrictSerializer, ToldField

MODES = [each.value for each in ScalingMode]
TIME = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z"


def _replicas(least: int = 0, **fields: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=least, max_value=MOST_REPLICAS, **fields)


class ScheduleShape(StrictSerializer):
    """At least so many replicas at these times."""

    from_time = serializers.RegexField(TIME, help_text="as 08:00, of the policy's time zone")
    until_time = serializers.RegexField(TIME, help_text="over midnight when it is before `from_time`")
    replicas = _replicas()
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6),
        max_length=7,
        default=list,
        help_text="0 is Monday; none: every day",
    )


class ScalingShape(StrictSerializer):
    """How many replicas a pool is to have."""

    mode = serializers.ChoiceField(
        MODES, default="off", help_text="`dry_run` decides and writes down, `on` starts and stops too"
    )
    minimum = _replicas(default=1, help_text="0: the pool may sleep")
    maximum = _replicas(1, default=1)
    critical_floor = _replicas(default=0, help_text="kept for the class `critical`, whatever the budget says")
    tokens_per_replica = serializers.IntegerField(
        min_value=0,
        max_value=1_000_000_000,
        default=0,
        help_text="tokens in running calls that one replica should have; 0: as many as 60 % of its slots hold",
    )
    ttft_ms = serializers.IntegerField(
        min_value=0, max_value=600_000, default=0, help_text="promised time to the first token; 0: none"
    )
    tpot_ms = serializers.IntegerField(
        min_value=0, max_value=600_000, default=0, help_text="promised time between tokens; 0: none"
    )
    drain_s = serializers.IntegerField(
        min_value=5, max_value=3_600, default=60, help_text="a queue is to be gone within"
    )
    start_s = serializers.IntegerField(
        min_value=1, max_value=3_600, default=120, help_text="a replica needs so long until it is ready"
    )
    down_after_s = serializers.IntegerField(
        min_value=30, max_value=7_200, default=300, help_text="a replica must have been too much for so long"
    )
    idle_s = serializers.IntegerField(
        min_value=30, max_value=86_400, default=900, help_text="without a call, before the pool sleeps"
    )
    wake_s = serializers.IntegerField(
        min_value=5,
        max_value=3_600,
        default=120,
        help_text="a call that comes while no replica is in service is held for so long at most",
    )
    replica_hourly_nano = serializers.IntegerField(
        min_value=0,
        max_value=MOST_NANO,
        default=0,
        help_text="what a replica costs in an hour, in billionths",
    )
    budget_hourly_nano = serializers.IntegerField(
        min_value=0, max_value=MOST_NANO, default=0, help_text="what all may cost in an hour; 0: no budget"
    )
    timezone = serializers.CharField(max_length=64, default="UTC", help_text="of the schedules")
    schedules = ScheduleShape(many=True, default=list)


class ScalingOutput(ScalingShape):
    """What is in force."""

    can_act = serializers.BooleanField(help_text="whether this installation can start and stop replicas")
    wakefulness = serializers.ChoiceField(
        [each.value for each in Wakefulness],
        help_text="`asleep`: no replica is in service, the first call starts one; `waking`: one is being started",
    )
    starts_in_s = serializers.FloatField(
        allow_null=True, help_text="seconds from the call that woke the pool to a replica, the last times"
    )
    updated_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class ReasonOutput(serializers.Serializer[Any]):
    """One thing that spoke for so many replicas; the last one that is above the others decided."""

    why = serializers.ChoiceField([each.value for each in Why])
    replicas = serializers.FloatField()


class DecisionOutput(serializers.Serializer[Any]):
    """What was decided at one moment."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    mode = serializers.ChoiceField(MODES)
    desired = serializers.IntegerField()
    provisioned = serializers.IntegerField(help_text="in service or on their way")
    ready = serializers.IntegerField()
    need = serializers.FloatField(help_text="what the work alone asks for, in replicas")
    reasons = ReasonOutput(many=True)
    outcome = ToldField(help_text="what came of it, where that is not what was wanted")
