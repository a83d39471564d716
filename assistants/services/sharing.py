"""Assistants as things that a tenant can restrict to some of its people."""

import uuid
from collections.abc import Sequence

from assistants import selectors
from assistants.models import Assistant
from kernel.ids import parse_uuid
from substrate.scoping import tenant_scope
from tenants.access_types import ExplainStep, ResourceFound


class SharedAssistants:
    """`ResourceKind` of assistants. Grants name them by id, since a slug may be another assistant's one day."""

    def find(self, *, tenant_id: uuid.UUID, object_id: str) -> ResourceFound | None:
        """The assistant of this id or slug, unless it is deleted."""
        row = _find(tenant_id, object_id)
        return ResourceFound(str(row.id), row.name, "chat.use") if row else None

    def explain(self, *, tenant_id: uuid.UUID, object_id: str) -> Sequence[ExplainStep]:
        """What it answers with: those who may not use its model or a base of it get less than others."""
        row = _find(tenant_id, object_id)
        if row is None:
            return []
        bases = len(row.knowledge_base_ids)
        return [
            ExplainStep(
                "depends_on",
                True,
                f"It answers by the model {row.model} from {bases} knowledge bases: of those, each person gets what they "
                "may use themselves.",
            )
        ]


def _find(tenant_id: uuid.UUID, object_id: str) -> Assistant | None:
    if "\x00" in object_id:
        return None
    wanted = parse_uuid(object_id)
    with tenant_scope(tenant_id, read_only=True):
        rows = selectors.assistants()
        return (rows.filter(id=wanted) if wanted else rows.filter(slug=object_id)).first()
