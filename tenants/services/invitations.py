"""Use cases around invitations: an address is offered a membership, by mail or by a link that an administrator hands over.

The token is 256 random bits, seen once; its SHA-256 finds the row again. A link carries it behind the `#`, which no
browser sends to any server.
"""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils.translation import get_language, gettext, override

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, LimitReached, NotFound, RateLimited
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.models import Invitation, Tenant
from tenants.permissions import require, require_rank
from tenants.services.mailing import Letter, known_language, languages_of, moment_words, send_letter
from tenants.services.roles import wanted_role
from tenants.services.users import normal_address
from tenants.types import (
    MESSAGE_LENGTH,
    InvitationState,
    InvitationView,
    Principal,
    Role,
    SentInvitation,
)

LIFE = timedelta(days=7)
KEEP_ENDED = timedelta(days=90)
PAGE = "/accounts/invitation/"
TEMPLATE = "account/email/invitation.txt"
# So many may wait for an answer in one tenant, and so soon one may be sent again: nobody's mailbox is flooded.
MOST_OPEN = 1_000
SEND_AGAIN_AFTER = timedelta(seconds=60)


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def invite(
    *,
    principal: Principal,
    email: str,
    role: Role | None = None,
    custom_role_id: uuid.UUID | None = None,
    base_url: str,
    message: str = "",
    clock: Clock = SYSTEM_CLOCK,
) -> SentInvitation:
    """Offer a membership in the principal's tenant to an address, for seven days; mailed, or with a link to hand over.

    It offers a built-in role or a custom one. `base_url` is scheme and host of the link. Raises PermissionDenied, BadInput, LimitReached, and Conflict when the
    address belongs to a member or has an open invitation.
    """
    require(principal, "users.write")
    if role is not None:
        # What may not be offered at all is refused before anything is looked up.
        require_rank(principal, role)
    address = normal_address(email)
    text = message.strip()
    if len(text) > MESSAGE_LENGTH:
        raise BadInput(f"A message has at most {MESSAGE_LENGTH} characters.", param="message")
    now = clock.now()
    token = secrets.token_urlsafe(32)
    with tenant_scope(principal.tenant_id):
        wanted = wanted_role(principal, role, custom_role_id)
        if selectors.members().filter(user__email=address).exists():
            raise Conflict(f"{address} is a member of this tenant already.", param="email")
        waiting = Invitation.objects.filter(accepted_at=None, withdrawn_at=None)
        if waiting.count() >= MOST_OPEN:
            raise LimitReached(f"{MOST_OPEN} invitations wait for an answer: withdraw some first.")
        row = Invitation(
            tenant_id=principal.tenant_id,
            email=address,
            role=wanted[0],
            custom_role=wanted[1],
            message=text,
            token_hash=token_hash(token),
            invited_by_id=principal.user_id,
            sent_at=now,
            expires_at=now + LIFE,
        )
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict(
                f"There is an invitation for {address} already: send it again, or withdraw it.", param="email"
            ) from error
        _record("invited", row)
    return _send(row.id, principal, token, base_url, now)


def resend_invitation(
    *, principal: Principal, invitation_id: uuid.UUID, base_url: str, clock: Clock = SYSTEM_CLOCK
) -> SentInvitation:
    """Send an invitation again with a new token, for seven more days; its older link is dead.

    Raises PermissionDenied, NotFound, Conflict when it was accepted or withdrawn, RateLimited within a minute.
    """
    require(principal, "users.write")
    now = clock.now()
    token = secrets.token_urlsafe(32)
    with tenant_scope(principal.tenant_id):
        row = _locked(principal, invitation_id, now)
        wait = (row.sent_at + SEND_AGAIN_AFTER - now).total_seconds()
        if wait > 0:
            raise RateLimited("It was sent a moment ago. Wait a minute.", retry_after_s=wait)
        row.token_hash = token_hash(token)
        row.sent_at = now
        row.expires_at = now + LIFE
        row.save()
        _record("resent", row)
    return _send(row.id, principal, token, base_url, now)


def withdraw_invitation(
    *, principal: Principal, invitation_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Withdraw an invitation; its link is dead at once. Withdrawing again does nothing.

    Raises PermissionDenied, NotFound, Conflict when it was accepted.
    """
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id):
        row = _locked(principal, invitation_id, clock.now(), withdrawn=True)
        if row.withdrawn_at is None:
            row.withdrawn_at = clock.now()
            row.save(update_fields=["withdrawn_at", "updated_at"])
            _record("withdrawn", row)


def get_invitation(
    *, principal: Principal, invitation_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK
) -> InvitationView:
    """An invitation of the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        row = selectors.invitations().filter(id=invitation_id).first()
        if row is None:
            raise NotFound("There is no such invitation.")
        return selectors.invitation_view(row, clock.now())


def forget_old_invitations(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete invitations that ended 90 days ago, accepted or not; returns how many. The record of acts stays."""
    with system_scope("forget old invitations"):
        deleted, _ = Invitation.objects.filter(expires_at__lt=clock.now() - KEEP_ENDED).delete()
    return deleted


def _locked(
    principal: Principal, invitation_id: uuid.UUID, now: datetime, *, withdrawn: bool = False
) -> Invitation:
    row = Invitation.objects.select_for_update().filter(id=invitation_id).first()
    if row is None:
        raise NotFound("There is no such invitation.")
    custom = row.custom_role
    require_rank(principal, Role(row.role), custom.permissions if custom else None)
    state = selectors.invitation_state(row, now)
    if state is InvitationState.ACCEPTED or (state is InvitationState.WITHDRAWN and not withdrawn):
        raise Conflict(f"This invitation was {state.value} already.", code=f"invitation_{state.value}")
    return row


def _record(act: str, row: Invitation) -> None:
    label = f"{row.email} ({row.custom_role.name if row.custom_role else row.role})"
    record_change(kind="invitation", object_id=row.id, tenant_id=row.tenant_id)
    record_act(act=act, kind="invitation", object_id=row.id, label=label, tenant_id=row.tenant_id)


def _letter(row: Invitation, tenant: str, link: str, language: str) -> Letter:
    with override(language):
        role = row.custom_role.name if row.custom_role else gettext(row.role)
    words = {
        "tenant": tenant,
        "inviter": row.invited_by.get_full_name() if row.invited_by else "",
        "role": role,
        "message": row.message,
        "until": moment_words(row.expires_at, language),
        "link": link,
    }
    return Letter(to=row.email, template=TEMPLATE, words=words, language=language)


def _send(
    invitation_id: uuid.UUID, principal: Principal, token: str, base_url: str, now: datetime
) -> SentInvitation:
    """Mail it once it is committed: no transaction waits for a mail server, and no mail speaks of what is not there."""
    link = f"{base_url.rstrip('/')}{PAGE}#{token}"
    tenant = Tenant.objects.get(id=principal.tenant_id)
    with tenant_scope(principal.tenant_id, read_only=True):
        row = selectors.invitations().get(id=invitation_id)
    # Of who is not here yet nothing is known but who invites them.
    language = languages_of([row.email], otherwise=get_language() or "")[row.email]
    mailed = send_letter(_letter(row, tenant.name, link, known_language(language)))
    with tenant_scope(principal.tenant_id):
        Invitation.objects.filter(id=row.id).update(mailed=mailed)
    row.mailed = mailed
    return SentInvitation(selectors.invitation_view(row, now), None if mailed else link)
