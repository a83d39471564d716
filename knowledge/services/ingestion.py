"""The steps of an ingestion that touch the database, each a unit of work in its own transaction.

Every step may run again after a crash: chunks have ids that follow from document, version and position, and only
`publish` makes a version visible.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.clock import SYSTEM_CLOCK
from knowledge.chunking import TextChunk
from knowledge.models import Chunk, Document, KnowledgeBase
from knowledge.naming import chunk_id
from knowledge.types import Collection, DocumentState
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from tenants.services import emit_event, principal_for_jobs
from tenants.types import Principal


@dataclass(frozen=True, slots=True)
class IngestionPlan:
    """What there is to do. `collection` is None until the base's first document is embedded; `live` says that this
    version is already published and only tidying up is left.
    """

    principal: Principal
    document_id: uuid.UUID
    knowledge_base_id: uuid.UUID
    version: int
    title: str
    file_name: str
    media_type: str
    blob_key: str
    embedding_model: str
    collection: Collection | None
    live: bool


def begin(tenant_id: uuid.UUID, document_id: uuid.UUID, version: int) -> IngestionPlan | None:
    """Mark the document as being processed. None when it is gone or has newer content: nothing is to be done."""
    principal = principal_for_jobs(tenant_id)
    with tenant_scope(tenant_id):
        row = (
            Document.objects.select_related("knowledge_base").filter(id=document_id, version=version).first()
        )
        if row is None:
            return None
        base = row.knowledge_base
        live = row.live_version == version
        if not live:
            _set_state(tenant_id, document_id, version, DocumentState.PROCESSING)
            _tell(base.id, tenant_id)
        return IngestionPlan(
            principal=principal,
            document_id=row.id,
            knowledge_base_id=base.id,
            version=version,
            title=row.title,
            file_name=row.file_name,
            media_type=row.media_type,
            blob_key=row.blob_key,
            embedding_model=base.embedding_model,
            collection=_collection(base),
            live=live,
        )


def fix_embedder(
    tenant_id: uuid.UUID, knowledge_base_id: uuid.UUID, *, model: str, embedder: str, dimensions: int
) -> Collection | None:
    """The base's collection, fixed now when it has none yet (of two jobs the first one wins). None: the base is gone."""
    with tenant_scope(tenant_id):
        KnowledgeBase.objects.filter(id=knowledge_base_id, embedder="").update(
            embedding_model=model, embedder=embedder, dimensions=dimensions
        )
        base = KnowledgeBase.objects.filter(id=knowledge_base_id).first()
        return _collection(base) if base is not None else None


def store_chunks(plan: IngestionPlan, chunks: Sequence[TextChunk]) -> bool:
    """Write the rows of some chunks; not yet visible. False when the document is gone or has newer content."""
    tenant_id = plan.principal.tenant_id
    with tenant_scope(tenant_id):
        if not _locked(plan):
            return False
        rows = [
            Chunk(
                id=chunk_id(plan.document_id, plan.version, chunk.position),
                tenant_id=tenant_id,
                document_id=plan.document_id,
                version=plan.version,
                position=chunk.position,
                heading=chunk.heading,
                text=chunk.text,
                page=chunk.page,
                tokens=chunk.tokens,
            )
            for chunk in chunks
        ]
        # An earlier attempt may have left some of them.
        Chunk.objects.filter(id__in=[row.id for row in rows]).delete()
        Chunk.objects.bulk_create(rows, batch_size=200)
        return True


def publish(plan: IngestionPlan, *, chunk_count: int, page_count: int) -> bool:
    """Make this version the one that searches show, and drop the rows of older ones, in one transaction.

    False when the document is gone or has newer content.
    """
    tenant_id = plan.principal.tenant_id
    with tenant_scope(tenant_id):
        row = _locked(plan)
        if row is None:
            return False
        row.live_version = plan.version
        row.state, row.error, row.error_code = DocumentState.READY.value, "", ""
        row.chunk_count, row.page_count = chunk_count, page_count
        row.save()
        old = Chunk.objects.filter(document_id=plan.document_id, version__lt=plan.version)
        old.delete()
        # A retry of a version that was cut otherwise must not leave a tail.
        Chunk.objects.filter(
            document_id=plan.document_id, version=plan.version, position__gte=chunk_count
        ).delete()
        record_change(kind="knowledge_base", object_id=plan.knowledge_base_id, tenant_id=tenant_id)
        _tell(plan.knowledge_base_id, tenant_id)
        return True


def note_failure(
    tenant_id: uuid.UUID, document_id: uuid.UUID, version: int, *, reason: str, code: str = ""
) -> None:
    """Write that this version cannot be ingested, and why. A code that was written before stays."""
    with tenant_scope(tenant_id):
        row = Document.objects.filter(id=document_id, version=version).exclude(live_version=version).first()
        if row is not None:
            known = row.state == DocumentState.FAILED
            row.state, row.error = DocumentState.FAILED.value, reason
            row.error_code = code or row.error_code or "ingestion_failed"
            row.save(update_fields=["state", "error", "error_code", "updated_at"])
            _tell(row.knowledge_base_id, tenant_id)
            told = {
                "document_id": row.id,
                "knowledge_base_id": row.knowledge_base_id,
                "version": version,
                "code": row.error_code,
            }
            if not known:
                emit_event(tenant_id=tenant_id, event="document.failed", told=told)


def note_waiting(tenant_id: uuid.UUID, document_id: uuid.UUID, version: int, *, code: str) -> None:
    """Write that this version waits for its next attempt, and why the last one ended."""
    with tenant_scope(tenant_id):
        _set_state(tenant_id, document_id, version, DocumentState.QUEUED, code=code)
        base_id = Document.objects.filter(id=document_id).values_list("knowledge_base_id", flat=True).first()
        if base_id is not None:
            _tell(base_id, tenant_id)


def find_again(tenant_id: uuid.UUID, document_ids: Sequence[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Those of the documents that are there: they were restored after they had been deleted."""
    with tenant_scope(tenant_id, read_only=True):
        return frozenset(Document.objects.filter(id__in=document_ids).values_list("id", flat=True))


def live_version(tenant_id: uuid.UUID, document_id: uuid.UUID) -> int | None:
    """The version that searches show, 0 for none yet; None when the document is gone."""
    with tenant_scope(tenant_id, read_only=True):
        return Document.objects.filter(id=document_id).values_list("live_version", flat=True).first()


def _set_state(
    tenant_id: uuid.UUID, document_id: uuid.UUID, version: int, state: DocumentState, *, code: str = ""
) -> None:
    told = {"error_code": code} if code else {}
    Document.objects.filter(id=document_id, version=version).exclude(live_version=version).update(
        state=state.value, updated_at=SYSTEM_CLOCK.now(), **told
    )


def _tell(knowledge_base_id: uuid.UUID, tenant_id: uuid.UUID) -> None:
    record_change(kind="document", object_id=knowledge_base_id, tenant_id=tenant_id)


def _locked(plan: IngestionPlan) -> Document | None:
    rows = Document.objects.select_for_update().filter(id=plan.document_id, version=plan.version)
    return rows.first()


def _collection(base: KnowledgeBase) -> Collection | None:
    return Collection(base.tenant_id, base.embedder, base.dimensions) if base.embedder else None
