"""Reads of assistants: rows as views. Called within a tenant's scope."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from assistants.models import Assistant, Conversation, Message
from assistants.types import (
    AssistantView,
    Citation,
    ConversationView,
    MessageRole,
    MessageState,
    MessageView,
)


def owner_of(*, user_id: uuid.UUID | None, api_key_id: uuid.UUID | None) -> str:
    """Whose conversations a principal has: the person's, over all their sessions and keys, else the key's own."""
    return f"user:{user_id}" if user_id else f"key:{api_key_id}"


def assistants() -> QuerySet[Assistant]:
    """All assistants of the tenant at hand."""
    return Assistant.objects.all()


def find_assistant(slug: str) -> Assistant | None:
    """The assistant of `slug`, or None."""
    return Assistant.objects.filter(slug=slug).first()


def conversations(owner: str, *, search: str = "") -> QuerySet[Conversation]:
    """The owner's conversations; with `search` those whose title or messages hold it."""
    rows = Conversation.objects.filter(owner=owner)
    if search:
        found = Message.objects.filter(owner=owner, content__icontains=search).values("conversation_id")
        rows = rows.filter(title__icontains=search) | rows.filter(id__in=found)
    return rows


def find_conversation(owner: str, conversation_id: uuid.UUID) -> Conversation | None:
    """The owner's conversation, or None."""
    return Conversation.objects.filter(owner=owner, id=conversation_id).first()


def messages(conversation_id: uuid.UUID) -> QuerySet[Message]:
    """The messages of a conversation."""
    return Message.objects.filter(conversation_id=conversation_id)


def assistant_view(row: Assistant) -> AssistantView:
    """The row as it may leave the app."""
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
    )


def conversation_view(row: Conversation) -> ConversationView:
    """The row as it may leave the app."""
    return ConversationView(
        id=row.id,
        title=row.title,
        assistant=row.assistant,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def message_view(row: Message) -> MessageView:
    """The row as it may leave the app."""
    return MessageView(
        id=row.id,
        conversation_id=row.conversation_id,
        role=MessageRole(row.role),
        content=row.content,
        state=MessageState(row.state),
        citations=tuple(citation_of(each) for each in row.citations),
        model=row.model,
        usage=row.usage,
        finish_reason=row.finish_reason,
        error_code=row.error_code,
        error=row.error,
        request_id=row.request_id,
        created_at=row.created_at,
    )


def citation_of(stored: Mapping[str, Any]) -> Citation:
    """A citation as a message keeps it."""
    return Citation(
        index=stored["index"],
        document_id=stored["document_id"],
        knowledge_base_id=stored["knowledge_base_id"],
        title=stored["title"],
        chunk_id=stored["chunk_id"],
        text=stored["text"],
        score=stored["score"],
        url=stored["url"],
    )
