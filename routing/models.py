"""Rows of routing: what each tenant says of which model answers."""

from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned


class ChoicePolicy(TenantOwned):
    """A tenant's policy: one row, replaced as a whole. `document` is a `routing.choice_types.Policy` as JSON."""

    document = models.JSONField(default=dict)

    class Meta(TenantOwned.Meta):
        """One row per tenant."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant"], name="choice_policy_once"),
        ]

    def __str__(self) -> str:
        """Whose."""
        return f"policy of {self.tenant_id}"
