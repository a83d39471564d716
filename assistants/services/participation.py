"""What the app of assistants holds of one tenant: assistants, conversations, messages, answers that may be given again."""

import uuid

from assistants.ports import SemanticCache
from kernel.backends import backends
from substrate.participation import TableParticipant


class AssistantsParticipant(TableParticipant):
    """Rows, and the semantic cache. What the log of a Run holds is gone ten minutes after its end."""

    apps = ("assistants",)

    async def delete(self, tenant_id: uuid.UUID, limit: int) -> int:
        """As the port says."""
        gone = await super().delete(tenant_id, limit)
        if not gone:
            cache: SemanticCache = backends["semantic_cache"]
            await cache.forget(str(tenant_id))
        return gone
