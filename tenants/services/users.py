"""Use cases around users and their memberships."""

import uuid

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants import selectors
from tenants.models import Membership, Tenant, User
from tenants.permissions import require, require_rank
from tenants.services.keys import find_key_name, revoke_keys_of_member
from tenants.services.roles import wanted_role
from tenants.services.sessions import end_every_session, end_sessions_of_membership
from tenants.types import (
    EMAIL_LENGTH,
    NAME_LENGTH,
    CreatedUser,
    KeyName,
    MembershipView,
    MemberView,
    Principal,
    PrincipalView,
    Role,
    TenantName,
    UserView,
    normal_email,
)


def create_user(
    *,
    email: str,
    tenant_slug: str,
    role: Role | str,
    password: str | None = None,
    name: str = "",
    is_operator: bool = False,
) -> CreatedUser:
    """Make a user, or find the one of this address, and make them a member; the operator's way (commands, first run).

    Without a password nobody can sign in by password. A known user's password and name stay as they are. Raises
    BadInput, NotFound for an unknown tenant, Conflict when they are a member already.
    """
    tenant = selectors.find_tenant(tenant_slug)
    if tenant is None:
        raise NotFound(f"There is no tenant with the slug {tenant_slug!r}.")
    return _add(
        tenant=tenant,
        email=email,
        role=_role(role),
        password=password,
        name=name,
        is_operator=is_operator,
    )


def add_member(
    *, principal: Principal, email: str, role: Role, password: str | None = None, name: str = ""
) -> MemberView:
    """Make a user a member of the principal's tenant; as `create_user`, under the principal's rights.

    A password that is given here opens this tenant alone, until the person shows that the address is theirs.

    Raises PermissionDenied, BadInput (a weak password too), Conflict when they are a member already.
    """
    require(principal, "users.write")
    require_rank(principal, role)
    if password is not None:
        check_password_rules(password, email=email)
    tenant = Tenant.objects.get(id=principal.tenant_id)
    return _add(
        tenant=tenant,
        email=email,
        role=role,
        password=password,
        name=name,
        is_operator=False,
        by_tenant=not principal.is_operator,
    ).member


def check_password_rules(password: str, *, email: str) -> None:
    """Raises BadInput when the password is too weak for a user of this address."""
    try:
        validate_password(password, user=User(email=email))
    except ValidationError as error:
        raise BadInput(" ".join(error.messages), param="password") from error


def _add(
    *,
    tenant: Tenant,
    email: str,
    role: Role,
    password: str | None,
    name: str,
    is_operator: bool,
    by_tenant: bool = False,
) -> CreatedUser:
    address = normal_address(email)
    if len(name) > NAME_LENGTH:
        raise BadInput(f"A name has at most {NAME_LENGTH} characters.", param="name")
    fresh = User(email=address, name=name.strip(), is_operator=is_operator)
    # Hashing a password takes 50 ms on purpose: not while the transaction holds locks.
    fresh.set_password(password)
    fresh.password_given_by = tenant.id if password is not None and by_tenant else None
    with tenant_scope(tenant.id):
        user, created = _save_user(fresh)
        if is_operator and not user.is_operator:
            user.is_operator = True
            user.save(update_fields=["is_operator", "updated_at"])
        try:
            with transaction.atomic():
                membership = Membership.objects.create(tenant_id=tenant.id, user=user, role=role.value)
        except IntegrityError as error:
            raise Conflict(f"{address} is a member of this tenant already.", param="email") from error
        record_change(kind="membership", object_id=user.id, tenant_id=tenant.id)
        _record("created", membership)
    return CreatedUser(
        member=selectors.member_view(membership), tenant_slug=tenant.slug, user_created=created
    )


def _save_user(fresh: User) -> tuple[User, bool]:
    try:
        with transaction.atomic():
            fresh.save(force_insert=True)
        return fresh, True
    except IntegrityError:
        return User.objects.get(email=fresh.email), False


