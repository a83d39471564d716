"""`/tenants`: for platform operators."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from tenants import selectors
from tenants.permissions import OPERATE
from tenants.rest import principal
from tenants.serializers import TenantChange, TenantInput, TenantOutput
from tenants.services import change_tenant, create_tenant, get_tenant
from tenants.types import PriorityClass, TenantState


class TenantsView(AtriumView):
    """All tenants of the platform."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="tenants_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("TenantPage", TenantOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Tenants, the newest first."""
        pages = CursorPages()
        rows = pages.paginate_queryset(selectors.all_tenants(), request, view=self) or []
        return pages.get_paginated_response(
            TenantOutput([selectors.tenant_view(row) for row in rows], many=True).data
        )

    @extend_schema(
        operation_id="tenants_create", request=TenantInput, responses=answers({201: TenantOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a tenant."""
        form = TenantInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        tenant = create_tenant(
            slug=values["slug"],
            name=values["name"],
            priority_class=PriorityClass(values.get("priority_class", PriorityClass.CRITICAL)),
            weight=values.get("weight", 1),
        )
        return Response(TenantOutput(tenant).data, status=201)


class TenantView(AtriumView):
    """One tenant."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="tenants_get", responses=answers({200: TenantOutput}))
    def get(self, request: Request, tenant_id: str) -> Response:
        """One tenant."""
        return Response(TenantOutput(get_tenant(tenant_id=_id(tenant_id))).data)

    @extend_schema(
        operation_id="tenants_change", request=TenantChange, responses=answers({200: TenantOutput}, 409)
    )
    def patch(self, request: Request, tenant_id: str) -> Response:
        """Change a tenant; in effect everywhere within two seconds."""
        found = get_tenant(tenant_id=_id(tenant_id))
        form = TenantChange(data=request.data)
        form.is_valid(raise_exception=True)
        values: dict[str, Any] = dict(form.validated_data)
        if "state" in values:
            values["state"] = TenantState(values["state"])
        if "priority_class" in values:
            values["priority_class"] = PriorityClass(values["priority_class"])
        return Response(
            TenantOutput(change_tenant(tenant_id=found.id, principal=principal(request), **values)).data
        )


def _id(text: str) -> Any:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such tenant.")
    return found
