"""A tenant's directory provisions its members over SCIM: memberships, never the accounts of others.

An account that exists is made a member only for a domain that an operator has verified to be the tenant's, or when the
tenant's own directory made it and nobody else has a part in it since. Only such an account's address and name follow
the directory; of everybody else it says what the tenant calls them, and whether they are let in.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace

from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, NotFound
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants import scim_reads
from tenants.access_types import EXTERNAL_ID_LENGTH
from tenants.models import IdentityProvider, Membership, Provisioned, Tenant, User
from tenants.permissions import require
from tenants.provisioning_types import Provisioner
from tenants.scim.errors import Immutable, InvalidValue, NotUnique
from tenants.scim.patches import UserState
from tenants.scim.resources import ScimUser, check_etag, user_version
from tenants.services.keys import revoke_keys_of_member
from tenants.services.sessions import end_sessions_of_membership
from tenants.services.users import keep_an_owner, normal_address
from tenants.types import EMAIL_LENGTH, NAME_LENGTH, Principal, Role


def find_provisioned(
    *, principal: Principal, filter_text: str, start: int, count: int
) -> tuple[list[ScimUser], int]:
    """A page of the tenant's members that the filter lets through, and how many there are; `start` counts from 0.

    Raises PermissionDenied, InvalidFilter.
    """
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = scim_reads.scim_members(filter_text)
        return scim_reads.scim_users(rows[start : start + count]), rows.count()


def get_provisioned(*, principal: Principal, member_id: uuid.UUID) -> ScimUser:
    """A member of the tenant. Raises PermissionDenied, NotFound."""
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _member(member_id)


def provision_member(*, caller: Provisioner, state: UserState, clock: Clock = SYSTEM_CLOCK) -> ScimUser:
    """Make somebody a member, with an account where the address has none.

    Raises InvalidValue, NotUnique when the names are taken in the tenant, or when the address has an account that is not
    the tenant's to link.
    """
    require(caller.principal, "users.write")
    tenant_id = caller.principal.tenant_id
    wanted = _checked(state)
    with system_scope("provision a member"):
        user = User.objects.select_for_update().filter(email=wanted.email).first()
        linkable = user is None or _is_ours_alone(user, tenant_id) or _speaks_for(tenant_id, wanted.email)
        with tenant_scope(tenant_id):
            Tenant.objects.select_for_update().get(id=tenant_id)
            _refuse_taken(wanted, but=None)
            if user is not None and Membership.objects.filter(user=user).exists():
                raise NotUnique(f"{wanted.email} is a member of this tenant already.")
            if user is None:
                user = _new_user(wanted, tenant_id)
            elif not linkable:
                raise NotUnique(
                    f"There is an account of {wanted.email} already, and an equal address alone links nothing: an "
                    "operator can verify the domain, or the person accepts an invitation."
                )
            row = Membership.objects.create(
                tenant_id=tenant_id,
                user=user,
                role=caller.default_role.value,
                disabled_at=None if wanted.active else clock.now(),
            )
            _write_names(row, wanted)
            _tell("created", row, after={"role": row.role, "active": wanted.active})
            return _member(row.id)


def change_provisioned(
    *,
    caller: Provisioner,
    member_id: uuid.UUID,
    change: Callable[[UserState], UserState],
    expected: str = "",
    clock: Clock = SYSTEM_CLOCK,
) -> ScimUser:
    """What `change` makes of a member is so from now on, or nothing is: disabling ends sessions, keys and streams.

    `expected` is an `If-Match` header. Raises NotFound, Stale, InvalidValue, NotUnique, Immutable for an address of an
    account that is not the tenant's own, Conflict when the tenant would have no active owner.
    """
    require(caller.principal, "users.write")
    tenant_id = caller.principal.tenant_id
    with system_scope("provision a member"):
        row = _locked(tenant_id, member_id)
        user = User.objects.select_for_update().get(id=row.user_id)
        ours = _is_ours_alone(user, tenant_id)
        with tenant_scope(tenant_id):
            seen = _member(member_id)
            check_etag(user_version(seen), expected)
            before = seen.state
            after = _checked(_carried(before, change(before), ours))
            if after == before:
                return seen
            _refuse_taken(after, but=member_id)
            if after.email != before.email:
                _change_address(user, after.email, ours)
            if ours:
                _change_name(user, after)
            _write_names(row, after)
            if after.active != before.active:
                row.disabled_at = None if after.active else clock.now()
                end_sessions_of_membership(row.id)
                keep_an_owner(row)
            row.save()
            row.user = user
            _tell_change(row, before, after)
            return _member(member_id)


def remove_provisioned(*, caller: Provisioner, member_id: uuid.UUID, expected: str = "") -> None:
    """Take a member out of the tenant; the account and what they made stay.

    Raises NotFound, Stale, Conflict when the tenant would have no active owner.
    """
    require(caller.principal, "users.write")
    with tenant_scope(caller.principal.tenant_id):
        row = _locked(caller.principal.tenant_id, member_id)
        check_etag(user_version(_member(member_id)), expected)
        _tell("removed", row, before={"role": row.role})
        row.role = Role.VIEWER.value
        keep_an_owner(row)
        end_sessions_of_membership(row.id)
        revoke_keys_of_member(row.user_id)
        row.delete()


def is_ours_alone(*, user_id: uuid.UUID, tenant_id: uuid.UUID) -> bool:
    """Whether the tenant's directory made the account and nobody else has a part in it. Opens a system scope."""
    with system_scope("whose account it is", read_only=True):
        user = User.objects.filter(id=user_id).first()
        return user is not None and _is_ours_alone(user, tenant_id)


