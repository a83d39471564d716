"""How a REST request says who it is: a Bearer key, or the browser's session with `X-Atrium-Tenant`."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.request import Request

from kernel.actors import Actor, act_as
from kernel.errors import NotSignedIn, PermissionDenied
from kernel.hops import note_asker
from tenants.models import User
from tenants.selectors import principal_of_membership
from tenants.services.refusals import ANOTHER_TENANT, note_refusal
from tenants.services.sign_in import (
    SESSION_MEMBERSHIP,
    authenticate_key_now,
    choose_membership,
    only_tenant,
    refuse_key_in_address_now,
    switched_session,
    visit_tenant,
)
from tenants.services.sign_in_rules import SecondFactorRequired
from tenants.types import Principal

TENANT_HEADER = "X-Atrium-Tenant"


class SessionOrKeyAuthentication(BaseAuthentication):
    """Puts the user (or an anonymous one, for a key without user) and the `Principal` at the request.

    A key wins over a session. Unsafe methods of a session need the CSRF token, a key never does.
    """

    def authenticate(self, request: Request) -> tuple[User | AnonymousUser, Principal] | None:
        """None without any credential. Raises NotSignedIn, PermissionDenied, TenantSuspended."""
        refuse_key_in_address_now(request.META.get("QUERY_STRING", ""))
        header = request.headers.get("Authorization", "")
        if header:
            return self._by_key(request, header)
        return self._by_session(request)

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in `WWW-Authenticate`."""
        return 'Bearer realm="atrium"'

    def _by_key(self, request: Request, header: str) -> tuple[User | AnonymousUser, Principal]:
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedIn("Send the API key as `Authorization: Bearer atr_…`.")
        principal = authenticate_key_now(key.strip())
        wanted = request.headers.get(TENANT_HEADER)
        if wanted and wanted != principal.tenant_slug:
            note_refusal(principal, ANOTHER_TENANT)
            raise PermissionDenied("This API key belongs to another tenant.")
        act_as(_actor_of_key(principal))
        note_asker(principal)
        return AnonymousUser(), principal

    def _by_session(self, request: Request) -> tuple[User, Principal] | None:
        django_request: HttpRequest = request._request
        user = getattr(django_request, "user", None)
        if not isinstance(user, User) or not user.is_active:
            return None
        _enforce_csrf(django_request)
        principal = _session_principal(django_request, user)
        act_as(Actor("operator" if principal.visiting else "user", user.email, user.id))
        note_asker(principal)
        return user, principal


def _actor_of_key(principal: Principal) -> Actor:
    key = f"atr_{principal.api_key_prefix}"
    if principal.service_account:
        return Actor("service_account", f"{principal.service_account} ({key})", principal.user_id)
    return Actor("key", key, principal.user_id)


def _session_principal(request: HttpRequest, user: User) -> Principal:
    """The principal of the session; naming another tenant makes a new session, whose cookie the answer carries.

    An operator who names a tenant that does not let them in as a member visits it; the session stays as it is.
    """
    session = request.session
    wanted = request.headers.get(TENANT_HEADER) or None
    try:
        membership = choose_membership(user=user, session=session, tenant_slug=wanted)
    except SecondFactorRequired:
        raise
    except PermissionDenied:
        free = only_tenant(session) is None
        visit = visit_tenant(user=user, tenant_slug=wanted) if wanted and free else None
        if visit is None:
            raise
        return visit
    bound = session.get(SESSION_MEMBERSHIP)
    if bound is None:
        session[SESSION_MEMBERSHIP] = str(membership.id)
    elif bound != str(membership.id):
        fresh: Any = switched_session(session=session, membership=membership)
        # Django's session middleware now saves this one, and sends its cookie.
        fresh.modified = True
        request.session = fresh
    return principal_of_membership(membership, confined=only_tenant(session) is not None)


def _enforce_csrf(request: HttpRequest) -> None:
    check = CSRFCheck(lambda _: None)  # type: ignore[arg-type]
    check.process_request(request)
    reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]
    if reason:
        raise exceptions.PermissionDenied("The CSRF token is missing or not valid.", code="csrf_failed")
