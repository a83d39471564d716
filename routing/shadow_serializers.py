"""Shapes of `/routing/shadows`."""

from typing import Any

from rest_framework import serializers


class SpreadOutput(serializers.Serializer[Any]):
    """Milliseconds, without the wait for a slot."""

    p50 = serializers.IntegerField(allow_null=True)
    p95 = serializers.IntegerField(allow_null=True)


class EstimateOutput(serializers.Serializer[Any]):
    """A mean or a share of `count`, and where it lies with 95 %."""

    value = serializers.FloatField()
    low = serializers.FloatField(
        allow_null=True, help_text="null where there are too few pairs for any bounds"
    )
    high = serializers.FloatField(allow_null=True)
    count = serializers.IntegerField()


class SideOutput(serializers.Serializer[Any]):
    """How one of the two models answered the calls that were compared."""

    first_ms = SpreadOutput(help_text="to the first token, of streams")
    total_ms = SpreadOutput()
    prompt_tokens = serializers.FloatField(help_text="mean")
    completion_tokens = serializers.FloatField(help_text="mean")
    cost_nano = serializers.IntegerField(help_text="mean, in billionths")
    ends = serializers.DictField(child=serializers.IntegerField(), help_text="answers by finish reason")


class ComparisonStepOutput(serializers.Serializer[Any]):
    """A step of the range: medians of the whole time, and the mean agreement."""

    start = serializers.DateTimeField()
    compared = serializers.IntegerField()
    answered_ms = serializers.IntegerField(allow_null=True)
    copied_ms = serializers.IntegerField(allow_null=True)
    agreement = serializers.FloatField(allow_null=True)


class ComparisonOutput(serializers.Serializer[Any]):
    """`model`, which answered, beside `shadow`, which was asked in copy. Differences are the copy's less the answer's."""

    model = serializers.CharField()
    shadow = serializers.CharField()
    percent = serializers.IntegerField(
        allow_null=True, help_text="as the policy says now; null: no longer copied"
    )
    compared = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="copies that an engine did not answer")
    dropped = serializers.IntegerField(help_text="copies that never reached an engine")
    causes = serializers.DictField(
        child=serializers.IntegerField(), help_text="copies without an answer, by why"
    )
    answered = SideOutput()
    copied = SideOutput()
    first_ms = EstimateOutput(allow_null=True)
    total_ms = EstimateOutput(allow_null=True)
    cost_nano = EstimateOutput(allow_null=True)
    failures = EstimateOutput(allow_null=True, help_text="share of the copies that reached an engine")
    agreement = EstimateOutput(allow_null=True, help_text="token F1 of the two texts, 0 to 1")
    same = EstimateOutput(allow_null=True, help_text="share of the texts that are the same word by word")
    steps = ComparisonStepOutput(many=True)


class ComparedOutput(serializers.Serializer[Any]):
    """What copies have shown over a range of time."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    step_s = serializers.IntegerField()
    pairs = serializers.IntegerField(help_text="calls that were looked at")
    whole = serializers.BooleanField(help_text="false: there were more, and these are the newest")
    results = ComparisonOutput(many=True)
