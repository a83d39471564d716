"""Pages of signing in by an organisation's own provider, below `/accounts/sso/`."""

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from kernel.errors import AtriumError, LimitReached, NotFound, PermissionDenied
from kernel.ids import parse_uuid
from substrate.wording import for_reader
from tenants.lockout import may_look
from tenants.models import User
from tenants.oidc import Claims, ProviderRefused
from tenants.permissions import require
from tenants.selectors import principal_of_membership
from tenants.services.providers import offered_providers
from tenants.services.refused_sign_ins import note_refused_sign_in
from tenants.services.sessions import note_browser
from tenants.services.sign_in import (
    SESSION_MEMBERSHIP,
    choose_membership,
    confine_session,
    only_tenant,
)
from tenants.services.sso import admit, begin_flow, finish_flow, rehearse, require_state
from tenants.session_engine import SESSION_PROVIDER
from tenants.sign_in_types import Flow
from tenants.types import TenantState

SESSION_FLOW = "atrium_sso"
SHOWN_CLAIMS = 40


@dataclass(slots=True)
class Way:
    """The sign-in that a page is about; `person` is whom its answer names, once that is believed."""

    tenant_id: uuid.UUID
    provider_id: uuid.UUID
    trial: bool = False
    person: str = ""


@never_cache
@require_GET
def find_provider(request: HttpRequest) -> HttpResponse:
    """Asks for an address or an organisation, and offers its ways in as links: a form may not lead to another site."""
    asked = request.GET.get("who", "").strip()
    if asked and not may_look(request):
        return refused(request, LimitReached("Too many tries. Wait a minute."))
    found = (
        (offered_providers(email=asked) if "@" in asked else offered_providers(tenant_slug=asked))
        if asked
        else ()
    )
    words = {"asked": asked, "offers": found, "next": request.GET.get("next", "")}
    return render(request, "account/sso.html", words)


@never_cache
@require_GET
def start(request: HttpRequest, tenant_id: str, provider_id: str) -> HttpResponse:
    """Send the browser to the provider. `?trial=1` is the owner's dry sign-in."""
    trial = request.GET.get("trial") == "1"
    way = None
    try:
        tenant, provider = parse_uuid(tenant_id), parse_uuid(provider_id)
        if tenant is None or provider is None:
            raise NotFound("There is no such sign-in.")
        way = Way(tenant, provider, trial=trial)
        if not may_look(request):
            raise LimitReached("Too many tries. Wait a minute.")
        if trial:
            _require_owner(request, str(tenant))
        address, flow = begin_flow(
            provider_id=provider,
            tenant_id=tenant,
            base=_base(request),
            redirect_uri=_callback(request),
            next_url=_safe(request, request.GET.get("next", "")),
            trial=trial,
        )
    except AtriumError as error:
        return refused(request, error, way)
    request.session[SESSION_FLOW] = {
        name: str(value) if name.endswith("_id") else value for name, value in asdict(flow).items()
    }
    return redirect(address)


@never_cache
@require_GET
def come_back(request: HttpRequest) -> HttpResponse:
    """The provider's answer: believed once, for the sign-in that this very browser began."""
    kept = request.session.pop(SESSION_FLOW, None)
    way = None
    try:
        if kept is None:
            raise ProviderRefused("No sign-in is under way here, or it was finished already. Begin again.")
        flow = remembered_flow(kept)
        way = Way(flow.tenant_id, flow.provider_id, trial=flow.trial)
        if "error" in request.GET:
            # What anybody else may have written into an address is not shown as the provider's word.
            require_state(flow=flow, state=request.GET.get("state", ""))
            said = request.GET.get("error_description") or request.GET["error"]
            raise ProviderRefused(f"The identity provider says no: {said[:200]}", code="says_no")
        claims = finish_flow(
            flow=flow,
            state=request.GET.get("state", ""),
            code=request.GET.get("code", ""),
            issuer=request.GET.get("iss", ""),
            redirect_uri=_callback(request),
        )
        return signed_in(request, flow, claims, way)
    except AtriumError as error:
        return refused(request, error, way)


