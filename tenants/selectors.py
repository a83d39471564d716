"""Reads of tenants. Each says which scope it needs, or opens its own."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet

from kernel.clock import SYSTEM_CLOCK
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.versions import version_of
from tenants.break_glass_types import OpenGrant
from tenants.closing import NOTHING_SHUT, closed_to, tenants_that_shut
from tenants.models import ApiKey, BreakGlass, CustomRole, Invitation, Membership, Tenant, User
from tenants.permissions import BREAK_GLASS, EVERYTHING, VISIT, permissions_of
from tenants.types import (
    InvitationState,
    InvitationView,
    KeyEntry,
    KeyState,
    KeyView,
    MembershipView,
    MemberView,
    Principal,
    PriorityClass,
    Role,
    RoleName,
    TenantState,
    TenantView,
)

# A key that ends within this time is about to expire.
EXPIRING = timedelta(days=14)
# One for all: processes keep principals by ten thousands.
NO_GROUPS: frozenset[uuid.UUID] = frozenset()


def load_key_entry(prefix: str) -> KeyEntry | None:
    """The entry of a key, of a revoked one too, which it refuses; None where there is none. Opens a system scope."""
    return load_key_entries([prefix]).get(prefix)


def load_key_entries(prefixes: Sequence[str]) -> dict[str, KeyEntry]:
    """The same of those of the keys that there are, by prefix: three questions at most, however many, and one for each
    key of a tenant that restricts things.
    """
    with system_scope("look up API keys", read_only=True):
        keys = list(
            ApiKey.objects.filter(prefix__in=prefixes).select_related("tenant", "user", "custom_role")
        )
        memberships = _memberships_of_keys(keys)
        found = {}
        for key in keys:
            membership, group_ids = memberships.get((key.tenant_id, key.user_id), (None, NO_GROUPS))
            found[key.prefix] = _key_entry(key, membership, group_ids)
        return _with_what_is_shut(found)


def _with_what_is_shut(entries: dict[str, KeyEntry]) -> dict[str, KeyEntry]:
    """Needs a scope; asks nothing for those to whom nothing is shut."""
    may_all = {prefix for prefix, each in entries.items() if EVERYTHING in each.principal.permissions}
    tenants = {each.principal.tenant_id for prefix, each in entries.items() if prefix not in may_all}
    shutting = tenants_that_shut(tenants) if tenants else set()
    for prefix, entry in entries.items():
        principal = entry.principal
        if principal.tenant_id in shutting and prefix not in may_all:
            closed = closed_to(
                tenant_id=principal.tenant_id,
                membership_id=principal.membership_id,
                group_ids=principal.group_ids,
            )
            entries[prefix] = replace(entry, principal=replace(principal, closed=closed))
    return entries


def _memberships_of_keys(
    keys: Collection[ApiKey],
) -> dict[tuple[uuid.UUID, uuid.UUID | None], tuple[Membership, frozenset[uuid.UUID]]]:
    """The open memberships that keys are bound to, and their groups, by one query."""
    bound = {(key.tenant_id, key.user_id) for key in keys if key.user_id is not None}
    if not bound:
        return {}
    users = {user for _, user in bound}
    tenants = {tenant for tenant, _ in bound}
    rows = Membership.objects.filter(tenant_id__in=tenants, user_id__in=users, disabled_at=None)
    found: dict[tuple[uuid.UUID, uuid.UUID | None], tuple[Membership, frozenset[uuid.UUID]]] = {}
    for row in rows.select_related("custom_role").annotate(group=F("in_groups__group_id")):
        mine = row.tenant_id, row.user_id
        if mine in bound:
            membership, groups = found.get(mine, (row, NO_GROUPS))
            found[mine] = membership, groups | {row.group} if row.group else groups
    return found


def _key_entry(key: ApiKey, membership: Membership | None, group_ids: frozenset[uuid.UUID]) -> KeyEntry:
    """Without what is shut to it."""
    refusal = ""
    if key.revoked_at is not None:
        refusal = "revoked"
    elif key.user is not None and not key.user.is_active:
        refusal = "inactive"
    elif key.tenant.state != TenantState.ACTIVE:
        refusal = "suspended"
    elif key.user_id is not None and membership is None:
        refusal = "disabled"
    role = Role(key.role).at_most(Role(membership.role)) if membership else Role(key.role)
    custom = key.custom_role or (membership.custom_role if membership else None)
    is_operator = key.user is not None and key.user.is_staff and role is Role.OWNER
    permissions = _permissions_of_key(key, membership, is_operator=is_operator)
    principal = Principal(
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant.slug,
        region=key.tenant.region,
        role=role,
        user_id=key.user_id,
        membership_id=membership.id if membership else None,
        api_key_id=key.id,
        api_key_prefix=key.prefix,
        is_operator=is_operator,
        priority_cap=PriorityClass(key.priority_class).clamped(PriorityClass(key.tenant.priority_class)),
        permissions=permissions,
        group_ids=group_ids,
        closed=NOTHING_SHUT,
        custom_role=custom.name if custom else "",
        weight=key.tenant.weight,
        service_account=name_of_account(key.user),
    )
    return KeyEntry(principal, key.name, key.fingerprint, key.pepper_version, key.expires_at, refusal)


def name_of_account(user: User | None) -> str:
    """The name of the service account that the user is, "" for a person."""
    return user.email.rpartition("/")[2] if user is not None and user.service_of is not None else ""


def _permissions_of_key(key: ApiKey, membership: Membership | None, *, is_operator: bool) -> frozenset[str]:
    """What the key's own role allows, of a person's key no more than the person may."""
    granted = _granted(Role(key.role), key.custom_role, is_operator=is_operator)
    if membership is None:
        return granted
    return granted & _granted(Role(membership.role), membership.custom_role, is_operator=is_operator)


def _granted(role: Role, custom: CustomRole | None, *, is_operator: bool) -> frozenset[str]:
    return permissions_of(role, is_operator=is_operator, custom=custom.permissions if custom else None)


def principal_of_membership(membership: Membership, *, confined: bool = False) -> Principal:
    """The principal of a session bound to `membership`, whose tenant, user, custom role and groups are loaded.

    See `Principal.confined`.
    """
    role = Role(membership.role)
    is_operator = membership.user.is_staff and not confined
    custom = membership.custom_role
    permissions = _granted(role, custom, is_operator=is_operator)
    group_ids = frozenset(each.group_id for each in membership.in_groups.all())
    closed: frozenset[str] = frozenset()
    if EVERYTHING not in permissions:
        with tenant_scope(membership.tenant_id, read_only=True):
            closed = _closed(membership.tenant_id, membership, group_ids, permissions)
    return Principal(
        tenant_id=membership.tenant_id,
        tenant_slug=membership.tenant.slug,
        region=membership.tenant.region,
        role=role,
        user_id=membership.user_id,
        membership_id=membership.id,
        is_operator=is_operator,
        priority_cap=PriorityClass(membership.tenant.priority_class),
        permissions=permissions,
        custom_role=custom.name if custom else "",
        group_ids=group_ids,
        closed=closed,
        confined=confined,
        weight=membership.tenant.weight,
    )


def _closed(
    tenant_id: uuid.UUID,
    membership: Membership | None,
    group_ids: frozenset[uuid.UUID],
    permissions: frozenset[str],
) -> frozenset[str]:
    """Needs a scope; asks nothing for those to whom nothing is shut."""
    if EVERYTHING in permissions:
        return NOTHING_SHUT
    mine = membership.id if membership else None
    return closed_to(tenant_id=tenant_id, membership_id=mine, group_ids=group_ids)


def principal_of_visit(user: User, tenant: Tenant) -> Principal:
    """The principal of an operator in a tenant they are no member of: see `Principal.visiting`, `Principal.break_glass`."""
    with tenant_scope(tenant.id, read_only=True):
        grant = open_break_glasses(user.id, SYSTEM_CLOCK.now()).values_list("id", flat=True).first()
    return Principal(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        region=tenant.region,
        role=Role.OWNER,
        user_id=user.id,
        is_operator=True,
        priority_cap=PriorityClass(tenant.priority_class),
        permissions=VISIT | BREAK_GLASS if grant else VISIT,
        break_glass=grant,
        visiting=True,
        weight=tenant.weight,
    )


def open_break_glasses(user_id: uuid.UUID, now: datetime) -> QuerySet[BreakGlass]:
    """Grants by which the operator may read content of the tenant at hand now. Needs a tenant scope."""
    return BreakGlass.objects.filter(operator_id=user_id, ended_at=None, expires_at__gt=now)


def open_grant(principal: Principal) -> OpenGrant | None:
    """The grant by which the principal reads content. Opens the tenant's scope, where there is one to look for."""
    if principal.break_glass is None:
        return None
    with tenant_scope(principal.tenant_id, read_only=True):
        row = BreakGlass.objects.filter(id=principal.break_glass).first()
        return OpenGrant(row.id, row.reason, row.expires_at) if row else None


