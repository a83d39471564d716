"""The embedded vector store: vectors and terms in Django's own database, numpy for the arithmetic.

Vectors are compared by brute force over a copy in memory of each knowledge base (20,000 × 384 in about 8 ms);
keywords are found by the database's full-text index and scored by BM25 here, over the statistics of the searched
knowledge bases alone. Serves SQLite and PostgreSQL alike.
"""

import uuid
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from django.db import connection
from django.db.models import Count, Max, QuerySet, Sum
from django.db.models.expressions import RawSQL

from kernel.errors import BadInput
from knowledge.adapters.matrices import MatrixCache, Source, Stamp, unit_vector
from knowledge.keyword_index import INDEX, TABLE, match_expression, tagged_keywords
from knowledge.models import ChunkVector
from knowledge.scoring import candidates, fuse, inverse_document_frequency, term_weight
from knowledge.types import ChunkPoint, Collection, Hit, SearchMode, VectorQuery
from knowledge.words import count_terms, term_number
from substrate.scoping import tenant_scope
from substrate.units import run_unit

CACHE_BYTES = 512 * 1024 * 1024
MAX_QUERY_TERMS = 48
COUNTS = np.dtype([("term", "<u4"), ("count", "<u2")])
_MATCHING = {
    "sqlite": f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s",  # noqa: S608 - constants
    "postgresql": f"SELECT id FROM {TABLE} WHERE keyword_terms @@ %s::tsquery",  # noqa: S608 - constants
}


