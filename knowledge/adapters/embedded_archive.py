"""The embedded vector store's points for backup and restore: rows of Django's database, read and written as they are.

A row knows its terms by number and, beyond ASCII, by hash. For a store that needs the words themselves they are found
again in the chunk's own text.
"""

import uuid
from collections.abc import Iterator, Sequence

import numpy as np

from knowledge.adapters.embedded_store import COUNTS
from knowledge.keyword_index import keyword_tag, tagged_keywords
from knowledge.models import Chunk, ChunkVector
from knowledge.types import Collection, StoredPoint
from knowledge.words import term_number, terms_of
from substrate.scoping import tenant_scope

PAGE = 200


class EmbeddedVectorArchive:
    """A VectorArchive over rows of `ChunkVector`, in the transaction at hand."""

    def in_database(self) -> bool:
        """They are rows."""
        return True

    def pages(self, collection: Collection) -> Iterator[Sequence[StoredPoint]]:
        """All points of the tenant in the collection."""
        with tenant_scope(collection.tenant_id, read_only=True):
            rows = ChunkVector.objects.filter(embedder=collection.embedder, dimensions=collection.dimensions)
            page: list[ChunkVector] = []
            for row in rows.order_by("id").iterator(chunk_size=PAGE):
                page.append(row)
                if len(page) == PAGE:
                    yield _points(page)
                    page = []
            if page:
                yield _points(page)

    def write(self, collection: Collection, points: Sequence[StoredPoint]) -> None:
        """Insert rows, with ids that were never used before: copies in memory are known by them."""
        with tenant_scope(collection.tenant_id):
            ChunkVector.objects.bulk_create([_row(collection, point) for point in points], batch_size=PAGE)

    def forget(self, collection: Collection, document_ids: Sequence[uuid.UUID]) -> None:
        """Delete the documents' rows."""
        with tenant_scope(collection.tenant_id):
            ChunkVector.objects.filter(document_id__in=list(document_ids)).delete()

    def forget_tenant(self, tenant_id: uuid.UUID) -> None:
        """Nothing: rows go with their tenant."""


def _points(rows: Sequence[ChunkVector]) -> list[StoredPoint]:
    known = [_named(row) for row in rows]
    open_rows = [row.chunk_id for row, (_, numbers, _) in zip(rows, known, strict=True) if numbers]
    texts = _texts(open_rows) if open_rows else {}
    return [_point(row, *parts, texts.get(row.chunk_id, "")) for row, parts in zip(rows, known, strict=True)]


def _named(row: ChunkVector) -> tuple[dict[str, int], list[tuple[int, int]], list[str]]:
    """(terms that the keywords name, counts without a name yet, keywords that are hashes)."""
    counts = [
        (int(term), int(count))
        for term, count in np.frombuffer(bytes(row.term_counts), dtype=COUNTS).tolist()
    ]
    tag = keyword_tag(row.knowledge_base_id)
    words = [word.removeprefix(tag) for word in row.keywords.split(" ") if word]
    by_number = {term_number(word): word for word in words}
    terms = {by_number[number]: count for number, count in counts if number in by_number}
    left = [(number, count) for number, count in counts if number not in by_number]
    hashes = [word for word in words if word not in terms]
    return terms, left, hashes


def _texts(chunk_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    rows = Chunk.objects.filter(id__in=chunk_ids).values_list("id", "document__title", "heading", "text")
    return {chunk: f"{title}\n{heading}\n{text}" for chunk, title, heading, text in rows}


def _point(
    row: ChunkVector, terms: dict[str, int], left: list[tuple[int, int]], hashes: list[str], text: str
) -> StoredPoint:
    """What the keywords leave open is looked for in the text; what even that does not know stays a number."""
    if left:
        words = {term_number(word): word for word in terms_of(text)}
        terms |= {words[number]: count for number, count in left if number in words}
        left = [(number, count) for number, count in left if number not in words]
        found = set(tagged_keywords(row.knowledge_base_id, terms).split(" "))
        tag = keyword_tag(row.knowledge_base_id)
        hashes = [word for word in hashes if tag + word not in found]
    return StoredPoint(
        chunk_id=row.chunk_id,
        document_id=row.document_id,
        knowledge_base_id=row.knowledge_base_id,
        version=row.version,
        vector=bytes(row.vector),
        terms=terms,
        length=row.length,
        numbers=tuple(left),
        hashes=tuple(hashes),
    )


def _row(collection: Collection, point: StoredPoint) -> ChunkVector:
    counts = [(term_number(term), min(count, 65_535)) for term, count in point.terms.items()]
    packed = np.array([*counts, *point.numbers], dtype=COUNTS)
    tag = keyword_tag(point.knowledge_base_id)
    named = tagged_keywords(point.knowledge_base_id, point.terms)
    return ChunkVector(
        tenant_id=collection.tenant_id,
        chunk_id=point.chunk_id,
        document_id=point.document_id,
        knowledge_base_id=point.knowledge_base_id,
        embedder=collection.embedder,
        version=point.version,
        dimensions=collection.dimensions,
        vector=point.vector,
        keywords=" ".join(sorted({*named.split(" "), *(tag + word for word in point.hashes)} - {""})),
        term_counts=packed.tobytes(),
        length=point.length,
    )
