"""Conversations: made, renamed, deleted. Each is its owner's alone."""

import re
import uuid
from dataclasses import dataclass
from functools import partial

from assistants import selectors
from assistants.models import Conversation
from assistants.ownership import owner_of
from assistants.services.runs import stop_logs
from assistants.types import ConversationView, MessageRole, MessageState, MessageView
from kernel.errors import BadInput
from substrate.bridge import wait_for
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal


def create_conversation(*, principal: Principal, title: str = "", assistant: str = "") -> ConversationView:
    """An empty conversation; without a title it takes one from its first message.

    Raises PermissionDenied, BadInput for an unknown assistant.
    """
    require(principal, "conversations.own")
    if assistant and selectors.load_assistant(principal.tenant_id, assistant) is None:
        raise BadInput("There is no such assistant.", param="assistant")
    with tenant_scope(principal.tenant_id):
        row = Conversation.objects.create(
            tenant_id=principal.tenant_id, owner=owner_of(principal), title=title, assistant=assistant
        )
        return selectors.conversation_view(row)


def get_conversation(*, principal: Principal, conversation_id: uuid.UUID) -> ConversationView:
    """One conversation of the caller. Raises PermissionDenied, NotFound."""
    require(principal, "conversations.own")
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.conversation_view(selectors.find_conversation(owner_of(principal), conversation_id))


def rename_conversation(*, principal: Principal, conversation_id: uuid.UUID, title: str) -> ConversationView:
    """Give it a title. Raises PermissionDenied, NotFound."""
    require(principal, "conversations.own")
    with tenant_scope(principal.tenant_id):
        row = selectors.find_conversation(owner_of(principal), conversation_id)
        row.title = title
        row.save(update_fields=["title"])
        return selectors.conversation_view(row)


def delete_conversation(*, principal: Principal, conversation_id: uuid.UUID) -> None:
    """Delete it with its messages; usage records stay. An answer that is being made is stopped.

    Not to be called from a coroutine. Raises PermissionDenied, NotFound.
    """
    require(principal, "conversations.own")
    with tenant_scope(principal.tenant_id):
        row = selectors.find_conversation(owner_of(principal), conversation_id)
        running = list(row.messages.filter(state=MessageState.RUNNING).values_list("id", flat=True))
        row.delete()
    if running:
        wait_for(partial(stop_logs, running))


@dataclass(frozen=True, slots=True)
class ExportedConversation:
    """A conversation with all its messages, the oldest first."""

    conversation: ConversationView
    messages: tuple[MessageView, ...]

    @property
    def file_name(self) -> str:
        """A plain name of a file, without its ending."""
        words = re.sub(r"[^\w-]+", "-", self.conversation.title).strip("-")
        return words[:60] or "conversation"

    def as_markdown(self) -> str:
        """As people read it: who said what, each answer with the sources it names."""
        parts = [f"# {self.conversation.title or 'Conversation'}"]
        for message in self.messages:
            who = "You" if message.role is MessageRole.USER else (message.model or "Assistant")
            parts.append(f"## {who}, {message.created_at:%Y-%m-%d %H:%M} UTC\n\n{message.content}")
            if message.citations:
                parts.append("\n".join(f"[{each.index}] {each.title}" for each in message.citations))
        return "\n\n".join(parts) + "\n"


def export_conversation(*, principal: Principal, conversation_id: uuid.UUID) -> ExportedConversation:
    """The caller's own conversation, whole. Raises PermissionDenied, NotFound."""
    require(principal, "conversations.own")
    with tenant_scope(principal.tenant_id, read_only=True):
        row = selectors.find_conversation(owner_of(principal), conversation_id)
        messages = tuple(selectors.message_view(each) for each in selectors.messages(row))
        return ExportedConversation(selectors.conversation_view(row), messages)
