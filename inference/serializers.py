"""Shapes of the REST API of models, pools and replicas: what comes in is strict, what goes out is documented."""

import statistics
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inference.source_serializers import SOURCE_KINDS, SOURCE_STATES
from inference.types import (
    MAX_CACHE_SECONDS,
    MAX_CONCURRENCY,
    MAX_CONTEXT_LENGTH,
    MAX_DIMENSIONS,
    MODEL_ID_LENGTH,
    POOL_NAME_LENGTH,
    REGION_LENGTH,
    URL_LENGTH,
    EngineReport,
    LiveReplica,
    ModelKind,
    ModelState,
    PoolState,
    PriceState,
    ReplicaState,
    Tier,
)
from substrate.rest import StrictSerializer
from substrate.versions import version_of
from substrate.wording import for_reader

KINDS = [each.value for each in ModelKind]
TIERS = [each.value for each in Tier]
MODEL_STATES = [each.value for each in ModelState]
PRICE_STATES = [each.value for each in PriceState]
POOL_STATES = [each.value for each in PoolState]
REPLICA_STATES = [each.value for each in ReplicaState]
# Letters that a header and a log line carry unchanged; the services say so again, for commands.
MODEL_ID = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
REGION = r"^[A-Za-z0-9._-]*$"


def _price(*, required: bool = False) -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=12,
        decimal_places=3,
        min_value=0,
        required=required,
        help_text="per million tokens",
        error_messages={"invalid": "Give a number, with a point before its decimals: 1.5."},
    )


def _region() -> serializers.RegexField:
    return serializers.RegexField(REGION, max_length=REGION_LENGTH, allow_blank=True, required=False)


def _tenants() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=63),
        max_length=1_000,
        required=False,
        help_text="slugs of the tenants that may use a restricted model",
    )


class ModelChange(StrictSerializer):
    """What of a model may be changed."""

    tier = serializers.ChoiceField(TIERS, required=False)
    context_length = serializers.IntegerField(min_value=0, max_value=MAX_CONTEXT_LENGTH, required=False)
    dimensions = serializers.IntegerField(min_value=0, max_value=MAX_DIMENSIONS, required=False)
    input_price = _price()
    output_price = _price()
    enabled = serializers.BooleanField(required=False)
    restricted = serializers.BooleanField(required=False, help_text="only for the tenants named by `tenants`")
    tools = serializers.BooleanField(required=False, help_text="whether `auto` may give it calls with tools")
    images = serializers.BooleanField(required=False, help_text="whether `auto` may give it images")
    tenants = _tenants()
    cache_seconds = serializers.IntegerField(
        min_value=0,
        max_value=MAX_CACHE_SECONDS,
        required=False,
        help_text="for how long an answer may be given again to the same call of the same tenant; 0: never",
    )
    cached_price_percent = serializers.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        help_text="the part of the price that such an answer costs",
    )


class ModelInput(ModelChange):
    """A new model."""

    id = serializers.RegexField(MODEL_ID, max_length=MODEL_ID_LENGTH)
    kind = serializers.ChoiceField(KINDS, required=False)


class VersionedOutput(serializers.Serializer[Any]):
    """What can be edited: `version` goes back in `If-Match`."""

    version = serializers.SerializerMethodField()

    def get_version(self, view: Any) -> str:
        """The version of its last change."""
        return version_of(view.updated_at)


class ModelOutput(VersionedOutput):
    """A model. `id` is what callers put in `model`; `notice` says what its user must know, if anything.

    `tenants` are the slugs of those that may use a restricted model; only operators are shown them.
    """

    id = serializers.CharField()
    uuid = serializers.CharField()
    kind = serializers.ChoiceField(KINDS)
    tier = serializers.ChoiceField(TIERS)
    context_length = serializers.IntegerField()
    dimensions = serializers.IntegerField()
    input_price = serializers.CharField()
    output_price = serializers.CharField()
    built_in = serializers.BooleanField()
    enabled = serializers.BooleanField()
    restricted = serializers.BooleanField()
    tools = serializers.BooleanField()
    images = serializers.BooleanField()
    tenants = serializers.ListField(child=serializers.CharField())
    cache_seconds = serializers.IntegerField()
    cached_price_percent = serializers.IntegerField()
    state = serializers.ChoiceField(MODEL_STATES)
    replica_count = serializers.IntegerField()
    notice = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class PlannedPriceChange(StrictSerializer):
    """What of a planned price may be changed."""

    input_price = _price()
    output_price = _price()
    valid_from = serializers.DateTimeField(
        required=False, help_text="from when on calls that are accepted cost this; at least 10 seconds ahead"
    )


