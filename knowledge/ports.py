"""Ports of knowledge."""

import uuid
from collections.abc import Sequence
from typing import Protocol

from knowledge.types import ChunkPoint, Collection, Hit, VectorQuery


class VectorStore(Protocol):
    """Finds chunks by meaning and by words. Tenants never see each other's, nor do their scores depend on others'."""

    async def upsert(self, collection: Collection, points: Sequence[ChunkPoint]) -> None:
        """Store the points; same ids replace. When it returns, searches find them.

        All or an error: Unavailable, and the caller retries the whole.
        """
        ...

    async def delete_document(
        self, collection: Collection, document_id: uuid.UUID, before_version: int | None = None
    ) -> None:
        """Remove every point of the document, or those of versions below `before_version`. Raises Unavailable."""
        ...

    async def search(self, collection: Collection, query: VectorQuery) -> list[Hit]:
        """The best hits, best first, at most `query.limit`. Raises Unavailable."""
        ...

    async def delete_tenant(self, tenant_id: uuid.UUID) -> None:
        """Remove everything of the tenant from every collection. Raises Unavailable."""
        ...

    async def count(self, collection: Collection, document_id: uuid.UUID | None = None) -> int:
        """How many points the tenant, or one document of it, has in the collection."""
        ...
