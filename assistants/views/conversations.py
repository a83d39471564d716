"""`/conversations`: the caller's own, and their messages."""

import uuid
from collections.abc import Callable
from typing import ClassVar
from urllib.parse import quote

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, pagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from assistants import selectors
from assistants.ownership import owner_of
from assistants.serializers import (
    ConversationChange,
    ConversationInput,
    ConversationOutput,
    MessageInput,
    MessageOutput,
)
from assistants.services import (
    ask,
    create_conversation,
    delete_conversation,
    export_conversation,
    get_conversation,
    rename_conversation,
)
from kernel.errors import BadInput, NotFound
from kernel.ids import new_request_id, parse_uuid
from substrate.listings import Listing, text_filter
from substrate.openapi import CSV_FILE, PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from substrate.scoping import tenant_scope
from tenants.rest import principal

SEARCH_LENGTH = 200
SEARCH = OpenApiParameter(
    "q",
    {"type": "string", "maxLength": SEARCH_LENGTH},
    description="Words of the title or of a message.",
)

LISTING = Listing(
    sorts={"updated_at": "updated_at", "created_at": "created_at", "title": "title"},
    default="-updated_at",
    filters={"assistant": text_filter("assistant", "The assistant's slug.", longest=64)},
    csv=("id", "title", "assistant", "created_at", "updated_at"),
    file_name="conversations",
)


MESSAGE_PAGE = page_of("MessagePage", MessageOutput)


