"""Rows of service accounts: programs that belong to a tenant as its people do, and sign in by keys alone."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.access_types import DESCRIPTION_LENGTH
from tenants.service_account_types import ACCOUNT_NAME_LENGTH


class ServiceAccount(TenantOwned):
    """A program's account. Its id is that of its user, by which usage, limits, grants and conversations know it.

    Role, groups and grants hang on the membership, as a person's do; disabled while that is disabled. Deleted, its keys
    are revoked and its user is switched off and kept, so that what is on record still says who it was.
    """

    membership = models.OneToOneField("tenants.Membership", on_delete=models.CASCADE, related_name="account")
    membership_id: uuid.UUID
    name = models.CharField(max_length=ACCOUNT_NAME_LENGTH)
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    created_by = models.ForeignKey(
        "tenants.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_by_id: uuid.UUID | None

    class Meta(TenantOwned.Meta):
        """One account per tenant and name."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="service_account_once"),
        ]

    def __str__(self) -> str:
        """The row, without its name."""
        return f"service account {self.pk}"
