"""Rows of inference: models with their prices and grants, the pools of engines that serve them, each pool's replicas.

They belong to the platform and not to a tenant; every process holds them all in memory (`inference.directory`).
"""

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now

from inference.types import MODEL_ID_LENGTH, POOL_NAME_LENGTH, URL_LENGTH, ModelKind, SourceKind, Tier
from substrate.models import Identified


class Model(Identified):
    """A model as callers name it: enabled ⇄ disabled (as if it did not exist, for callers). It can be called while it
    is enabled and one of its replicas is in service.

    Prices are nano-units per token (a price per million tokens times 1000). `context_length` is in tokens, 0 when
    unknown. `built_in` models come with Atrium and are chosen by `auto` only when no real model can be. A `restricted`
    model is there for the tenants that hold a `ModelGrant` alone. `tools` and `images` say what it takes beside text.
    """

    model_id = models.CharField(max_length=MODEL_ID_LENGTH, unique=True)
    kind = models.CharField(max_length=16, choices=[(each.value, each.value) for each in ModelKind])
    tier = models.CharField(
        max_length=16, choices=[(each.value, each.value) for each in Tier], default=Tier.LIGHT.value
    )
    context_length = models.PositiveIntegerField(default=0)
    input_price_nano = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    output_price_nano = models.BigIntegerField(default=0, validators=[MinValueValidator(0)])
    dimensions = models.PositiveIntegerField(default=0)
    built_in = models.BooleanField(default=False, editable=False)
    enabled = models.BooleanField(default=True, db_default=True)
    restricted = models.BooleanField(default=False, db_default=False)
    cache_seconds = models.PositiveIntegerField(default=0, db_default=0)
    cached_price_percent = models.PositiveSmallIntegerField(default=0, db_default=0)
    tools = models.BooleanField(default=True, db_default=True)
    images = models.BooleanField(default=False, db_default=False)

    def __str__(self) -> str:
        """The id that callers use."""
        return self.model_id


class ModelGrant(Identified):
    """A tenant may use a restricted model. It belongs to the platform: a tenant neither sees nor changes it."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="grants")
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+")

    class Meta:
        """A tenant is granted a model once."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "tenant"], name="model_granted_once"),
        ]

    def __str__(self) -> str:
        """Which model, to whom."""
        return f"{self.model_id} → {self.tenant_id}"


class PriceChange(Identified):
    """A price that a model has from `valid_from` on, until the next one; one that lies ahead is planned.

    A call costs what its model cost when it was accepted, and is never priced anew. The model's own columns are the
    price that was last set at once: they hold where no row here is in force.
    """

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="price_changes")
    input_price_nano = models.BigIntegerField()
    output_price_nano = models.BigIntegerField()
    valid_from = models.DateTimeField(db_default=Now())

    class Meta:
        """Read by model; a model has a few dozen."""

        indexes: ClassVar = [models.Index(fields=["model", "-created_at"], name="price_by_model")]

    def __str__(self) -> str:
        """Both prices."""
        return f"{self.input_price_nano} / {self.output_price_nano}"


class Pool(Identified):
    """Replicas that share a queue. `engine` names their adapter: `BACKENDS["engine.<engine>"]`."""

    name = models.CharField(max_length=POOL_NAME_LENGTH, unique=True)
    engine = models.CharField(max_length=32, default="openai")
    region = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        """The name."""
        return self.name


class PoolSource(Identified):
    """Where a pool's replicas come from: one row, replaced as a whole; without one they are registered by hand.

    `document` is an `inference.sources.ReplicaSource` as JSON, `kind` its kind; `api_key` the engines' own, encrypted and
    bound to this row. What came of it stands beside: how many were `found` when it was last known who is there
    (`discovered_at`), and the `problem` since. Followed → failing ⇄ followed; failing for long is stale.
    """

    pool = models.OneToOneField(Pool, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=[(each.value, each.value) for each in SourceKind])
    document = models.JSONField(default=dict)
    api_key = models.TextField(blank=True, editable=False)
    discovered_at = models.DateTimeField(null=True)
    found = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        """What kind."""
        return self.kind


class Replica(Identified):
    """One engine process that serves one model of one pool: in service ⇄ draining (no new calls), until removed.

    `origin` says which kind of source found it. One that its source names no more drains since `vanished_at`, and is
    removed when its calls have ended; a person's draining has no such moment, and stays while the source names it.

    `url` is the OpenAI base URL ending in `/v1`, empty for built-in engines. `api_key` is the engine's own, encrypted
    and bound to this row. `vllm` says that the engine takes vLLM's own fields (`cache_salt`, `priority`).
    """

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="replicas")
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="replicas")
    url = models.CharField(max_length=URL_LENGTH, blank=True)
    served_name = models.CharField(max_length=MODEL_ID_LENGTH)
    max_concurrency = models.PositiveIntegerField(default=64, validators=[MinValueValidator(1)])
    region = models.CharField(max_length=64, blank=True)
    draining = models.BooleanField(default=False)
    vllm = models.BooleanField(default=True)
    api_key = models.TextField(blank=True, editable=False)
    origin = models.CharField(
        max_length=16, default=SourceKind.STATIC.value, db_default=SourceKind.STATIC.value
    )
    vanished_at = models.DateTimeField(null=True)

    class Meta:
        """Registering the same engine again changes its row."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pool", "model", "url"], name="replica_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["url"], name="replica_by_url")]

    def __str__(self) -> str:
        """Where it is and what it serves."""
        return f"{self.url or 'built in'} ({self.model_id})"
