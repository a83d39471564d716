"""`/groups`: members of the tenant under one name."""

import uuid
from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Listing
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants import access_reads
from tenants.access_serializers import (
    GroupChange,
    GroupInput,
    GroupMemberOutput,
    GroupMembersInput,
    GroupOutput,
)
from tenants.rest import IF_MATCH, principal, with_version
from tenants.services import (
    add_group_members,
    change_group,
    create_group,
    delete_group,
    get_group,
    remove_group_member,
)

GROUPS = Listing(
    sorts={"name": "name", "members": "size", "created_at": "created_at"},
    default="name",
    search=("name", "description"),
    csv=("id", "name", "description", "external_id", "members", "created_at"),
    file_name="groups",
)
GROUP_MEMBERS = Listing(
    sorts={"email": "email", "name": "name", "added_at": "created_at"},
    default="email",
    search=("membership__user__email", "membership__user__name"),
    csv=("id", "email", "name", "disabled", "added_at"),
    file_name="group-members",
)


class GroupsView(AtriumView):
    """Groups of the caller's tenant."""

    required_permission: ClassVar[str] = "groups.write"

    @extend_schema(
        operation_id="groups_list",
        parameters=GROUPS.parameters(),
        responses=answers({200: page_of("GroupPage", GroupOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Groups, by name where nothing else is asked for."""
        with tenant_scope(principal(request).tenant_id, read_only=True):
            return GROUPS.answer(request, access_reads.listed_groups(), access_reads.group_views, GroupOutput)

    @extend_schema(
        operation_id="groups_create", request=GroupInput, responses=answers({201: GroupOutput}, 409, 429)
    )
    def post(self, request: Request) -> Response:
        """Make a group, without members yet."""
        form = GroupInput(data=request.data)
        form.is_valid(raise_exception=True)
        group = create_group(principal=principal(request), **form.validated_data)
        return with_version(Response(GroupOutput(group).data, status=201), group.version)


class GroupView(AtriumView):
    """One group of the caller's tenant."""

    required_permission: ClassVar[str] = "groups.write"

    @extend_schema(operation_id="groups_get", responses=answers({200: GroupOutput}))
    def get(self, request: Request, group_id: str) -> Response:
        """One group."""
        group = get_group(principal=principal(request), group_id=_id(group_id))
        return with_version(Response(GroupOutput(group).data), group.version)

    @extend_schema(
        operation_id="groups_change",
        parameters=[IF_MATCH],
        request=GroupChange,
        responses=answers({200: GroupOutput}, 409, 412),
    )
    def patch(self, request: Request, group_id: str) -> Response:
        """Rename the group, or describe it."""
        who = principal(request)
        target = get_group(principal=who, group_id=_id(group_id))
        form = GroupChange(data=request.data)
        form.is_valid(raise_exception=True)
        group = change_group(
            principal=who, group_id=target.id, expected=expected_version(request), **form.validated_data
        )
        return with_version(Response(GroupOutput(group).data), group.version)

    @extend_schema(operation_id="groups_delete", parameters=[IF_MATCH], responses=answers({204: None}, 412))
    def delete(self, request: Request, group_id: str) -> Response:
        """Delete the group; its members stay in the tenant."""
        delete_group(principal=principal(request), group_id=_id(group_id), expected=expected_version(request))
        return Response(status=204)


class GroupMembersView(AtriumView):
    """Who is in a group."""

    required_permission: ClassVar[str] = "groups.write"

    @extend_schema(
        operation_id="group_members_list",
        parameters=GROUP_MEMBERS.parameters(),
        responses=answers({200: page_of("GroupMemberPage", GroupMemberOutput), **CSV_FILE}),
    )
    def get(self, request: Request, group_id: str) -> HttpResponseBase:
        """Who is in the group, by address where nothing else is asked for."""
        who = principal(request)
        group = get_group(principal=who, group_id=_id(group_id))
        with tenant_scope(who.tenant_id, read_only=True):
            return GROUP_MEMBERS.answer(
                request,
                access_reads.listed_group_members(group.id),
                lambda rows: [access_reads.group_member_view(each) for each in rows],
                GroupMemberOutput,
            )

    @extend_schema(
        operation_id="group_members_add", request=GroupMembersInput, responses=answers({201: GroupOutput})
    )
    def post(self, request: Request, group_id: str) -> Response:
        """Put members of the tenant into the group, all or nobody; in effect everywhere within two seconds."""
        who = principal(request)
        target = get_group(principal=who, group_id=_id(group_id))
        form = GroupMembersInput(data=request.data)
        form.is_valid(raise_exception=True)
        group = add_group_members(principal=who, group_id=target.id, user_ids=form.validated_data["user_ids"])
        return with_version(Response(GroupOutput(group).data, status=201), group.version)


class GroupMemberView(AtriumView):
    """One member of a group."""

    required_permission: ClassVar[str] = "groups.write"

    @extend_schema(operation_id="group_members_remove", responses=answers({204: None}))
    def delete(self, request: Request, group_id: str, user_id: str) -> Response:
        """Take the member out of the group."""
        remove_group_member(
            principal=principal(request), group_id=_id(group_id), user_id=_id(user_id, "user")
        )
        return Response(status=204)


def _id(text: str, kind: str = "group") -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound(f"There is no such {kind}.")
    return found
