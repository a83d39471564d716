"""`/identity-providers`: who may sign people in to the caller's tenant."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import answers
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.permissions import OPERATE
from tenants.provider_serializers import (
    DomainsVerified,
    ProviderChange,
    ProviderInput,
    ProviderOutput,
    ProviderReport,
    ProvidersOutput,
)
from tenants.rest import IF_MATCH, base_url, principal, with_version
from tenants.services.providers import (
    change_provider,
    create_provider,
    delete_provider,
    examine_provider,
    get_provider,
    list_providers,
    verify_domains,
)
from tenants.services.saml_sign_in import SAML, saml_place
from tenants.sign_in_types import ProviderView


class ProvidersView(AtriumView):
    """The identity providers of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "tenant.write"

    @extend_schema(operation_id="identity_providers_list", responses=answers({200: ProvidersOutput}))
    def get(self, request: Request) -> Response:
        """All of them, by name."""
        found = [_shape(request, each) for each in list_providers(principal=principal(request))]
        page = {"results": found, "redirect_uri": _redirect_uri(request), "next": None, "previous": None}
        return Response(ProvidersOutput(page).data)

    @extend_schema(
        operation_id="identity_providers_create",
        request=ProviderInput,
        responses=answers({201: ProviderOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """A new one."""
        form = ProviderInput(data=request.data)
        form.is_valid(raise_exception=True)
        made = create_provider(principal=principal(request), values=form.validated_data)
        return _shown(request, made, status=201)


class OneProviderView(AtriumView):
    """One identity provider."""

    required_permission: ClassVar[str | Mapping[str, str]] = "tenant.write"

    @extend_schema(operation_id="identity_providers_get", responses=answers({200: ProviderOutput}))
    def get(self, request: Request, provider_id: str) -> Response:
        """One of them."""
        return _shown(request, get_provider(principal=principal(request), provider_id=_id(provider_id)))

    @extend_schema(
        operation_id="identity_providers_change",
        parameters=[IF_MATCH],
        request=ProviderChange,
        responses=answers({200: ProviderOutput}, 409, 412),
    )
    def patch(self, request: Request, provider_id: str) -> Response:
        """Change what is given; with another issuer or other domains they must be verified anew."""
        who, wanted = principal(request), _id(provider_id)
        get_provider(principal=who, provider_id=wanted)
        form = ProviderChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = change_provider(
            principal=who,
            provider_id=wanted,
            values=form.validated_data,
            expected=expected_version(request),
        )
        return _shown(request, changed)

    @extend_schema(
        operation_id="identity_providers_delete", parameters=[IF_MATCH], responses=answers({204: None}, 412)
    )
    def delete(self, request: Request, provider_id: str) -> Response:
        """Remove it. People and memberships stay; nobody signs in by it any more."""
        delete_provider(
            principal=principal(request), provider_id=_id(provider_id), expected=expected_version(request)
        )
        return Response(status=204)


class ProviderTestView(AtriumView):
    """The connection test of one provider."""

    required_permission: ClassVar[str | Mapping[str, str]] = "tenant.write"

    @extend_schema(
        operation_id="identity_providers_test", request=None, responses=answers({200: ProviderReport})
    )
    def post(self, request: Request, provider_id: str) -> Response:
        """Ask it who it is and for its keys, step by step."""
        who, wanted = principal(request), _id(provider_id)
        steps = examine_provider(principal=who, provider_id=wanted)
        body = {
            "passed": all(each.passed for each in steps),
            "steps": [asdict(each) for each in steps],
            "trial_url": f"/accounts/sso/{who.tenant_id}/{wanted}/?trial=1",
        }
        return Response(ProviderReport(body).data)


class ProviderDomainsView(AtriumView):
    """Whether the domains of a provider are the tenant's own: an operator's word."""

    required_permission: ClassVar[str | Mapping[str, str]] = OPERATE

    @extend_schema(
        operation_id="identity_providers_verify",
        request=DomainsVerified,
        responses=answers({200: ProviderOutput}, 409),
    )
    def put(self, request: Request, provider_id: str) -> Response:
        """Verify the domains, or take it back. A domain is verified for one tenant alone."""
        wanted = _id(provider_id)
        form = DomainsVerified(data=request.data)
        form.is_valid(raise_exception=True)
        view = verify_domains(
            principal=principal(request), provider_id=wanted, verified=form.validated_data["verified"]
        )
        return _shown(request, view)


def _shape(request: Request, view: ProviderView) -> dict[str, Any]:
    base = base_url(request).rstrip("/")
    place = saml_place(base=base, tenant_id=principal(request).tenant_id, provider_id=view.id)
    saml = view.protocol == SAML
    return {
        **asdict(view),
        "sign_in_url": f"{base}/accounts/login/?tenant={principal(request).tenant_slug}",
        "redirect_uri": _redirect_uri(request),
        "acs_url": place.acs_url if saml else "",
        "metadata_url": place.entity_id if saml else "",
    }


def _redirect_uri(request: Request) -> str:
    return f"{base_url(request).rstrip('/')}/accounts/sso/callback/"


def _shown(request: Request, view: ProviderView, status: int = 200) -> Response:
    return with_version(Response(ProviderOutput(_shape(request, view)).data, status=status), view.version)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such identity provider.")
    return found
