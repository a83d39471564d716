"""Signing in: a key or a session becomes a principal."""

import hmac
import uuid
from datetime import timedelta
from typing import Any, cast

from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Q
from django.http import HttpRequest

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound, NotSignedIn, PermissionDenied, TenantSuspended
from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.patience import giving_way
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants import selectors
from tenants.keys import prefix_of
from tenants.models import ApiKey, Membership, Tenant, User
from tenants.permissions import EVERYTHING, OPERATE, permissions_of
from tenants.ports import KeyFinder
from tenants.services.refusals import IN_ADDRESS, key_in, note_refusal, note_refusal_soon, reason_of
from tenants.services.sign_in_rules import SecondFactorRequired, used_second_factor
from tenants.session_engine import SESSION_MEMBERSHIP as SESSION_MEMBERSHIP
from tenants.session_engine import SESSION_ONLY_TENANT, SessionStore
from tenants.types import KeyEntry, Principal, PriorityClass, Role, TenantState

# A key's or membership's `last_used_at` is written at most this often.
TOUCH_EVERY = timedelta(seconds=60)
# Compared against when a prefix is unknown, so that a hit and a miss take the same time.
_NO_FINGERPRINT = "0" * 64
KEY_IN_ADDRESS = "A key in an address is refused, for addresses are written down: send it as `Authorization: Bearer atr_…`, and rotate this one."


async def authenticate_key(key: str, *, clock: Clock = SYSTEM_CLOCK) -> Principal:
    """The principal of an API key; no database when this process knows the key.

    Raises NotSignedIn (malformed, unknown, revoked, expired), TenantSuspended, PermissionDenied, Unavailable.
    """
    prefix = prefix_of(key)
    if prefix is None:
        raise NotSignedIn
    finder: KeyFinder = backends["key_directory"]
    entry = _genuine(key, await finder.find(prefix))
    try:
        return refuse_entry(entry, clock)
    except (NotSignedIn, PermissionDenied):
        if reason := reason_of(entry, clock):
            await note_refusal_soon(entry.principal, reason, clock=clock)
        raise


def authenticate_key_now(key: str, *, clock: Clock = SYSTEM_CLOCK) -> Principal:
    """As `authenticate_key`, for synchronous code: always asks the database, and notes the use of the key."""
    prefix = prefix_of(key)
    if prefix is None:
        raise NotSignedIn
    entry = _genuine(key, selectors.load_key_entry(prefix))
    try:
        principal = refuse_entry(entry, clock)
    except (NotSignedIn, PermissionDenied):
        if reason := reason_of(entry, clock):
            note_refusal(entry.principal, reason, clock=clock)
        raise
    _touch_key(principal, clock)
    return principal


