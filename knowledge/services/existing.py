"""Which knowledge bases there are, for apps that keep their ids."""

import uuid
from collections.abc import Iterable

from knowledge import selectors
from substrate.scoping import tenant_scope


def existing_knowledge_bases(
    *, tenant_id: uuid.UUID, knowledge_base_ids: Iterable[uuid.UUID]
) -> frozenset[uuid.UUID]:
    """Those of the ids that are knowledge bases of the tenant; others and those of other tenants are left out."""
    wanted = set(knowledge_base_ids)
    if not wanted:
        return frozenset()
    with tenant_scope(tenant_id, read_only=True):
        return frozenset(selectors.knowledge_bases().filter(id__in=wanted).values_list("id", flat=True))
