"""Documents past their time: counted and deleted for the tenant's retention rules."""

from collections import defaultdict
from datetime import datetime

from knowledge.models import Document, KnowledgeBase
from knowledge.services.removal import enqueue_removal
from substrate.changes import record_change
from tenants.types import Expiring


class KeptFiles:
    """`tenants.ports.Retainable`: a document is as old as what was last handed in or indexed of it."""

    def count_older(self, before: datetime | None) -> Expiring:
        """As the port says."""
        older = Document.objects.filter(updated_at__lt=before) if before else Document.objects.none()
        oldest = older.order_by("updated_at").values_list("updated_at", flat=True)[:1]
        return Expiring("files", older.count(), Document.objects.count(), next(iter(oldest), None))

    def delete_older(self, before: datetime, limit: int) -> int:
        """As the port says; vectors and stored files follow by jobs."""
        rows = Document.objects.select_for_update(skip_locked=True).filter(updated_at__lt=before)
        found = rows.order_by("updated_at").values_list("knowledge_base_id", "id", "blob_key")[:limit]
        by_base = defaultdict(list)
        for base_id, document_id, blob_key in found:
            by_base[base_id].append((document_id, blob_key))
        for base in KnowledgeBase.objects.filter(id__in=by_base):
            enqueue_removal(base, by_base[base.id])
            record_change(kind="knowledge_base", object_id=base.id, tenant_id=base.tenant_id)
        gone = [document_id for each in by_base.values() for document_id, _ in each]
        Document.objects.filter(id__in=gone).delete()
        return len(gone)