def _is_ours_alone(user: User, tenant_id: uuid.UUID) -> bool:
    """Needs a system scope."""
    if user.provisioned_by != tenant_id or user.is_operator:
        return False
    # A password that no tenant gave was chosen by the person, who has shown by that whose address it is.
    if user.has_usable_password() and user.password_given_by != tenant_id:
        return False
    return not Membership.objects.filter(user=user).exclude(tenant_id=tenant_id).exists()


def _speaks_for(tenant_id: uuid.UUID, email: str) -> bool:
    domain = email.rpartition("@")[2]
    rows = IdentityProvider.objects.filter(tenant_id=tenant_id).exclude(domains_verified_at=None)
    return any(domain in row.domains for row in rows)


def _member(member_id: uuid.UUID) -> ScimUser:
    found = scim_reads.scim_users(scim_reads.scim_members().filter(id=member_id))
    if not found:
        raise NotFound("There is no such user.")
    return found[0]


def _locked(tenant_id: uuid.UUID, member_id: uuid.UUID) -> Membership:
    with tenant_scope(tenant_id):
        Tenant.objects.select_for_update().get(id=tenant_id)
        row = Membership.objects.select_related("user", "custom_role").filter(id=member_id).first()
    if row is None:
        raise NotFound("There is no such user.")
    return row


def _carried(before: UserState, after: UserState, ours: bool) -> UserState:
    """A directory that names people by their address, and maps no address besides, means both when it renames."""
    follows = before.user_name.lower() == before.email and after.email in ("", before.email)
    if ours and follows and "@" in after.user_name:
        return replace(after, email=after.user_name)
    return after if after.email else replace(after, email=before.email)


def _checked(state: UserState) -> UserState:
    if not state.user_name or len(state.user_name) > EMAIL_LENGTH:
        raise InvalidValue(f"userName has 1–{EMAIL_LENGTH} characters.")
    if len(state.external_id) > EXTERNAL_ID_LENGTH:
        raise InvalidValue(f"externalId has at most {EXTERNAL_ID_LENGTH} characters.")
    if any(len(each) > NAME_LENGTH for each in (state.display_name, state.given_name, state.family_name)):
        raise InvalidValue(f"A name has at most {NAME_LENGTH} characters.")
    try:
        return replace(state, email=normal_address(state.email or state.user_name))
    except BadInput as error:
        raise InvalidValue("Neither `emails` nor `userName` is an e-mail address.") from error


def _refuse_taken(state: UserState, *, but: uuid.UUID | None) -> None:
    """Needs the tenant's scope and its row's lock."""
    others = scim_reads.scim_members().exclude(id=but)
    if others.filter(directory_name__iexact=state.user_name).exists():
        raise NotUnique("Somebody in this tenant has this userName already.")
    if state.external_id and others.filter(directory_id=state.external_id).exists():
        raise NotUnique("Somebody in this tenant has this externalId already.")


def _new_user(state: UserState, tenant_id: uuid.UUID) -> User:
    user = User(email=state.email, name=_full_name(state), provisioned_by=tenant_id)
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise NotUnique("There is an account of this address already.") from error
    return user


def _change_address(user: User, email: str, ours: bool) -> None:
    if not ours:
        raise Immutable("The account is not this tenant's own: its address is the person's to change.")
    user.email = email
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "updated_at"])
    except IntegrityError as error:
        raise NotUnique("There is an account of this address already.") from error
    record_change(kind="user", object_id=user.id)


def _change_name(user: User, state: UserState) -> None:
    name = _full_name(state)
    if name and name != user.name:
        user.name = name
        user.save(update_fields=["name", "updated_at"])


def _full_name(state: UserState) -> str:
    return (state.display_name or f"{state.given_name} {state.family_name}").strip()[:NAME_LENGTH]


def _write_names(row: Membership, state: UserState) -> None:
    Provisioned.objects.update_or_create(
        membership=row,
        defaults={
            "tenant_id": row.tenant_id,
            "user_name": state.user_name,
            "external_id": state.external_id,
            "display_name": state.display_name,
            "given_name": state.given_name,
            "family_name": state.family_name,
        },
    )


def _tell_change(row: Membership, before: UserState, after: UserState) -> None:
    told = {"changed"}
    if before.active != after.active:
        told = {"enabled" if after.active else "disabled"}
        if replace(before, active=after.active) != after:
            told.add("changed")
    for act in sorted(told):
        _tell(act, row, before=_told(before), after=_told(after))


def _told(state: UserState) -> dict[str, object]:
    return {
        "user_name": state.user_name,
        "external_id": state.external_id,
        "name": _full_name(state),
        "email": state.email,
        "active": state.active,
    }


def _tell(
    act: str,
    row: Membership,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    record_change(kind="membership", object_id=row.user_id, tenant_id=row.tenant_id)
    record_act(
        act=act,
        kind="membership",
        object_id=row.user_id,
        label=f"{row.user.email} ({row.role}, by the directory)",
        tenant_id=row.tenant_id,
        before=before,
        after=after,
    )
