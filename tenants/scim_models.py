"""What a tenant's directory provisions over SCIM: by which token it comes, and what it says of each member."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.access_types import EXTERNAL_ID_LENGTH
from tenants.types import EMAIL_LENGTH, NAME_LENGTH, Role


class ScimToken(TenantOwned):
    """A token by which a directory provisions its tenant. Valid until `expires_at` or `revoked_at`.

    Only the SHA-256 of its text is kept: 256 random bits need no slow hash. `default_role` is what members have whom it
    makes. A rotation makes a token that `replaces` another, which works on until its shortened end.
    """

    name = models.CharField(max_length=NAME_LENGTH)
    hint = models.CharField(max_length=16)
    token_hash = models.CharField(max_length=64, unique=True)
    default_role = models.CharField(max_length=16, default=Role.MEMBER.value)
    created_by = models.ForeignKey(
        "tenants.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_by_id: uuid.UUID | None
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    # The bare id: nothing hangs on it.
    replaces = models.UUIDField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """Listed by tenant, the newest first."""

        verbose_name = "SCIM token"
        indexes: ClassVar = [models.Index(fields=["tenant", "created_at"], name="scim_token_by_tenant")]

    def __str__(self) -> str:
        """The row, without its name."""
        return f"SCIM token {self.pk}"


class Provisioned(TenantOwned):
    """What the tenant's directory says of a member: its own names for them. It ends with the membership.

    These are the tenant's words; they reach the account itself only while nobody else has a part in it
    (`tenants.services.provisioning`).
    """

    membership = models.OneToOneField(
        "tenants.Membership", on_delete=models.CASCADE, related_name="provisioned"
    )
    membership_id: uuid.UUID
    user_name = models.CharField(max_length=EMAIL_LENGTH)
    external_id = models.CharField(max_length=EXTERNAL_ID_LENGTH, blank=True)
    display_name = models.CharField(max_length=NAME_LENGTH, blank=True)
    given_name = models.CharField(max_length=NAME_LENGTH, blank=True)
    family_name = models.CharField(max_length=NAME_LENGTH, blank=True)

    class Meta(TenantOwned.Meta):
        """A directory's id once in a tenant."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id=""),
                name="provisioned_once",
            ),
            models.UniqueConstraint(fields=["tenant", "membership"], name="provisioned_by_tenant"),
        ]

    def __str__(self) -> str:
        """The row, without a name."""
        return f"provisioned {self.pk}"
