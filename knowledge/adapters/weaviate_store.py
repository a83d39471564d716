"""The vector store over Weaviate: one multi-tenant collection per (schema version, embedder, dimensions).

A tenant of ours is a tenant of Weaviate's: its own shard with its own indexes, so that neither hits nor scores know
of others. Tenants are made explicitly at the first write and found missing at a read. The two legs are asked
separately and fused by `knowledge.scoring`, as in the embedded store; hybrid search of Weaviate's own would hide the
legs' scores. Keywords are analysed by us (`knowledge.words`), for Weaviate does not stem.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from operator import and_
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
import weaviate
from weaviate.auth import Auth
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    StopwordsPreset,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.data import DataObject
from weaviate.classes.init import AdditionalConfig, Timeout
from weaviate.classes.query import Filter, MetadataQuery
from weaviate.classes.tenants import Tenant
from weaviate.collections.classes.filters import _Filters
from weaviate.collections.collection import CollectionAsync
from weaviate.exceptions import WeaviateBaseError

from kernel.errors import BadInput, Unavailable
from kernel.streams import together
from knowledge.scoring import BM25_B, BM25_K1, candidates, fuse
from knowledge.types import ChunkPoint, Collection, Hit, SearchMode, VectorQuery
from knowledge.words import count_terms, terms_of

log = structlog.get_logger(__name__)
T = TypeVar("T")

SCHEMA_VERSION = 1
VECTOR = "chunk"
MAX_QUERY_TERMS = 48
BATCH = 200
# A tenant that was just made may not have its shard on every node yet (weaviate#8651, #12632).
NEW_TENANT_TRIES = 6
NEW_TENANT_PAUSE_S = 0.1
# With ASYNC_INDEXING a vector is found only once a queue, looked at each second, has taken it.
INDEXED_WITHIN_S = 20.0
INDEXED_POLL_S = 0.1
_MISSING = re.compile(
    r"tenant not found|shard.* not found|no shard|could not find class|class .*not found", re.IGNORECASE
)

Objects = CollectionAsync[Any, Any]


class WeaviateVectorStore:
    """A VectorStore over one Weaviate; connects at first use."""

    def __init__(
        self,
        *,
        url: str,
        grpc_port: int,
        api_key: str,
        query_timeout_s: float = 5.0,
        insert_timeout_s: float = 30.0,
    ) -> None:
        """`url` is Weaviate's REST address; gRPC is on the same host at `grpc_port`."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host = parts.hostname or "127.0.0.1"
        self._client = weaviate.use_async_with_custom(
            http_host=host,
            http_port=parts.port or (443 if secure else 80),
            http_secure=secure,
            grpc_host=host,
            grpc_port=grpc_port,
            grpc_secure=secure,
            auth_credentials=Auth.api_key(api_key) if api_key else None,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=5, query=query_timeout_s, insert=insert_timeout_s), trust_env=False
            ),
            skip_init_checks=True,
        )
        self._lock = asyncio.Lock()
        self._ready: set[str] = set()
        self._tenants: set[tuple[str, uuid.UUID]] = set()

    async def upsert(self, collection: Collection, points: Sequence[ChunkPoint]) -> None:
        """Store the points; same ids replace. All or Unavailable. When it returns, searches find them."""
        if not points:
            return
        made = [_object(collection, point) for point in points]
        for start in range(0, len(made), BATCH):
            await self._insert(collection, made[start : start + BATCH])
        await self._until_indexed(collection)

    async def delete_document(
        self, collection: Collection, document_id: uuid.UUID, before_version: int | None = None
    ) -> None:
        """Remove the points of the document, or those of versions below `before_version`."""
        wanted: _Filters = Filter.by_property("document_id").equal(str(document_id))
        if before_version is not None:
            wanted = wanted & Filter.by_property("version").less_than(before_version)
        objects = await self._readable(collection)

        async def delete() -> None:
            # One call removes at most QUERY_MAXIMUM_RESULTS objects.
            while True:
                outcome = await objects.data.delete_many(where=wanted)
                if outcome.failed:
                    raise Unavailable("The vector store did not delete everything.")
                if outcome.matches <= outcome.successful and outcome.matches < 10_000:
                    return

        await self._asked(delete, None)

    async def search(self, collection: Collection, query: VectorQuery) -> list[Hit]:
        """The best hits, best first, at most `query.limit`."""
        if query.document_ids == () or not query.knowledge_base_ids:
            return []
        objects = await self._readable(collection)
        places: dict[uuid.UUID, tuple[uuid.UUID, uuid.UUID]] = {}
        near, said = await together(
            self._nearest(objects, collection, query, places), self._best_matches(objects, query, places)
        )
        fused = fuse(near, said, mode=query.mode, alpha=query.alpha, limit=query.limit)
        return [
            Hit(hit.key, *places[hit.key], hit.score, hit.vector_score, hit.keyword_score) for hit in fused
        ]

    async def delete_tenant(self, tenant_id: uuid.UUID) -> None:
        """Remove the tenant from every collection of ours; its shards go with it."""
        for name in await self._collections():
            tenants = self._client.collections.get(name).tenants
            await self._asked(lambda tenants=tenants: tenants.remove([_tenant_name(tenant_id)]), None)  # type: ignore[misc]
            self._tenants.discard((name, tenant_id))

    async def count(self, collection: Collection | uuid.UUID, document_id: uuid.UUID | None = None) -> int:
        """How many points the tenant, or one document of it, has in the collection, or in all."""
        if isinstance(collection, uuid.UUID):
            name = _tenant_name(collection)
            all_of_it = [
                self._client.collections.get(each).with_tenant(name) for each in await self._collections()
            ]
        else:
            all_of_it = [await self._readable(collection)]
        return sum([await self._count(objects, document_id) for objects in all_of_it])

    async def _count(self, objects: Objects, document_id: uuid.UUID | None) -> int:
        wanted = Filter.by_property("document_id").equal(str(document_id)) if document_id else None

        async def count() -> int:
            return (await objects.aggregate.over_all(total_count=True, filters=wanted)).total_count or 0

        return await self._asked(count, 0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _nearest(
        self,
        objects: Objects,
        collection: Collection,
        query: VectorQuery,
        places: dict[uuid.UUID, tuple[uuid.UUID, uuid.UUID]],
    ) -> dict[uuid.UUID, float]:
        """Chunks by cosine."""
        vector = query.vector
        if vector is None or query.mode is SearchMode.KEYWORD:
            return {}
        if len(vector) != collection.dimensions:
            raise BadInput(
                f"The query's vector has {len(vector)} dimensions, the index {collection.dimensions}."
            )

        async def ask() -> dict[uuid.UUID, float]:
            found = await objects.query.near_vector(
                near_vector=[float(number) for number in vector],
                target_vector=VECTOR,
                limit=candidates(query.limit),
                filters=_filters(query),
                return_metadata=MetadataQuery(distance=True),
                return_properties=["document_id", "knowledge_base_id"],
            )
            places.update({each.uuid: _place(each.properties) for each in found.objects})
            return {each.uuid: 1.0 - float(each.metadata.distance or 0.0) for each in found.objects}

        return await self._asked(ask, {})

    async def _best_matches(
        self, objects: Objects, query: VectorQuery, places: dict[uuid.UUID, tuple[uuid.UUID, uuid.UUID]]
    ) -> dict[uuid.UUID, float]:
        """Chunks by BM25."""
        terms = [term for term, _ in count_terms(query.text).most_common(MAX_QUERY_TERMS)]
        if not terms or query.mode is SearchMode.VECTOR:
            return {}

        async def ask() -> dict[uuid.UUID, float]:
            found = await objects.query.bm25(
                query=" ".join(terms),
                query_properties=["search_text"],
                limit=candidates(query.limit),
                filters=_filters(query),
                return_metadata=MetadataQuery(score=True),
                return_properties=["document_id", "knowledge_base_id"],
            )
            places.update({each.uuid: _place(each.properties) for each in found.objects})
            return {each.uuid: float(each.metadata.score or 0.0) for each in found.objects}

        return await self._asked(ask, {})

    async def _insert(self, collection: Collection, batch: list[DataObject[Any, Any]]) -> None:
        """One batch. A shard that is not there yet is waited for; a tenant that another process removed is made anew."""
        reason = ""
        for attempt in range(NEW_TENANT_TRIES):
            objects = await self._writable(collection)
            reason = await self._refusal(objects, batch)
            if not reason:
                return
            if not _MISSING.search(reason):
                break
            self._ready.discard(_name(collection))
            self._tenants.discard((_name(collection), collection.tenant_id))
            await asyncio.sleep(NEW_TENANT_PAUSE_S * 2**attempt)
        log.warning("vector_store_refused", reason=reason[:500])
        raise Unavailable("The vector store did not take every chunk.", retry_after_s=2.0)

    async def _refusal(self, objects: Objects, batch: list[DataObject[Any, Any]]) -> str:
        """Why the batch was not taken whole; empty when it was."""
        try:
            outcome = await objects.data.insert_many(batch)
        except (WeaviateBaseError, OSError, TimeoutError) as error:
            if _MISSING.search(str(error)):
                return str(error)
            raise _unavailable(error) from error
        return next(iter(outcome.errors.values())).message if outcome.has_errors else ""

    async def _until_indexed(self, collection: Collection) -> None:
        """Wait until the queue of the tenant's shard is empty; one that never ends is not waited out."""
        name, shard = _name(collection), _tenant_name(collection.tenant_id)

        async def queued() -> int:
            nodes = await self._client.cluster.nodes(collection=name, shard=shard, output="verbose")
            return sum(part.vector_queue_length for node in nodes for part in node.shards or ())

        for _ in range(int(INDEXED_WITHIN_S / INDEXED_POLL_S)):
            if await self._call(queued) == 0:
                return
            await asyncio.sleep(INDEXED_POLL_S)
        log.warning("vector_index_behind", collection=name, tenant_id=str(collection.tenant_id))

    async def _collections(self) -> list[str]:
        """The names of all collections of ours."""
        await self._connect()
        found = await self._call(self._client.collections.list_all)
        return [name for name in found if name.startswith("Atrium_v")]

    async def _readable(self, collection: Collection) -> Objects:
        await self._connect()
        return self._client.collections.get(_name(collection)).with_tenant(_tenant_name(collection.tenant_id))

    async def _writable(self, collection: Collection) -> Objects:
        """The tenant's objects, its collection and tenant made when they are missing."""
        await self._connect()
        name = _name(collection)
        async with self._lock:
            if name not in self._ready:
                await self._ensure_collection(name)
                self._ready.add(name)
            if (name, collection.tenant_id) not in self._tenants:
                tenants = self._client.collections.get(name).tenants
                await self._call(lambda: tenants.create([Tenant(name=_tenant_name(collection.tenant_id))]))
                self._tenants.add((name, collection.tenant_id))
        return await self._readable(collection)

    async def _ensure_collection(self, name: str) -> None:
        """Make the collection unless it is there, with an index that grows with its tenants where Weaviate has one."""
        if await self._call(lambda: self._client.collections.exists(name)):
            return
        cosine = VectorDistances.COSINE
        indexes = (
            # Needs ASYNC_INDEXING; without it Weaviate refuses, and HNSW from the start serves.
            Configure.VectorIndex.dynamic(distance_metric=cosine),
            Configure.VectorIndex.hnsw(distance_metric=cosine),
        )
        for index in indexes:
            try:
                await self._call(lambda index=index: self._create(name, index))  # type: ignore[misc]
                return
            except Unavailable:
                # Another process may have made it meanwhile.
                if await self._call(lambda: self._client.collections.exists(name)):
                    return
        raise Unavailable("The vector store did not make its collection.")

    async def _create(self, name: str, index: Any) -> None:
        await self._client.collections.create(
            name,
            multi_tenancy_config=Configure.multi_tenancy(
                enabled=True, auto_tenant_creation=False, auto_tenant_activation=True
            ),
            vector_config=Configure.Vectors.self_provided(name=VECTOR, vector_index_config=index),
            inverted_index_config=Configure.inverted_index(
                bm25_k1=BM25_K1, bm25_b=BM25_B, stopwords_preset=StopwordsPreset.NONE
            ),
            properties=_PROPERTIES,
        )

    async def _connect(self) -> None:
        if self._client.is_connected():
            return
        async with self._lock:
            if not self._client.is_connected():
                await self._call(self._client.connect)

    async def _asked(self, work: Callable[[], Awaitable[T]], nothing: T) -> T:
        """What `work` says, or `nothing` when the tenant or the collection does not exist."""
        try:
            return await work()
        except (WeaviateBaseError, OSError, TimeoutError) as error:
            if _MISSING.search(str(error)):
                return nothing
            raise _unavailable(error) from error

    async def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except (WeaviateBaseError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    log.warning("vector_store_failed", error=str(error)[:500])
    return Unavailable("The vector store is not reachable.", retry_after_s=2.0)


_PROPERTIES = [
    # Our own terms, title first, one text: better than several fields or a boost (see the fact file).
    Property(
        name="search_text",
        data_type=DataType.TEXT,
        tokenization=Tokenization.WHITESPACE,
        index_filterable=False,
        index_searchable=True,
    ),
    *(
        Property(
            name=name,
            data_type=DataType.TEXT,
            tokenization=Tokenization.FIELD,
            index_filterable=True,
            index_searchable=False,
        )
        for name in ("knowledge_base_id", "document_id")
    ),
    Property(name="version", data_type=DataType.INT, index_filterable=True),
]


def _name(collection: Collection) -> str:
    """The collection's name: letters, digits and underscores, the embedder's own name made safe and kept apart."""
    slug = re.sub(r"[^A-Za-z0-9]+", "_", collection.embedder).strip("_")[:60]
    apart = uuid.uuid5(uuid.NAMESPACE_URL, collection.embedder).hex[:8]
    return f"Atrium_v{SCHEMA_VERSION}_{slug}_{apart}_{collection.dimensions}"


def _tenant_name(tenant_id: uuid.UUID) -> str:
    return f"t_{tenant_id.hex}"


def _place(properties: Any) -> tuple[uuid.UUID, uuid.UUID]:
    return uuid.UUID(str(properties["document_id"])), uuid.UUID(str(properties["knowledge_base_id"]))


def _object(collection: Collection, point: ChunkPoint) -> DataObject[Any, Any]:
    if len(point.vector) != collection.dimensions:
        raise BadInput(f"A vector has {len(point.vector)} dimensions, the index {collection.dimensions}.")
    return DataObject(
        uuid=point.chunk_id,
        vector={VECTOR: [float(number) for number in point.vector]},
        properties={
            "search_text": " ".join(terms_of(point.search_text)),
            "knowledge_base_id": str(point.knowledge_base_id),
            "document_id": str(point.document_id),
            "version": point.version,
        },
    )


def _filters(query: VectorQuery) -> _Filters:
    """Values are data of the request, never text that is parsed."""
    bases = [str(base) for base in query.knowledge_base_ids]
    parts: list[_Filters] = [Filter.by_property("knowledge_base_id").contains_any(bases)]
    if query.document_ids is not None:
        parts.append(
            Filter.by_property("document_id").contains_any([str(each) for each in query.document_ids])
        )
    return reduce(and_, parts)
