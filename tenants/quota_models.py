"""Rows of limits: how much whom may use."""

from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.limit_types import SUBJECT_LENGTH, Level, Measure


class Quota(TenantOwned):
    """One limit: of the tenant, or of a group, user, key or model in it; without a subject of every one of its level.

    `hard` refuses, `soft` warns; at least one of them is set. A row of one subject stands before the one of all.
    """

    level = models.CharField(max_length=16, choices=[(each.value, each.value) for each in Level])
    subject = models.CharField(max_length=SUBJECT_LENGTH, blank=True)
    measure = models.CharField(max_length=32, choices=[(each.value, each.value) for each in Measure])
    hard = models.BigIntegerField(null=True, blank=True)
    soft = models.BigIntegerField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """One row per subject and measure."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "level", "subject", "measure"], name="quota_once"),
        ]

    def __str__(self) -> str:
        """Level and measure."""
        return f"{self.level} {self.measure}"
