"""`/sessions`: one's own sessions; `/users/{id}/sessions`: those of a member, in this tenant alone."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.rest import SIGNED_IN, principal
from tenants.services.sessions import (
    end_member_sessions,
    end_other_sessions,
    end_own_session,
    member_sessions,
    own_sessions,
    require_person,
)
from tenants.session_serializers import SessionsEnded, SessionsOutput
from tenants.sign_in_types import SessionView


class OwnSessionsView(AtriumView):
    """The sessions of the person who asks."""

    required_permission: ClassVar[str | Mapping[str, str]] = SIGNED_IN

    @extend_schema(operation_id="sessions_list", responses=answers({200: SessionsOutput}))
    def get(self, request: Request) -> Response:
        """One's own sessions in all tenants, this one first. For people; a key gets 403."""
        return _listed(own_sessions(session_key=_key(request), **_own(request)))

    @extend_schema(operation_id="sessions_end_others", responses=answers({200: SessionsEnded}))
    def delete(self, request: Request) -> Response:
        """End all one's own sessions but this one."""
        ended = end_other_sessions(session_key=_key(request), **_own(request))
        return Response(SessionsEnded({"ended": ended}).data)


class OwnSessionView(AtriumView):
    """One session of the person who asks."""

    required_permission: ClassVar[str | Mapping[str, str]] = SIGNED_IN

    @extend_schema(operation_id="sessions_end", responses=answers({204: None}))
    def delete(self, request: Request, session_id: str) -> Response:
        """End it: its browser must sign in again, its sockets close."""
        end_own_session(session_id=_id(session_id), **_own(request))
        return Response(status=204)


class MemberSessionsView(AtriumView):
    """The sessions of a member that are bound to the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(operation_id="users_sessions_list", responses=answers({200: SessionsOutput}))
    def get(self, request: Request, user_id: str) -> Response:
        """A member's sessions in this tenant, the last seen first."""
        return _listed(member_sessions(principal=principal(request), user_id=_id(user_id)))

    @extend_schema(operation_id="users_sessions_end_all", responses=answers({200: SessionsEnded}))
    def delete(self, request: Request, user_id: str) -> Response:
        """End all of them. Sessions of the same person in other tenants stay."""
        ended = end_member_sessions(principal=principal(request), user_id=_id(user_id))
        return Response(SessionsEnded({"ended": ended}).data)


class MemberSessionView(AtriumView):
    """One session of a member that is bound to the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(operation_id="users_sessions_end", responses=answers({204: None}))
    def delete(self, request: Request, user_id: str, session_id: str) -> Response:
        """End it."""
        end_member_sessions(principal=principal(request), user_id=_id(user_id), session_id=_id(session_id))
        return Response(status=204)


def _listed(sessions: Sequence[SessionView]) -> Response:
    return Response(SessionsOutput({"results": sessions, "next": None, "previous": None}).data)


def _own(request: Request) -> dict[str, Any]:
    """Whose sessions are meant: a person's, and those of one tenant alone where the asking one is confined to it."""
    who = principal(request)
    return {"user_id": require_person(who), "only_tenant": who.tenant_id if who.confined else None}


def _key(request: Request) -> str:
    return request._request.session.session_key or ""


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound
    return found
