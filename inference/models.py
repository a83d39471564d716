"""Rows of inference: models, the pools of engines that serve them, and the replicas of each pool.

They belong to the platform and not to a tenant; every process holds them all in memory (`inference.directory`).
"""

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models

from inference.types import MODEL_ID_LENGTH, POOL_NAME_LENGTH, URL_LENGTH, ModelKind, Tier
from substrate.models import Identified


class Model(Identified):
    """A model as callers name it. It has no states: it can be called while one of its replicas is in service.

    Prices are nano-units per token (a price per million tokens times 1000). `context_length` is in tokens, 0 when
    unknown. `built_in` models come with Atrium and are chosen by `auto` only when no real model can be.
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

    def __str__(self) -> str:
        """The id that callers use."""
        return self.model_id


class Pool(Identified):
    """Replicas that share a queue. `engine` names their adapter: `BACKENDS["engine.<engine>"]`."""

    name = models.CharField(max_length=POOL_NAME_LENGTH, unique=True)
    engine = models.CharField(max_length=32, default="openai")
    region = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        """The name."""
        return self.name


class Replica(Identified):
    """One engine process that serves one model of one pool: in service ⇄ draining (no new calls), until removed.

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

    class Meta:
        """Registering the same engine again changes its row."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pool", "model", "url"], name="replica_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["url"], name="replica_by_url")]

    def __str__(self) -> str:
        """Where it is and what it serves."""
        return f"{self.url or 'built in'} ({self.model_id})"
