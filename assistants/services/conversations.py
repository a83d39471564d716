"""Conversations of one person or key: making, finding, renaming, deleting."""

import uuid

from assistants import selectors
from assistants.models import Conversation
from assistants.types import ConversationView
from kernel.errors import NotFound
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal

OWN = "conversations.own"
TITLE_LENGTH = 200


def owner_of(principal: Principal) -> str:
    """Whose conversations the principal has."""
    return selectors.owner_of(user_id=principal.user_id, api_key_id=principal.api_key_id)


def create_conversation(
    *, principal: Principal, assistant: str = "", title: str = "", conversation_id: uuid.UUID | None = None
) -> ConversationView:
    """Make an empty conversation; a title comes with its first message. Raises NotFound for an unknown assistant."""
    require(principal, OWN)
    with tenant_scope(principal.tenant_id):
        if assistant and selectors.find_assistant(assistant) is None:
            raise NotFound(f"There is no assistant {assistant!r}.", param="assistant")
        chosen = {"id": conversation_id} if conversation_id else {}
        row = Conversation.objects.create(
            tenant_id=principal.tenant_id,
            owner=owner_of(principal),
            assistant=assistant,
            title=title[:TITLE_LENGTH],
            **chosen,
        )
        return selectors.conversation_view(row)


def get_conversation(*, principal: Principal, conversation_id: uuid.UUID) -> ConversationView:
    """The principal's own conversation. Raises NotFound."""
    require(principal, OWN)
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.conversation_view(find_own(principal, conversation_id))


def rename_conversation(*, principal: Principal, conversation_id: uuid.UUID, title: str) -> ConversationView:
    """Give it another title. Raises NotFound."""
    require(principal, OWN)
    with tenant_scope(principal.tenant_id):
        row = find_own(principal, conversation_id)
        row.title = title[:TITLE_LENGTH]
        # The list is ordered by the last message, not by the last renaming.
        Conversation.objects.filter(id=row.id).update(title=row.title)
        return selectors.conversation_view(row)


def delete_conversation(*, principal: Principal, conversation_id: uuid.UUID) -> None:
    """Delete it with its messages. Raises NotFound."""
    require(principal, OWN)
    with tenant_scope(principal.tenant_id):
        find_own(principal, conversation_id).delete()


def find_own(principal: Principal, conversation_id: uuid.UUID) -> Conversation:
    """The row, within a scope that is open. Raises NotFound for another's as for an unknown one."""
    row = selectors.find_conversation(owner_of(principal), conversation_id)
    if row is None:
        raise NotFound("There is no such conversation.")
    return row
