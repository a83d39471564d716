"""`/me`: who asks."""

from typing import Any, ClassVar

from django.utils.translation import get_language
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from substrate.openapi import TENANT_HEADER, answers
from substrate.rest import AtriumView
from tenants.rest import SIGNED_IN, principal
from tenants.serializers import MeOutput
from tenants.services import describe_principal


class MeView(AtriumView):
    """Who asks, in which tenant, with which rights."""

    required_permission: ClassVar[str] = SIGNED_IN

    @extend_schema(operation_id="me", parameters=[TENANT_HEADER], responses=answers({200: MeOutput}))
    def get(self, request: Request) -> Response:
        """The user or key of this request."""
        found = describe_principal(principal=principal(request), language=get_language() or "")
        body: dict[str, Any] = {
            "user": found.user,
            "tenant": found.tenant,
            "role": found.role,
            "custom_role": found.custom_role,
            "permissions": found.permissions,
            "memberships": [
                {
                    "tenant": {"id": each.tenant_id, "slug": each.tenant_slug, "name": each.tenant_name},
                    "role": each.role,
                }
                for each in found.memberships
            ],
            "api_key": found.api_key,
            "visiting": found.visiting,
            "platform": found.platform,
            "break_glass": found.break_glass,
        }
        return Response(MeOutput(body).data)