async def refuse_key_in_address(query: bytes, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Return when the query of an address holds no key. A genuine one is written down, for logs may hold it now.

    Raises NotSignedIn for any key in it, Unavailable.
    """
    key = key_in(query.decode("latin-1"))
    prefix = prefix_of(key) if key else None
    if key is None:
        return
    finder: KeyFinder = backends["key_directory"]
    found = await finder.find(prefix) if prefix else None
    if found is not None and _is_genuine(key, found):
        await note_refusal_soon(found.principal, IN_ADDRESS, clock=clock)
    raise NotSignedIn(KEY_IN_ADDRESS)


def refuse_key_in_address_now(query: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """As `refuse_key_in_address`, for synchronous code."""
    key = key_in(query)
    prefix = prefix_of(key) if key else None
    if key is None:
        return
    found = selectors.load_key_entry(prefix) if prefix else None
    if found is not None and _is_genuine(key, found):
        note_refusal(found.principal, IN_ADDRESS, clock=clock)
    raise NotSignedIn(KEY_IN_ADDRESS)


def _genuine(key: str, entry: KeyEntry | None) -> KeyEntry:
    """The entry, if the key is the one it was made of. Raises NotSignedIn."""
    if not _is_genuine(key, entry) or entry is None:
        raise NotSignedIn
    return entry


def _is_genuine(key: str, entry: KeyEntry | None) -> bool:
    ring = keyring()
    sight = ring.sight(key)
    if hmac.compare_digest(sight, entry.sight if entry else b""):
        return True
    version = entry.pepper_version if entry else ring.newest
    if not ring.knows(version):
        return False
    expected = entry.fingerprint if entry else _NO_FINGERPRINT
    genuine = hmac.compare_digest(ring.fingerprint(key, version=version), expected)
    if genuine and entry is not None:
        entry.sight = sight
    return genuine


def refuse_entry(entry: KeyEntry | None, clock: Clock) -> Principal:
    """The principal of a key's entry that is good now. Raises NotSignedIn, PermissionDenied, TenantSuspended."""
    if entry is None:
        raise NotSignedIn
    if entry.expires_at is not None and entry.expires_at <= clock.now():
        raise NotSignedIn("This API key has expired.")
    _refuse(entry.refusal)
    return entry.principal


def _refuse(refusal: str) -> None:
    if refusal in ("inactive", "revoked"):
        raise NotSignedIn
    if refusal == "suspended":
        raise TenantSuspended
    if refusal == "disabled":
        raise PermissionDenied("The membership this API key belongs to is disabled.")


def _touch_key(principal: Principal, clock: Clock) -> None:
    now = clock.now()
    due = Q(prefix=principal.api_key_prefix) & (Q(last_used_at=None) | Q(last_used_at__lt=now - TOUCH_EVERY))
    with tenant_scope(principal.tenant_id, read_only=True):
        stale = ApiKey.objects.filter(due).exists()
    if stale:
        with giving_way(), tenant_scope(principal.tenant_id):
            ApiKey.objects.filter(due).update(last_used_at=now)


async def authenticate_session(
    session_key: str, tenant_slug: str | None, *, visits: bool = False
) -> Principal:
    """The principal of a browser's session, in the tenant it is bound to or in the one named.

    `visits` lets an operator in who is no member there, as the REST API does; the data plane never asks for it. Raises NotSignedIn, PermissionDenied (no such open membership), TenantSuspended, Unavailable.
    """
    return await run_unit(_principal_of_session, session_key, tenant_slug, visits)


def _principal_of_session(session_key: str, tenant_slug: str | None, visits: bool) -> Principal:
    session = SessionStore(session_key)
    user = user_of_session(session)
    if user is None:
        raise NotSignedIn
    try:
        membership = choose_membership(user=user, session=session, tenant_slug=tenant_slug)
    except SecondFactorRequired:
        raise
    except PermissionDenied:
        free = visits and only_tenant(session) is None
        visit = visit_tenant(user=user, tenant_slug=tenant_slug) if free and tenant_slug else None
        if visit is None:
            raise
        return visit
    return selectors.principal_of_membership(membership, confined=only_tenant(session) is not None)


def user_of_session(session: SessionBase) -> User | None:
    """The active user a session belongs to, if its password is still the one it was made with."""
    request = HttpRequest()
    # django-stubs types the attribute as the database's store; any store does.
    request.session = cast(Any, session)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def choose_membership(*, user: User, session: SessionBase, tenant_slug: str | None) -> Membership:
    """The membership a request of this session acts under: the one bound, or that of the tenant named.

    Raises PermissionDenied when there is none, or it is disabled; TenantSuspended; SecondFactorRequired.
    """
    with system_scope("bind a session to a membership", read_only=True):
        mine = selectors.memberships_of(user.id)
    only = only_tenant(session)
    if only is not None:
        mine = [each for each in mine if each.tenant_id == only]
    bound = session.get(SESSION_MEMBERSHIP)
    if tenant_slug is not None:
        chosen = next((each for each in mine if each.tenant.slug == tenant_slug), None)
    elif bound is not None:
        chosen = next((each for each in mine if str(each.id) == bound), None)
    else:
        # Where none is open, the last one used says why.
        chosen = next(filter(selectors.is_open, mine), next(iter(mine), None))
    if chosen is None:
        raise PermissionDenied("You are not a member of this tenant.")
    if chosen.disabled_at is not None:
        raise PermissionDenied("Your membership in this tenant is disabled.")
    if chosen.tenant.state != TenantState.ACTIVE:
        raise TenantSuspended
    if chosen.tenant.second_factor_required and not used_second_factor(session):
        raise SecondFactorRequired
    return chosen


def only_tenant(session: SessionBase) -> uuid.UUID | None:
    """The one tenant that a session may open; None when it may open all of its user's."""
    found = session.get(SESSION_ONLY_TENANT)
    return uuid.UUID(found) if found else None


def confine_session(*, session: SessionBase, tenant_id: uuid.UUID) -> None:
    """From now on the session opens this tenant alone."""
    session[SESSION_ONLY_TENANT] = str(tenant_id)


def visit_tenant(*, user: User, tenant_slug: str) -> Principal | None:
    """The principal of an operator's visit to a tenant, suspended ones too; None when there can be no visit.

    For the REST API alone: the data plane's doors know members and keys, never visits.
    """
    tenant = selectors.find_tenant(tenant_slug) if user.is_staff else None
    return None if tenant is None else selectors.principal_of_visit(user, tenant)


def bind_session(*, user: User, session: SessionBase, clock: Clock = SYSTEM_CLOCK) -> None:
    """Bind a fresh login to the membership its user used last; nothing happens when there is no open one."""
    with system_scope("bind a session to a membership"):
        only = only_tenant(session)
        mine = [each for each in selectors.memberships_of(user.id) if only in (None, each.tenant_id)]
        chosen = next(filter(selectors.is_open, mine), None)
        if chosen is None:
            return
        Membership.objects.filter(id=chosen.id).update(last_used_at=clock.now())
    session[SESSION_MEMBERSHIP] = str(chosen.id)


def switched_session(
    *, session: SessionBase, membership: Membership, clock: Clock = SYSTEM_CLOCK
) -> SessionBase:
    """A new session of the same login, bound to `membership`. The old one stays as it is, for its own tenant."""
    fresh = SessionStore()
    fresh.update({key: value for key, value in session.items() if key != SESSION_MEMBERSHIP})
    fresh[SESSION_MEMBERSHIP] = str(membership.id)
    fresh.set_expiry(session.get_expiry_date())
    fresh.create()
    with tenant_scope(membership.tenant_id):
        Membership.objects.filter(id=membership.id).update(last_used_at=clock.now())
    return fresh


def principal_for_jobs(tenant_id: uuid.UUID) -> Principal:
    """The tenant's own principal for background work: no user, a member's rights, never more urgent than batch.

    Raises NotFound for an unknown tenant.
    """
    tenant = Tenant.objects.filter(id=tenant_id).first()
    if tenant is None:
        raise NotFound("There is no such tenant.")
    return Principal(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        region=tenant.region,
        role=Role.MEMBER,
        priority_cap=PriorityClass.BATCH,
        # Nobody asks: what is restricted to people is no matter of the work behind it.
        permissions=permissions_of(Role.MEMBER) | {EVERYTHING},
        weight=tenant.weight,
    )


def operator_principal(*, user_id: uuid.UUID, tenant_id: uuid.UUID) -> Principal:
    """The principal of a platform operator at work on a tenant's members in the back-office.

    Raises NotFound for an unknown tenant, PermissionDenied when the user is no active operator.
    """
    tenant = Tenant.objects.filter(id=tenant_id).first()
    if tenant is None:
        raise NotFound("There is no such tenant.")
    if not User.objects.filter(id=user_id, is_active=True, is_operator=True).exists():
        raise PermissionDenied
    return Principal(
        tenant_id=tenant.id,
        tenant_slug=tenant.slug,
        region=tenant.region,
        role=Role.OWNER,
        user_id=user_id,
        is_operator=True,
        permissions=frozenset({"users.write", OPERATE}),
    )
