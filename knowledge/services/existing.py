"""Which knowledge bases there are, for apps that keep their ids."""

import uuid
from collections.abc import Iterable

from knowledge import selectors
from substrate.scoping import tenant_scope
from tenants.types import Principal


def existing_knowledge_bases(
    *, principal: Principal, knowledge_base_ids: Iterable[uuid.UUID]
) -> frozenset[uuid.UUID]:
    """Those of the ids that are knowledge bases of the tenant and open to the principal; others are left out."""
    wanted = set(knowledge_base_ids)
    if not wanted:
        return frozenset()
    with tenant_scope(principal.tenant_id, read_only=True):
        return frozenset(selectors.open_bases(principal).filter(id__in=wanted).values_list("id", flat=True))
