"""Reads of knowledge, and rows as views. Each runs in the scope at hand."""

import uuid
from collections.abc import Iterable, Sequence

from django.db.models import Count, F, QuerySet
from django.db.models.fields.json import KeyTransform

from knowledge.limits import MAX_FILTERED_DOCUMENTS
from knowledge.models import Chunk, Document, KnowledgeBase, RemovedDocument
from knowledge.naming import chunk_id
from knowledge.types import (
    DocumentPassage,
    DocumentState,
    DocumentView,
    KnowledgeBaseView,
    RemovedDocumentView,
    SearchFilters,
)
from substrate.versions import version_of
from tenants.services import closed_ids
from tenants.types import Principal

# How many versions back a citation may point.
OLDER_VERSIONS = 5
# How grants name knowledge bases.
KIND = "knowledge_base"


def knowledge_bases(*, deleted: bool = False) -> QuerySet[KnowledgeBase]:
    """All knowledge bases, or those that are deleted and not yet purged."""
    return KnowledgeBase.objects.filter(deleted_at__isnull=not deleted)


def open_bases(principal: Principal, *, deleted: bool = False) -> QuerySet[KnowledgeBase]:
    """Those of them that the principal may use."""
    closed = closed_ids(principal, KIND)
    rows = knowledge_bases(deleted=deleted)
    return rows.exclude(id__in=closed) if closed else rows


def removed_documents(knowledge_base_id: uuid.UUID) -> QuerySet[RemovedDocument]:
    """The documents of a base that were deleted and can be restored."""
    return RemovedDocument.objects.filter(knowledge_base_id=knowledge_base_id)


def removed_view(row: RemovedDocument) -> RemovedDocumentView:
    """The view of a deleted document."""
    return RemovedDocumentView(
        row.id, row.knowledge_base_id, row.title, int(row.kept.get("size", 0)), row.created_at
    )


def documents(knowledge_base_id: uuid.UUID) -> QuerySet[Document]:
    """The documents of a base."""
    return Document.objects.filter(knowledge_base_id=knowledge_base_id)


def documents_in_sight(principal: Principal | None = None) -> QuerySet[Document]:
    """The documents of all bases that are not deleted, and that the principal may use."""
    rows = Document.objects.exclude(knowledge_base__in=knowledge_bases(deleted=True))
    closed = [uuid.UUID(each) for each in closed_ids(principal, KIND)] if principal is not None else []
    return rows.exclude(knowledge_base_id__in=closed) if closed else rows


def count_states(bases: Iterable[uuid.UUID]) -> dict[uuid.UUID, dict[str, int]]:
    """How many documents each base has in each state; what there is none of is left out."""
    rows = Document.objects.filter(knowledge_base_id__in=list(bases)).order_by()
    found: dict[uuid.UUID, dict[str, int]] = {}
    for base, state, count in rows.values_list("knowledge_base_id", "state").annotate(count=Count("id")):
        found.setdefault(base, {})[state] = count
    return found


def base_views(rows: Sequence[KnowledgeBase]) -> list[KnowledgeBaseView]:
    """Views of several bases, their documents counted in one query."""
    counts = count_states(row.id for row in rows)
    return [_base_view(row, counts.get(row.id, {})) for row in rows]


def base_view(row: KnowledgeBase) -> KnowledgeBaseView:
    """The view of one base."""
    return base_views([row])[0]


def _base_view(row: KnowledgeBase, states: dict[str, int]) -> KnowledgeBaseView:
    return KnowledgeBaseView(
        id=row.id,
        name=row.name,
        description=row.description,
        alpha=row.alpha,
        embedding_model=row.embedding_model,
        dimensions=row.dimensions,
        document_count=sum(states.values()),
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=version_of(row.updated_at),
        states={state.value: states.get(state.value, 0) for state in DocumentState},
        deleted_at=row.deleted_at,
    )


def document_view(row: Document) -> DocumentView:
    """The view of a document."""
    return DocumentView(
        id=row.id,
        knowledge_base_id=row.knowledge_base_id,
        title=row.title,
        external_id=row.external_id,
        url=row.url,
        media_type=row.media_type,
        file_name=row.file_name,
        size_bytes=row.size,
        metadata=row.metadata,
        acl=row.acl,
        state=DocumentState(row.state),
        error=row.error or None,
        error_code=row.error_code or None,
        chunk_count=row.chunk_count,
        page_count=row.page_count,
        version=row.version,
        user_id=row.user_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        revision=version_of(row.updated_at),
    )


def live_chunks(chunk_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Chunk]:
    """The chunks of these ids that belong to their document's live version, with their documents."""
    rows = Chunk.objects.filter(id__in=list(chunk_ids), version=F("document__live_version"))
    return {row.id: row for row in rows.select_related("document")}


def passages_of(document: Document) -> QuerySet[Chunk]:
    """The document's live chunks, in order."""
    return Chunk.objects.filter(document=document, version=document.live_version).order_by("position")


def chunk_position(document: Document, chunk: uuid.UUID) -> int | None:
    """Where the chunk stands in the document's live version; None when it is none of the document's.

    Chunks of replaced versions are gone, but their ids follow from version and position, so they are found again.
    """
    row = Chunk.objects.filter(document=document, id=chunk).first()
    if row is not None:
        return row.position
    for version in range(document.version, max(0, document.version - OLDER_VERSIONS), -1):
        for position in range(document.chunk_count + 1):
            if chunk_id(document.id, version, position) == chunk:
                return position
    return None


def passage_view(row: Chunk) -> DocumentPassage:
    """The view of a chunk."""
    return DocumentPassage(row.id, row.text, row.heading, row.position, row.page)


def filtered_documents(bases: Sequence[uuid.UUID], filters: SearchFilters) -> list[uuid.UUID]:
    """The documents of the bases that the filters leave, one more than allowed at most."""
    rows = Document.objects.filter(knowledge_base_id__in=bases)
    if filters.document_ids:
        rows = rows.filter(id__in=filters.document_ids)
    if filters.external_ids:
        rows = rows.filter(external_id__in=filters.external_ids)
    if filters.media_types:
        rows = rows.filter(media_type__in=filters.media_types)
    for number, (key, value) in enumerate(filters.metadata.items()):
        # A transform of its own: a key is data, and must never be read as a lookup path.
        name = f"metadata_{number}"
        rows = rows.alias(**{name: KeyTransform(key, "metadata")}).filter(**{name: value})
    return list(rows.values_list("id", flat=True)[: MAX_FILTERED_DOCUMENTS + 1])
