"""`/provisioning`: the address and the tokens by which the tenant's directory provisions it."""

import uuid
from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.provisioning_serializers import (
    IssuedTokenOutput,
    ProvisioningOutput,
    ScimTokenInput,
    ScimTokenRotation,
)
from tenants.provisioning_types import IssuedToken
from tenants.rest import base_url, principal
from tenants.services.scim_tokens import (
    create_scim_token,
    list_scim_tokens,
    revoke_scim_token,
    rotate_scim_token,
)
from tenants.types import Role

DEFAULT_GRACE_HOURS = 24


class ProvisioningView(AtriumView):
    """How the tenant is provisioned."""

    required_permission: ClassVar[str] = "tenant.write"

    @extend_schema(operation_id="provisioning_get", responses=answers({200: ProvisioningOutput}))
    def get(self, request: Request) -> Response:
        """The address for the directory, and its tokens, the newest first; never their texts."""
        who = principal(request)
        body = {
            "address": f"{base_url(request).rstrip('/')}/scim/v2/{who.tenant_slug}",
            "tokens": list_scim_tokens(principal=who),
        }
        return Response(ProvisioningOutput(body).data)


class ScimTokensView(AtriumView):
    """Tokens of the tenant's directory."""

    required_permission: ClassVar[str] = "tenant.write"

    @extend_schema(
        operation_id="provisioning_tokens_create",
        request=ScimTokenInput,
        responses=answers({201: IssuedTokenOutput}, 429),
    )
    def post(self, request: Request) -> Response:
        """Make a token. Its text is in this answer and never again."""
        form = ScimTokenInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        return _shown_once(
            create_scim_token(
                principal=principal(request),
                name=values["name"],
                default_role=Role(values.get("default_role", Role.MEMBER)),
                expires_at=values.get("expires_at"),
            )
        )


class ScimTokenView(AtriumView):
    """One token."""

    required_permission: ClassVar[str] = "tenant.write"

    @extend_schema(operation_id="provisioning_tokens_revoke", responses=answers({204: None}))
    def delete(self, request: Request, token_id: str) -> Response:
        """Revoke it: refused from now on."""
        revoke_scim_token(principal=principal(request), token_id=_id(token_id))
        return Response(status=204)


class RotateScimTokenView(AtriumView):
    """Taking a token out of use without a break."""

    required_permission: ClassVar[str] = "tenant.write"

    @extend_schema(
        operation_id="provisioning_tokens_rotate",
        request=ScimTokenRotation,
        responses=answers({201: IssuedTokenOutput}, 409, 429),
    )
    def post(self, request: Request, token_id: str) -> Response:
        """Make a token in its place; the old one works on for the hours given."""
        wanted = _id(token_id)
        form = ScimTokenRotation(data=request.data)
        form.is_valid(raise_exception=True)
        hours = form.validated_data.get("grace_hours", DEFAULT_GRACE_HOURS)
        return _shown_once(
            rotate_scim_token(principal=principal(request), token_id=wanted, grace=timedelta(hours=hours))
        )


def _shown_once(issued: IssuedToken) -> Response:
    body: dict[str, Any] = {**asdict(issued.view), "token": issued.token}
    return Response(IssuedTokenOutput(body).data, status=201, headers={"Cache-Control": "no-store"})


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such token.")
    return found
