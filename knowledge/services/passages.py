"""Reading on around a citation: the passages of a document as they stand in it."""

import uuid

from kernel.errors import NotFound
from knowledge import selectors
from knowledge.limits import MAX_PASSAGES
from knowledge.services.documents import find_document
from knowledge.types import DocumentPassage, DocumentView
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal


def list_passages(
    *, principal: Principal, document_id: uuid.UUID, around: uuid.UUID | None = None, limit: int = 20
) -> tuple[DocumentView, list[DocumentPassage]]:
    """The document and up to `limit` of its passages in order: with the chunk `around` in their middle, else the first.

    A chunk of an older version, which a citation may still name, is answered by the passages now at its position.
    Raises PermissionDenied, NotFound.
    """
    require(principal, "knowledge.read")
    limit = max(1, min(limit, MAX_PASSAGES))
    with tenant_scope(principal.tenant_id, read_only=True):
        document = find_document(principal, document_id, None)
        rows = selectors.passages_of(document)
        start = 0
        if around is not None:
            position = selectors.chunk_position(document, around)
            if position is None:
                raise NotFound("There is no such passage in this document.")
            start = max(0, position - limit // 2)
        shown = [selectors.passage_view(row) for row in rows[start : start + limit]]
        return selectors.document_view(document), shown
