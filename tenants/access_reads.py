"""Reads of groups and rights. Each needs the tenant's scope."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Count, F, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from substrate.versions import version_of
from tenants.access_models import CustomRole, Group, GroupMember
from tenants.access_types import CustomRoleView, GroupMemberView, GroupView
from tenants.models import ApiKey, Membership


def groups() -> QuerySet[Group]:
    """Groups of the tenant at hand."""
    return Group.objects.all()


def listed_groups() -> QuerySet[Any]:
    """As `groups`, with the column `size` to sort by: how many are in it."""
    inside = GroupMember.objects.filter(group=OuterRef("pk")).order_by().values("group")
    size = Subquery(inside.annotate(number=Count("id")).values("number"), output_field=IntegerField())
    return groups().annotate(size=Coalesce(size, Value(0)))


def group_view(group: Group, members: int) -> GroupView:
    """What the outside sees of a group."""
    return GroupView(
        id=group.id,
        name=group.name,
        description=group.description,
        external_id=group.external_id,
        members=members,
        created_at=group.created_at,
        version=version_of(group.updated_at),
    )


def group_views(rows: Sequence[Group]) -> list[GroupView]:
    """What the outside sees of groups, counted by one query."""
    inside = (
        GroupMember.objects.filter(group__in=[each.id for each in rows]).order_by().values_list("group_id")
    )
    sizes: dict[uuid.UUID, int] = dict(inside.annotate(number=Count("id")))
    return [group_view(each, sizes.get(each.id, 0)) for each in rows]


def listed_group_members(group_id: uuid.UUID) -> QuerySet[Any]:
    """Who is in a group, with the columns `email` and `name` to sort by."""
    return (
        GroupMember.objects.filter(group_id=group_id)
        .select_related("membership__user")
        .annotate(email=F("membership__user__email"), name=F("membership__user__name"))
    )


def group_member_view(row: GroupMember) -> GroupMemberView:
    """What the outside sees of a member in a group, whose membership and user are loaded."""
    user = row.membership.user
    return GroupMemberView(
        user_id=user.id,
        email=user.email,
        name=user.name,
        disabled=row.membership.disabled_at is not None,
        added_at=row.created_at,
    )


def users_of_groups(group_ids: Iterable[uuid.UUID]) -> Mapping[str, frozenset[uuid.UUID]]:
    """Who is in the groups now, by the group's id as text; groups without anybody are left out."""
    ids = set(group_ids)
    found: dict[str, set[uuid.UUID]] = {}
    if ids:
        rows = GroupMember.objects.filter(group_id__in=ids).values_list("group_id", "membership__user_id")
        for group_id, user_id in rows:
            found.setdefault(str(group_id), set()).add(user_id)
    return {group: frozenset(users) for group, users in found.items()}


def groups_of_tenants(tenants: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Sequence[str]]:
    """The groups of each of these tenants, their ids as text, in order; in a system scope."""
    found: dict[uuid.UUID, list[str]] = {}
    rows = Group.objects.filter(tenant_id__in=tenants).order_by("id")
    for tenant, group in rows.values_list("tenant_id", "id"):
        found.setdefault(tenant, []).append(str(group))
    return found


def groups_of_users(user_ids: Sequence[uuid.UUID]) -> list[str]:
    """The groups that any of the users is in now: their ids as text, in order."""
    rows = GroupMember.objects.filter(membership__user_id__in=user_ids).order_by()
    return sorted({str(each) for each in rows.values_list("group_id", flat=True)})


def custom_roles() -> QuerySet[CustomRole]:
    """Roles that the tenant at hand made."""
    return CustomRole.objects.all()


def role_views(rows: Sequence[CustomRole]) -> list[CustomRoleView]:
    """What the outside sees of roles, with how many memberships and unrevoked keys have each."""
    ids = [each.id for each in rows]
    members = _role_counts(Membership.objects.filter(custom_role__in=ids))
    keys = _role_counts(ApiKey.objects.filter(custom_role__in=ids, revoked_at=None))
    return [
        CustomRoleView(
            id=each.id,
            name=each.name,
            description=each.description,
            permissions=tuple(each.permissions),
            members=members.get(each.id, 0),
            keys=keys.get(each.id, 0),
            created_at=each.created_at,
            version=version_of(each.updated_at),
        )
        for each in rows
    ]


def _role_counts(rows: QuerySet[Any]) -> dict[uuid.UUID, int]:
    return dict(rows.order_by().values_list("custom_role_id").annotate(number=Count("id")))