def memberships_of(user_id: uuid.UUID) -> list[Membership]:
    """All memberships of a user with tenants and groups, the last used first. Needs a system scope."""
    rows = (
        Membership.objects.filter(user_id=user_id)
        .select_related("tenant", "user", "custom_role")
        .prefetch_related("in_groups")
        .order_by("created_at", "id")
    )
    return sorted(rows, key=_used, reverse=True)


def _used(membership: Membership) -> float:
    return membership.last_used_at.timestamp() if membership.last_used_at else 0.0


def is_open(membership: Membership) -> bool:
    """Whether `membership` (with its tenant loaded) lets its user in."""
    return membership.disabled_at is None and membership.tenant.state == TenantState.ACTIVE


def open_memberships(user_id: uuid.UUID) -> list[MembershipView]:
    """The tenants a user may work in, by slug. Opens a system scope."""
    with system_scope("list a user's memberships", read_only=True):
        rows = [each for each in memberships_of(user_id) if is_open(each)]
    views = [
        MembershipView(each.tenant_id, each.tenant.slug, each.tenant.name, Role(each.role)) for each in rows
    ]
    return sorted(views, key=lambda view: view.tenant_slug)


def all_tenants() -> QuerySet[Tenant]:
    """Every tenant, for operators."""
    return Tenant.objects.all()