class PlannedPriceInput(StrictSerializer):
    """A price that a model shall have from a moment on."""

    model = serializers.RegexField(MODEL_ID, max_length=MODEL_ID_LENGTH)
    input_price = _price(required=True)
    output_price = _price(required=True)
    valid_from = serializers.DateTimeField(
        help_text="from when on calls that are accepted cost this; at least 10 seconds ahead"
    )


class PriceOutput(VersionedOutput):
    """What a model costs per million tokens from `valid_from` on: past, in force, or planned."""

    id = serializers.CharField()
    model = serializers.CharField()
    input_price = serializers.CharField()
    output_price = serializers.CharField()
    valid_from = serializers.DateTimeField()
    state = serializers.ChoiceField(PRICE_STATES)


class SavingOutput(serializers.Serializer[Any]):
    """What answers of a model that were given again have saved in the last 24 hours, at today's price."""

    model = serializers.CharField()
    calls = serializers.IntegerField(help_text="all calls of the model")
    given_again = serializers.IntegerField(
        help_text="those that were answered with what had been said before"
    )
    given_alike = serializers.IntegerField(
        help_text="of them those of assistants, to questions like the one before"
    )
    saved_tokens = serializers.IntegerField()
    saved_cost_nano = serializers.IntegerField(help_text="in billionths of the installation's currency unit")


class SavingsOutput(serializers.Serializer[Any]):
    """Every model whose answers may be given again, or were."""

    results = SavingOutput(many=True)


class PoolChange(StrictSerializer):
    """What of a pool may be changed."""

    region = _region()


class PoolInput(PoolChange):
    """A new pool."""

    name = serializers.RegexField(NAME, max_length=POOL_NAME_LENGTH)


class PoolOutput(VersionedOutput):
    """A pool, and how it stands now: `running` calls hold one of `slots`, `waiting` ones queue.

    `state`: all replicas that take calls are healthy (`ok`), some (`degraded`), none (`down`); all drain (`draining`),
    none are there (`empty`), or they were not looked at yet (`unknown`).
    """

    id = serializers.CharField(source="pool.id")
    name = serializers.CharField(source="pool.name")
    engine = serializers.CharField(source="pool.engine")
    region = serializers.CharField(source="pool.region")
    built_in = serializers.BooleanField(source="pool.built_in")
    models = serializers.ListField(child=serializers.CharField(), source="pool.models")
    source_kind = serializers.ChoiceField(
        SOURCE_KINDS, source="pool.source", help_text="where its replicas come from; see /pools/{id}/source"
    )
    source_state = serializers.ChoiceField(
        SOURCE_STATES, source="pool.source_state", help_text="how looking for them goes"
    )
    replica_count = serializers.IntegerField(source="pool.replica_count")
    state = serializers.ChoiceField(POOL_STATES, source="status.state")
    healthy = serializers.IntegerField(source="status.healthy")
    unhealthy = serializers.IntegerField(source="status.unhealthy")
    draining = serializers.IntegerField(source="status.draining")
    running = serializers.IntegerField(source="status.running")
    slots = serializers.IntegerField(source="status.slots")
    waiting = serializers.IntegerField(source="status.waiting")
    waiting_by_class = serializers.DictField(
        child=serializers.IntegerField(), source="status.waiting_by_class", help_text="by class of priority"
    )
    created_at = serializers.DateTimeField(source="pool.created_at")

    def get_version(self, view: Any) -> str:
        """The version of the pool's last change."""
        return version_of(view.pool.updated_at)


class ReplicaChange(StrictSerializer):
    """What of a replica may be changed. `api_key` is never shown again; empty removes it."""

    served_name = serializers.CharField(max_length=MODEL_ID_LENGTH, required=False)
    max_concurrency = serializers.IntegerField(min_value=1, max_value=MAX_CONCURRENCY, required=False)
    region = _region()
    draining = serializers.BooleanField(required=False)
    vllm = serializers.BooleanField(required=False)
    api_key = serializers.CharField(max_length=1000, allow_blank=True, write_only=True, required=False)


class ModelFacts(StrictSerializer):
    """What is said of a model when an engine is registered for it; what is left out keeps its value."""

    tier = serializers.ChoiceField(TIERS, required=False)
    context_length = serializers.IntegerField(min_value=0, max_value=MAX_CONTEXT_LENGTH, required=False)
    dimensions = serializers.IntegerField(min_value=0, max_value=MAX_DIMENSIONS, required=False)
    input_price = _price()
    output_price = _price()
    tenants = _tenants()


