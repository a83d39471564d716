"""`/permissions` and `/roles`: what there is to be allowed, and the roles that tenants make out of it."""

import uuid
from collections.abc import Mapping
from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Listing
from substrate.openapi import answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants import access_reads
from tenants.access_serializers import (
    CustomRoleChange,
    CustomRoleInput,
    CustomRoleOutput,
    PermissionListOutput,
)
from tenants.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.rest import IF_MATCH, SIGNED_IN, principal, with_version
from tenants.services import change_role, create_role, delete_role, get_role

CUSTOM_ROLES = Listing(
    sorts={"name": "name", "created_at": "created_at"}, default="name", search=("name", "description")
)


class PermissionsView(AtriumView):
    """The table of permissions."""

    required_permission: ClassVar[str] = SIGNED_IN

    @extend_schema(operation_id="permissions_list", responses=answers({200: PermissionListOutput}))
    def get(self, request: Request) -> Response:
        """Every permission a tenant can give: what it allows, which built-in roles have it, and whether the caller has."""
        who = principal(request)
        found = [
            {
                "name": each.name,
                "area": each.area,
                "allows": each.allows,
                "content": each.content,
                "roles": [role.value for role, held in ROLE_PERMISSIONS.items() if each.name in held],
                "mine": each.name in who.permissions,
            }
            for each in PERMISSIONS
            if each.least is not None
        ]
        return Response(PermissionListOutput({"results": found}).data)


class RolesView(AtriumView):
    """Roles that the caller's tenant made."""

    required_permission: ClassVar[str | Mapping[str, str]] = {"GET": SIGNED_IN, "POST": "roles.write"}

    @extend_schema(
        operation_id="roles_list",
        parameters=CUSTOM_ROLES.parameters(),
        responses=answers({200: page_of("CustomRolePage", CustomRoleOutput)}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """The tenant's own roles, by name; the built-in ones are in `/permissions`."""
        with tenant_scope(principal(request).tenant_id, read_only=True):
            return CUSTOM_ROLES.answer(
                request, access_reads.custom_roles(), access_reads.role_views, CustomRoleOutput
            )

    @extend_schema(
        operation_id="roles_create",
        request=CustomRoleInput,
        responses=answers({201: CustomRoleOutput}, 409, 429),
    )
    def post(self, request: Request) -> Response:
        """Make a role out of permissions that the caller has."""
        form = CustomRoleInput(data=request.data)
        form.is_valid(raise_exception=True)
        role = create_role(principal=principal(request), **form.validated_data)
        return with_version(Response(CustomRoleOutput(role).data, status=201), role.version)


class RoleView(AtriumView):
    """One role that the caller's tenant made."""

    required_permission: ClassVar[str | Mapping[str, str]] = {
        "GET": SIGNED_IN,
        "PATCH": "roles.write",
        "DELETE": "roles.write",
    }

    @extend_schema(operation_id="roles_get", responses=answers({200: CustomRoleOutput}))
    def get(self, request: Request, role_id: str) -> Response:
        """One role."""
        role = get_role(principal=principal(request), role_id=_id(role_id))
        return with_version(Response(CustomRoleOutput(role).data), role.version)

    @extend_schema(
        operation_id="roles_change",
        parameters=[IF_MATCH],
        request=CustomRoleChange,
        responses=answers({200: CustomRoleOutput}, 409, 412),
    )
    def patch(self, request: Request, role_id: str) -> Response:
        """Change the role; in effect everywhere within two seconds."""
        who = principal(request)
        target = get_role(principal=who, role_id=_id(role_id))
        form = CustomRoleChange(data=request.data)
        form.is_valid(raise_exception=True)
        role = change_role(
            principal=who, role_id=target.id, expected=expected_version(request), **form.validated_data
        )
        return with_version(Response(CustomRoleOutput(role).data), role.version)

    @extend_schema(
        operation_id="roles_delete", parameters=[IF_MATCH], responses=answers({204: None}, 409, 412)
    )
    def delete(self, request: Request, role_id: str) -> Response:
        """Delete a role that nobody has."""
        delete_role(principal=principal(request), role_id=_id(role_id), expected=expected_version(request))
        return Response(status=204)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such role.")
    return found
