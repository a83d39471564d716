"""Tokens by which a tenant's directory provisions it: made, shown once, rotated, revoked; who comes with one."""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from django.db.models import Q

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, LimitReached, NotFound, NotSignedIn, TenantSuspended
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import ScimToken, Tenant
from tenants.permissions import permissions_of, refuse_visit, require, require_within
from tenants.provisioning_types import IssuedToken, Provisioner, ScimTokenView
from tenants.types import NAME_LENGTH, KeyState, Principal, Role, TenantState

MARK = "scim_"
MOST_TOKENS = 20
LONGEST_GRACE = timedelta(days=30)
TOUCH_EVERY = timedelta(seconds=60)
EXPIRING = timedelta(days=14)
_LONGEST = 200
# All that a directory may: who is a member, and who is in which group.
PROVISIONING = frozenset({"users.write", "groups.write"})


def list_scim_tokens(*, principal: Principal, clock: Clock = SYSTEM_CLOCK) -> list[ScimTokenView]:
    """The tenant's tokens, the newest first, ended ones too. Raises PermissionDenied."""
    require(principal, "tenant.write")
    now = clock.now()
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = ScimToken.objects.select_related("created_by").order_by("-created_at", "-id")
        return [_view(row, now) for row in rows]


def create_scim_token(
    *,
    principal: Principal,
    name: str,
    default_role: Role = Role.MEMBER,
    expires_at: datetime | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> IssuedToken:
    """Make a token; its text is in the answer and nowhere else. Members whom it makes have `default_role`.

    Raises PermissionDenied (for a visit, and for a role that may more than the principal), BadInput, LimitReached.
    """
    require(principal, "tenant.write")
    refuse_visit(principal, "You are visiting this tenant: making a token is for its members.")
    _require_rights(principal, default_role)
    if default_role is Role.OWNER:
        raise BadInput("A directory makes no owners.", param="default_role")
    now = clock.now()
    if expires_at is not None and expires_at <= now:
        raise BadInput("A token's expiry lies in the future.", param="expires_at")
    with tenant_scope(principal.tenant_id):
        row = ScimToken(name=_name(name), default_role=default_role.value, expires_at=expires_at)
        return _issue(principal, row, now)


def rotate_scim_token(
    *, principal: Principal, token_id: uuid.UUID, grace: timedelta, clock: Clock = SYSTEM_CLOCK
) -> IssuedToken:
    """Make a token in the place of another, which works on until `grace` is over.

    Raises PermissionDenied, NotFound, BadInput, LimitReached, Conflict for a token that no longer works.
    """
    require(principal, "tenant.write")
    refuse_visit(principal, "You are visiting this tenant: rotating a token is for its members.")
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise BadInput(
            f"The old token may work on for 0–{LONGEST_GRACE.days * 24} hours.", param="grace_hours"
        )
    now = clock.now()
    with tenant_scope(principal.tenant_id):
        old = _row(token_id)
        _require_rights(principal, Role(old.default_role))
        if _state(old, now) not in (KeyState.VALID, KeyState.EXPIRING):
            raise Conflict("This token no longer works: make a new one.", code="token_ended")
        life = old.expires_at - old.created_at if old.expires_at else None
        fresh = ScimToken(
            name=old.name,
            default_role=old.default_role,
            expires_at=now + life if life else None,
            replaces=old.id,
        )
        issued = _issue(principal, fresh, now)
        old.expires_at = min(old.expires_at or now + grace, now + grace)
        old.save(update_fields=["expires_at", "updated_at"])
        _record("rotated", old)
        return issued


def revoke_scim_token(*, principal: Principal, token_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> None:
    """Revoke a token: refused from now on. Revoking again does nothing. Raises PermissionDenied, NotFound."""
    require(principal, "tenant.write")
    with tenant_scope(principal.tenant_id):
        row = _row(token_id)
        if row.revoked_at is None:
            row.revoked_at = clock.now()
            row.save(update_fields=["revoked_at", "updated_at"])
            _record("revoked", row)


def authenticate_provisioner(*, token: str, tenant_slug: str, clock: Clock = SYSTEM_CLOCK) -> Provisioner:
    """Who comes with this token to this tenant's address; notes its use.

    A token of another tenant is refused as one that is unknown. Raises NotSignedIn, TenantSuspended.
    """
    now = clock.now()
    if not token.startswith(MARK) or len(token) > _LONGEST:
        raise NotSignedIn(_REFUSED)
    with system_scope("look up a SCIM token", read_only=True):
        found = ScimToken.objects.select_related("tenant").filter(token_hash=_hash(token)).first()
    if found is None or found.tenant.slug != tenant_slug:
        raise NotSignedIn(_REFUSED)
    if _state(found, now) not in (KeyState.VALID, KeyState.EXPIRING):
        raise NotSignedIn(_REFUSED)
    if found.tenant.state != TenantState.ACTIVE:
        raise TenantSuspended
    if found.last_used_at is None or found.last_used_at < now - TOUCH_EVERY:
        with tenant_scope(found.tenant_id):
            due = Q(last_used_at=None) | Q(last_used_at__lt=now - TOUCH_EVERY)
            ScimToken.objects.filter(due, id=found.id).update(last_used_at=now)
    principal = Principal(
        tenant_id=found.tenant_id,
        tenant_slug=found.tenant.slug,
        role=Role.VIEWER,
        permissions=PROVISIONING,
    )
    return Provisioner(principal, found.id, found.name, Role(found.default_role))


def _require_rights(principal: Principal, role: Role) -> None:
    """Who holds a token makes members of its role: nobody gets one for a role that may more than they, operators neither."""
    require_within(principal, permissions_of(role))


_REFUSED = "The token is missing, unknown, expired or revoked, or belongs to another address."


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _issue(principal: Principal, row: ScimToken, now: datetime) -> IssuedToken:
    # The tenant's row is the lock: two who make the last one at once must not both succeed.
    Tenant.objects.select_for_update().get(id=principal.tenant_id)
    working = Q(expires_at=None) | Q(expires_at__gt=now)
    if ScimToken.objects.filter(working, revoked_at=None).count() >= MOST_TOKENS:
        raise LimitReached(f"A tenant has at most {MOST_TOKENS} tokens that work: revoke some first.")
    token = MARK + secrets.token_urlsafe(32)
    row.tenant_id = principal.tenant_id
    row.hint = token[: len(MARK) + 4]
    row.token_hash = _hash(token)
    row.created_by_id = principal.user_id
    row.save(force_insert=True)
    _record("created", row)
    return IssuedToken(token, _view(row, now))


def _row(token_id: uuid.UUID) -> ScimToken:
    row = ScimToken.objects.select_for_update().filter(id=token_id).first()
    if row is None:
        raise NotFound("There is no such token.")
    return row


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > NAME_LENGTH:
        raise BadInput(f"A token's name has 1–{NAME_LENGTH} characters.", param="name")
    return name


def _state(row: ScimToken, now: datetime) -> KeyState:
    if row.revoked_at is not None:
        return KeyState.REVOKED
    if row.expires_at is None:
        return KeyState.VALID
    if row.expires_at <= now:
        return KeyState.EXPIRED
    return KeyState.EXPIRING if row.expires_at <= now + EXPIRING else KeyState.VALID


def _record(act: str, row: ScimToken) -> None:
    record_change(kind="scim_token", object_id=row.id, tenant_id=row.tenant_id)
    label = f"{row.name} ({row.hint}…)"
    record_act(act=act, kind="scim_token", object_id=row.id, label=label, tenant_id=row.tenant_id)


def _view(row: ScimToken, now: datetime) -> ScimTokenView:
    return ScimTokenView(
        id=row.id,
        name=row.name,
        hint=row.hint,
        default_role=Role(row.default_role),
        state=_state(row, now),
        created_by=row.created_by.email if row.created_by else "",
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