def signed_in(request: HttpRequest, flow: Flow, claims: Claims, way: Way) -> HttpResponse:
    """The end of a sign-in whose answer is believed: a session of the tenant, or for a dry one what came.

    Raises NotAdmitted, TenantSuspended, NotFound.
    """
    if flow.trial:
        shown = sorted((name, _in_words(value)) for name, value in claims.all.items())[:SHOWN_CLAIMS]
        words = {"claims": shown, "email": claims.email, "given": rehearse(flow=flow, claims=claims)}
        return render(request, "account/sso_trial.html", words)
    way.person = claims.email or claims.subject
    membership = admit(flow=flow, claims=claims).membership
    # Whoever was signed in here before: nothing of their session goes over.
    request.session.flush()
    login(request, membership.user, backend=settings.AUTHENTICATION_BACKENDS[0])
    confine_session(session=request.session, tenant_id=membership.tenant_id)
    request.session[SESSION_MEMBERSHIP] = str(membership.id)
    request.session[SESSION_PROVIDER] = str(flow.provider_id)
    note_browser(
        session=request.session,
        address=request.META.get("REMOTE_ADDR", ""),
        device=request.headers.get("User-Agent", ""),
    )
    if membership.tenant.state == TenantState.DELETING:
        # Nothing else is open there.
        return redirect("account_deletions")
    return redirect(flow.next or "/")


class ProviderSessionMiddleware:
    """A session that a provider opened does not reach how the account itself is protected: it may be in other tenants too."""

    OPEN = (
        "/accounts/login/",
        "/accounts/logout/",
        "/accounts/sessions/",
        "/accounts/deletions/",
        "/accounts/sso/",
        "/accounts/saml/",
    )

    def __init__(self, get_response: Any) -> None:
        """Wrap the rest of the chain."""
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """403 for pages of the account; everything else goes on."""
        guarded = request.path.startswith("/accounts/") and not request.path.startswith(self.OPEN)
        if guarded and request.session.get(SESSION_PROVIDER) is not None:
            reason = (
                "You are signed in by your organisation, which does not look after password, passkeys and invitations "
                "of your account. Sign out, then sign in with your own password."
            )
            return render(request, "account/no_entry.html", {"reason": for_reader(reason)}, status=403)
        return self._get_response(request)


def _require_owner(request: HttpRequest, tenant_id: str) -> None:
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied("Sign in as an owner of the tenant first.")
    membership = choose_membership(user=user, session=request.session, tenant_slug=None)
    if str(membership.tenant_id) != tenant_id:
        raise PermissionDenied("Open the console in that tenant first.")
    confined = only_tenant(request.session) is not None
    require(principal_of_membership(membership, confined=confined), "tenant.write")


def remembered_flow(kept: dict[str, Any]) -> Flow:
    """The sign-in that a session remembers. Raises ProviderRefused."""
    provider, tenant = parse_uuid(kept["provider_id"]), parse_uuid(kept["tenant_id"])
    if provider is None or tenant is None:
        raise ProviderRefused
    return Flow(**{**kept, "provider_id": provider, "tenant_id": tenant})


def _callback(request: HttpRequest) -> str:
    return f"{_base(request)}/accounts/sso/callback/"


def _base(request: HttpRequest) -> str:
    return settings.ATRIUM.public_url or request.build_absolute_uri("/").rstrip("/")


def _safe(request: HttpRequest, url: str) -> str:
    return url if url_has_allowed_host_and_scheme(url, {request.get_host()}) else ""


def _in_words(value: object) -> str:
    """A claim as people read it; a list by what is in it."""
    several = value if isinstance(value, list | tuple) else [value]
    return ", ".join(str(each) for each in several)[:300]


def refused(request: HttpRequest, error: AtriumError, way: Way | None = None) -> HttpResponse:
    """The page that says why nobody came in; the administrators of the tenant whose sign-in it was find it on record."""
    if way is not None:
        note_refused_sign_in(
            tenant_id=way.tenant_id, provider_id=way.provider_id, error=error, person=way.person
        )
    words = {"reason": for_reader(error.message), "way": way}
    return render(request, "account/sso_refused.html", words, status=error.status)