class EmbeddedVectorStore:
    """A VectorStore over rows of `ChunkVector`. Every write is one transaction."""

    def __init__(self, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Copies of vectors in memory take `cache_bytes` at most."""
        self._matrices = MatrixCache(limit_bytes=cache_bytes)

    async def upsert(self, collection: Collection, points: Sequence[ChunkPoint]) -> None:
        """Store the points; same ids replace. All or an error."""
        if points:
            await run_unit(_write, collection, points)

    async def delete_document(
        self, collection: Collection, document_id: uuid.UUID, before_version: int | None = None
    ) -> None:
        """Remove the points of the document, or those of versions below `before_version`."""
        await run_unit(_delete_document, collection, document_id, before_version)

    async def search(self, collection: Collection, query: VectorQuery) -> list[Hit]:
        """The best hits, best first, at most `query.limit`."""
        return await run_unit(self._search, collection, query)

    async def delete_tenant(self, tenant_id: uuid.UUID) -> None:
        """Remove everything of the tenant."""
        await run_unit(_delete_tenant, tenant_id)

    async def count(self, collection: Collection | uuid.UUID, document_id: uuid.UUID | None = None) -> int:
        """How many points the tenant, or one document of it, has in the collection, or in all."""
        return await run_unit(_count, collection, document_id)

    def _search(self, collection: Collection, query: VectorQuery) -> list[Hit]:
        if query.document_ids == () or not query.knowledge_base_ids:
            return []
        wanted = candidates(query.limit)
        with tenant_scope(collection.tenant_id, read_only=True):
            near: dict[int, float] = {}
            if query.vector is not None and query.mode is not SearchMode.KEYWORD:
                near = self._nearest(collection, query, wanted)
            said = _best_matches(collection, query, wanted) if query.mode is not SearchMode.VECTOR else {}
            points = _points(collection, near.keys() | said.keys())
        fused = fuse(
            {points[row][0]: score for row, score in near.items() if row in points},
            {points[row][0]: score for row, score in said.items() if row in points},
            mode=query.mode,
            alpha=query.alpha,
            limit=query.limit,
        )
        places = {chunk: (document, base) for chunk, document, base in points.values()}
        return [
            Hit(hit.key, *places[hit.key], hit.score, hit.vector_score, hit.keyword_score) for hit in fused
        ]

    def _nearest(self, collection: Collection, query: VectorQuery, wanted: int) -> dict[int, float]:
        """Rows by cosine, the best `wanted`."""
        target = unit_vector(query.vector or ())
        if len(target) != collection.dimensions:
            raise BadInput(
                f"The query's vector has {len(target)} dimensions, the index {collection.dimensions}."
            )
        found: dict[int, float] = {}
        for base in query.knowledge_base_ids:
            rows = _rows(collection).filter(knowledge_base_id=base)
            matrix = self._matrices.get(
                (collection, base), _stamp(rows), collection.dimensions, _source(rows)
            )
            ids, scores = matrix.ids, matrix.rows @ target
            if query.document_ids is not None:
                allowed = rows.filter(document_id__in=query.document_ids).values_list("id", flat=True)
                keep = np.isin(ids, np.fromiter(allowed, dtype=np.int64))
                ids, scores = ids[keep], scores[keep]
            found |= _top(ids, scores, wanted)
        return dict(sorted(found.items(), key=lambda entry: -entry[1])[:wanted])


def _rows(collection: Collection) -> QuerySet[ChunkVector]:
    return ChunkVector.objects.filter(embedder=collection.embedder, dimensions=collection.dimensions)


def _stamp(rows: QuerySet[ChunkVector]) -> Stamp:
    state = rows.aggregate(count=Count("id"), newest=Max("id"), total=Sum("id"))
    return state["count"], state["newest"] or 0, int(state["total"] or 0)


def _source(rows: QuerySet[ChunkVector]) -> Source:
    def vectors(ids: Sequence[int]) -> list[tuple[int, bytes]]:
        # New rows have the greatest ids, so the range holds hardly any other.
        part = rows.filter(id__gte=ids[0], id__lte=ids[-1]).order_by("id")
        wanted = set(ids)
        return [(row, bytes(vector)) for row, vector in part.values_list("id", "vector") if row in wanted]

    return Source(ids=lambda: list(rows.order_by("id").values_list("id", flat=True)), vectors=vectors)


def _top(ids: npt.NDArray[np.int64], scores: npt.NDArray[np.floating], wanted: int) -> dict[int, float]:
    if len(ids) > wanted:
        best = np.argpartition(-scores, wanted - 1)[:wanted]
        ids, scores = ids[best], scores[best]
    return dict(zip(ids.tolist(), scores.tolist(), strict=True))


def _best_matches(collection: Collection, query: VectorQuery, wanted: int) -> dict[int, float]:
    """Rows by BM25, the best `wanted`: the index finds them, their packed counts score them."""
    asked = dict(count_terms(query.text).most_common(MAX_QUERY_TERMS))
    if not asked:
        return {}
    base_rows = _rows(collection).filter(knowledge_base_id__in=query.knowledge_base_ids)
    totals = base_rows.aggregate(count=Count("id"), terms=Sum("length"))
    expression = match_expression(connection.vendor, query.knowledge_base_ids, asked)
    matching = RawSQL(_MATCHING[connection.vendor], [expression])  # noqa: S611 - constant SQL, quoted parameter
    rows = base_rows.filter(id__in=matching)
    if query.document_ids is not None:
        rows = rows.filter(document_id__in=query.document_ids)
    found = list(rows.values_list("id", "term_counts", "length"))
    if not found:
        return {}
    average = (totals["terms"] or 0) / max(totals["count"], 1)
    scores = _bm25(
        [bytes(row[1]) for row in found], [row[2] for row in found], asked, totals["count"], average
    )
    return _top(np.array([row[0] for row in found], dtype=np.int64), scores, wanted)


def _bm25(
    packed: list[bytes], lengths: list[int], asked: dict[str, int], total: int, average: float
) -> npt.NDArray[np.floating]:
    """BM25 of each row for the terms asked, each as often as it was asked."""
    counts = np.frombuffer(b"".join(packed), dtype=COUNTS)
    ends = np.cumsum([len(each) // COUNTS.itemsize for each in packed])
    numbers, length = np.ascontiguousarray(counts["term"]), np.array(lengths, dtype=np.float64)
    scores = np.zeros(len(packed))
    for term, times in asked.items():
        places = np.flatnonzero(numbers == term_number(term))
        if not len(places):
            continue
        owners = np.searchsorted(ends, places, side="right")
        frequency = counts["count"][places].astype(np.float64)
        weight = inverse_document_frequency(len(places), total) * times
        scores[owners] += weight * term_weight(frequency, length[owners], average)
    return scores


def _points(
    collection: Collection, ids: Sequence[int] | set[int]
) -> dict[int, tuple[uuid.UUID, uuid.UUID, uuid.UUID]]:
    """Row id → (chunk, document, knowledge base)."""
    rows = _rows(collection).filter(id__in=list(ids))
    return {
        row: (chunk, document, base)
        for row, chunk, document, base in rows.values_list(
            "id", "chunk_id", "document_id", "knowledge_base_id"
        )
    }


def _write(collection: Collection, points: Sequence[ChunkPoint]) -> None:
    made = [_row(collection, point) for point in {point.chunk_id: point for point in points}.values()]
    with tenant_scope(collection.tenant_id):
        ChunkVector.objects.filter(chunk_id__in=[row.chunk_id for row in made]).delete()
        ChunkVector.objects.bulk_create(made, batch_size=200)


def _row(collection: Collection, point: ChunkPoint) -> ChunkVector:
    if len(point.vector) != collection.dimensions:
        raise BadInput(f"A vector has {len(point.vector)} dimensions, the index {collection.dimensions}.")
    terms: Counter[str] = count_terms(point.search_text)
    packed = np.array(
        [(term_number(term), min(count, 65_535)) for term, count in terms.items()], dtype=COUNTS
    )
    return ChunkVector(
        tenant_id=collection.tenant_id,
        chunk_id=point.chunk_id,
        document_id=point.document_id,
        knowledge_base_id=point.knowledge_base_id,
        embedder=collection.embedder,
        version=point.version,
        dimensions=collection.dimensions,
        vector=unit_vector(point.vector).astype("<f4").tobytes(),
        keywords=tagged_keywords(point.knowledge_base_id, terms),
        term_counts=packed.tobytes(),
        length=terms.total(),
    )


def _delete_document(collection: Collection, document_id: uuid.UUID, before_version: int | None) -> None:
    with tenant_scope(collection.tenant_id):
        rows = _rows(collection).filter(document_id=document_id)
        if before_version is not None:
            rows = rows.filter(version__lt=before_version)
        rows.delete()


def _delete_tenant(tenant_id: uuid.UUID) -> None:
    with tenant_scope(tenant_id):
        ChunkVector.objects.all().delete()


def _count(collection: Collection | uuid.UUID, document_id: uuid.UUID | None) -> int:
    tenant_id = collection if isinstance(collection, uuid.UUID) else collection.tenant_id
    with tenant_scope(tenant_id, read_only=True):
        rows = ChunkVector.objects.all() if isinstance(collection, uuid.UUID) else _rows(collection)
        return rows.filter(document_id=document_id).count() if document_id else rows.count()
