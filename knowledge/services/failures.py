"""Documents that could not be taken in, at first sight: metadata and reasons, never content."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from knowledge import selectors
from knowledge.types import DocumentState, FailedDocument
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.permissions import OPERATE
from tenants.services import require
from tenants.types import Principal

# Counting goes no further.
MOST_COUNTED = 1_000
_COLUMNS = ("id", "tenant_id", "title", "error", "error_code", "knowledge_base_id", "updated_at")


def failed_documents(
    *, principal: Principal, platform: bool = False, limit: int = 10
) -> tuple[int, list[FailedDocument]]:
    """How many documents failed (1,000 at most), and the newest of them; of all tenants for operators (`platform`).

    Raises PermissionDenied.
    """
    require(principal, OPERATE if platform else "knowledge.inspect")
    with _scope(None if platform else principal.tenant_id):
        rows = selectors.documents_in_sight(principal).filter(state=DocumentState.FAILED)
        count = rows.order_by()[:MOST_COUNTED].count()
        newest = rows.order_by("-updated_at", "-id").values_list(*_COLUMNS, "knowledge_base__name")[:limit]
        return count, [FailedDocument(*row) for row in newest]


@contextmanager
def _scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    if tenant_id is None:
        with system_scope("operators see failed documents", read_only=True):
            yield
    else:
        with tenant_scope(tenant_id, read_only=True):
            yield
