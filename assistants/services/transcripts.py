"""What is written into conversations: units of work, before the first token or after the last."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError
from django.db.models import Max

from assistants import selectors
from assistants.models import Conversation, Message
from assistants.prompting import make_title
from assistants.types import Citation, MessageRole, MessageState, MessageView, StartedRun
from kernel.ids import uuid7
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope


@dataclass(frozen=True, slots=True)
class NewRun:
    """A Run that is about to be accepted: who asks what, under which ids."""

    tenant_id: uuid.UUID
    owner: str
    message_id: uuid.UUID
    request_id: str
    content: str
    assistant: str
    conversation_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an assistant's message ended. `usage` as OpenAI writes it, empty when unknown."""

    state: MessageState
    content: str
    model: str = ""
    citations: tuple[Citation, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = ""
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class RunningMessage:
    """A message that the database says is running, of whatever tenant."""

    tenant_id: uuid.UUID
    message_id: uuid.UUID
    conversation_id: uuid.UUID
    request_id: str
    content: str


def find_run(tenant_id: uuid.UUID, owner: str, request_id: str) -> StartedRun | None:
    """The Run that this owner already asked for under `request_id`."""
    with tenant_scope(tenant_id, read_only=True):
        row = Message.objects.filter(owner=owner, request_id=request_id).first()
        return StartedRun(row.id, row.conversation_id, request_id, repeated=True) if row else None


def open_run(new: NewRun) -> StartedRun:
    """Store the question and the running answer, with a new conversation if need be: all or nothing.

    Gives the earlier Run when the request id is taken. Raises NotFound for a conversation that is not the owner's.
    """
    try:
        with tenant_scope(new.tenant_id):
            answer = _store_pair(new, state=MessageState.RUNNING, request_id=new.request_id)
            return StartedRun(answer.id, answer.conversation_id, new.request_id, repeated=False)
    except IntegrityError:
        found = find_run(new.tenant_id, new.owner, new.request_id)
        if found is None:
            raise
        return found


def close_run(tenant_id: uuid.UUID, message_id: uuid.UUID, ending: Ending) -> bool:
    """Write the end of a running message; False when it has ended (or is deleted) already: one end wins."""
    with tenant_scope(tenant_id):
        return _close(message_id, ending)


def close_stranded_run(running: RunningMessage, ending: Ending) -> bool:
    """As `close_run`, for the sweep."""
    return close_run(running.tenant_id, running.message_id, ending)


def save_progress(tenant_id: uuid.UUID, message_id: uuid.UUID, content: str) -> None:
    """Keep what a running message says so far, where its log would die with the process."""
    with tenant_scope(tenant_id):
        Message.objects.filter(id=message_id, state=MessageState.RUNNING).update(content=content)


def running_messages(limit: int = 2000) -> list[RunningMessage]:
    """Messages that are said to be running, of all tenants, the oldest first."""
    with system_scope("sweep runs", read_only=True):
        rows = Message.objects.filter(state=MessageState.RUNNING).order_by("id")[:limit]
        return [
            RunningMessage(row.tenant_id, row.id, row.conversation_id, row.request_id, row.content)
            for row in rows
        ]


def store_exchange(new: NewRun, ending: Ending) -> MessageView:
    """Store a question and its ended answer in an existing conversation: all or nothing. Raises NotFound."""
    with tenant_scope(new.tenant_id):
        return selectors.message_view(_store_pair(new, **_values(ending)))


def _store_pair(new: NewRun, **answer: Any) -> Message:
    """Store the question, and after it the message of its answer with these values, which is returned."""
    conversation = _conversation(new)
    position = _next_position(conversation)
    common = {"tenant_id": new.tenant_id, "conversation": conversation, "owner": new.owner}
    Message.objects.create(
        **common,
        position=position,
        role=MessageRole.USER,
        content=new.content,
        state=MessageState.COMPLETED,
    )
    return Message.objects.create(
        **common, id=new.message_id, position=position + 1, role=MessageRole.ASSISTANT, **answer
    )


def _values(ending: Ending) -> dict[str, Any]:
    return {
        "state": ending.state,
        "content": ending.content.replace("\x00", ""),
        "model": ending.model,
        "citations": selectors.citation_rows(ending.citations),
        "usage": dict(ending.usage),
        "finish_reason": ending.finish_reason[:32],
        "error_code": ending.error_code[:64],
        "error": ending.error,
    }


def _close(message_id: uuid.UUID, ending: Ending) -> bool:
    rows = Message.objects.filter(id=message_id, state=MessageState.RUNNING)
    return rows.update(**_values(ending)) == 1


def _conversation(new: NewRun) -> Conversation:
    """The conversation, locked, so that positions have no gap; touched, so that it leads the list."""
    if new.conversation_id is None:
        return Conversation.objects.create(
            id=uuid7(),
            tenant_id=new.tenant_id,
            owner=new.owner,
            title=make_title(new.content),
            assistant=new.assistant,
        )
    Conversation.objects.select_for_update().filter(owner=new.owner, id=new.conversation_id).first()
    row = selectors.find_conversation(new.owner, new.conversation_id)
    row.title = row.title or make_title(new.content)
    row.assistant = new.assistant
    row.save(update_fields=["title", "assistant", "updated_at"])
    return row


def _next_position(conversation: Conversation) -> int:
    newest = Message.objects.filter(conversation=conversation).aggregate(newest=Max("position"))["newest"]
    return (newest or 0) + 1
