"""`/tenant`: what owners do with their own tenant; `/tenants/{id}/…` and `/tenant-deletions`: operators with any."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import NO_FORMAT, PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.lifecycle_serializers import (
    DeletionInput,
    DeletionOutput,
    ExportInput,
    ExportOutput,
    OwnDeletionInput,
    OwnTenantChange,
    OwnTenantOutput,
)
from tenants.permissions import OPERATE
from tenants.rest import IF_MATCH, SIGNED_IN, principal, with_version
from tenants.services.deleting import ask_deletion, get_deletion, list_deletions, withdraw_deletion
from tenants.services.exporting import (
    ask_export,
    delete_export,
    get_export,
    list_exports,
    open_archive,
    stream_archive,
)
from tenants.services.tenants import change_own_tenant, get_tenant

ARCHIVE: dict[Any, Any] = {(200, "application/zip"): OpenApiTypes.BINARY}


class OwnTenantView(AtriumView):
    """The tenant one acts in."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": SIGNED_IN, "PATCH": "tenant.write"}

    @extend_schema(operation_id="own_tenant_get", responses=answers({200: OwnTenantOutput}))
    def get(self, request: Request) -> Response:
        """Its name, calendar and region."""
        found = get_tenant(tenant_id=principal(request).tenant_id)
        return with_version(Response(OwnTenantOutput(found).data), found.version)

    @extend_schema(
        operation_id="own_tenant_change",
        parameters=[IF_MATCH],
        request=OwnTenantChange,
        responses=answers({200: OwnTenantOutput}, 412),
    )
    def patch(self, request: Request) -> Response:
        """Change its name or its calendar; in effect everywhere within two seconds."""
        form = OwnTenantChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = change_own_tenant(
            principal=principal(request), expected=expected_version(request), **form.validated_data
        )
        return with_version(Response(OwnTenantOutput(changed).data), changed.version)


