"""`/tenants`: for platform operators."""

import uuid
from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.clock import SYSTEM_CLOCK
from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Listing, choice_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants import selectors
from tenants.permissions import OPERATE
from tenants.rest import IF_MATCH, base_url, principal, with_version
from tenants.serializers import (
    PRIORITIES,
    TENANT_STATES,
    NewTenantOutput,
    TenantChange,
    TenantInput,
    TenantOutput,
)
from tenants.services import change_tenant, get_tenant, open_tenant
from tenants.types import PriorityClass, TenantState
from tenants.views.invitations import sent_invitation

TENANTS = Listing(
    sorts={"slug": "slug", "name": "name", "created_at": "created_at", "state": "state", "weight": "weight"},
    default="-created_at",
    search=("slug", "name"),
    filters={
        "state": choice_filter("state", TENANT_STATES),
        "priority_class": choice_filter("priority_class", PRIORITIES),
    },
    csv=(
        "id",
        "slug",
        "name",
        "state",
        "priority_class",
        "weight",
        "members",
        "keys",
        "timezone",
        "region",
        "created_at",
    ),
    file_name="tenants",
)


class TenantsView(AtriumView):
    """All tenants of the platform."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="tenants_list",
        parameters=TENANTS.parameters(),
        responses=answers({200: page_of("TenantPage", TenantOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Tenants, the newest first where nothing else is asked for."""
        now = SYSTEM_CLOCK.now()
        return TENANTS.answer(
            request, selectors.all_tenants(), lambda rows: selectors.tenant_views(rows, now), TenantOutput
        )

    @extend_schema(
        operation_id="tenants_create", request=TenantInput, responses=answers({201: NewTenantOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a tenant, with its first owner. An invitation's link is in this answer and never again."""
        form = TenantInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        opened = open_tenant(
            principal=principal(request),
            slug=values["slug"],
            name=values["name"],
            base_url=base_url(request),
            priority_class=PriorityClass(values.get("priority_class", PriorityClass.CRITICAL)),
            weight=values.get("weight", 1),
            owner_email=values.get("owner_email", ""),
            join=values.get("join", False),
            timezone=values.get("timezone", "UTC"),
            region=values.get("region", ""),
        )
        sent = opened.invitation
        told = {
            "owner": opened.owner,
            "invitation": sent_invitation(sent) if sent else None,
            "joined": opened.joined,
        }
        body = NewTenantOutput({**TenantOutput(opened.tenant).data, **told}).data
        response = Response(body, status=201, headers={"Cache-Control": "no-store"})
        return with_version(response, opened.tenant.version)


class TenantView(AtriumView):
    """One tenant."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="tenants_get", responses=answers({200: TenantOutput}))
    def get(self, request: Request, tenant_id: str) -> Response:
        """One tenant."""
        tenant = get_tenant(tenant_id=_id(tenant_id))
        return with_version(Response(TenantOutput(tenant).data), tenant.version)

    @extend_schema(
        operation_id="tenants_change",
        parameters=[IF_MATCH],
        request=TenantChange,
        responses=answers({200: TenantOutput}, 409, 412),
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
        changed = change_tenant(
            tenant_id=found.id, principal=principal(request), expected=expected_version(request), **values
        )
        return with_version(Response(TenantOutput(changed).data), changed.version)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such tenant.")
    return found
