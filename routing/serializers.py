"""Shapes of the REST API of routing."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inference.types import MODEL_ID_LENGTH
from routing.choice_types import (
    LONGEST_CHAIN,
    MAX_HELD_TOKENS,
    MIN_HELD_TOKENS,
    MOST_IN_LIST,
    MOST_TOKENS,
    RULE_NAME_LENGTH,
    CacheUse,
    PolicyPart,
    Task,
    Use,
)
from routing.choosing import By
from routing.examples import EXAMPLE_LENGTH, MOST_EXAMPLES
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
USES = [each.value for each in Use]
TASKS = [each.value for each in Task]
DECIDERS = [each.value for each in By]
PASSED = ("off", "assistant", "group", "task", "prompt_length", "time", "no_model")
CACHE_USES = [each.value for each in CacheUse]
SAID_BY = ("key", "tenant", "nobody")
DECIDED_BY = ("tenant", "platform", "nobody")
PARTS = [each.value for each in PolicyPart]
TIME = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z"


def model_id() -> serializers.CharField:
    """A name of a model or an assistant in a list."""
    return serializers.CharField(max_length=MODEL_ID_LENGTH)


class AskedMessage(StrictSerializer):
    """One message of the call that is asked about."""

    role = serializers.ChoiceField(ROLES)
    content = serializers.CharField(
        max_length=LONGEST_TEXT, allow_blank=True, trim_whitespace=False, help_text="its text"
    )


class RuleShape(StrictSerializer):
    """One rule for calls of `auto`: all of its conditions must hold; one that is empty holds always."""

    name = serializers.CharField(max_length=RULE_NAME_LENGTH)
    use = serializers.ChoiceField(USES, help_text="a tier, or `models` by name")
    models = serializers.ListField(child=model_id(), max_length=MOST_IN_LIST, default=list)
    strict = serializers.BooleanField(default=False, help_text="no other model may answer in their place")
    enabled = serializers.BooleanField(default=True)
    assistants = serializers.ListField(
        child=model_id(), max_length=MOST_IN_LIST, default=list, help_text="slugs"
    )
    groups = serializers.ListField(
        child=serializers.CharField(max_length=MODEL_ID_LENGTH),
        max_length=MOST_IN_LIST,
        default=list,
        help_text="ids of groups",
    )
    tasks = serializers.ListField(child=serializers.ChoiceField(TASKS), max_length=len(TASKS), default=list)
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6),
        max_length=7,
        default=list,
        help_text="0 is Monday",
    )
    from_time = serializers.RegexField(
        TIME, allow_blank=True, default="", help_text="as 22:00, of the tenant's calendar"
    )
    until_time = serializers.RegexField(TIME, allow_blank=True, default="")
    min_tokens = serializers.IntegerField(min_value=0, max_value=MOST_TOKENS, default=0)
    max_tokens = serializers.IntegerField(
        min_value=0, max_value=MOST_TOKENS, default=0, help_text="of the whole prompt; 0: no bound"
    )


class ChainShape(StrictSerializer):
    """Who answers in place of `model`, in this order, when it cannot, or when the prompt is too long for it."""

    model = serializers.CharField(max_length=MODEL_ID_LENGTH)
    then = serializers.ListField(child=model_id(), min_length=1, max_length=LONGEST_CHAIN)


class CanaryShape(StrictSerializer):
    """So many percent of the conversations of `model` are answered by `to`."""

    model = serializers.CharField(max_length=MODEL_ID_LENGTH)
    to = serializers.CharField(max_length=MODEL_ID_LENGTH)
    percent = serializers.IntegerField(min_value=1, max_value=99)


class ShadowShape(StrictSerializer):
    """So many percent of the calls that `model` has answered are asked of `to` as well, to compare both."""

    model = serializers.CharField(max_length=MODEL_ID_LENGTH)
    to = serializers.CharField(max_length=MODEL_ID_LENGTH, help_text="nobody is shown what it says")
    percent = serializers.IntegerField(min_value=1, max_value=100)


class KeyCachingShape(StrictSerializer):
    """What is said for the calls of one key."""

    key = serializers.CharField(max_length=MODEL_ID_LENGTH, help_text="its id")
    use = serializers.ChoiceField(CACHE_USES)


class CachingShape(StrictSerializer):
    """What becomes of answers that could be given again; what is said of a key stands before what is said of all."""

    use = serializers.ChoiceField(
        CACHE_USES,
        default=CacheUse.ASKED.value,
        help_text="`asked`: of calls that ask for it or are the same each time; `always`: of every call whose model "
        "allows it; `never`: of none, an assistant's neither",
    )
    keys = KeyCachingShape(many=True, default=list)


class CascadeShape(StrictSerializer):
    """A light model answers `auto` first; when it is not sure of how it begins, a heavy one answers instead."""

    tokens = serializers.IntegerField(
        min_value=MIN_HELD_TOKENS,
        max_value=MAX_HELD_TOKENS,
        default=16,
        help_text="by so many tokens it is told how sure it is; they are held so long",
    )
    below_percent = serializers.IntegerField(
        min_value=1,
        max_value=99,
        default=50,
        help_text="not sure is below this geometric mean of the tokens' probabilities",
    )
    escalate_percent = serializers.IntegerField(
        min_value=1,
        max_value=99,
        allow_null=True,
        default=None,
        help_text="in place of `below_percent`: the least sure so many percent of the tenant's own calls",
    )


class ExamplesShape(StrictSerializer):
    """Questions that are easy, and questions that are hard: complexity is judged by them beside the words."""

    easy = serializers.ListField(
        child=serializers.CharField(max_length=EXAMPLE_LENGTH), max_length=MOST_EXAMPLES, default=list
    )
    hard = serializers.ListField(
        child=serializers.CharField(max_length=EXAMPLE_LENGTH), max_length=MOST_EXAMPLES, default=list
    )


class DefaultShape(StrictSerializer):
    """What the platform says of which model answers, for tenants that say nothing themselves."""

    rules = RuleShape(many=True, default=list)
    heavy_percent = serializers.IntegerField(min_value=0, max_value=100, allow_null=True, default=None)
    cascade = CascadeShape(allow_null=True, default=None)
    examples = ExamplesShape(default=dict)


class DefaultOutput(DefaultShape):
    """What the platform says now."""

    examples_in_use = serializers.BooleanField(
        help_text="whether the examples are compared: false when another embedder has come since they were saved"
    )
    updated_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class PolicyShape(StrictSerializer):
    """What the tenant says of which model answers."""

    rules = RuleShape(many=True, default=list)
    heavy_percent = serializers.IntegerField(
        min_value=0,
        max_value=100,
        allow_null=True,
        default=None,
        help_text="share of the `auto` calls without a rule that a heavy model answers, the most complex ones; "
        "null: the light tier first, always",
    )
    auto_models = serializers.ListField(
        child=model_id(),
        max_length=MOST_IN_LIST,
        default=list,
        help_text="what `auto` may choose; empty: every model that the caller may use",
    )
    chains = ChainShape(many=True, default=list)
    canaries = CanaryShape(many=True, default=list)
    caching = CachingShape(default=dict)
    cascade = CascadeShape(allow_null=True, default=None)
    shadows = ShadowShape(many=True, default=list)
    examples = ExamplesShape(default=dict)
    declines = serializers.ListField(
        child=serializers.ChoiceField(PARTS),
        max_length=len(PARTS),
        default=list,
        help_text="parts in which the platform's default does not hold though nothing is said here",
    )


class PolicyOutput(PolicyShape):
    """What the tenant says; where it says nothing, `platform` holds."""

    platform = DefaultShape(help_text="what operators say for all tenants")
    examples_in_use = serializers.BooleanField(
        help_text="whether examples are compared: false without any, or when another embedder has come since they were saved"
    )
    updated_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class RulesShape(StrictSerializer):
    """The rules alone, in their order."""

    rules = RuleShape(many=True)


class RulesOutput(RulesShape):
    """The rules of the tenant's policy, and its version."""

    updated_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class ExplainInput(StrictSerializer):
    """A chat call as `/v1/chat/completions` takes it; nothing of it is executed.

    `assistant`, `groups` and `at` are what rules may ask of a call. `policy` stands in for the one in force: it is tried
    and not stored, which needs `routing.write`.
    """

    model = serializers.CharField(max_length=MODEL_ID_LENGTH, help_text="a model's id, or `auto`")
    messages = serializers.ListField(child=AskedMessage(), min_length=1, max_length=MOST_MESSAGES)
    max_tokens = serializers.IntegerField(min_value=0, max_value=LONGEST_ANSWER, required=False)
    priority = serializers.ChoiceField(PRIORITIES, required=False)
    assistant = serializers.CharField(max_length=MODEL_ID_LENGTH, required=False, allow_blank=True)
    groups = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=MOST_IN_LIST, help_text="ids of groups"
    )
    at = serializers.DateTimeField(required=False)
    api_key = serializers.UUIDField(
        required=False, help_text="id of the key whose call it would be; counts for `caching` alone"
    )
    policy = PolicyShape(required=False)