class ReplicaInput(ModelFacts):
    """An engine to be put into service; fields of its model that are given change the model.

    `tenants` restricts the model to those of these slugs.
    """

    model = serializers.RegexField(MODEL_ID, max_length=MODEL_ID_LENGTH)
    url = serializers.CharField(max_length=URL_LENGTH, help_text="the OpenAI base URL, ending in /v1")
    kind = serializers.ChoiceField(KINDS, required=False)
    served_name = serializers.CharField(max_length=MODEL_ID_LENGTH, required=False)
    max_concurrency = serializers.IntegerField(min_value=1, max_value=MAX_CONCURRENCY, required=False)
    region = _region()
    vllm = serializers.BooleanField(required=False)
    api_key = serializers.CharField(max_length=1000, allow_blank=True, write_only=True, required=False)


class EngineInput(ReplicaInput):
    """An engine to be put into service, with the pool and the model it makes where they are new."""

    pool = serializers.RegexField(NAME, max_length=POOL_NAME_LENGTH)


class LoadOutput(serializers.Serializer[Any]):
    """What the engine says of itself; `kv_usage` is 0–1. Tokens are counted since it began."""

    running = serializers.IntegerField()
    waiting = serializers.IntegerField()
    kv_usage = serializers.FloatField()
    made_tokens = serializers.FloatField(help_text="tokens of answers")
    prompt_tokens = serializers.FloatField(help_text="tokens of prompts, cached ones too")


class VitalsOutput(serializers.Serializer[Any]):
    """What all server processes have seen of a replica's work, of the last five minutes; null where none has."""

    prefill_tps = serializers.FloatField(allow_null=True, help_text="uncached prompt tokens read in a second")
    ttft_ms = serializers.FloatField(allow_null=True, help_text="to the first token, the median")
    ttft_p99_ms = serializers.FloatField(allow_null=True, help_text="the same, the 99th percentile")
    gap_ms = serializers.FloatField(allow_null=True, help_text="between two tokens of a stream, the median")
    gap_p99_ms = serializers.FloatField(allow_null=True, help_text="the same, the 99th percentile")
    distance_ms = serializers.FloatField(allow_null=True, help_text="of the quickest health checks")
    kv_usage = serializers.FloatField(allow_null=True, help_text="0–1, as the engine said last")
    hit_rate = serializers.FloatField(
        allow_null=True, help_text="0–1, of the engine's prefix cache since it began"
    )
    restarts = serializers.IntegerField(help_text="times that the engine was seen to begin anew")


class ReplicaOutput(VersionedOutput):
    """A replica, and how it stands now, as the process that answers sees it.

    `since` is when it last went out or came back, `last_error` why it last failed, `latency_ms` its last health check's.
    `running` calls hold one of its `max_concurrency` slots, over the whole installation; `load` is what the engine says
    of itself, null where it says nothing.
    """

    id = serializers.CharField(source="replica.id")
    pool_id = serializers.CharField(source="replica.pool_id")
    pool = serializers.CharField(source="replica.pool")
    model = serializers.CharField(source="replica.model")
    kind = serializers.ChoiceField(KINDS, source="replica.kind")
    url = serializers.CharField(source="replica.url")
    served_name = serializers.CharField(source="replica.served_name")
    max_concurrency = serializers.IntegerField(source="replica.max_concurrency")
    region = serializers.CharField(source="replica.region")
    draining = serializers.BooleanField(source="replica.draining")
    vllm = serializers.BooleanField(source="replica.vllm")
    built_in = serializers.BooleanField(source="replica.built_in")
    has_api_key = serializers.BooleanField(source="replica.has_api_key")
    origin = serializers.ChoiceField(
        SOURCE_KINDS,
        source="replica.origin",
        help_text="which kind of source found it; `static`: somebody registered it",
    )
    vanished_at = serializers.DateTimeField(
        source="replica.vanished_at",
        allow_null=True,
        help_text="since when its source names it no more; it drains, and is removed when its calls have ended",
    )
    state = serializers.ChoiceField(REPLICA_STATES)
    available = serializers.SerializerMethodField()
    since = serializers.SerializerMethodField()
    checked_at = serializers.SerializerMethodField()
    latency_ms = serializers.SerializerMethodField()
    last_error = serializers.SerializerMethodField()
    last_error_at = serializers.SerializerMethodField()
    running = serializers.IntegerField()
    tokens_in_flight = serializers.IntegerField(help_text="uncached prompt tokens that are being read there")
    load = LoadOutput(allow_null=True)
    vitals = VitalsOutput(allow_null=True)
    left_alone = serializers.SerializerMethodField()
    left_alone_s = serializers.SerializerMethodField()
    on_trial = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField(source="replica.created_at")

    def get_version(self, view: Any) -> str:
        """The version of the replica's last change."""
        return version_of(view.replica.updated_at)

    def get_available(self, view: LiveReplica) -> bool:
        """Whether nothing is known against it."""
        return view.health is None or view.health.available

    def get_since(self, view: LiveReplica) -> datetime | None:
        """When it last went out or came back."""
        return view.health.since if view.health else None

    def get_checked_at(self, view: LiveReplica) -> datetime | None:
        """When it was last probed."""
        return view.health.checked_at if view.health else None

    def get_latency_ms(self, view: LiveReplica) -> float | None:
        """How long its last health check took."""
        found = view.health.latency_ms if view.health else None
        return None if found is None else round(found, 1)

    def get_last_error(self, view: LiveReplica) -> str:
        """Why it last failed."""
        return for_reader(view.health.error) if view.health else ""

    def get_left_alone(self, view: LiveReplica) -> str:
        """Why it is left alone although it answers its health checks; else empty."""
        return view.health.left_alone if view.health else ""

    def get_left_alone_s(self, view: LiveReplica) -> float:
        """For how many seconds more."""
        return round(view.health.left_alone_s, 1) if view.health else 0.0

    def get_on_trial(self, view: LiveReplica) -> bool:
        """Whether it has come back from that and is not trusted like the others yet."""
        return view.health.on_trial if view.health else False

    def get_last_error_at(self, view: LiveReplica) -> datetime | None:
        """When it last failed."""
        return view.health.error_at if view.health else None


