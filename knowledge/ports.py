"""Ports of knowledge."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Protocol

from knowledge.types import ChunkPoint, Collection, Hit, StoredPoint, VectorQuery


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

    async def count(self, collection: Collection | uuid.UUID, document_id: uuid.UUID | None = None) -> int:
        """How many points the tenant, or one document of it, has in the collection; of a tenant's id, in all of them.

        Raises Unavailable.
        """
        ...


class VectorArchive(Protocol):
    """A vector store's points as they are, for backup and restore. Synchronous: it works in a process of its own."""

    def in_database(self) -> bool:
        """Whether points are rows of Django's database: then they come and go with its transaction."""
        ...

    def pages(self, collection: Collection) -> Iterator[Sequence[StoredPoint]]:
        """All points of the tenant in the collection, some hundreds at a time. Raises Unavailable."""
        ...

    def write(self, collection: Collection, points: Sequence[StoredPoint]) -> None:
        """Store the points; same ids replace. In the transaction at hand when `in_database`. Raises Unavailable."""
        ...

    def forget(self, collection: Collection, document_ids: Sequence[uuid.UUID]) -> None:
        """Remove every point of the documents. Raises Unavailable."""
        ...

    def forget_tenant(self, tenant_id: uuid.UUID) -> None:
        """Remove everything of the tenant. Raises Unavailable."""
        ...
