"""What goes for good: deleted bases and documents whose time to be restored is over. Each a unit of work."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from knowledge import selectors
from knowledge.models import Document, RemovedDocument
from knowledge.services.documents import queue_ingestion
from knowledge.services.removal import enqueue_forgetting, enqueue_removal
from substrate.scoping import tenant_scope

# Documents of one transaction: others write meanwhile.
AT_ONCE = 200


def purge_base(tenant_id: uuid.UUID, knowledge_base_id: uuid.UUID, deleted_at: str) -> bool:
    """Remove a part of the deleted base, at last itself; False while something is left.

    True as well when it was restored, or deleted again later than at `deleted_at`.
    """
    with tenant_scope(tenant_id):
        rows = selectors.knowledge_bases(deleted=True).select_for_update()
        base = rows.filter(id=knowledge_base_id, deleted_at=datetime.fromisoformat(deleted_at)).first()
        if base is None:
            return True
        found = list(selectors.documents(base.id).values_list("id", "blob_key")[:AT_ONCE])
        removed = list(selectors.removed_documents(base.id).values_list("id", "blob_key")[:AT_ONCE])
        if found:
            enqueue_removal(base, found)
            Document.objects.filter(id__in=[document for document, _ in found]).delete()
        if removed:
            enqueue_forgetting(base, [key for _, key in removed])
            RemovedDocument.objects.filter(id__in=[document for document, _ in removed]).delete()
        if found or removed:
            return False
        base.delete()
        return True


def purge_documents(tenant_id: uuid.UUID, document_ids: Sequence[uuid.UUID]) -> None:
    """Remove the files of deleted documents and what was kept of their rows; restored ones are none any more."""
    with tenant_scope(tenant_id):
        rows = list(RemovedDocument.objects.select_for_update().filter(id__in=document_ids))
        bases: dict[uuid.UUID, list[str]] = {row.knowledge_base_id: [] for row in rows}
        for row in rows:
            bases[row.knowledge_base_id].append(row.blob_key)
        for deleted in (False, True):
            for base in selectors.knowledge_bases(deleted=deleted).filter(id__in=list(bases)):
                enqueue_forgetting(base, bases[base.id])
        RemovedDocument.objects.filter(id__in=[row.id for row in rows]).delete()


def ingest_again(tenant_id: uuid.UUID, document_id: uuid.UUID) -> None:
    """Queue the document's content again under a new version; nothing happens when it is gone."""
    with tenant_scope(tenant_id):
        row = Document.objects.select_for_update().filter(id=document_id).first()
        if row is not None:
            row.version += 1
            queue_ingestion(row)