def normal_address(email: str) -> str:
    """The address as it is stored. Raises BadInput when it is none."""
    address = normal_email(email)
    try:
        validate_email(address)
    except ValidationError as error:
        raise BadInput("This is not an e-mail address.", param="email") from error
    if len(address) > EMAIL_LENGTH:
        raise BadInput(f"An e-mail address has at most {EMAIL_LENGTH} characters.", param="email")
    return address


def _role(role: Role | str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        raise BadInput(f"A role is one of {', '.join(Role)}.", param="role") from error


def get_member(*, principal: Principal, user_id: uuid.UUID) -> MemberView:
    """A member of the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.member_view(_member(user_id))


def change_member(
    *,
    principal: Principal,
    user_id: uuid.UUID,
    role: Role | None = None,
    custom_role_id: uuid.UUID | None = None,
    disabled: bool | None = None,
    expected: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> MemberView:
    """Change a member's role, or disable or enable the membership; in effect everywhere within two seconds.

    With `custom_role_id` the member has that custom role, with `role` a built-in one in its place. Raises BadInput for both,
    PermissionDenied, NotFound, Stale when it is not the version `expected`, Conflict when the tenant would have no active owner, or for one's own membership.
    """
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id):
        membership = _locked_member(user_id)
        _require_rank(principal, membership)
        check_version(membership.updated_at, expected)
        asked = role is not None or custom_role_id is not None
        wanted = wanted_role(principal, role, custom_role_id) if asked else None
        changes = wanted is not None and wanted != (membership.role, membership.custom_role)
        acts = _acts(membership, changes, disabled)
        before = _values(membership)
        if disabled or changes:
            _not_oneself(principal, user_id)
        if wanted is not None:
            membership.role, membership.custom_role = wanted
        if disabled is not None and disabled != (membership.disabled_at is not None):
            membership.disabled_at = clock.now() if disabled else None
            end_sessions_of_membership(membership.id)
        keep_an_owner(membership)
        membership.save()
        record_change(kind="membership", object_id=user_id, tenant_id=principal.tenant_id)
        for act in acts:
            _record(act, membership, before=before)
        return selectors.member_view(membership)


def _require_rank(principal: Principal, membership: Membership) -> None:
    custom = membership.custom_role
    require_rank(principal, Role(membership.role), custom.permissions if custom else None)


def _acts(membership: Membership, changes: bool, disabled: bool | None) -> list[str]:
    """What a change of the membership amounts to, in the words of the record."""
    found = ["changed"] if changes else []
    if disabled is not None and disabled != (membership.disabled_at is not None):
        found.append("disabled" if disabled else "enabled")
    return found


def _values(membership: Membership) -> dict[str, object]:
    return {"role": _role_name(membership), "disabled": membership.disabled_at is not None}


def _role_name(membership: Membership) -> str:
    return membership.custom_role.name if membership.custom_role else membership.role


def _record(act: str, membership: Membership, before: dict[str, object] | None = None) -> None:
    label = f"{membership.user.email} ({_role_name(membership)})"
    record_act(
        act=act,
        kind="membership",
        object_id=membership.user_id,
        label=label,
        tenant_id=membership.tenant_id,
        before=before,
        after=_values(membership),
    )


def remove_member(*, principal: Principal, user_id: uuid.UUID, expected: str | None = None) -> None:
    """Take a user out of the tenant; the user and what they made stay.

    Raises PermissionDenied, NotFound, Stale when it is not the version `expected`, Conflict when the tenant would have no active owner, or for one's own membership.
    """
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id):
        membership = _locked_member(user_id)
        _require_rank(principal, membership)
        check_version(membership.updated_at, expected)
        _not_oneself(principal, user_id)
        _record("removed", membership)
        membership.role = Role.VIEWER.value
        keep_an_owner(membership)
        end_sessions_of_membership(membership.id)
        revoke_keys_of_member(user_id)
        membership.delete()
        record_change(kind="membership", object_id=user_id, tenant_id=principal.tenant_id)


def _not_oneself(principal: Principal, user_id: uuid.UUID) -> None:
    # A slip of the hand would lock the one out who could mend it.
    if principal.user_id == user_id:
        raise Conflict("Ask somebody else to change your own membership.", code="own_membership")


def _member(user_id: uuid.UUID) -> Membership:
    membership = selectors.members().filter(user_id=user_id).first()
    if membership is None:
        raise NotFound("There is no such user in this tenant.")
    return membership


def _locked_member(user_id: uuid.UUID) -> Membership:
    # The tenant's row is the lock: two owners who remove each other at once must not both succeed.
    membership = _member(user_id)
    Tenant.objects.select_for_update().get(id=membership.tenant_id)
    membership.refresh_from_db(fields=["role", "custom_role", "disabled_at", "updated_at"])
    return membership


def keep_an_owner(membership: Membership) -> None:
    """Return when the tenant has an active owner with the membership as it stands, not yet saved. Raises Conflict."""
    stays = membership.role == Role.OWNER and membership.disabled_at is None and membership.user.is_active
    was_owner = Membership.objects.filter(id=membership.id, role=Role.OWNER, disabled_at=None).exists()
    if was_owner and not stays and selectors.active_owner_count(without=membership.id) == 0:
        raise Conflict("A tenant keeps at least one active owner.", code="last_owner")


def describe_principal(*, principal: Principal, language: str = "") -> PrincipalView:
    """What a principal may know about themselves: a session's user sees all tenants they may work in, a key its own.

    `language` is the one that a session's user is told it in; letters to them are written in it from now on.
    Raises NotFound when the tenant or the user is gone by now.
    """
    tenant = Tenant.objects.filter(id=principal.tenant_id).first()
    user = User.objects.filter(id=principal.user_id).first() if principal.user_id else None
    if tenant is None or (user is None and principal.user_id is not None):
        raise NotFound
    here = MembershipView(tenant.id, tenant.slug, tenant.name, principal.role)
    by_session = principal.api_key_id is None and user is not None
    if by_session and language and user and user.language != language:
        User.objects.filter(id=user.id).update(language=language)
    return PrincipalView(
        user=UserView(user.id, user.email, user.name, user.is_staff and not principal.confined)
        if user
        else None,
        tenant=TenantName(tenant.id, tenant.slug, tenant.name),
        role=principal.role,
        custom_role=principal.custom_role,
        permissions=sorted(principal.permissions),
        memberships=selectors.open_memberships(user.id)
        if by_session and user and not principal.confined
        else [here],
        api_key=None if by_session else KeyName(principal.api_key_prefix, find_key_name(principal=principal)),
        visiting=principal.visiting,
        platform=principal.is_operator,
        break_glass=selectors.open_grant(principal),
    )


def change_user(
    *,
    user_id: uuid.UUID,
    name: str | None = None,
    is_operator: bool | None = None,
    is_active: bool | None = None,
) -> None:
    """Change a user of the platform; the operator's way. An inactive user's sessions and keys are dead at once.

    Raises NotFound, BadInput.
    """
    if name is not None and len(name) > NAME_LENGTH:
        raise BadInput(f"A name has at most {NAME_LENGTH} characters.", param="name")
    with system_scope("change a user"):
        user = User.objects.select_for_update().filter(id=user_id).first()
        if user is None:
            raise NotFound("There is no such user.")
        user.name = user.name if name is None else name.strip()
        user.is_operator = user.is_operator if is_operator is None else is_operator
        user.is_active = user.is_active if is_active is None else is_active
        user.save(update_fields=["name", "is_operator", "is_active", "updated_at"])
        if not user.is_active:
            end_every_session(user_id=user.id)
        record_change(kind="user", object_id=user.id)
        record_act(act="changed", kind="user", object_id=user.id, label=user.email)


def set_password(*, user_id: uuid.UUID, password: str) -> None:
    """Give a user a new password; the operator's way. All their sessions end. Raises NotFound, BadInput."""
    user = User.objects.filter(id=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    check_password_rules(password, email=user.email)
    user.set_password(password)
    user.password_given_by = None
    with system_scope("set a user's password"):
        user.save(update_fields=["password", "password_given_by", "updated_at"])
        end_every_session(user_id=user.id)
        record_change(kind="user", object_id=user.id)
        record_act(act="changed", kind="user", object_id=user.id, label=f"{user.email} (password)")
