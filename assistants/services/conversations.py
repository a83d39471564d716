"""Conversations: made, renamed, deleted. Each is its owner's alone."""

import uuid

from assistants import selectors
from assistants.models import Conversation
from assistants.ownership import owner_of
from assistants.types import ConversationView
from kernel.errors import BadInput
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
    """Delete it with its messages; usage records stay. Raises PermissionDenied, NotFound."""
    require(principal, "conversations.own")
    with tenant_scope(principal.tenant_id):
        selectors.find_conversation(owner_of(principal), conversation_id).delete()
