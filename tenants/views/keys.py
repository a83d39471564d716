"""`/api-keys`: keys of the tenant."""

import uuid
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.rest import principal
from tenants.serializers import KeyInput, KeyOutput, NewKeyOutput
from tenants.services import create_key, get_key, revoke_key
from tenants.types import PriorityClass, Role


class KeysView(AtriumView):
    """API keys of the caller's tenant."""

    required_permission: ClassVar[str] = "keys.write"

    @extend_schema(
        operation_id="api_keys_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("ApiKeyPage", KeyOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Keys, the newest first, revoked ones too; never their secrets."""
        pages = CursorPages()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            rows = pages.paginate_queryset(selectors.api_keys(), request, view=self) or []
        return pages.get_paginated_response(
            KeyOutput([selectors.key_view(row) for row in rows], many=True).data
        )

    @extend_schema(
        operation_id="api_keys_create", request=KeyInput, responses=answers({201: NewKeyOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a key. Its text is in this answer and never again."""
        form = KeyInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        issued, key = create_key(
            principal=principal(request),
            name=values["name"],
            role=Role(values.get("role", Role.MEMBER)),
            expires_at=values.get("expires_at"),
            priority_class=PriorityClass(values.get("priority_class", PriorityClass.CRITICAL)),
            personal=values.get("personal", False),
        )
        response = Response(KeyOutput(key).data | {"key": issued.key}, status=201)
        response["Cache-Control"] = "no-store"
        return response


class KeyView(AtriumView):
    """One API key of the caller's tenant."""

    required_permission: ClassVar[str] = "keys.write"

    @extend_schema(operation_id="api_keys_get", responses=answers({200: KeyOutput}))
    def get(self, request: Request, key_id: str) -> Response:
        """One key."""
        return Response(KeyOutput(get_key(principal=principal(request), key_id=_id(key_id))).data)

    @extend_schema(operation_id="api_keys_revoke", responses=answers({204: None}))
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke the key; refused everywhere within two seconds."""
        revoke_key(principal=principal(request), key_id=_id(key_id))
        return Response(status=204)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such key.")
    return found