def tenant_figures(tenant_ids: Sequence[uuid.UUID], now: datetime) -> dict[uuid.UUID, tuple[int, int]]:
    """Open memberships and valid keys of each of the tenants. Opens a system scope."""
    valid = Q(expires_at=None) | Q(expires_at__gt=now)
    with system_scope("count a tenant's members and keys", read_only=True):
        people = Membership.objects.filter(disabled_at=None, user__is_active=True, user__service_of=None)
        members = _counts(people, tenant_ids)
        keys = _counts(ApiKey.objects.filter(valid, revoked_at=None), tenant_ids)
    return {each: (members.get(each, 0), keys.get(each, 0)) for each in tenant_ids}


def _counts(rows: QuerySet[Any], tenant_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    found = rows.filter(tenant_id__in=tenant_ids).order_by().values_list("tenant_id")
    # Of rows, not of ids: an id would be fetched from each row, which the index makes needless.
    return dict(found.annotate(number=Count("*")))


def tenant_views(tenants: list[Tenant], now: datetime) -> list[TenantView]:
    """What operators see of tenants, with their figures. Opens a system scope."""
    figures = tenant_figures([each.id for each in tenants], now)
    return [
        replace(tenant_view(each), members=figures[each.id][0], keys=figures[each.id][1]) for each in tenants
    ]


def find_tenant(slug: str) -> Tenant | None:
    """The tenant of a slug."""
    return Tenant.objects.filter(slug=slug).first()


def members() -> QuerySet[Membership]:
    """People in the tenant at hand with their users and custom roles; no service accounts. Needs a tenant scope."""
    return Membership.objects.filter(user__service_of=None).select_related("user", "custom_role")


def api_keys() -> QuerySet[ApiKey]:
    """Keys of the tenant at hand. Needs a tenant scope."""
    return ApiKey.objects.all()


def key_state(key: ApiKey, now: datetime) -> KeyState:
    """Whether the key works."""
    if key.revoked_at is not None:
        return KeyState.REVOKED
    if key.expires_at is None or key.expires_at > now + EXPIRING:
        return KeyState.VALID
    return KeyState.EXPIRING if key.expires_at > now else KeyState.EXPIRED


def invitations() -> QuerySet[Invitation]:
    """Invitations of the tenant at hand with who invited. Needs a tenant scope."""
    return Invitation.objects.select_related("invited_by", "custom_role")


def invitation_state(invitation: Invitation, now: datetime) -> InvitationState:
    """What became of it."""
    if invitation.accepted_at is not None:
        return InvitationState.ACCEPTED
    if invitation.withdrawn_at is not None:
        return InvitationState.WITHDRAWN
    return InvitationState.OPEN if invitation.expires_at > now else InvitationState.EXPIRED


def invitation_view(invitation: Invitation, now: datetime) -> InvitationView:
    """What administrators see of an invitation."""
    return InvitationView(
        id=invitation.id,
        email=invitation.email,
        role=Role(invitation.role),
        custom_role=_role_name(invitation.custom_role),
        message=invitation.message,
        state=invitation_state(invitation, now),
        invited_by=invitation.invited_by.email if invitation.invited_by else "",
        created_at=invitation.created_at,
        sent_at=invitation.sent_at,
        expires_at=invitation.expires_at,
        accepted_at=invitation.accepted_at,
        mailed=invitation.mailed,
        version=version_of(invitation.updated_at),
    )


def key_names(ids: list[uuid.UUID]) -> dict[str, str]:
    """Names of keys by id. Needs a tenant scope."""
    return {str(key.id): f"{key.name} (atr_{key.prefix})" for key in ApiKey.objects.filter(id__in=ids)}


def user_emails(ids: list[uuid.UUID]) -> dict[str, str]:
    """E-mail addresses by user id, of members of the tenant at hand alone. Needs a tenant scope."""
    rows = Membership.objects.filter(user_id__in=ids).values_list("user_id", "user__email")
    return {str(user_id): email for user_id, email in rows}


def active_owner_count(*, without: uuid.UUID | None = None) -> int:
    """Owners of the tenant at hand who can sign in, but for the membership `without`. Needs a tenant scope."""
    rows = Membership.objects.filter(role=Role.OWNER, disabled_at=None, user__is_active=True)
    return rows.filter(~Q(id=without)).count()


def find_user(email: str) -> User | None:
    """The user of a normal e-mail address."""
    return User.objects.filter(email=email).first()


def tenant_view(tenant: Tenant) -> TenantView:
    """What the outside sees of a tenant."""
    return TenantView(
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        state=TenantState(tenant.state),
        priority_class=PriorityClass(tenant.priority_class),
        weight=tenant.weight,
        is_demo=tenant.is_demo,
        created_at=tenant.created_at,
        version=version_of(tenant.updated_at),
        timezone=tenant.timezone,
        region=tenant.region,
    )


def member_view(membership: Membership) -> MemberView:
    """What the outside sees of a member whose user is loaded."""
    return MemberView(
        user_id=membership.user_id,
        membership_id=membership.id,
        email=membership.user.email,
        name=membership.user.name,
        role=Role(membership.role),
        disabled=membership.disabled_at is not None,
        created_at=membership.created_at,
        last_used_at=membership.last_used_at,
        version=version_of(membership.updated_at),
        custom_role=_role_name(membership.custom_role),
    )


def key_view(key: ApiKey, now: datetime) -> KeyView:
    """What the outside sees of a key's row alone: see `key_views`."""
    return KeyView(
        id=key.id,
        prefix=key.prefix,
        name=key.name,
        role=Role(key.role),
        priority_class=PriorityClass(key.priority_class),
        user_id=key.user_id,
        created_by_id=key.created_by_id,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        state=key_state(key, now),
        version=version_of(key.updated_at),
        replaces=key.replaces,
        custom_role=_role_name(key.custom_role),
    )


def _role_name(custom: CustomRole | None) -> RoleName | None:
    return RoleName(custom.id, custom.name) if custom else None


def touched_long_ago(moment: datetime | None, now: datetime, *, seconds: float) -> bool:
    """Whether `moment` is more than `seconds` back, or never was: then it is worth a write."""
    return moment is None or (now - moment).total_seconds() > seconds
