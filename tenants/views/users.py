"""`/users`: members of the tenant."""

import uuid
from collections.abc import Mapping
from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Filter, Listing, choice_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants import selectors
from tenants.listed import listed_members
from tenants.rest import IF_MATCH, principal, with_version
from tenants.serializers import ROLES, MemberChange, MemberInput, MemberOutput
from tenants.services import add_member, change_member, get_member, remove_member
from tenants.types import Role

_STATES = {"active": True, "disabled": False}


def _state(text: str) -> bool:
    if text not in _STATES:
        raise ValueError("expected active or disabled")
    return _STATES[text]


MEMBERS = Listing(
    sorts={
        "email": "email",
        "name": "name",
        "role": "rank",
        "created_at": "created_at",
        "last_used_at": "used",
    },
    default="-created_at",
    search=("user__email", "user__name"),
    filters={
        "role": choice_filter("role", ROLES),
        "state": Filter("disabled_at__isnull", _state, {"type": "string", "enum": list(_STATES)}),
    },
    csv=("id", "email", "name", "role", "disabled", "created_at", "last_used_at"),
    file_name="members",
)


class UsersView(AtriumView):
    """Members of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(
        operation_id="users_list",
        parameters=MEMBERS.parameters(),
        responses=answers({200: page_of("UserPage", MemberOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Members, the newest first where nothing else is asked for."""
        with tenant_scope(principal(request).tenant_id, read_only=True):
            return MEMBERS.answer(
                request,
                listed_members(),
                lambda rows: [selectors.member_view(row) for row in rows],
                MemberOutput,
            )

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
        return with_version(Response(MemberOutput(member).data, status=201), member.version)


class UserView(AtriumView):
    """One member of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(operation_id="users_get", responses=answers({200: MemberOutput}))
    def get(self, request: Request, user_id: str) -> Response:
        """One member."""
        member = get_member(principal=principal(request), user_id=_id(user_id))
        return with_version(Response(MemberOutput(member).data), member.version)

    @extend_schema(
        operation_id="users_change",
        parameters=[IF_MATCH],
        request=MemberChange,
        responses=answers({200: MemberOutput}, 409, 412),
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
            custom_role_id=values.get("custom_role"),
            disabled=values.get("disabled"),
            expected=expected_version(request),
        )
        return with_version(Response(MemberOutput(member).data), member.version)

    @extend_schema(
        operation_id="users_remove", parameters=[IF_MATCH], responses=answers({204: None}, 409, 412)
    )
    def delete(self, request: Request, user_id: str) -> Response:
        """Take the user out of the tenant."""
        remove_member(principal=principal(request), user_id=_id(user_id), expected=expected_version(request))
        return Response(status=204)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such user in this tenant.")
    return found
