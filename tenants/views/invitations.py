"""`/invitations`: memberships offered to addresses."""

import uuid
from collections.abc import Mapping
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
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.listed import listed_invitations
from tenants.rest import base_url, principal, with_version
from tenants.serializers import (
    INVITATION_STATES,
    ROLES,
    InvitationInput,
    InvitationOutput,
    SentInvitationOutput,
)
from tenants.services import get_invitation, invite, resend_invitation, withdraw_invitation
from tenants.types import Role, SentInvitation

INVITATIONS = Listing(
    sorts={
        "email": "email",
        "role": "rank",
        "state": "state",
        "created_at": "created_at",
        "sent_at": "sent_at",
        "expires_at": "expires_at",
    },
    default="-created_at",
    search=("email",),
    filters={
        "state": choice_filter("state", INVITATION_STATES),
        "role": choice_filter("role", ROLES),
    },
    csv=("id", "email", "role", "state", "invited_by", "mailed", "created_at", "expires_at", "accepted_at"),
    file_name="invitations",
)


def sent_invitation(sent: SentInvitation) -> dict[str, Any]:
    """An invitation with its link, where it has to be handed over."""
    return {**InvitationOutput(sent.view).data, "link": sent.link}


def _answer(sent: SentInvitation, status: int) -> Response:
    body = SentInvitationOutput(sent_invitation(sent)).data
    return with_version(
        Response(body, status=status, headers={"Cache-Control": "no-store"}), sent.view.version
    )


class InvitationsView(AtriumView):
    """Invitations of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(
        operation_id="invitations_list",
        parameters=INVITATIONS.parameters(),
        responses=answers({200: page_of("InvitationPage", InvitationOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Invitations, the newest first where nothing else is asked for; never their tokens."""
        now = SYSTEM_CLOCK.now()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            return INVITATIONS.answer(
                request,
                listed_invitations(now),
                lambda rows: [selectors.invitation_view(each, now) for each in rows],
                InvitationOutput,
            )

    @extend_schema(
        operation_id="invitations_create",
        request=InvitationInput,
        responses=answers({201: SentInvitationOutput}, 409, 429),
    )
    def post(self, request: Request) -> Response:
        """Invite an address for seven days. Without a mail server the link is in this answer and never again."""
        form = InvitationInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        sent = invite(
            principal=principal(request),
            email=values["email"],
            role=Role(values["role"]) if "role" in values else None,
            custom_role_id=values.get("custom_role"),
            message=values.get("message", ""),
            base_url=base_url(request),
        )
        return _answer(sent, 201)


class InvitationView(AtriumView):
    """One invitation of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "users.write"

    @extend_schema(operation_id="invitations_get", responses=answers({200: InvitationOutput}))
    def get(self, request: Request, invitation_id: str) -> Response:
        """One invitation."""
        found = get_invitation(principal=principal(request), invitation_id=_id(invitation_id))
        return with_version(Response(InvitationOutput(found).data), found.version)

    @extend_schema(operation_id="invitations_withdraw", responses=answers({204: None}, 409))
    def delete(self, request: Request, invitation_id: str) -> Response:
        """Withdraw the invitation: its link is dead at once."""
        withdraw_invitation(principal=principal(request), invitation_id=_id(invitation_id))
        return Response(status=204)


class ResendView(AtriumView):
    """Sending an invitation again."""

    required_permission: ClassVar[str] = "users.write"

    @extend_schema(
        operation_id="invitations_resend",
        request=None,
        responses=answers({200: SentInvitationOutput}, 409, 429),
    )
    def post(self, request: Request, invitation_id: str) -> Response:
        """Send it again with a new link, for seven more days; the older link is dead."""
        sent = resend_invitation(
            principal=principal(request), invitation_id=_id(invitation_id), base_url=base_url(request)
        )
        return _answer(sent, 200)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such invitation.")
    return found
