"""Finding assistants and one's own conversations by name, as one types."""

import uuid

from django.db.models import Q

from assistants import selectors
from assistants.ownership import owner_of
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal


def find_assistants(*, principal: Principal, text: str, limit: int) -> tuple[tuple[str, str], ...]:
    """(slug, name) of assistants whose name or slug holds `text`. Raises PermissionDenied."""
    require(principal, "assistants.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = selectors.open_assistants(principal).filter(Q(name__icontains=text) | Q(slug__icontains=text))
        return tuple(rows.values_list("slug", "name")[:limit])


def find_conversations(*, principal: Principal, text: str, limit: int) -> tuple[tuple[uuid.UUID, str], ...]:
    """(id, title) of the caller's own conversations whose title holds `text`, the last used first.

    Raises PermissionDenied.
    """
    require(principal, "conversations.own")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = selectors.conversations(owner_of(principal)).filter(title__icontains=text)
        return tuple(rows.order_by("-updated_at").values_list("id", "title")[:limit])
