"""Rows of limits: how much whom may use, and which soft limits were already spoken of."""

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


class QuotaNotice(TenantOwned):
    """A limit that was passed in one period: said once, to whoever reads the tenant's letters. Written once.

    `state` is `warned` or `reached`; `period` the day or month it is about, empty for what has no period.
    """

    level = models.CharField(max_length=16, choices=[(each.value, each.value) for each in Level])
    subject = models.CharField(max_length=SUBJECT_LENGTH, blank=True)
    measure = models.CharField(max_length=32, choices=[(each.value, each.value) for each in Measure])
    state = models.CharField(max_length=16)
    period = models.CharField(max_length=32, blank=True)
    used = models.BigIntegerField()
    amount = models.BigIntegerField()
    mailed = models.BooleanField(default=False)

    class Meta(TenantOwned.Meta):
        """Once per limit, state and period."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "level", "subject", "measure", "state", "period"], name="quota_notice_once"
            ),
        ]

    def __str__(self) -> str:
        """State and measure."""
        return f"{self.state} {self.measure}"
