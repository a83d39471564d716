"""What backup and restore ask of knowledge: which files and points belong to which document, and what must be done
again. Everything here runs in the scope at hand, which is the system's.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.models import F

from inference.services import local_fingerprints
from knowledge.models import Document, KnowledgeBase, RemovedDocument
from knowledge.services.bases import KEEP_DELETED
from knowledge.services.removal import ATTEMPTS as REMOVAL_ATTEMPTS
from knowledge.services.removal import PER_JOB
from knowledge.types import Collection, DocumentState, KeptDocument
from substrate.jobs import enqueue_job

INGESTION_ATTEMPTS = 10
_WAITING = (DocumentState.QUEUED.value, DocumentState.PROCESSING.value)


def kept_documents() -> Iterator[KeptDocument]:
    """Every document of every tenant, those that can still be restored too; read piece by piece."""
    rows = Document.objects.order_by("tenant_id", "id").values_list(
        "tenant_id",
        "id",
        "knowledge_base_id",
        "blob_key",
        "live_version",
        "chunk_count",
        "knowledge_base__embedder",
        "knowledge_base__dimensions",
    )
    for row in rows.iterator(chunk_size=1000):
        yield KeptDocument(*row)
    removed = RemovedDocument.objects.order_by("tenant_id", "id")
    for tenant_id, document_id, base_id, key in removed.values_list(
        "tenant_id", "id", "knowledge_base_id", "blob_key"
    ).iterator(chunk_size=1000):
        yield KeptDocument(tenant_id, document_id, base_id, key, 0, 0, "", 0)


def collections_in_use() -> list[Collection]:
    """Where the points of all knowledge bases lie."""
    rows = KnowledgeBase.objects.exclude(embedder="").order_by("tenant_id", "embedder")
    return [Collection(*row) for row in rows.values_list("tenant_id", "embedder", "dimensions").distinct()]


def incomparable_embedders(embedders: Iterable[str]) -> frozenset[str]:
    """Those of the fingerprints whose vectors this installation cannot make: its built-in model is another one."""
    mine = local_fingerprints()
    built_in = tuple(f"{each.partition(':')[0]}:" for each in mine)
    return frozenset(each for each in embedders if each.startswith(built_in) and each not in mine)


def forget_embedders(embedders: Iterable[str]) -> int:
    """Bases of these fingerprints have none again; the first document decides anew. Returns how many bases."""
    rows = KnowledgeBase.objects.filter(embedder__in=list(embedders))
    return rows.update(embedding_model="", embedder="", dimensions=0)


def resume_work() -> int:
    """Queue every document that waits for its ingestion, and the purge of what is deleted; returns how many wait.

    The time in which deleted things can be restored begins anew.
    """
    _queue_purges()
    waiting = Document.objects.filter(state__in=_WAITING).values_list("tenant_id", "id", "version")
    count = 0
    for tenant_id, document_id, version in waiting.iterator(chunk_size=1000):
        _ingest(tenant_id, document_id, version)
        count += 1
    return count


def index_anew(document_ids: Sequence[uuid.UUID]) -> int:
    """Queue these documents for indexing under a new version, whatever they hold now; returns how many."""
    rows = Document.objects.filter(id__in=list(document_ids)).exclude(state__in=_WAITING)
    ids = list(rows.values_list("id", flat=True))
    Document.objects.filter(id__in=ids).update(
        version=F("version") + 1, state=DocumentState.QUEUED.value, error="", error_code=""
    )
    for tenant_id, document_id, version in Document.objects.filter(id__in=ids).values_list(
        "tenant_id", "id", "version"
    ):
        _ingest(tenant_id, document_id, version)
    return len(ids)


def sweep_documents(
    collection: Collection, document_ids: Sequence[uuid.UUID], blob_keys: Sequence[str]
) -> None:
    """Queue the removal of points and files that no row refers to any more."""
    for start in range(0, max(len(document_ids), len(blob_keys)), PER_JOB):
        enqueue_job(
            tenant_id=collection.tenant_id,
            kind="knowledge.delete_document",
            payload={
                "documents": [str(each) for each in document_ids[start : start + PER_JOB]],
                "blob_keys": list(blob_keys[start : start + PER_JOB]),
                "embedder": collection.embedder,
                "dimensions": collection.dimensions,
            },
            max_attempts=REMOVAL_ATTEMPTS,
        )


def _ingest(tenant_id: uuid.UUID, document_id: uuid.UUID, version: int) -> None:
    enqueue_job(
        tenant_id=tenant_id,
        kind="knowledge.ingest",
        payload={"document_id": str(document_id), "version": version},
        max_attempts=INGESTION_ATTEMPTS,
    )


def _queue_purges() -> None:
    for base in KnowledgeBase.objects.exclude(deleted_at=None):
        deleted_at = base.deleted_at.isoformat() if base.deleted_at else ""
        _purge(base.tenant_id, {"knowledge_base_id": str(base.id), "deleted_at": deleted_at})
    waiting: dict[uuid.UUID, list[str]] = {}
    rows = RemovedDocument.objects.order_by("tenant_id").values_list("tenant_id", "id")
    for tenant_id, document_id in rows.iterator(chunk_size=1000):
        mine = waiting.setdefault(tenant_id, [])
        mine.append(str(document_id))
        if len(mine) == PER_JOB:
            _purge(tenant_id, {"documents": waiting.pop(tenant_id)})
    for tenant_id, documents in waiting.items():
        _purge(tenant_id, {"documents": documents})


def _purge(tenant_id: uuid.UUID, payload: dict[str, Any]) -> None:
    enqueue_job(
        tenant_id=tenant_id,
        kind="knowledge.purge",
        payload=payload,
        max_attempts=REMOVAL_ATTEMPTS,
        delay=KEEP_DELETED,
    )
