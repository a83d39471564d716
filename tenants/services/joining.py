"""Use cases of the person who holds an invitation: looking at it, and accepting it once."""

import uuid

from django.db import IntegrityError, transaction

from kernel.actors import Actor, acting
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound, PermissionDenied, TenantSuspended
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.models import Invitation, Membership, User
from tenants.services.invitations import token_hash
from tenants.services.users import check_password_rules
from tenants.sign_in_types import OfferedMembership
from tenants.types import NAME_LENGTH, InvitationState, Role, TenantState

# Longer than any token of ours: what is longer is not looked up.
_LONGEST_TOKEN = 200


def find_offer(*, token: str = "", hashed: str = "", clock: Clock = SYSTEM_CLOCK) -> OfferedMembership:
    """What an open invitation offers, by its token or by the token's hash that a session remembers.

    Raises NotFound (unknown, replaced, withdrawn), Conflict (used, expired: see `code`), TenantSuspended.
    """
    if token:
        if len(token) > _LONGEST_TOKEN:
            raise NotFound(_UNKNOWN)
        hashed = token_hash(token)
    row = _open_invitation(hashed, clock)
    return OfferedMembership(
        token_hash=hashed,
        email=row.email,
        role=Role(row.role),
        custom_role=row.custom_role.name if row.custom_role else "",
        tenant_name=row.tenant.name,
        invited_by=row.invited_by.get_full_name() if row.invited_by else "",
        message=row.message,
        known=selectors.find_user(row.email) is not None,
    )


_UNKNOWN = "This invitation is not known. It may have been withdrawn, or sent again with a newer link."


def _open_invitation(hashed: str, clock: Clock) -> Invitation:
    with system_scope("look up an invitation", read_only=True):
        row = (
            Invitation.objects.select_related("tenant", "invited_by", "custom_role")
            .filter(token_hash=hashed)
            .first()
        )
    if row is None:
        raise NotFound(_UNKNOWN)
    _check_open(row, clock)
    if row.tenant.state != TenantState.ACTIVE:
        raise TenantSuspended
    return row


def _check_open(row: Invitation, clock: Clock) -> None:
    state = selectors.invitation_state(row, clock.now())
    if state is InvitationState.WITHDRAWN:
        raise NotFound(_UNKNOWN)
    if state is InvitationState.ACCEPTED:
        raise Conflict("This invitation was used already.", code="invitation_accepted")
    if state is InvitationState.EXPIRED:
        raise Conflict("This invitation has expired. Ask for a new one.", code="invitation_expired")


def join_as_new_person(*, hashed: str, name: str, password: str, clock: Clock = SYSTEM_CLOCK) -> Membership:
    """Make the invited person's account with the membership offered, and use the invitation up.

    The membership comes with its user, for the session's binding. Raises as `find_offer`, BadInput (a weak password),
    Conflict with code `account_exists` when somebody of this address has an account: they sign in instead.
    """
    row = _open_invitation(hashed, clock)
    if not name.strip() or len(name) > NAME_LENGTH or any(ord(each) < ord(" ") for each in name):
        raise BadInput(f"A name has 1–{NAME_LENGTH} characters.", param="name")
    check_password_rules(password, email=row.email)
    fresh = User(email=row.email, name=name.strip())
    # Takes 50 ms on purpose: not while the transaction holds locks.
    fresh.set_password(password)
    with tenant_scope(row.tenant_id):
        locked = _locked(row, clock)
        try:
            with transaction.atomic():
                fresh.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict(
                "There is an account of this address: sign in with it.", code="account_exists"
            ) from error
        return _joined(locked, fresh, clock)


def join_as_known_person(*, hashed: str, user_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> Membership:
    """Give the signed-in person the membership offered, by their own consent, and use the invitation up.

    Raises as `find_offer`, PermissionDenied when the invitation is for another address.
    """
    row = _open_invitation(hashed, clock)
    user = User.objects.filter(id=user_id, is_active=True).first()
    if user is None or user.email != row.email:
        raise PermissionDenied("This invitation is for another address.")
    with tenant_scope(row.tenant_id):
        return _joined(_locked(row, clock), user, clock)


def _locked(row: Invitation, clock: Clock) -> Invitation:
    # Of two who come at once with the same link, the second finds it used.
    locked = Invitation.objects.select_for_update().get(id=row.id)
    if locked.token_hash != row.token_hash:
        raise NotFound(_UNKNOWN)
    _check_open(locked, clock)
    return locked


def _joined(invitation: Invitation, user: User, clock: Clock) -> Membership:
    try:
        with transaction.atomic():
            membership = Membership.objects.create(
                tenant_id=invitation.tenant_id,
                user=user,
                role=invitation.role,
                custom_role=invitation.custom_role,
                last_used_at=clock.now(),
            )
    except IntegrityError as error:
        raise Conflict("You are a member of this tenant already.", code="already_member") from error
    invitation.accepted_at = clock.now()
    invitation.save(update_fields=["accepted_at", "updated_at"])
    tenant_id = invitation.tenant_id
    record_change(kind="membership", object_id=user.id, tenant_id=tenant_id)
    record_change(kind="invitation", object_id=invitation.id, tenant_id=tenant_id)
    with acting(Actor("user", user.email, user.id)):
        label = f"{user.email} ({invitation.custom_role.name if invitation.custom_role else invitation.role})"
        record_act(
            act="accepted", kind="invitation", object_id=invitation.id, label=label, tenant_id=tenant_id
        )
    return membership
