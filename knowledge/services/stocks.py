"""What of a tenant's knowledge limits count: its documents, and the bytes that were handed in with them."""

import uuid
from collections.abc import Collection, Mapping

from django.db.models import Count, QuerySet, Sum

from knowledge import selectors
from knowledge.models import Document
from tenants.limit_types import Measure


class KnowledgeStock:
    """`tenants.ports.Stock`: documents that are there; those that were deleted, by themselves or with their base, and
    could be restored do not count.
    """

    def used(self) -> Mapping[Measure, int]:
        """As the port says."""
        return _measured(**_there().aggregate(count=Count("*"), size=Sum("size")))

    def used_of(self, tenants: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Mapping[Measure, int]]:
        """As the port says."""
        rows = _there().filter(tenant_id__in=tenants).values_list("tenant_id")
        summed = rows.annotate(count=Count("*"), total=Sum("size"))
        return {tenant: _measured(count, size) for tenant, count, size in summed}

    def used_by(self, users: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Mapping[Measure, int]]:
        """As the port says."""
        rows = _there().filter(user_id__in=users).values_list("user_id")
        summed = rows.annotate(count=Count("*"), total=Sum("size"))
        return {user: _measured(count, size) for user, count, size in summed}

    def used_by_each(
        self, tenants: Collection[uuid.UUID]
    ) -> Mapping[uuid.UUID, Mapping[uuid.UUID, Mapping[Measure, int]]]:
        """As the port says."""
        # Not by users too: the index would be asked for each pair of a tenant and a user.
        rows = _there().filter(tenant_id__in=tenants).exclude(user_id=None)
        found: dict[uuid.UUID, dict[uuid.UUID, Mapping[Measure, int]]] = {}
        summed = rows.values_list("tenant_id", "user_id").annotate(count=Count("*"), total=Sum("size"))
        for tenant, user, count, size in summed:
            found.setdefault(tenant, {})[user] = _measured(count, size)
        return found


def _there() -> QuerySet[Document]:
    # Deleted bases are few; a join would have every document's base looked up.
    gone = selectors.knowledge_bases(deleted=True).order_by().values("id")
    return Document.objects.exclude(knowledge_base__in=gone).order_by()


def _measured(count: int, size: int | None) -> Mapping[Measure, int]:
    return {Measure.DOCUMENTS: count, Measure.STORAGE_BYTES: int(size or 0)}
