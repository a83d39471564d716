"""Others' conversations, as an operator reads them by a break-glass grant: each look is written down as it is taken."""

import uuid
from collections.abc import Sequence

from assistants import selectors
from assistants.models import Conversation
from assistants.ownership import KEY, USER
from assistants.types import InspectedView, OwnerView
from substrate.scoping import tenant_scope
from tenants.limit_types import Level
from tenants.services import names_of, record_look
from tenants.types import Principal

_LEVELS = {USER: Level.USER, KEY: Level.KEY}


def inspect_conversation(*, principal: Principal, conversation_id: uuid.UUID) -> InspectedView:
    """Anybody's conversation, without its messages. Raises PermissionDenied, NotFound."""
    with tenant_scope(principal.tenant_id):
        row = selectors.find_conversation(None, conversation_id)
        return note_conversation(principal=principal, row=row, act="conversation_seen")


def note_conversation(*, principal: Principal, row: Conversation, act: str, shown: str = "") -> InspectedView:
    """Write down, in the scope at hand, that the principal looks at the conversation; `shown` is which part of it.

    Raises PermissionDenied.
    """
    view = inspected_views([row])[0]
    told: dict[str, object] = {
        "conversation": view.id,
        "owner": view.owner.name or row.owner,
        "assistant": view.assistant,
        "messages": shown,
    }
    record_look(principal=principal, act=act, told={name: each for name, each in told.items() if each})
    return view


def inspected_views(rows: Sequence[Conversation]) -> list[InspectedView]:
    """The rows with the names of their owners; by one query for each kind of owner, in the scope at hand."""
    owned = [row.owner.partition(":")[::2] for row in rows]
    names = {
        kind: names_of(level, sorted({each for other, each in owned if other == kind}))
        for kind, level in _LEVELS.items()
    }
    return [
        InspectedView(
            row.id,
            row.title,
            row.assistant,
            row.created_at,
            row.updated_at,
            OwnerView(kind, owner, names.get(kind, {}).get(owner, "")),
        )
        for row, (kind, owner) in zip(rows, owned, strict=True)
    ]
