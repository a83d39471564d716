"""Sessions of people: seen and ended by themselves, and by administrators of the tenant a session is bound to."""

import uuid

from django.contrib.sessions.backends.base import SessionBase
from django.db.models import QuerySet

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound, PermissionDenied
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.devices import name_device
from tenants.models import Membership, Session, Tenant
from tenants.permissions import require, require_rank
from tenants.selectors import find_user, members
from tenants.session_engine import SESSION_ADDRESS, SESSION_DEVICE
from tenants.sign_in_types import SessionView
from tenants.types import Principal, Role

MOST_SHOWN = 200


def note_browser(*, session: SessionBase, address: str, device: str) -> None:
    """Keep in a fresh session where from and with what it was opened."""
    session[SESSION_ADDRESS] = address
    session[SESSION_DEVICE] = device


def own_sessions(
    *, user_id: uuid.UUID, session_key: str, only_tenant: uuid.UUID | None = None, clock: Clock = SYSTEM_CLOCK
) -> list[SessionView]:
    """A person's sessions that work, the one at hand first, then the last seen; of one tenant with `only_tenant`."""
    with system_scope("list a person's sessions", read_only=True):
        views = _views(_own(user_id, only_tenant, clock), session_key)
    return sorted(views, key=lambda view: not view.current)


def end_own_session(
    *,
    user_id: uuid.UUID,
    session_id: uuid.UUID,
    only_tenant: uuid.UUID | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """End one of a person's own sessions. Raises NotFound for any other."""
    with system_scope("end a person's session"):
        if not _end(_own(user_id, only_tenant, clock).filter(public_id=session_id)):
            raise NotFound("There is no such session.")


def end_other_sessions(
    *,
    user_id: uuid.UUID,
    session_key: str,
    only_tenant: uuid.UUID | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> int:
    """End all of a person's sessions but the one of `session_key`; returns how many."""
    with system_scope("end a person's session"):
        return _end(_own(user_id, only_tenant, clock).exclude(session_key=session_key))


def is_signed_in_at(email: str, address: str, *, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Whether the user of `email` has a session that works from `address`."""
    user = find_user(email)
    if user is None:
        return False
    return Session.objects.filter(user_id=user.id, address=address, expire_date__gt=clock.now()).exists()


def end_every_session(*, user_id: uuid.UUID, but: str = "") -> int:
    """End all sessions of a user, in all tenants, but the one of the key `but`: their password is another one."""
    with system_scope("end a person's session"):
        return _end(Session.objects.filter(user_id=user_id).exclude(session_key=but))


def end_sessions_of_membership(membership_id: uuid.UUID) -> int:
    """End what is bound to a membership that is disabled; in the caller's scope and transaction. Returns how many."""
    return _end(Session.objects.filter(membership_id=membership_id))


def member_sessions(
    *, principal: Principal, user_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK
) -> list[SessionView]:
    """The sessions of a member that are bound to the principal's tenant. Raises PermissionDenied, NotFound."""
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _views(_of_member(_member(user_id), clock), "")


def end_member_sessions(
    *,
    principal: Principal,
    user_id: uuid.UUID,
    session_id: uuid.UUID | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> int:
    """End one session of a member in the principal's tenant, or all of them; returns how many.

    Raises PermissionDenied (also for a member of higher rank), NotFound.
    """
    require(principal, "users.write")
    with tenant_scope(principal.tenant_id):
        member = _member(user_id)
        require_rank(principal, Role(member.role))
        rows = _of_member(member, clock)
        ended = _end(rows if session_id is None else rows.filter(public_id=session_id))
        if session_id is not None and not ended:
            raise NotFound("There is no such session.")
        if ended:
            record_act(
                act="ended",
                kind="session",
                object_id=session_id or user_id,
                label=f"{member.user.email} ({ended})",
                tenant_id=principal.tenant_id,
            )
        return ended


def require_person(principal: Principal) -> uuid.UUID:
    """The id of the person who asks by a session. Raises PermissionDenied for a key."""
    if principal.user_id is None or principal.api_key_id is not None:
        raise PermissionDenied("This is for people who are signed in, not for API keys.")
    return principal.user_id


def forget_old_sessions(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete sessions that have expired; returns how many."""
    deleted, _ = Session.objects.filter(expire_date__lt=clock.now()).delete()
    return deleted


def _own(user_id: uuid.UUID, only_tenant: uuid.UUID | None, clock: Clock) -> QuerySet[Session]:
    rows = Session.objects.filter(user_id=user_id, expire_date__gt=clock.now())
    if only_tenant is None:
        return rows
    mine = Membership.objects.filter(user_id=user_id, tenant_id=only_tenant)
    return rows.filter(membership_id__in=mine.values("id"))


def _of_member(member: Membership, clock: Clock) -> QuerySet[Session]:
    return Session.objects.filter(membership_id=member.id, expire_date__gt=clock.now())


def _member(user_id: uuid.UUID) -> Membership:
    member = members().filter(user_id=user_id).first()
    if member is None:
        raise NotFound("There is no such user in this tenant.")
    return member


def _end(rows: QuerySet[Session]) -> int:
    """Delete the rows; what is open under them hears of it."""
    found = list(rows.values_list("session_key", "user_id"))
    Session.objects.filter(session_key__in=[key for key, _ in found]).delete()
    for user_id in {user_id for _, user_id in found}:
        record_change(kind="session", object_id=user_id)
    return len(found)


def _views(rows: QuerySet[Session], session_key: str) -> list[SessionView]:
    """The last seen first, with their tenants."""
    found = list(rows.order_by("-last_seen_at")[:MOST_SHOWN])
    bound = {row.membership_id for row in found if row.membership_id is not None}
    members_of = Membership.objects.filter(id__in=bound).select_related("tenant")
    tenants: dict[uuid.UUID | None, Tenant] = {each.id: each.tenant for each in members_of}
    return [_view(row, tenants.get(row.membership_id), session_key) for row in found]


def _view(row: Session, tenant: Tenant | None, session_key: str) -> SessionView:
    return SessionView(
        id=row.public_id,
        current=row.session_key == session_key,
        tenant_slug=tenant.slug if tenant else "",
        tenant_name=tenant.name if tenant else "",
        device=name_device(row.device),
        user_agent=row.device,
        address=row.address or "",
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expire_date,
    )