class MessagePages(CursorPages):
    """The oldest first."""

    ordering = "position"

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        """The cursor of the request. Raises NotFound for one that this server did not make."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            _own_position(_small_number, str(cursor.position))
        return cursor


class ConversationsView(AtriumView):
    """The caller's conversations."""

    required_permission: ClassVar[str] = "conversations.own"

    @extend_schema(
        operation_id="conversations_list",
        parameters=[*LISTING.parameters(), SEARCH],
        responses=answers({200: page_of("ConversationPage", ConversationOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """The conversations, the one last written in first."""
        who = principal(request)
        search = search_of(request)
        with tenant_scope(who.tenant_id, read_only=True):
            return LISTING.answer(
                request,
                selectors.conversations(owner_of(who), search=search),
                lambda rows: [selectors.conversation_view(row) for row in rows],
                ConversationOutput,
            )

    @extend_schema(
        operation_id="conversations_create",
        request=ConversationInput,
        responses=answers({201: ConversationOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """Make an empty conversation."""
        form = ConversationInput(data=request.data)
        form.is_valid(raise_exception=True)
        made = create_conversation(principal=principal(request), **form.validated_data)
        return Response(ConversationOutput(made).data, status=201)


class ConversationView(AtriumView):
    """One conversation of the caller."""

    required_permission: ClassVar[str] = "conversations.own"

    @extend_schema(operation_id="conversations_get", responses=answers({200: ConversationOutput}))
    def get(self, request: Request, conversation_id: str) -> Response:
        """One conversation."""
        found = get_conversation(
            principal=principal(request), conversation_id=conversation_of(conversation_id)
        )
        return Response(ConversationOutput(found).data)

    @extend_schema(
        operation_id="conversations_rename",
        request=ConversationChange,
        responses=answers({200: ConversationOutput}),
    )
    def patch(self, request: Request, conversation_id: str) -> Response:
        """Give it a title."""
        form = ConversationChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = rename_conversation(
            principal=principal(request),
            conversation_id=conversation_of(conversation_id),
            title=form.validated_data["title"],
        )
        return Response(ConversationOutput(changed).data)

    @extend_schema(operation_id="conversations_delete", responses=answers({204: None}))
    def delete(self, request: Request, conversation_id: str) -> Response:
        """Delete it with its messages."""
        delete_conversation(principal=principal(request), conversation_id=conversation_of(conversation_id))
        return Response(status=204)


class ExportView(AtriumView):
    """One's own conversation as a file."""

    required_permission: ClassVar[str] = "conversations.own"

    @extend_schema(
        operation_id="conversations_export",
        parameters=[OpenApiParameter("format", OpenApiTypes.STR, enum=["markdown", "json"])],
        responses={
            **answers({}),
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "text/markdown"): OpenApiTypes.STR,
        },
    )
    def get(self, request: Request, conversation_id: str) -> HttpResponse:
        """All its messages with their citations: for people (`markdown`, the default) or for programs (`json`)."""
        form = request.query_params.get("format", "markdown")
        if form not in ("markdown", "json"):
            raise BadInput("format is markdown or json.", param="format")
        found = export_conversation(
            principal=principal(request), conversation_id=conversation_of(conversation_id)
        )
        if form == "json":
            body = {
                "conversation": ConversationOutput(found.conversation).data,
                "messages": MessageOutput(found.messages, many=True).data,
            }
            return _file(JSONRenderer().render(body), "application/json", f"{found.file_name}.json")
        return _file(found.as_markdown().encode(), "text/markdown; charset=utf-8", f"{found.file_name}.md")


class MessagesView(AtriumView):
    """The messages of a conversation of the caller."""

    required_permission: ClassVar[dict[str, str]] = {"GET": "conversations.own", "POST": "chat.use"}

    @extend_schema(
        operation_id="messages_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: MESSAGE_PAGE}),
    )
    def get(self, request: Request, conversation_id: str) -> Response:
        """The messages, the oldest first."""
        who = principal(request)
        pages = MessagePages()
        with tenant_scope(who.tenant_id, read_only=True):
            conversation = selectors.find_conversation(owner_of(who), conversation_of(conversation_id))
            rows = pages.paginate_queryset(selectors.messages(conversation), request, view=self) or []
        views = [selectors.message_view(row) for row in rows]
        return pages.get_paginated_response(MessageOutput(views, many=True).data)

    @extend_schema(
        operation_id="messages_create",
        request=MessageInput,
        responses=answers({201: MessageOutput}, 409, 429, 503),
    )
    def post(self, request: Request, conversation_id: str) -> Response:
        """Ask, and wait for the whole answer; its `state` says how it ended. Streams are at `/ws/chat` and `/v1`."""
        who = principal(request)
        form = MessageInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        conversation = get_conversation(principal=who, conversation_id=conversation_of(conversation_id))
        assistant, model = values.get("assistant"), values.get("model")
        if assistant is None and model is None:
            assistant = conversation.assistant or None
        answer = ask(
            principal=who,
            request_id=new_request_id(),
            content=values["content"],
            conversation_id=conversation.id,
            assistant=assistant,
            model=model,
        )
        return Response(MessageOutput(answer).data, status=201)


def search_of(request: Request) -> str:
    """The words that the request looks for, "" for none. Raises BadInput."""
    search = request.query_params.get("q", "").strip()
    if len(search) > SEARCH_LENGTH or not _is_plain(search):
        raise BadInput(f"`q` has at most {SEARCH_LENGTH} characters, and no NUL.", param="q")
    return search


def _file(content: bytes, media_type: str, name: str) -> HttpResponse:
    """Saved, never shown by the browser: what people and models wrote must not run as a page of ours."""
    return HttpResponse(
        content,
        content_type=media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )


def conversation_of(text: str) -> uuid.UUID:
    """The id in an address. Raises NotFound for what is none."""
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such conversation.")
    return found


def _own_position(parse: Callable[[str], object], position: str) -> None:
    """Raises NotFound when a cursor's position is not of the kind that this server writes."""
    try:
        parsed = parse(position)
    except (ValueError, OverflowError):
        parsed = None
    if parsed is None:
        raise exceptions.NotFound("Invalid cursor")


def _small_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _is_plain(text: str) -> bool:
    """Whether a database takes it."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
