"""Rows of usage summed up per hour and day, written with the ledger's rows and never by anybody else.

Each row's id is a digest of what it sums (see `tenants.rollups`), so that adding to it needs no other unique index.
Hours and days are UTC. A caller that is no user, key or assistant has the nil UUID or "" there. Latencies are packed
buckets (see `tenants.tallies`).
"""

from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned


class Sums(models.Model):
    """What every such row sums."""

    id = models.UUIDField(primary_key=True, editable=False)
    start = models.DateTimeField()
    completed = models.BigIntegerField()
    cancelled = models.BigIntegerField()
    failed = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    first_tokens = models.BinaryField()
    totals = models.BinaryField()

    class Meta:
        """Abstract base."""

        abstract = True


class TenantSums(Sums, TenantOwned):
    """Sums of one tenant. When they were written says nothing; the tenant is in the other index."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+", db_index=False)
    created_at = None  # type: ignore[assignment]
    updated_at = None  # type: ignore[assignment]

    class Meta(TenantOwned.Meta):
        """Abstract base."""

        abstract = True


class DetailSums(TenantSums):
    """Sums of one tenant by model, user, key, assistant and origin."""

    model = models.CharField(max_length=255)
    user_id = models.UUIDField()
    api_key_id = models.UUIDField()
    assistant = models.CharField(max_length=255)
    origin = models.CharField(max_length=64)

    class Meta(TenantSums.Meta):
        """Abstract base."""

        abstract = True


class UsageHour(DetailSums):
    """Usage of an hour in every detail."""

    class Meta(DetailSums.Meta):
        """Read by tenant and time; a month of a busy tenant is narrowed to a model or a person within the index."""

        indexes: ClassVar = [
            models.Index(fields=["tenant", "start", "model", "user_id"], name="usage_hour_narrowed")
        ]

    def __str__(self) -> str:
        """Model and hour."""
        return f"{self.model} {self.start:%Y-%m-%d %H}h"


class UsageDay(DetailSums):
    """Usage of a day in every detail."""

    class Meta(DetailSums.Meta):
        """Read by tenant and time."""

        indexes: ClassVar = [models.Index(fields=["tenant", "start"], name="usage_day_by_tenant")]

    def __str__(self) -> str:
        """Model and day."""
        return f"{self.model} {self.start:%Y-%m-%d}"


class TenantHour(TenantSums):
    """All usage of a tenant in an hour."""

    class Meta(TenantSums.Meta):
        """Read by tenant, and for operators by time over all tenants."""

        indexes: ClassVar = [
            models.Index(fields=["tenant", "start"], name="tenant_hour_by_tenant"),
            models.Index(fields=["start"], name="tenant_hour_by_time"),
        ]

    def __str__(self) -> str:
        """The hour."""
        return f"{self.start:%Y-%m-%d %H}h"


class TenantDay(TenantSums):
    """All usage of a tenant in a day."""

    class Meta(TenantSums.Meta):
        """Read by tenant, and for operators by time over all tenants."""

        indexes: ClassVar = [
            models.Index(fields=["tenant", "start"], name="tenant_day_by_tenant"),
            # What each of all tenants used in a month is answered from the index alone.
            models.Index(
                fields=[
                    "start",
                    "tenant",
                    "completed",
                    "cancelled",
                    "failed",
                    "prompt_tokens",
                    "completion_tokens",
                    "cost_nano",
                ],
                name="tenant_day_sums_by_time",
            ),
        ]

    def __str__(self) -> str:
        """The day."""
        return f"{self.start:%Y-%m-%d}"


class PlatformHour(Sums):
    """Usage of all tenants in an hour, by model and origin. Outlives tenants."""

    model = models.CharField(max_length=255)
    origin = models.CharField(max_length=64)

    class Meta:
        """Read by time."""

        indexes: ClassVar = [models.Index(fields=["start"], name="platform_hour_by_time")]

    def __str__(self) -> str:
        """Model and hour."""
        return f"{self.model} {self.start:%Y-%m-%d %H}h"
