"""Rows that say what members of a tenant may: groups of them, roles made of permissions, what is restricted to whom."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.access_types import DESCRIPTION_LENGTH, EXTERNAL_ID_LENGTH, KIND_LENGTH, OBJECT_ID_LENGTH
from tenants.types import NAME_LENGTH


class CustomRole(TenantOwned):
    """A role that a tenant made out of permissions (`tenants.permissions`), for memberships and keys.

    It cannot be deleted while it is given to anybody.
    """

    name = models.CharField(max_length=NAME_LENGTH)
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    permissions = models.JSONField(default=list)

    class Meta(TenantOwned.Meta):
        """One role per tenant and name."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="custom_role_once"),
        ]

    def __str__(self) -> str:
        """The row, without its name."""
        return f"role {self.pk}"


class Group(TenantOwned):
    """Some members of a tenant under one name. Rights that are given to it are theirs while they are in it.

    `external_id` is the id that a directory which provisions the group knows it by; empty for one made by hand.
    """

    name = models.CharField(max_length=NAME_LENGTH)
    description = models.CharField(max_length=DESCRIPTION_LENGTH, blank=True)
    external_id = models.CharField(max_length=EXTERNAL_ID_LENGTH, blank=True)

    class Meta(TenantOwned.Meta):
        """One group per tenant and name, and per id of the directory."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="group_once"),
            models.UniqueConstraint(
                fields=["tenant", "external_id"],
                condition=~models.Q(external_id=""),
                name="group_once_in_the_directory",
            ),
        ]

    def __str__(self) -> str:
        """The row, without its name."""
        return f"group {self.pk}"


class GroupMember(TenantOwned):
    """A membership in a group. It ends with either."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+")
    group_id: uuid.UUID
    membership = models.ForeignKey("tenants.Membership", on_delete=models.CASCADE, related_name="in_groups")
    membership_id: uuid.UUID

    class Meta(TenantOwned.Meta):
        """A membership is in a group once."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "group", "membership"], name="group_member_once"),
        ]

    def __str__(self) -> str:
        """The row."""
        return f"group member {self.pk}"


class Restriction(TenantOwned):
    """A thing of some app that only those may use to whom it is granted. Without this row it is open to the tenant.

    It stands apart from its grants: when the last group that has one is deleted, the thing stays shut.
    """

    kind = models.CharField(max_length=KIND_LENGTH)
    object_id = models.CharField(max_length=OBJECT_ID_LENGTH)

    class Meta(TenantOwned.Meta):
        """A thing is restricted once."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "kind", "object_id"], name="restriction_once"),
        ]

    def __str__(self) -> str:
        """The thing's kind and the row."""
        return f"{self.kind} {self.pk}"


class Grant(TenantOwned):
    """Who may use a restricted thing: a membership or a group. It ends with either, and with the restriction."""

    restriction = models.ForeignKey(Restriction, on_delete=models.CASCADE, related_name="grants")
    restriction_id: uuid.UUID
    membership = models.ForeignKey(
        "tenants.Membership", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    membership_id: uuid.UUID | None
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    group_id: uuid.UUID | None

    class Meta(TenantOwned.Meta):
        """To one subject at most, and to each once."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "restriction", "membership"], name="grant_to_member_once"
            ),
            models.UniqueConstraint(fields=["tenant", "restriction", "group"], name="grant_to_group_once"),
            models.CheckConstraint(
                condition=models.Q(membership=None) | models.Q(group=None), name="grant_to_one_subject"
            ),
        ]

    def __str__(self) -> str:
        """The row."""
        return f"grant {self.pk}"
