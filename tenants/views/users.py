"""`/users`: members of the tenant."""

import uuid
from collections.abc import Mapping
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
from tenants.serializers import MemberChange, MemberInput, MemberOutput
from tenants.services import add_member, change_member, get_member, remove_member
from tenants.types import Role


class UsersView(AtriumView):
    """Members of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(
        operation_id="users_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("UserPage", MemberOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Members, the newest first."""
        pages = CursorPages()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            rows = pages.paginate_queryset(selectors.members(), request, view=self) or []
            views = [selectors.member_view(row) for row in rows]
        return pages.get_paginated_response(MemberOutput(views, many=True).data)

    @extend_schema(
        operation_id="users_create", request=MemberInput, responses=answers({201: MemberOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a user a member; a user of this address that is known keeps password and name."""
        form = MemberInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        member = add_member(
            principal=principal(request),
            email=values["email"],
            role=Role(values["role"]),
            password=values.get("password"),
            name=values.get("name", ""),
        )
        return Response(MemberOutput(member).data, status=201)


class UserView(AtriumView):
    """One member of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(operation_id="users_get", responses=answers({200: MemberOutput}))
    def get(self, request: Request, user_id: str) -> Response:
        """One member."""
        return Response(MemberOutput(get_member(principal=principal(request), user_id=_id(user_id))).data)

    @extend_schema(
        operation_id="users_change", request=MemberChange, responses=answers({200: MemberOutput}, 409)
    )
    def patch(self, request: Request, user_id: str) -> Response:
        """Change the role, disable or enable."""
        who = principal(request)
        target = get_member(principal=who, user_id=_id(user_id))
        form = MemberChange(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        member = change_member(
            principal=who,
            user_id=target.user_id,
            role=Role(values["role"]) if "role" in values else None,
            disabled=values.get("disabled"),
        )
        return Response(MemberOutput(member).data)

    @extend_schema(operation_id="users_remove", responses=answers({204: None}, 409))
    def delete(self, request: Request, user_id: str) -> Response:
        """Take the user out of the tenant."""
        remove_member(principal=principal(request), user_id=_id(user_id))
        return Response(status=204)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such user in this tenant.")
    return found
