"""Reads of what a directory provisions: members and groups of the tenant at hand, by SCIM's filters. Each needs its scope."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import CharField, Exists, F, OuterRef, Prefetch, Q, QuerySet, Value
from django.db.models.functions import Coalesce, NullIf

from kernel.ids import parse_uuid
from tenants.access_models import Group, GroupMember
from tenants.models import Membership
from tenants.scim.errors import InvalidFilter
from tenants.scim.filters import Both, Compare, Either, Filter, read_filter
from tenants.scim.patches import GroupState, UserState
from tenants.scim.resources import Reference, ScimGroup, ScimUser

# SCIM's name -> column, and whether upper and lower case differ.
USER_COLUMNS: Mapping[str, tuple[str, bool]] = {
    "id": ("id", True),
    "username": ("directory_name", False),
    "externalid": ("directory_id", True),
    "displayname": ("shown_name", False),
    "name.givenname": ("provisioned__given_name", False),
    "name.familyname": ("provisioned__family_name", False),
    "emails": ("user__email", False),
    "emails.value": ("user__email", False),
    'emails[type eq "work"].value': ("user__email", False),
    "active": ("disabled_at", True),
}
GROUP_COLUMNS: Mapping[str, tuple[str, bool]] = {
    "id": ("id", True),
    "displayname": ("name", False),
    "externalid": ("external_id", True),
    "members": ("members", True),
    "members.value": ("members", True),
}
_LOOKUPS = {"eq": "exact", "ne": "exact", "co": "contains", "sw": "startswith", "ew": "endswith"}


def scim_members(filter_text: str = "") -> QuerySet[Any]:
    """People that the filter lets through, the oldest first: service accounts are no directory's. Raises InvalidFilter."""
    people = Membership.objects.filter(user__service_of=None)
    rows = people.select_related("user", "provisioned", "custom_role").annotate(
        directory_name=Coalesce(F("provisioned__user_name"), F("user__email"), output_field=CharField()),
        directory_id=Coalesce(F("provisioned__external_id"), Value("")),
        shown_name=Coalesce(NullIf(F("provisioned__display_name"), Value("")), F("user__name")),
    )
    if filter_text:
        rows = rows.filter(_condition(read_filter(filter_text, USER_COLUMNS), USER_COLUMNS))
    return rows.order_by("created_at", "id")


def scim_groups(filter_text: str = "") -> QuerySet[Group]:
    """Groups that the filter lets through, the oldest first. Raises InvalidFilter."""
    rows = Group.objects.all()
    if filter_text:
        rows = rows.filter(_condition(read_filter(filter_text, GROUP_COLUMNS), GROUP_COLUMNS))
    return rows.order_by("created_at", "id")


def people_inside() -> QuerySet[GroupMember]:
    """Who is in which group, as a directory sees it: service accounts are put in by hand, and stay."""
    return GroupMember.objects.filter(membership__user__service_of=None)


def scim_users(rows: QuerySet[Any]) -> list[ScimUser]:
    """What the directory sees of members, their groups by one query."""
    inside = GroupMember.objects.select_related("group").order_by("group__name")
    return [_user(row) for row in rows.prefetch_related(Prefetch("in_groups", inside))]


def scim_group_views(rows: Sequence[Group], *, members: bool = True) -> list[ScimGroup]:
    """What the directory sees of groups; their members, if wanted, by one query."""
    held: dict[uuid.UUID, list[Reference]] = {each.id: [] for each in rows}
    if members:
        inside = people_inside().filter(group__in=held).order_by("created_at", "id")
        for group_id, member_id, email in inside.values_list(
            "group_id", "membership_id", "membership__user__email"
        ):
            held[group_id].append(Reference(member_id, email))
    return [
        ScimGroup(
            id=row.id,
            state=GroupState(row.name, row.external_id, tuple(str(each.id) for each in held[row.id])),
            members=held[row.id],
            created_at=row.created_at,
            changed_at=row.updated_at,
        )
        for row in rows
    ]


def _user(row: Any) -> ScimUser:
    said = getattr(row, "provisioned", None)
    return ScimUser(
        id=row.id,
        state=UserState(
            user_name=row.directory_name,
            external_id=row.directory_id,
            display_name=row.shown_name,
            given_name=said.given_name if said else "",
            family_name=said.family_name if said else "",
            email=row.user.email,
            active=row.disabled_at is None,
        ),
        role=row.custom_role.name if row.custom_role else row.role,
        groups=[Reference(each.group_id, each.group.name) for each in row.in_groups.all()],
        created_at=row.created_at,
        changed_at=row.updated_at,
    )


def _condition(found: Filter, columns: Mapping[str, tuple[str, bool]]) -> Q:
    if isinstance(found, Both):
        return _condition(found.left, columns) & _condition(found.right, columns)
    if isinstance(found, Either):
        return _condition(found.left, columns) | _condition(found.right, columns)
    if isinstance(found, Compare):
        return _comparison(found, *columns[found.attribute])
    return ~_condition(found.inner, columns)


def _comparison(asked: Compare, column: str, exact: bool) -> Q:
    if column == "disabled_at":
        return _active(asked)
    if isinstance(asked.value, bool):
        raise InvalidFilter(f"{asked.attribute} is compared with a text.")
    if column in ("id", "members"):
        return _by_id(asked, column)
    if asked.value is None:
        return Q(**{f"{column}__isnull": False}) & ~Q(**{column: ""})
    lookup = ("" if exact else "i") + _LOOKUPS[asked.operator]
    found = Q(**{f"{column}__{lookup}": asked.value})
    return ~found if asked.operator == "ne" else found


def _active(asked: Compare) -> Q:
    if asked.operator == "pr":
        return Q(id__isnull=False)
    if not isinstance(asked.value, bool) or asked.operator not in ("eq", "ne"):
        raise InvalidFilter("active is compared with true or false, by eq or ne.")
    return Q(disabled_at__isnull=asked.value == (asked.operator == "eq"))


def _by_id(asked: Compare, column: str) -> Q:
    if asked.operator not in ("eq", "ne"):
        raise InvalidFilter(f"{asked.attribute} is compared by eq or ne.")
    wanted = parse_uuid(str(asked.value))
    # The nil id is nobody's: an id that is none matches nothing.
    target = wanted or uuid.UUID(int=0)
    if column == "members":
        found = Q(Exists(people_inside().filter(group=OuterRef("pk"), membership_id=target)))
    else:
        found = Q(id=target)
    return ~found if asked.operator == "ne" else found
