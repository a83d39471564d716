"""What somebody may find in knowledge bases, as a state that can be compared with another one."""

import uuid
from collections.abc import Sequence
from datetime import timedelta

from kernel.clock import SYSTEM_CLOCK, Clock
from knowledge import selectors
from knowledge.remembered import KINDS
from knowledge.types import KnowledgeState
from substrate.changes import newest_changes
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal

# Longer than a change takes to reach every process, and a vector store to show it.
CALM = timedelta(seconds=5)


def knowledge_state(
    *, principal: Principal, knowledge_base_ids: Sequence[uuid.UUID], clock: Clock = SYSTEM_CLOCK
) -> KnowledgeState:
    """Which of the bases the principal may read now, and what was changed in them last. Raises PermissionDenied.

    Two equal states less than an hour apart stand for the same passages, to whoever has them.
    """
    require(principal, "knowledge.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = selectors.open_bases(principal).filter(id__in=list(knowledge_base_ids))
        bases = tuple(sorted(rows.values_list("id", flat=True)))
        changes = newest_changes(
            kinds=KINDS, tenant_id=principal.tenant_id, object_ids=[str(each) for each in bases]
        )
    calm = all(when < clock.now() - CALM for _, when in changes[:1])
    return KnowledgeState(bases, tuple(seq for seq, _ in changes), calm)