class PassedOutput(serializers.Serializer[Any]):
    """A rule that did not decide."""

    rule = serializers.CharField()
    why = serializers.ChoiceField(
        PASSED, help_text="its first condition that does not hold; `no_model`: none of its models can answer"
    )


class LikenessOutput(serializers.Serializer[Any]):
    """What examples said of the question; null where there are none, or complexity did not decide."""

    evidence = serializers.FloatField(help_text="in logits; above 0 it is more like the hard ones")
    easy = serializers.CharField(help_text="the nearest easy example")
    hard = serializers.CharField(help_text="the nearest hard example")


class ChoiceOutput(serializers.Serializer[Any]):
    """What decided which model comes first."""

    by = serializers.ChoiceField(DECIDERS)
    rule = serializers.CharField(help_text="the rule that decided, else empty")
    tier = serializers.CharField(help_text="of the first candidate")
    task = serializers.ChoiceField(TASKS, help_text="by the words of what is asked")
    complexity = serializers.FloatField(help_text="0 to 1")
    threshold = serializers.FloatField(allow_null=True, help_text="where heavy begins, if that decided")
    heavy_percent = serializers.IntegerField(allow_null=True)
    passed = PassedOutput(many=True)
    said_by = serializers.ChoiceField(DECIDED_BY, help_text="whose rule or share decided")
    likeness = LikenessOutput(allow_null=True)


class CachingOutput(serializers.Serializer[Any]):
    """What becomes of an answer that could be given again, and who said so."""

    use = serializers.ChoiceField(CACHE_USES)
    said_by = serializers.ChoiceField(SAID_BY)


class CascadeOutput(serializers.Serializer[Any]):
    """That the call would be answered in two steps: which models, and below which confidence the second one is asked."""

    light = serializers.CharField()
    heavy = serializers.CharField()
    tokens = serializers.IntegerField(help_text="held until it is known how sure the light model is")
    below = serializers.FloatField(help_text="0 to 1, as it is now")
    escalate_percent = serializers.IntegerField(allow_null=True)


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
    why = serializers.ChoiceField(("kind", "takes", "context", "built_in", "rules"))


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
    choice = ChoiceOutput()
    caching = CachingOutput()
    cascade = CascadeOutput(allow_null=True)
    left_out = serializers.SerializerMethodField()

    @extend_schema_field(LeftOutOutput(many=True))
    def get_left_out(self, explained: Explained) -> list[dict[str, str]]:
        """Models that `auto` does not think of for the call."""
        return [{"model": model, "why": why} for model, why in explained.left_out]
