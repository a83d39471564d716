"""Shapes of `/usage`."""

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from substrate.rest import StrictSerializer
from tenants.types import UsageGroup, UsageTotals

GROUP_NAMES = ["day", "hour", "model", "user", "key", "assistant", "origin", "tenant"]
FORMATS = ["json", "csv", "jsonl"]
FILTERS = ("model", "user", "key", "assistant", "origin", "tenant")
LONGEST_RANGE = timedelta(days=366)
FIRST_DAY = date(2020, 1, 1)
LAST_DAY = date(2200, 1, 1)
LONGEST_ZONE = 64
NANO = 1_000_000_000
COLUMNS = (
    "group", "label", "requests", "completed", "cancelled", "failed", "prompt_tokens", "completion_tokens", "cost",
    "cost_nano", "first_token_p50_ms", "first_token_p95_ms", "total_p50_ms", "total_p95_ms",
)  # fmt: skip


class UsageQuery(StrictSerializer):
    """What usage to sum. Both days are included."""

    group_by = serializers.ChoiceField(GROUP_NAMES, required=False)
    to = serializers.DateField(required=False)
    tz = serializers.CharField(required=False, max_length=LONGEST_ZONE)
    scope = serializers.ChoiceField(["tenant", "platform"], required=False)
    mine = serializers.BooleanField(required=False)
    format = serializers.ChoiceField(FORMATS, required=False)
    model = serializers.CharField(required=False, max_length=255)
    user = serializers.UUIDField(required=False)
    key = serializers.UUIDField(required=False)
    assistant = serializers.CharField(required=False, max_length=255)
    origin = serializers.CharField(required=False, max_length=64)
    tenant = serializers.UUIDField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a word of the language, so it cannot be an attribute."""
        return {**super().get_fields(), "from": serializers.DateField(required=False)}

    def validate_tz(self, value: str) -> ZoneInfo:
        """A zone of the IANA database."""
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise serializers.ValidationError("Give a time zone as Europe/Berlin.") from error

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The range is in order and not longer than a year."""
        first, last = attrs.get("from"), attrs.get("to")
        for name, day in (("from", first), ("to", last)):
            if day is not None and not FIRST_DAY <= day <= LAST_DAY:
                raise serializers.ValidationError({name: [f"Give a day from {FIRST_DAY} to {LAST_DAY}."]})
        if first is not None and last is not None and not first <= last <= first + LONGEST_RANGE:
            raise serializers.ValidationError({"from": ["The range must be in order, and a year at most."]})
        return attrs


class CallStatesOutput(serializers.Serializer[Any]):
    """Calls by how they ended."""

    completed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    failed = serializers.IntegerField()


class PercentilesOutput(serializers.Serializer[Any]):
    """Milliseconds, within 5 %; null where nothing was measured, or where too much was to be told at once."""

    p50 = serializers.IntegerField(allow_null=True)
    p95 = serializers.IntegerField(allow_null=True)


class UsageTotalsOutput(serializers.Serializer[Any]):
    """Usage summed. `cost` is a decimal, `cost_nano` the same in billionths of the installation's currency unit."""

    requests = serializers.IntegerField()
    states = serializers.SerializerMethodField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost = serializers.SerializerMethodField()
    cost_nano = serializers.IntegerField()
    first_token_ms = PercentilesOutput(source="first_token")
    total_ms = PercentilesOutput(source="total")

    @extend_schema_field(CallStatesOutput)
    def get_states(self, usage: UsageTotals) -> dict[str, int]:
        """Calls by how they ended."""
        return {"completed": usage.completed, "cancelled": usage.cancelled, "failed": usage.failed}

    def get_cost(self, usage: UsageTotals) -> str:
        """Money as a decimal string, nine places."""
        return decimal(usage.cost_nano)


class UsageSumOutput(UsageTotalsOutput):
    """Usage of one day, hour, model, user, key, assistant, origin or tenant.

    `slow` is told of tenants: the p95 of the time to the first token is at least twice that of the tenant in the middle,
    and half a second.
    """

    group = serializers.CharField(allow_blank=True)
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    slow = serializers.BooleanField()

    def to_representation(self, instance: UsageGroup) -> dict[str, Any]:
        """The group's name before its sums."""
        sums = UsageTotalsOutput(instance.totals).data
        return {"group": instance.group, "label": instance.label, "slow": instance.slow, **sums}


class UsageReportOutput(serializers.Serializer[Any]):
    """Usage of a range of days. `totals` are of all groups; `more` when there are more groups than `results`."""

    results = UsageSumOutput(many=True, source="groups")
    totals = UsageTotalsOutput()
    more = serializers.BooleanField()
    next = serializers.SerializerMethodField()
    previous = serializers.SerializerMethodField()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_next(self, report: object) -> None:
        """There is one page."""

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_previous(self, report: object) -> None:
        """There is one page."""


def decimal(nano: int) -> str:
    """Billionths as a decimal with nine places."""
    whole, rest = divmod(nano, NANO)
    return f"{whole}.{rest:09d}"


def flat(group: UsageGroup) -> dict[str, Any]:
    """One row of a file, by `COLUMNS`."""
    totals = group.totals
    return {
        "group": group.group,
        "label": group.label,
        "requests": totals.requests,
        "completed": totals.completed,
        "cancelled": totals.cancelled,
        "failed": totals.failed,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "cost": decimal(totals.cost_nano),
        "cost_nano": totals.cost_nano,
        "first_token_p50_ms": totals.first_token.p50,
        "first_token_p95_ms": totals.first_token.p95,
        "total_p50_ms": totals.total.p50,
        "total_p95_ms": totals.total.p95,
    }
