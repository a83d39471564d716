"""`/inspected-conversations`: others' conversations, for an operator with a break-glass grant. Each look is audited.

What is asked for and its record in the tenant's audit are one transaction: what cannot be written down is not shown.
There is no file of the list: who takes much out takes an archive, which the tenant sees as one.
"""

from typing import ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import selectors
from assistants.ownership import USER
from assistants.serializers import InspectedOutput, MessageOutput
from assistants.services import inspect_conversation, inspected_views, note_conversation
from assistants.views.conversations import MESSAGE_PAGE, SEARCH, MessagePages, conversation_of, search_of
from kernel.ids import parse_uuid
from substrate.listings import Filter, Listing, moment_filter, text_filter
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from tenants.permissions import INSPECT
from tenants.rest import principal
from tenants.services import record_look


def _owner_of_user(text: str) -> str:
    found = parse_uuid(text)
    if found is None:
        raise ValueError("expected an id")
    return f"{USER}:{found}"


LISTING = Listing(
    sorts={"updated_at": "updated_at", "created_at": "created_at", "title": "title"},
    default="-updated_at",
    filters={
        "user": Filter("owner", _owner_of_user, {"type": "string", "format": "uuid"}, "Whose they are."),
        "assistant": text_filter("assistant", "The assistant's slug.", longest=64),
        "from": moment_filter("updated_at__gte", "Last written in at this moment or later."),
        "to": moment_filter("updated_at__lt", "Last written in before this moment."),
    },
)
# What of the question is told to the tenant; a cursor is not: it may hold a title.
_TOLD = ("q", *LISTING.filters, "sort")


class InspectedConversationsView(AtriumView):
    """Everybody's conversations in the tenant that the operator visits."""

    required_permission: ClassVar[str] = INSPECT

    @extend_schema(
        operation_id="inspected_conversations_list",
        parameters=[*LISTING.parameters(), SEARCH],
        responses=answers({200: page_of("InspectedConversationPage", InspectedOutput)}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """The conversations, the one last written in first; each page is a look."""
        who, search = principal(request), search_of(request)
        asked = {name: request.query_params[name] for name in _TOLD if request.query_params.get(name)}
        with tenant_scope(who.tenant_id):
            record_look(principal=who, act="conversations_listed", told=asked)
            rows = selectors.conversations(None, search=search)
            return LISTING.answer(request, rows, inspected_views, InspectedOutput)


class InspectedConversationView(AtriumView):
    """Somebody's conversation."""

    required_permission: ClassVar[str] = INSPECT

    @extend_schema(operation_id="inspected_conversations_get", responses=answers({200: InspectedOutput}))
    def get(self, request: Request, conversation_id: str) -> Response:
        """Whose it is and what it is called."""
        wanted = conversation_of(conversation_id)
        found = inspect_conversation(principal=principal(request), conversation_id=wanted)
        return Response(InspectedOutput(found).data)


class InspectedMessagesView(AtriumView):
    """The messages of somebody's conversation."""

    required_permission: ClassVar[str] = INSPECT

    @extend_schema(
        operation_id="inspected_messages_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: MESSAGE_PAGE}),
    )
    def get(self, request: Request, conversation_id: str) -> Response:
        """The messages as their owner sees them, the oldest first; each page is a look."""
        who, pages = principal(request), MessagePages()
        with tenant_scope(who.tenant_id):
            conversation = selectors.find_conversation(None, conversation_of(conversation_id))
            rows = pages.paginate_queryset(selectors.messages(conversation), request, view=self) or []
            shown = f"{rows[0].position}–{rows[-1].position}" if rows else ""
            note_conversation(principal=who, row=conversation, act="messages_read", shown=shown)
        views = [selectors.message_view(row) for row in rows]
        return pages.get_paginated_response(MessageOutput(views, many=True).data)