class EngineTestInput(StrictSerializer):
    """Where an engine may be. The key is used for the test, and neither stored nor shown."""

    url = serializers.CharField(max_length=URL_LENGTH)
    api_key = serializers.CharField(max_length=1000, allow_blank=True, write_only=True, required=False)
    kind = serializers.ChoiceField(KINDS, required=False)


class FoundModelOutput(serializers.Serializer[Any]):
    """A model that the engine says it serves; `context_length` is 0 when unsaid."""

    id = serializers.CharField()
    context_length = serializers.IntegerField()
    owner = serializers.CharField()


class FirstTokensOutput(serializers.Serializer[Any]):
    """What a call of one token told; `problem` is empty when it was answered as it should be."""

    model = serializers.CharField()
    kind = serializers.ChoiceField(KINDS, allow_null=True)
    first_token_ms = serializers.FloatField(allow_null=True)
    streams = serializers.BooleanField()
    tells_usage = serializers.BooleanField()
    dimensions = serializers.IntegerField()
    problem = serializers.CharField()


class CallTimesOutput(serializers.Serializer[Any]):
    """Times of equal small calls."""

    tries = serializers.IntegerField()
    min_ms = serializers.FloatField()
    median_ms = serializers.FloatField()


class EngineProblemOutput(serializers.Serializer[Any]):
    """Why an address cannot be used as an engine."""

    code = serializers.CharField()
    message = serializers.CharField()


class EngineReportOutput(serializers.Serializer[Any]):
    """What a connection test found. `problem` is null, or a `code` and in words what to do."""

    url = serializers.CharField(help_text="the base URL that was asked, to be registered")
    reachable = serializers.SerializerMethodField()
    problem = serializers.SerializerMethodField()
    engine = serializers.CharField()
    version = serializers.CharField()
    vllm = serializers.BooleanField()
    models = FoundModelOutput(many=True)
    latency = serializers.SerializerMethodField()
    first_tokens = FirstTokensOutput(allow_null=True)
    took_ms = serializers.FloatField()

    def get_reachable(self, report: EngineReport) -> bool:
        """Whether an OpenAI-compatible server answered."""
        return report.problem in ("", "no_models")

    @extend_schema_field(EngineProblemOutput(allow_null=True))
    def get_problem(self, report: EngineReport) -> dict[str, str] | None:
        """Why it cannot be used."""
        return {"code": report.problem, "message": report.message} if report.problem else None

    @extend_schema_field(CallTimesOutput(allow_null=True))
    def get_latency(self, report: EngineReport) -> dict[str, float] | None:
        """Null when no small call was answered."""
        tries = report.tries_ms
        if not tries:
            return None
        return {"tries": len(tries), "min_ms": min(tries), "median_ms": round(statistics.median(tries), 2)}
