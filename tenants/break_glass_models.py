"""Break-glass: an operator may read a tenant's content, for a reason and for a time, and the tenant sees it."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.break_glass_types import REASON_LENGTH


class BreakGlass(TenantOwned):
    """An operator's leave to read the tenant's content. open → ended (by anybody of the tenant who may, or themselves);
    open past `expires_at` is over by itself. Never deleted but with the tenant: it is a record.
    """

    operator = models.ForeignKey(
        "tenants.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    operator_id: uuid.UUID | None
    operator_email = models.CharField(max_length=254)
    reason = models.CharField(max_length=REASON_LENGTH)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=254, blank=True)
    # How often content was asked for by it; each time is in the audit.
    reads = models.PositiveIntegerField(default=0)

    class Meta(TenantOwned.Meta):
        """Listed by tenant, the newest first; looked up by operator at each request of a visit."""

        verbose_name = "break-glass grant"
        indexes: ClassVar = [
            models.Index(fields=["tenant", "created_at"], name="break_glass_by_tenant"),
            models.Index(fields=["tenant", "operator", "expires_at"], name="break_glass_of_operator"),
        ]

    def __str__(self) -> str:
        """The row, without its reason."""
        return f"break-glass {self.pk}"
