"""Rows of answered calls beside their copies, which another model was asked to compare both."""

from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.shadow_types import PairState


class ShadowPair(TenantOwned):
    """One call that `model` answered, and its copy, that `shadow` was asked: compared, failed or dropped. Written once.

    Its id is the record id of the spool's entry. Figures alone, never content; who asked is not told. Times are milliseconds
    without the wait for a slot. Deleted by age; what copies cost stays in the ledger.
    """

    model = models.CharField(max_length=255)
    shadow = models.CharField(max_length=255)
    state = models.CharField(max_length=16, choices=[(each.value, each.value) for each in PairState])
    error = models.CharField(max_length=500, blank=True)
    stream = models.BooleanField(default=False)
    started_at = models.DateTimeField(db_index=True)
    answered_first_ms = models.BigIntegerField(default=0)
    answered_total_ms = models.BigIntegerField(default=0)
    answered_prompt_tokens = models.BigIntegerField(default=0)
    answered_completion_tokens = models.BigIntegerField(default=0)
    answered_cost_nano = models.BigIntegerField(default=0)
    answered_finish = models.CharField(max_length=64, blank=True)
    copied_first_ms = models.BigIntegerField(default=0)
    copied_total_ms = models.BigIntegerField(default=0)
    copied_prompt_tokens = models.BigIntegerField(default=0)
    copied_completion_tokens = models.BigIntegerField(default=0)
    copied_cost_nano = models.BigIntegerField(default=0)
    copied_finish = models.CharField(max_length=64, blank=True)
    agreement = models.FloatField(null=True)
    same = models.BooleanField(null=True)

    class Meta(TenantOwned.Meta):
        """Read by time within a tenant."""

        indexes: ClassVar = [models.Index(fields=["tenant", "started_at"], name="shadow_pair_by_time")]

    def __str__(self) -> str:
        """Both models, and what became of it."""
        return f"{self.model} | {self.shadow}: {self.state}"
