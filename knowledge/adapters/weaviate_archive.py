"""Weaviate's points for backup and restore: read page by page with their vectors, written without analysing again."""

import asyncio
import struct
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from kernel.errors import Unavailable
from knowledge.adapters.weaviate_store import BATCH, VECTOR, WeaviateVectorStore
from knowledge.types import Collection, StoredPoint

T = TypeVar("T")
PAGE = 200
_PROPERTIES = ["search_text", "knowledge_base_id", "document_id", "version"]


class WeaviateVectorArchive:
    """A VectorArchive over one Weaviate. Its connections live in an event loop of its own."""

    def __init__(self, *, url: str, grpc_port: int, api_key: str) -> None:
        """As for the vector store; nothing is connected before the first call."""
        self._store = _ArchiveStore(
            url=url, grpc_port=grpc_port, api_key=api_key, query_timeout_s=60.0, insert_timeout_s=120.0
        )
        self._runner: asyncio.Runner | None = None

    def in_database(self) -> bool:
        """They are a service's."""
        return False

    def pages(self, collection: Collection) -> Iterator[Sequence[StoredPoint]]:
        """All points of the tenant in the collection, in order of id."""
        after: uuid.UUID | None = None
        while page := self._run(self._store.page(collection, after)):
            after = page[-1].chunk_id
            yield page

    def write(self, collection: Collection, points: Sequence[StoredPoint]) -> None:
        """Store the points; same ids replace. Searches find them once Weaviate has indexed them."""
        self._run(self._store.write(collection, points))

    def forget(self, collection: Collection, document_ids: Sequence[uuid.UUID]) -> None:
        """Remove every point of the documents, some hundreds of them in one call."""
        for start in range(0, len(document_ids), BATCH):
            self._run(self._store.forget(collection, document_ids[start : start + BATCH]))

    def forget_tenant(self, tenant_id: uuid.UUID) -> None:
        """Remove the tenant from every collection."""
        self._run(self._store.delete_tenant(tenant_id))

    def close(self) -> None:
        """Close the connections and the loop."""
        if self._runner is not None:
            self._runner.run(self._store.close())
            self._runner.close()
            self._runner = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(work)


class _ArchiveStore(WeaviateVectorStore):
    """The store, with its points as they are."""

    async def page(self, collection: Collection, after: uuid.UUID | None) -> list[StoredPoint]:
        """The points after the one of id `after`."""
        objects = await self._readable(collection)

        async def ask() -> list[StoredPoint]:
            found = await objects.query.fetch_objects(
                limit=PAGE, after=after, include_vector=True, return_properties=_PROPERTIES
            )
            return [_point(each) for each in found.objects]

        return await self._asked(ask, [])

    async def write(self, collection: Collection, points: Sequence[StoredPoint]) -> None:
        """Insert what is not there, some hundreds at a time, and wait for the index once.

        An id follows from document, version and position, so a point of the same id is the same point; and writing it
        again would shift Weaviate's idea of how long texts are, and with it every keyword score.
        """
        for start in range(0, len(points), BATCH):
            part = points[start : start + BATCH]
            there = await self._there(collection, [point.chunk_id for point in part])
            missing = [_object(collection, point) for point in part if point.chunk_id not in there]
            if missing:
                await self._insert(collection, missing)
        await self._until_indexed(collection)

    async def _there(self, collection: Collection, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        objects = await self._readable(collection)

        async def ask() -> set[uuid.UUID]:
            found = await objects.query.fetch_objects_by_ids(
                list(ids), limit=len(ids), return_properties=["version"]
            )
            return {uuid.UUID(int=each.uuid.int) for each in found.objects}

        return await self._asked(ask, set())

    async def forget(self, collection: Collection, document_ids: Sequence[uuid.UUID]) -> None:
        """Delete the points of the documents."""
        objects = await self._readable(collection)
        wanted = Filter.by_property("document_id").contains_any([str(each) for each in document_ids])

        async def delete() -> None:
            while True:
                outcome = await objects.data.delete_many(where=wanted)
                if outcome.failed:
                    raise Unavailable("The vector store did not delete everything.")
                if outcome.matches <= outcome.successful and outcome.matches < 10_000:
                    return

        await self._asked(delete, None)


def _point(found: Any) -> StoredPoint:
    vector = found.vector[VECTOR]
    terms = Counter(str(found.properties["search_text"]).split())
    return StoredPoint(
        # The client has a class of its own for them, which is no UUID to everybody.
        chunk_id=uuid.UUID(int=found.uuid.int),
        document_id=uuid.UUID(str(found.properties["document_id"])),
        knowledge_base_id=uuid.UUID(str(found.properties["knowledge_base_id"])),
        version=int(found.properties["version"]),
        vector=struct.pack(f"<{len(vector)}f", *vector),
        terms=dict(terms),
        length=terms.total(),
    )


def _object(collection: Collection, point: StoredPoint) -> DataObject[Any, Any]:
    vector = struct.unpack(f"<{collection.dimensions}f", point.vector)
    words = [term for term, count in point.terms.items() for _ in range(count)]
    return DataObject(
        uuid=point.chunk_id,
        vector={VECTOR: list(vector)},
        properties={
            "search_text": " ".join(words),
            "knowledge_base_id": str(point.knowledge_base_id),
            "document_id": str(point.document_id),
            "version": point.version,
        },
    )
