"""Reads of service accounts. Each needs the tenant's scope."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, IntegerField, Max, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from substrate.versions import version_of
from tenants.closing import closed_to
from tenants.listed import NEVER
from tenants.models import ApiKey, GroupMember, Membership, ServiceAccount, User
from tenants.permissions import EVERYTHING, permissions_of
from tenants.service_account_types import ServiceAccountView
from tenants.types import Role, RoleName


def accounts() -> QuerySet[ServiceAccount]:
    """Service accounts of the tenant at hand with their memberships, users and custom roles."""
    return ServiceAccount.objects.select_related("membership__user", "membership__custom_role")


def listed_accounts() -> QuerySet[Any]:
    """As `accounts`, with columns to sort and filter by: `rank`, `used`."""
    used = ApiKey.objects.filter(user_id=OuterRef("membership__user_id")).order_by().values("user_id")
    return accounts().annotate(
        rank=Case(
            *(When(membership__role=each.value, then=Value(each.rank)) for each in Role),
            output_field=IntegerField(),
        ),
        used=Coalesce(Subquery(used.annotate(last=Max("last_used_at")).values("last")), Value(NEVER)),
    )


def account_views(rows: Sequence[ServiceAccount], now: datetime) -> list[ServiceAccountView]:
    """What administrators see of accounts: three queries for all of them."""
    users = [each.membership.user_id for each in rows]
    valid = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
    keys: dict[uuid.UUID | None, tuple[int, datetime | None]] = {
        user_id: (count, used)
        for user_id, count, used in ApiKey.objects.filter(user_id__in=users)
        .order_by()
        .values_list("user_id")
        .annotate(number=Count("id", filter=valid), used=Max("last_used_at"))
    }
    inside = GroupMember.objects.filter(membership__in=[each.membership_id for each in rows]).order_by()
    groups: dict[uuid.UUID, int] = dict(inside.values_list("membership_id").annotate(number=Count("id")))
    makers = {each.created_by_id for each in rows if each.created_by_id}
    emails: dict[uuid.UUID | None, str] = dict(User.objects.filter(id__in=makers).values_list("id", "email"))
    return [
        _view(each, *keys.get(each.membership.user_id, (0, None)), groups.get(each.membership_id, 0), emails)
        for each in rows
    ]


def _view(
    row: ServiceAccount, keys: int, used: datetime | None, groups: int, emails: dict[uuid.UUID | None, str]
) -> ServiceAccountView:
    member = row.membership
    custom = member.custom_role
    return ServiceAccountView(
        id=row.id,
        name=row.name,
        description=row.description,
        role=Role(member.role),
        custom_role=RoleName(custom.id, custom.name) if custom else None,
        disabled=member.disabled_at is not None,
        keys=keys,
        groups=groups,
        created_by=emails.get(row.created_by_id, ""),
        created_at=row.created_at,
        last_used_at=used,
        version=version_of(max(row.updated_at, member.updated_at)),
    )


def closed_to_account(member: Membership) -> frozenset[str]:
    """What is restricted to others than this membership, as `kind:id`."""
    custom = member.custom_role
    held = permissions_of(Role(member.role), custom=custom.permissions if custom else None)
    if EVERYTHING in held:
        return frozenset()
    groups = list(GroupMember.objects.filter(membership=member).values_list("group_id", flat=True))
    return closed_to(tenant_id=member.tenant_id, membership_id=member.id, group_ids=groups)
