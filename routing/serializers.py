"""Shapes of the REST API of routing."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inference.types import MODEL_ID_LENGTH
from routing.explanations import Explained, ReplicaStanding
from substrate.rest import StrictSerializer
from tenants.types import PriorityClass

STANDINGS = [each.value for each in ReplicaStanding]
PRIORITIES = [each.value for each in PriorityClass]
ROLES = ("system", "developer", "user", "assistant", "tool")
# A question about a call is no way to send megabytes.
LONGEST_TEXT = 1_000_000
MOST_MESSAGES = 1_000
LONGEST_ANSWER = 10_000_000


class AskedMessage(StrictSerializer):
    """One message of the call that is asked about."""

    role = serializers.ChoiceField(ROLES)
    content = serializers.CharField(
        max_length=LONGEST_TEXT, allow_blank=True, trim_whitespace=False, help_text="its text"
    )


class ExplainInput(StrictSerializer):
    """A chat call as `/v1/chat/completions` takes it; nothing of it is executed."""

    model = serializers.CharField(max_length=MODEL_ID_LENGTH, help_text="a model's id, or `auto`")
    messages = serializers.ListField(child=AskedMessage(), min_length=1, max_length=MOST_MESSAGES)
    max_tokens = serializers.IntegerField(min_value=0, max_value=LONGEST_ANSWER, required=False)
    priority = serializers.ChoiceField(PRIORITIES, required=False)


class TermsOutput(serializers.Serializer[Any]):
    """The terms of a replica's score, in seconds: together with what is in flight before the call they are its cost."""

    cached_tokens = serializers.IntegerField(help_text="of the prompt, which its cache should hold")
    uncached_tokens = serializers.IntegerField()
    prefill_tps = serializers.FloatField(help_text="uncached prompt tokens that it reads in a second")
    read_s = serializers.FloatField(help_text="the reading of the uncached tokens")
    load_s = serializers.FloatField(help_text="calls of this process that are answered beside it")
    standing_s = serializers.FloatField(help_text="pressure on the engine's cache, and distance")
    stranger_s = serializers.FloatField(help_text="for a new conversation that belongs to another replica")
    trial_s = serializers.FloatField(help_text="for a replica that was left alone just now")


class ReplicaExplainedOutput(serializers.Serializer[Any]):
    """One replica for the call."""

    id = serializers.CharField()
    region = serializers.CharField()
    standing = serializers.ChoiceField(STANDINGS)
    why = serializers.CharField(help_text="why it is not to be used, else empty")
    running = serializers.IntegerField()
    max_concurrency = serializers.IntegerField()
    tokens_in_flight = serializers.IntegerField(help_text="uncached prompt tokens that are read before it")
    ahead_s = serializers.FloatField(help_text="the reading of the tokens in flight")
    cost_s = serializers.FloatField(help_text="all terms together: the smallest wins")
    speed_learned = serializers.BooleanField(help_text="false while its speed is only supposed")
    terms = TermsOutput()


class CandidateOutput(serializers.Serializer[Any]):
    """One pool that may answer, in the order they are tried."""

    model = serializers.CharField()
    pool = serializers.CharField()
    reason = serializers.CharField()
    chosen = serializers.CharField(
        help_text="the replica that the call would go to; empty when it would wait"
    )
    waiting = serializers.IntegerField()
    expected_wait_s = serializers.FloatField(allow_null=True)
    replicas = ReplicaExplainedOutput(many=True)


class LeftOutOutput(serializers.Serializer[Any]):
    """A model that is not thought of for the call."""

    model = serializers.CharField()
    why = serializers.ChoiceField(("kind", "context", "built_in", "rules"))


class ExplainedOutput(serializers.Serializer[Any]):
    """Where the call would go now, by what the answering process knows."""

    model = serializers.CharField()
    prompt_tokens = serializers.IntegerField(help_text="estimated")
    prefix_blocks = serializers.IntegerField(help_text="blocks of 256 characters that caches are matched by")
    priority = serializers.ChoiceField(PRIORITIES)
    chosen = serializers.CharField(help_text="the replica; empty when the call would wait")
    expected_wait_s = serializers.FloatField(allow_null=True)
    longest_wait_s = serializers.FloatField(help_text="after which it would be refused")
    candidates = CandidateOutput(many=True)
    left_out = serializers.SerializerMethodField()

    @extend_schema_field(LeftOutOutput(many=True))
    def get_left_out(self, explained: Explained) -> list[dict[str, str]]:
        """Models that `auto` does not think of for the call."""
        return [{"model": model, "why": why} for model, why in explained.left_out]
