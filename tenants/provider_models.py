"""Identity providers of tenants, and who they vouch for."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.types import NAME_LENGTH, Role


class IdentityProvider(TenantOwned):
    """An OpenID Connect or SAML provider that signs people in to its tenant. Works while `enabled`.

    A SAML one (`protocol`) is known by its entity id (`issuer`), its `sso_url` and the `certificates` it signs with.

    `client_secret` is encrypted by the keyring. `create_members` lets people in who are not members yet, as
    `default_role`. For addresses of its `domains` it may speak once an operator has verified them
    (`domains_verified_at`): it finds people by their address at sign-in, and links accounts that exist. `mappings` are
    rules `{"value", "group" | "role" | "custom_role"}`: who has the value in the claim `groups_claim` is given that.
    """

    name = models.CharField(max_length=NAME_LENGTH)
    protocol = models.CharField(max_length=8, default="oidc", db_default="oidc")
    issuer = models.URLField(max_length=500)
    client_id = models.CharField(max_length=255)
    client_secret = models.TextField(blank=True)
    sso_url = models.URLField(max_length=500, blank=True, default="", db_default="")
    certificates = models.TextField(blank=True, default="", db_default="")
    enabled = models.BooleanField(default=False)
    create_members = models.BooleanField(default=False)
    default_role = models.CharField(max_length=16, default=Role.MEMBER.value)
    domains = models.JSONField(default=list)
    groups_claim = models.CharField(max_length=255, blank=True, default="groups", db_default="groups")
    mappings = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    domains_verified_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """A name once in a tenant."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="identity_provider_once"),
        ]

    def __str__(self) -> str:
        """The name."""
        return self.name


class Identity(TenantOwned):
    """That a provider's subject is a user of ours. Made once, by a verified domain or for a new user; never guessed."""

    provider = models.ForeignKey("tenants.IdentityProvider", on_delete=models.CASCADE, related_name="+")
    provider_id: uuid.UUID
    user = models.ForeignKey("tenants.User", on_delete=models.CASCADE, related_name="+")
    user_id: uuid.UUID
    subject = models.CharField(max_length=255)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """A subject once at a provider."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "provider", "subject"], name="identity_once"),
        ]

    def __str__(self) -> str:
        """The row, without a name."""
        return f"identity {self.pk}"
