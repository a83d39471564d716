"""Rows of routing: what each tenant says of which model answers, what operators say of how many replicas pools have."""

from typing import ClassVar

from django.db import models

from inference.types import MODEL_ID_LENGTH, URL_LENGTH
from substrate.models import Identified, TenantOwned


class ChoicePolicy(TenantOwned):
    """A tenant's policy: one row, replaced as a whole. `document` is a `routing.choice_types.Policy` as JSON, `vectors` what
    an embedder made of its examples (`routing.examples.write_bank`), null without any.
    """

    document = models.JSONField(default=dict)
    vectors = models.JSONField(null=True)

    class Meta(TenantOwned.Meta):
        """One row per tenant."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant"], name="choice_policy_once"),
        ]

    def __str__(self) -> str:
        """Whose."""
        return f"policy of {self.tenant_id}"


class ChoiceDefault(Identified):
    """What the platform says for tenants that say nothing themselves: one row, as a tenant's `ChoicePolicy`."""

    # One row for the whole platform.
    name = models.CharField(max_length=16, unique=True)
    document = models.JSONField(default=dict)
    vectors = models.JSONField(null=True)

    def __str__(self) -> str:
        """Its name."""
        return self.name


class PoolScaling(Identified):
    """What operators say of how many replicas a pool has: one row, replaced as a whole. `document` is a
    `routing.scaling_types.ScalingPolicy` as JSON. Pools are of the platform, and so is this.

    What is learned of the pool stands beside it: the model that its engines `serve`, how long it took from a call that
    woke it to a replica that answers (`starts_in_s`), and since when it is waking: asleep or in service (null) → waking,
    when a call comes → in service.
    """

    pool = models.OneToOneField("inference.Pool", on_delete=models.CASCADE, related_name="+")
    document = models.JSONField(default=dict)
    serves = models.CharField(max_length=MODEL_ID_LENGTH, blank=True, db_default="", default="")
    starts_in_s = models.FloatField(null=True)
    waking_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        """Whose."""
        return f"scaling of {self.pool_id}"


class ScalingDecision(Identified):
    """What was decided of a pool at `created_at`, and what came of it. Written when it differs from the one before, and once
    a minute; a pool's oldest go first.
    """

    pool = models.ForeignKey("inference.Pool", on_delete=models.CASCADE, related_name="+")
    mode = models.CharField(max_length=16)
    desired = models.PositiveIntegerField()
    provisioned = models.PositiveIntegerField()
    ready = models.PositiveIntegerField()
    need = models.FloatField()
    reasons = models.JSONField(default=list)
    outcome = models.CharField(max_length=200, blank=True)

    class Meta:
        """Read by pool, the newest first."""

        indexes: ClassVar = [models.Index(fields=["pool", "-id"], name="decision_by_pool")]

    def __str__(self) -> str:
        """How many of how many."""
        return f"{self.provisioned} → {self.desired}"


class StartedReplica(Identified):
    """An engine that a `Scaler` started and that was registered: in service ⇄ leaving since a moment, until it has gone."""

    pool = models.ForeignKey("inference.Pool", on_delete=models.CASCADE, related_name="+")
    url = models.CharField(max_length=URL_LENGTH)
    leaving_since = models.DateTimeField(null=True)

    class Meta:
        """Registered once."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pool", "url"], name="started_once"),
        ]

    def __str__(self) -> str:
        """Where it is."""
        return self.url


class ScalingTurn(models.Model):
    """Which process does what one alone may do (decide about pools, follow their sources): free, or held by `owner` until
    `until`, which the owner puts off while it lives.
    """

    name = models.CharField(max_length=32, primary_key=True)
    owner = models.CharField(max_length=128)
    until = models.DateTimeField()

    def __str__(self) -> str:
        """Who holds it."""
        return self.owner
