"""Break-glass: an operator who visits a tenant reads its content by a grant alone: reasoned, limited in time, audited.

The operator gives a reason; nobody has to agree, for it is meant for when nobody can. The tenant's administrators are
told by mail where that is on, see each grant and each use in their audit, and may end it: nothing is read from then on.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from tenants.break_glass_types import (
    LEAST_MINUTES,
    LEAST_REASON,
    MOST_MINUTES,
    REASON_LENGTH,
    BreakGlassState,
    BreakGlassView,
    StandingGrant,
)
from tenants.looks import note_look
from tenants.models import BreakGlass, Membership, Tenant, User
from tenants.permissions import INSPECT, OPERATE, no_grant, require
from tenants.selectors import open_break_glasses
from tenants.services.mailing import Letter, languages_of, moment_words, send_letter
from tenants.services.webhook_sending import emit_event
from tenants.types import Principal, Role

KIND = "break_glass"
MOST_SHOWN = 200
MOST_LETTERS = 20
TEMPLATE = "account/email/break_glass.txt"


def list_break_glass(*, principal: Principal, clock: Clock = SYSTEM_CLOCK) -> list[BreakGlassView]:
    """Who may read, or might, the content of the principal's tenant by break-glass; the newest first.

    Raises PermissionDenied.
    """
    require(principal, "audit.read")
    now = clock.now()
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = list(BreakGlass.objects.order_by("-created_at", "-id")[:MOST_SHOWN])
        return [_view(row, principal, now) for row in rows]


def standing_grants(
    *, principal: Principal, limit: int = 10, clock: Clock = SYSTEM_CLOCK
) -> tuple[int, list[StandingGrant]]:
    """How many operators may read content of the principal's tenant now, and those that may the longest.

    Not the grants of the one who asks. Raises PermissionDenied.
    """
    require(principal, "audit.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = BreakGlass.objects.filter(ended_at=None, expires_at__gt=clock.now())
        if principal.user_id is not None:
            rows = rows.exclude(operator_id=principal.user_id)
        found = list(rows.order_by("-expires_at")[:MOST_SHOWN])
    shown = [StandingGrant(row.id, row.operator_email, row.reason, row.expires_at) for row in found[:limit]]
    return len(found), shown


def open_break_glass(
    *, principal: Principal, reason: str, minutes: int, clock: Clock = SYSTEM_CLOCK
) -> BreakGlassView:
    """Let the visiting operator read this tenant's content for some minutes.

    Raises PermissionDenied, BadInput, Conflict for who is no visitor, and while one is open already.
    """
    require(principal, OPERATE)
    user = User.objects.filter(id=principal.user_id).first() if principal.user_id else None
    if not principal.visiting or user is None:
        raise Conflict("This is for operators who visit a tenant they are no member of.", code="no_visit")
    why = " ".join(reason.split())
    if not LEAST_REASON <= len(why) <= REASON_LENGTH:
        raise BadInput(f"Say why, in {LEAST_REASON}–{REASON_LENGTH} characters.", param="reason")
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise BadInput(f"It lasts {LEAST_MINUTES}–{MOST_MINUTES} minutes.", param="minutes")
    now = clock.now()
    with tenant_scope(principal.tenant_id):
        Tenant.objects.select_for_update().get(id=principal.tenant_id)
        if open_break_glasses(user.id, now).exists():
            raise Conflict("You have one open already: end it first.", code="break_glass_open")
        row = BreakGlass.objects.create(
            operator=user, operator_email=user.email, reason=why, expires_at=now + timedelta(minutes=minutes)
        )
        # Before the act: endpoints are locked before the chain of acts, here as everywhere.
        told = {"id": row.id, "expires_at": row.expires_at}
        emit_event(tenant_id=row.tenant_id, event="break_glass.began", told=told)
        _tell("began", row, f"{user.email}, {minutes} min: {why}")
    _send_letters(row)
    return _view(row, principal, now)


def end_break_glass(
    *, principal: Principal, grant_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK
) -> BreakGlassView:
    """End a grant: nothing is read by it from now on. Ending again does nothing. Raises PermissionDenied, NotFound."""
    require(principal, "users.write")
    now = clock.now()
    with tenant_scope(principal.tenant_id):
        row = BreakGlass.objects.select_for_update().filter(id=grant_id).first()
        if row is None:
            raise NotFound("There is no such grant.")
        if row.ended_at is None and row.expires_at > now:
            who = User.objects.filter(id=principal.user_id).first() if principal.user_id else None
            row.ended_at = now
            row.ended_by = who.email if who else f"atr_{principal.api_key_prefix}"
            row.save(update_fields=["ended_at", "ended_by", "updated_at"])
            _tell("ended", row, row.operator_email)
        return _view(row, principal, now)


def record_look(
    *, principal: Principal, act: str, told: Mapping[str, object], clock: Clock = SYSTEM_CLOCK
) -> None:
    """Write down, in the transaction that reads, that the principal looks at what others wrote; `told` says at what.

    Called in the tenant's scope that reads. A grant that has ended since the request came shows nothing: who ends one
    waits for looks that are being taken. Raises PermissionDenied.
    """
    require(principal, INSPECT)
    grant = None
    if principal.user_id is not None and principal.break_glass is not None:
        open_now = open_break_glasses(principal.user_id, clock.now())
        grant = open_now.select_for_update().filter(id=principal.break_glass).first()
    if grant is None:
        raise no_grant()
    note_look(tenant_id=grant.tenant_id, grant_id=grant.id, act=act, label=grant.reason, told=told)


def _tell(act: str, row: BreakGlass, label: str) -> None:
    record_change(kind=KIND, object_id=row.id, tenant_id=row.tenant_id)
    record_act(act=act, kind=KIND, object_id=row.id, label=label, tenant_id=row.tenant_id)


def _send_letters(row: BreakGlass) -> None:
    """To the tenant's owners, once it is committed."""
    tenant = Tenant.objects.get(id=row.tenant_id)
    with tenant_scope(row.tenant_id, read_only=True):
        owners = Membership.objects.filter(role=Role.OWNER.value, disabled_at=None, user__is_active=True)
        addresses = list(owners.order_by("created_at").values_list("user__email", flat=True)[:MOST_LETTERS])
    for address, language in languages_of(addresses).items():
        words = {
            "tenant": tenant.name,
            "operator": row.operator_email,
            "reason": row.reason,
            "until": moment_words(row.expires_at, language),
        }
        send_letter(Letter(to=address, template=TEMPLATE, words=words, language=language))


def _view(row: BreakGlass, principal: Principal, now: datetime) -> BreakGlassView:
    over = BreakGlassState.OVER if row.expires_at <= now else BreakGlassState.OPEN
    return BreakGlassView(
        id=row.id,
        operator=row.operator_email,
        reason=row.reason,
        state=BreakGlassState.ENDED if row.ended_at else over,
        created_at=row.created_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        mine=row.operator_id is not None and row.operator_id == principal.user_id,
        reads=row.reads,
    )
