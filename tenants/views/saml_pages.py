"""Pages of signing in by a SAML provider, below `/accounts/saml/`: our metadata, its answers, and the way in."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from kernel.errors import AtriumError, LimitReached, NotFound
from kernel.ids import parse_uuid
from tenants.lockout import may_look
from tenants.oidc import ProviderRefused
from tenants.saml import LONGEST_ANSWER
from tenants.services.saml_sign_in import (
    DRY,
    answering_provider,
    finish_saml,
    our_metadata,
    require_saml,
    take_answer,
)
from tenants.services.sso import usable_provider
from tenants.views.sso_pages import SESSION_FLOW, Way, refused, remembered_flow, signed_in


@never_cache
@require_GET
def saml_metadata(request: HttpRequest, tenant_id: str, provider_id: str) -> HttpResponse:
    """Our side of one provider's sign-in, for the provider to take over; nothing of it is secret."""
    try:
        text = our_metadata(provider=_provider(tenant_id, provider_id), base=_base(request))
    except AtriumError as error:
        return refused(request, error)
    return HttpResponse(text, content_type="application/samlmetadata+xml")


@csrf_exempt
@never_cache
@require_POST
def saml_answer(request: HttpRequest, tenant_id: str, provider_id: str) -> HttpResponse:
    """The provider's answer, by a form of its own site: checked, kept for a moment, used where the cookie is sent."""
    way = None
    try:
        if not may_look(request):
            raise LimitReached("Too many tries. Wait a minute.")
        provider = _provider(tenant_id, provider_id)
        way = Way(provider.tenant_id, provider.id, trial=request.POST.get("RelayState") == DRY)
        text = request.POST.get("SAMLResponse", "")
        if not text or len(text) > LONGEST_ANSWER:
            raise ProviderRefused("There is no answer of an identity provider here.", code="malformed")
        name = take_answer(provider=provider, base=_base(request), text=text)
    except AtriumError as error:
        return refused(request, error, way)
    response = redirect(f"{reverse('saml_finish')}?answer={name}")
    response.status_code = 303
    return response


@never_cache
@require_GET
def saml_finish(request: HttpRequest) -> HttpResponse:
    """The way in: the answer is believed once, for the sign-in that this very browser began."""
    kept: dict[str, Any] | None = request.session.pop(SESSION_FLOW, None)
    way, name = None, request.GET.get("answer", "")
    try:
        if kept is None:
            sender = answering_provider(name)
            way = Way(*sender) if sender is not None else None
            raise ProviderRefused(
                "No sign-in is under way here, or it was finished already. Begin again.", code="unasked"
            )
        flow = remembered_flow(kept)
        way = Way(flow.tenant_id, flow.provider_id, trial=flow.trial)
        return signed_in(request, flow, finish_saml(flow=flow, name=name), way)
    except AtriumError as error:
        return refused(request, error, way)


def _provider(tenant_id: str, provider_id: str) -> Any:
    tenant, provider = parse_uuid(tenant_id), parse_uuid(provider_id)
    if tenant is None or provider is None:
        raise NotFound("There is no such sign-in.")
    # A dry sign-in's answer comes here too, also while the provider is off; what it opens is checked at the end.
    row = usable_provider(provider, tenant, trial=True)
    require_saml(row)
    return row


def _base(request: HttpRequest) -> str:
    return settings.ATRIUM.public_url or request.build_absolute_uri("/").rstrip("/")
