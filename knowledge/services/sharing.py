"""Knowledge bases as things that a tenant can restrict to some of its people."""

import uuid
from collections.abc import Sequence

from kernel.ids import parse_uuid
from knowledge import selectors
from substrate.scoping import tenant_scope
from tenants.access_types import ExplainStep, ResourceFound


class SharedBases:
    """`ResourceKind` of knowledge bases, which grants name by their id."""

    def find(self, *, tenant_id: uuid.UUID, object_id: str) -> ResourceFound | None:
        """The base, unless it is deleted."""
        wanted = parse_uuid(object_id)
        if wanted is None:
            return None
        with tenant_scope(tenant_id, read_only=True):
            row = selectors.knowledge_bases().filter(id=wanted).first()
        return ResourceFound(str(row.id), row.name, "knowledge.read") if row else None

    def explain(self, *, tenant_id: uuid.UUID, object_id: str) -> Sequence[ExplainStep]:
        """Nothing else stands between a base and its reader."""
        return []