class OwnExportsView(AtriumView):
    """Archives of one's own tenant."""

    required_permission: ClassVar[str] = "tenant.export"

    @extend_schema(
        operation_id="own_exports_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("OwnExportPage", ExportOutput)}),
    )
    def get(self, request: Request) -> Response:
        """The last ones, the newest first, in one page."""
        return _page(ExportOutput(list_exports(principal=principal(request)), many=True).data)

    @extend_schema(
        operation_id="own_exports_create", request=ExportInput, responses=answers({201: ExportOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Have an archive made. It goes on by itself; its row says how far it is."""
        return _asked(request)


class OwnExportView(AtriumView):
    """One archive of one's own tenant."""

    required_permission: ClassVar[str] = "tenant.export"

    @extend_schema(operation_id="own_exports_get", responses=answers({200: ExportOutput}))
    def get(self, request: Request, export_id: str) -> Response:
        """One archive."""
        found = get_export(principal=principal(request), export_id=_id(export_id))
        return Response(ExportOutput(found).data)

    @extend_schema(operation_id="own_exports_delete", responses=answers({204: None}, 409))
    def delete(self, request: Request, export_id: str) -> Response:
        """Remove its file before its time."""
        delete_export(principal=principal(request), export_id=_id(export_id))
        return Response(status=204)


class ArchiveRenderer(BaseRenderer):
    """Lets a request ask for the file's own type."""

    media_type = "application/zip"
    format = "zip"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        """Only problems are rendered; the file itself is streamed."""
        return JSONRenderer().render(data)


class OwnArchiveView(AtriumView):
    """The file of an archive of one's own tenant."""

    required_permission: ClassVar[str] = "tenant.export"
    renderer_classes = (JSONRenderer, ArchiveRenderer)

    @extend_schema(
        operation_id="own_exports_download", parameters=[NO_FORMAT], responses=answers(ARCHIVE, 409, 503)
    )
    def get(self, request: Request, export_id: str) -> HttpResponseBase:
        """Download it; that is written down."""
        return _file(request, _id(export_id), None)


class OwnDeletionView(AtriumView):
    """The deletion of one's own tenant."""

    required_permission: ClassVar[str] = "tenant.delete"

    @extend_schema(
        operation_id="own_tenant_delete",
        request=OwnDeletionInput,
        responses=answers({201: DeletionOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """Have the tenant deleted in seven days. From now on nobody gets in.

        Until then its owners can withdraw it, at `/accounts/deletions/`, and operators.
        """
        form = OwnDeletionInput(data=request.data)
        form.is_valid(raise_exception=True)
        asked = ask_deletion(principal=principal(request), **form.validated_data)
        return Response(DeletionOutput(asked).data, status=201)


class TenantExportsView(AtriumView):
    """Archives of any tenant: the tenant sees in its audit who asked for them, and why."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="tenant_exports_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("TenantExportPage", ExportOutput)}),
    )
    def get(self, request: Request, tenant_id: str) -> Response:
        """The last ones, the newest first, in one page."""
        found = list_exports(principal=principal(request), tenant_id=_id(tenant_id))
        return _page(ExportOutput(found, many=True).data)

    @extend_schema(
        operation_id="tenant_exports_create", request=ExportInput, responses=answers({201: ExportOutput}, 409)
    )
    def post(self, request: Request, tenant_id: str) -> Response:
        """Have an archive made, with a reason."""
        return _asked(request, _id(tenant_id))


class TenantArchiveView(AtriumView):
    """The file of an archive of any tenant."""

    required_permission: ClassVar[str] = OPERATE
    renderer_classes = (JSONRenderer, ArchiveRenderer)

    @extend_schema(
        operation_id="tenant_exports_download", parameters=[NO_FORMAT], responses=answers(ARCHIVE, 409, 503)
    )
    def get(self, request: Request, tenant_id: str, export_id: str) -> HttpResponseBase:
        """Download it; the tenant's audit says so."""
        return _file(request, _id(export_id), _id(tenant_id))


class TenantDeletionView(AtriumView):
    """The deletion of any tenant."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="tenant_deletion_ask",
        request=DeletionInput,
        responses=answers({201: DeletionOutput}, 409),
    )
    def post(self, request: Request, tenant_id: str) -> Response:
        """Have a tenant deleted. From now on nobody gets in; it can be withdrawn until it is due."""
        form = DeletionInput(data=request.data)
        form.is_valid(raise_exception=True)
        asked = ask_deletion(principal=principal(request), tenant_id=_id(tenant_id), **form.validated_data)
        return Response(DeletionOutput(asked).data, status=201)

    @extend_schema(operation_id="tenant_deletion_withdraw", responses=answers({200: DeletionOutput}, 409))
    def delete(self, request: Request, tenant_id: str) -> Response:
        """Think better of it: the tenant is again as it was."""
        found = withdraw_deletion(principal=principal(request), tenant_id=_id(tenant_id))
        return Response(DeletionOutput(found).data)


class DeletionsView(AtriumView):
    """Deletions of tenants, and what proves them."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="tenant_deletions_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("TenantDeletionPage", DeletionOutput)}),
    )
    def get(self, request: Request) -> Response:
        """The last ones, the newest first, in one page."""
        return _page(DeletionOutput(list_deletions(principal=principal(request)), many=True).data)


class DeletionView(AtriumView):
    """One deletion."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="tenant_deletions_get", responses=answers({200: DeletionOutput}))
    def get(self, request: Request, deletion_id: str) -> Response:
        """One deletion with its report, also when the tenant is long gone."""
        found = get_deletion(principal=principal(request), deletion_id=_id(deletion_id))
        return Response(DeletionOutput(found).data)


def _asked(request: Request, tenant_id: uuid.UUID | None = None) -> Response:
    form = ExportInput(data=request.data)
    form.is_valid(raise_exception=True)
    asked = ask_export(
        principal=principal(request), tenant_id=tenant_id, reason=form.validated_data.get("reason", "")
    )
    return Response(ExportOutput(asked).data, status=201)


def _file(request: Request, export_id: uuid.UUID, tenant_id: uuid.UUID | None) -> HttpResponseBase:
    found, key, name = open_archive(principal=principal(request), export_id=export_id, tenant_id=tenant_id)
    response = StreamingHttpResponse(stream_archive(key), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Content-Length"] = str(found.size)
    response["Cache-Control"] = "no-store"
    return response


def _page(rows: Any) -> Response:
    return Response({"results": rows, "next": None, "previous": None})


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound
    return found
