"""Use cases around service accounts: programs that belong to a tenant as its people do, by keys of their own.

A service account is a membership whose user is no person (`User.service_of`): role, groups, grants, limits and usage
hold for it by the same rules and the same code as for a person. It has no password and no address and never signs in;
it never is an owner and never operates the platform. All of its keys may what it may, and nothing else.
"""

import re
import uuid

from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, LimitReached, NotFound, PermissionDenied
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants import account_reads
from tenants.access_types import DESCRIPTION_LENGTH
from tenants.models import ApiKey, CustomRole, Membership, ServiceAccount, Tenant, User
from tenants.permissions import CONTENT, permissions_of, require, require_rank, require_within
from tenants.service_account_types import MARK, ServiceAccountView, address_of
from tenants.services.roles import wanted_role
from tenants.types import SLUG_PATTERN, Principal, Role

KIND = "service_account"
MOST_ACCOUNTS = 1_000


def create_service_account(
    *,
    principal: Principal,
    name: str,
    description: str = "",
    role: Role | None = None,
    custom_role_id: uuid.UUID | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> ServiceAccountView:
    """Make a service account without keys, with the built-in role (member, where none is named) or the custom one.

    Raises PermissionDenied for a role above the principal's, BadInput, LimitReached, Conflict for a name that is taken.
    """
    require(principal, "service_accounts.write")
    wanted_name, text = _name(name), _text(description)
    with tenant_scope(principal.tenant_id):
        role_name, custom = _role(
            principal, role or (None if custom_role_id else Role.MEMBER), custom_role_id
        )
        # The tenant's row is the lock: two who make the last one at once must not both succeed.
        tenant = Tenant.objects.select_for_update().get(id=principal.tenant_id)
        if ServiceAccount.objects.count() >= MOST_ACCOUNTS:
            raise LimitReached(f"A tenant has at most {MOST_ACCOUNTS} service accounts.")
        user = User(email=address_of(tenant.slug, wanted_name), service_of=tenant.id)
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict("There is a service account of this name already.", param="name") from error
        member = Membership.objects.create(tenant_id=tenant.id, user=user, role=role_name, custom_role=custom)
        row = ServiceAccount.objects.create(
            id=user.id,
            tenant_id=tenant.id,
            membership=member,
            name=wanted_name,
            description=text,
            created_by_id=principal.user_id,
        )
        _tell("created", row, after=_values(row))
        return account_reads.account_views([row], clock.now())[0]


def get_service_account(
    *, principal: Principal, account_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK
) -> ServiceAccountView:
    """A service account of the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "service_accounts.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return account_reads.account_views([_found(account_id)], clock.now())[0]


def change_service_account(
    *,
    principal: Principal,
    account_id: uuid.UUID,
    description: str | None = None,
    role: Role | None = None,
    custom_role_id: uuid.UUID | None = None,
    disabled: bool | None = None,
    expected: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> ServiceAccountView:
    """Describe it, give it and its keys another role, or disable or enable it; in effect everywhere within two seconds.

    Its keys are refused while it is disabled. Raises PermissionDenied, NotFound, BadInput, Stale when it is not the
    version `expected`.
    """
    require(principal, "service_accounts.write")
    with tenant_scope(principal.tenant_id):
        row = _locked(principal, account_id)
        member = row.membership
        check_version(max(row.updated_at, member.updated_at), expected)
        before = _values(row)
        if description is not None:
            row.description = _text(description)
        if role is not None or custom_role_id is not None:
            held = _rights(member.role, member.custom_role)
            member.role, member.custom_role = _role(principal, role, custom_role_id, held)
            keys = ApiKey.objects.filter(user_id=row.id, revoked_at=None)
            keys.update(role=member.role, custom_role=member.custom_role, updated_at=clock.now())
        if disabled is not None and disabled != (member.disabled_at is not None):
            member.disabled_at = clock.now() if disabled else None
        member.save()
        row.save()
        after = _values(row)
        if before["disabled"] != after["disabled"]:
            _tell("disabled" if after["disabled"] else "enabled", row)
        if any(before[each] != after[each] for each in ("role", "description")):
            _tell("changed", row, before, after)
        return account_reads.account_views([row], clock.now())[0]


def delete_service_account(
    *,
    principal: Principal,
    account_id: uuid.UUID,
    expected: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Revoke all keys of the account and take it out of the tenant; refused everywhere within two seconds.

    Its usage stays in the ledger, its name is free again. Raises PermissionDenied, NotFound, Stale.
    """
    require(principal, "service_accounts.write")
    with tenant_scope(principal.tenant_id):
        row = _locked(principal, account_id)
        member = row.membership
        check_version(max(row.updated_at, member.updated_at), expected)
        for key in ApiKey.objects.select_for_update().filter(user_id=row.id):
            record_change(kind="api_key", object_id=key.prefix, tenant_id=row.tenant_id)
        live = ApiKey.objects.filter(user_id=row.id, revoked_at=None)
        # A custom role stays deletable: ended keys hold none.
        ApiKey.objects.filter(user_id=row.id).update(custom_role=None)
        revoked = live.update(revoked_at=clock.now(), updated_at=clock.now())
        _tell("deleted", row, before={**_values(row), "keys": revoked})
        user = member.user
        # Cascades to the account, its groups and its grants.
        member.delete()
        user.is_active = False
        user.email = f"{MARK}{user.id}/{row.name}"
        user.save(update_fields=["is_active", "email", "updated_at"])


def account_for_key(*, principal: Principal, account_id: uuid.UUID) -> Membership:
    """The membership of the account that a key is made for, or rotated: whoever gets the key's text acts as it.

    Needs the tenant's scope. Raises NotFound, PermissionDenied when the account may more than the principal, or may use
    what is shut to them, Conflict while it is disabled.
    """
    row = _found(account_id)
    member = row.membership
    require_within(principal, _rights(member.role, member.custom_role))
    if principal.closed - account_reads.closed_to_account(member):
        raise PermissionDenied(
            "This service account may use things that you may not: ask somebody who may.",
            code="beyond_own_rights",
        )
    if member.disabled_at is not None:
        raise Conflict("This service account is disabled: enable it first.", code="account_disabled")
    return member


def _role(
    principal: Principal,
    role: Role | None,
    custom_role_id: uuid.UUID | None,
    held: frozenset[str] = frozenset(),
) -> tuple[str, CustomRole | None]:
    """The role asked for. What it adds to `held` must be the principal's own: keys that are out have it at once."""
    if role is Role.OWNER:
        raise BadInput("A service account is never an owner.", param="role")
    wanted = wanted_role(principal, role, custom_role_id)
    added = _rights(*wanted) - held
    if principal.visiting and added & CONTENT:
        raise PermissionDenied(
            "On a visit a service account gets no role that opens content, as every built-in one does: choose a role of the"
            " tenant's own that opens none, or ask its administrators.",
            code="beyond_own_rights",
        )
    require_within(principal, added)
    return wanted


def _found(account_id: uuid.UUID) -> ServiceAccount:
    row = account_reads.accounts().filter(id=account_id).first()
    if row is None:
        raise NotFound("There is no such service account.")
    return row


def _locked(principal: Principal, account_id: uuid.UUID) -> ServiceAccount:
    # The membership's row is the lock: that of the account joins nullable columns, which cannot be locked.
    member_id = _found(account_id).membership_id
    Membership.objects.select_for_update().get(id=member_id)
    row = _found(account_id)
    custom = row.membership.custom_role
    require_rank(principal, Role(row.membership.role), _permissions(custom))
    return row


def _rights(role: str, custom: CustomRole | None) -> frozenset[str]:
    return permissions_of(Role(role), custom=_permissions(custom))


def _permissions(custom: CustomRole | None) -> list[str] | None:
    return custom.permissions if custom else None


def _name(text: str) -> str:
    name = text.strip()
    if not re.match(SLUG_PATTERN, name):
        raise BadInput(
            "A service account's name has 1–63 characters: small letters, digits, and hyphens between them.",
            param="name",
        )
    return name


def _text(text: str) -> str:
    if len(text.strip()) > DESCRIPTION_LENGTH:
        raise BadInput(f"At most {DESCRIPTION_LENGTH} characters.", param="description")
    return text.strip()


def _values(row: ServiceAccount) -> dict[str, object]:
    member = row.membership
    return {
        "role": member.custom_role.name if member.custom_role else member.role,
        "description": row.description,
        "disabled": member.disabled_at is not None,
    }


def _tell(
    act: str,
    row: ServiceAccount,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    """For processes it is a member that changed; for pages an account."""
    record_change(kind="membership", object_id=row.id, tenant_id=row.tenant_id)
    record_change(kind=KIND, object_id=row.id, tenant_id=row.tenant_id)
    record_act(
        act=act,
        kind=KIND,
        object_id=row.id,
        label=row.name,
        tenant_id=row.tenant_id,
        before=before,
        after=after,
    )
