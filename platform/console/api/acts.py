"""`/acts`: what was done, by whom, the newest first."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from console.scopes import SCOPE_PARAMETER, wants_platform
from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.audit import acts_everywhere, acts_of_tenant
from substrate.listings import page_size
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView
from tenants.rest import principal


class ActOutput(serializers.Serializer[Any]):
    """One act. `actor_kind` is user, key, operator (who is no member), command or system."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    act = serializers.CharField()
    kind = serializers.CharField()
    object_id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    actor_kind = serializers.CharField()
    actor = serializers.CharField()
    request_id = serializers.CharField()
    tenant_id = serializers.UUIDField(allow_null=True)


class ActsView(AtriumView):
    """What was done in the tenant, or on the whole platform."""

    required_permission: ClassVar[str] = "users.write"

    @extend_schema(
        operation_id="acts_list",
        parameters=[*PAGE_PARAMETERS, SCOPE_PARAMETER],
        responses=answers({200: page_of("ActPage", ActOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Acts, the newest first."""
        size = page_size(request)
        cursor = request.query_params.get("cursor")
        before = parse_uuid(cursor) if cursor else None
        if cursor and before is None:
            raise NotFound("Invalid cursor")
        if wants_platform(request):
            found = acts_everywhere(limit=size + 1, before=before)
        else:
            found = acts_of_tenant(tenant_id=principal(request).tenant_id, limit=size + 1, before=before)
        shown = found[:size]
        more = len(found) > size
        here = request.build_absolute_uri()
        following = replace_query_param(here, "cursor", str(shown[-1].id)) if more else None
        return Response({"results": ActOutput(shown, many=True).data, "next": following, "previous": None})
