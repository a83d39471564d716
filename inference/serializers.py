"""Shapes of the REST API of models, pools and replicas: what comes in is strict, what goes out is documented."""

from typing import Any

from rest_framework import serializers

from inference.types import (
    MAX_CONCURRENCY,
    MAX_CONTEXT_LENGTH,
    MAX_DIMENSIONS,
    MODEL_ID_LENGTH,
    POOL_NAME_LENGTH,
    REGION_LENGTH,
    URL_LENGTH,
    ModelKind,
    Tier,
)
from substrate.rest import StrictSerializer

KINDS = [each.value for each in ModelKind]
TIERS = [each.value for each in Tier]
# Letters that a header and a log line carry unchanged; the services say so again, for commands.
MODEL_ID = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
REGION = r"^[A-Za-z0-9._-]*$"


def _price() -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=12, decimal_places=3, min_value=0, required=False, help_text="per million tokens"
    )


def _region() -> serializers.RegexField:
    return serializers.RegexField(REGION, max_length=REGION_LENGTH, allow_blank=True, required=False)


class ModelChange(StrictSerializer):
    """What of a model may be changed."""

    tier = serializers.ChoiceField(TIERS, required=False)
    context_length = serializers.IntegerField(min_value=0, max_value=MAX_CONTEXT_LENGTH, required=False)
    dimensions = serializers.IntegerField(min_value=0, max_value=MAX_DIMENSIONS, required=False)
    input_price = _price()
    output_price = _price()


class ModelInput(ModelChange):
    """A new model."""

    id = serializers.RegexField(MODEL_ID, max_length=MODEL_ID_LENGTH)
    kind = serializers.ChoiceField(KINDS, required=False)


class ModelOutput(serializers.Serializer[Any]):
    """A model. `id` is what callers put in `model`; `notice` says what its user must know, if anything."""

    id = serializers.CharField()
    uuid = serializers.CharField()
    kind = serializers.ChoiceField(KINDS)
    tier = serializers.ChoiceField(TIERS)
    context_length = serializers.IntegerField()
    dimensions = serializers.IntegerField()
    input_price = serializers.CharField()
    output_price = serializers.CharField()
    built_in = serializers.BooleanField()
    replica_count = serializers.IntegerField()
    notice = serializers.CharField()
    created_at = serializers.DateTimeField()


class PoolChange(StrictSerializer):
    """What of a pool may be changed."""

    region = _region()


class PoolInput(PoolChange):
    """A new pool."""

    name = serializers.RegexField(NAME, max_length=POOL_NAME_LENGTH)


class PoolOutput(serializers.Serializer[Any]):
    """A pool."""

    id = serializers.CharField()
    name = serializers.CharField()
    engine = serializers.CharField()
    region = serializers.CharField()
    replica_count = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class ReplicaChange(StrictSerializer):
    """What of a replica may be changed. `api_key` is never shown again; empty removes it."""

    served_name = serializers.CharField(max_length=MODEL_ID_LENGTH, required=False)
    max_concurrency = serializers.IntegerField(min_value=1, max_value=MAX_CONCURRENCY, required=False)
    region = _region()
    draining = serializers.BooleanField(required=False)
    vllm = serializers.BooleanField(required=False)
    api_key = serializers.CharField(max_length=1000, allow_blank=True, write_only=True, required=False)


class ReplicaInput(ModelChange):
    """An engine to be put into service; fields of its model that are given change the model."""

    model = serializers.RegexField(MODEL_ID, max_length=MODEL_ID_LENGTH)
    url = serializers.CharField(max_length=URL_LENGTH, help_text="the OpenAI base URL, ending in /v1")
    kind = serializers.ChoiceField(KINDS, required=False)
    served_name = serializers.CharField(max_length=MODEL_ID_LENGTH, required=False)
    max_concurrency = serializers.IntegerField(min_value=1, max_value=MAX_CONCURRENCY, required=False)
    region = _region()
    vllm = serializers.BooleanField(required=False)
    api_key = serializers.CharField(max_length=1000, allow_blank=True, write_only=True, required=False)


class ReplicaOutput(serializers.Serializer[Any]):
    """A replica. `available` is what the answering process thinks of its health."""

    id = serializers.CharField()
    pool_id = serializers.CharField()
    pool = serializers.CharField()
    model = serializers.CharField()
    url = serializers.CharField()
    served_name = serializers.CharField()
    max_concurrency = serializers.IntegerField()
    region = serializers.CharField()
    draining = serializers.BooleanField()
    vllm = serializers.BooleanField()
    has_api_key = serializers.BooleanField()
    available = serializers.BooleanField()
    created_at = serializers.DateTimeField()
