"""Reads of assistants and conversations. All expect an open scope, but those that say otherwise."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from assistants.models import Assistant, Conversation, Message
from assistants.types import (
    AssistantView,
    Citation,
    ConversationView,
    MessageRole,
    MessageState,
    MessageView,
    Turn,
)
from kernel.errors import NotFound
from substrate.scoping import tenant_scope
from tenants.services import closed_ids
from tenants.types import Principal

HISTORY_LIMIT = 60
_TOLD = (MessageState.COMPLETED, MessageState.STOPPED)


def assistant_view(row: Assistant) -> AssistantView:
    """The row, as it may leave the app."""
    return AssistantView(
        id=row.id,
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        description=row.description,
        instructions=row.instructions,
        model=row.model,
        knowledge_base_ids=tuple(uuid.UUID(each) for each in row.knowledge_base_ids),
        suggestions=tuple(row.suggestions),
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        semantic_cache_seconds=row.semantic_cache_seconds,
        semantic_cache_threshold=row.semantic_cache_threshold,
        semantic_cache_epoch=row.semantic_cache_epoch,
    )


def conversation_view(row: Conversation) -> ConversationView:
    """The row, as it may leave the app."""
    return ConversationView(row.id, row.title, row.assistant, row.created_at, row.updated_at)


def message_view(row: Message) -> MessageView:
    """The row, as it may leave the app."""
    return MessageView(
        id=row.id,
        conversation_id=row.conversation_id,
        role=MessageRole(row.role),
        content=row.content,
        state=MessageState(row.state),
        citations=tuple(Citation(**each) for each in row.citations),
        model=row.model,
        usage=row.usage,
        finish_reason=row.finish_reason,
        error_code=row.error_code,
        error=row.error,
        request_id=row.request_id,
        created_at=row.created_at,
    )


def citation_rows(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Citations as they are stored, and as events show them."""
    return [asdict(citation) for citation in citations]


def load_assistant(tenant_id: uuid.UUID, slug: str) -> AssistantView | None:
    """The assistant of this name; opens its own scope."""
    return load_assistants([(tenant_id, slug)]).get((tenant_id, slug))


def load_assistants(keys: Iterable[tuple[uuid.UUID, str]]) -> dict[tuple[uuid.UUID, str], AssistantView]:
    """Those of the assistants that there are, by tenant and name; opens the scope of each tenant."""
    slugs: dict[uuid.UUID, list[str]] = {}
    for tenant_id, slug in keys:
        slugs.setdefault(tenant_id, []).append(slug)
    found = {}
    for tenant_id, wanted in slugs.items():
        with tenant_scope(tenant_id, read_only=True):
            for row in assistants().filter(slug__in=wanted):
                found[tenant_id, row.slug] = assistant_view(row)
    return found


def assistants() -> QuerySet[Assistant]:
    """All assistants of the tenant that are not deleted, by slug."""
    return Assistant.objects.filter(deleted_at=None).order_by("slug")


def open_assistants(principal: Principal) -> QuerySet[Assistant]:
    """Those of them that the principal may use."""
    return without_closed(principal, assistants())


def without_closed(principal: Principal, rows: QuerySet[Assistant]) -> QuerySet[Assistant]:
    """The rows, but for those that are restricted to others."""
    closed = closed_ids(principal, "assistant")
    return rows.exclude(id__in=closed) if closed else rows


def deleted_assistants(since: datetime) -> QuerySet[Assistant]:
    """Those that were deleted after `since`: they can be restored."""
    return Assistant.objects.filter(deleted_at__gte=since)


def conversations(owner: str | None, *, search: str = "") -> QuerySet[Conversation]:
    """The owner's conversations, or (None) everybody's; `search` looks into titles and messages."""
    rows = Conversation.objects.all() if owner is None else Conversation.objects.filter(owner=owner)
    if search:
        said = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=search)
        rows = rows.filter(Q(title__icontains=search) | Exists(said))
    return rows


def find_conversation(owner: str | None, conversation_id: uuid.UUID) -> Conversation:
    """The owner's conversation, or (None) anybody's. Raises NotFound, for another's too."""
    row = conversations(owner).filter(id=conversation_id).first()
    if row is None:
        raise NotFound("There is no such conversation.")
    return row


def messages(conversation: Conversation) -> QuerySet[Message]:
    """The conversation's messages, the oldest first."""
    return Message.objects.filter(conversation=conversation).order_by("position")


def load_history(
    tenant_id: uuid.UUID, owner: str, conversation_id: uuid.UUID, answering: uuid.UUID | None = None
) -> tuple[ConversationView, tuple[Turn, ...]]:
    """A conversation and its newest messages that have been told, oldest first; opens its own scope.

    Of a conversation that already holds the answer's message, only what came before its question. Raises NotFound.
    """
    with tenant_scope(tenant_id, read_only=True):
        conversation = find_conversation(owner, conversation_id)
        told = Message.objects.filter(conversation=conversation, state__in=_TOLD)
        if answering is not None:
            answer = Message.objects.filter(conversation=conversation, id=answering)
            position = answer.values_list("position", flat=True).first() or 0
            told = told.filter(position__lt=position - 1)
        rows = told.exclude(content="").order_by("-position").values_list("role", "content")[:HISTORY_LIMIT]
        turns = [Turn(MessageRole(role), content) for role, content in rows]
    return conversation_view(conversation), tuple(reversed(turns))


def load_message(tenant_id: uuid.UUID, owner: str, message_id: uuid.UUID) -> MessageView:
    """The owner's message of an assistant; opens its own scope. Raises NotFound."""
    with tenant_scope(tenant_id, read_only=True):
        row = Message.objects.filter(owner=owner, id=message_id, role=MessageRole.ASSISTANT).first()
        if row is None:
            raise NotFound("There is no such message.")
        return message_view(row)
