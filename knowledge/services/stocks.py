"""What of a tenant's knowledge limits count: its documents, and the bytes that were handed in with them."""

from collections.abc import Mapping

from django.db.models import Count, Sum

from knowledge.models import Document
from tenants.limit_types import Measure


class KnowledgeStock:
    """`tenants.ports.Stock`: documents that are there; those that were deleted and could be restored do not count."""

    def used(self) -> Mapping[Measure, int]:
        """As the port says."""
        found = Document.objects.aggregate(count=Count("id"), size=Sum("size"))
        return {Measure.DOCUMENTS: found["count"], Measure.STORAGE_BYTES: int(found["size"] or 0)}
