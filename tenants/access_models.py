"""Rows that say what members of a tenant may: groups of them, and roles made of permissions."""

import uuid
from typing import ClassVar

from django.db import models

from substrate.models import TenantOwned
from tenants.access_types import DESCRIPTION_LENGTH, EXTERNAL_ID_LENGTH
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
