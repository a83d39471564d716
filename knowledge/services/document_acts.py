"""What is done to documents that are there: looked up, described anew, tried again, deleted, restored, saved."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernel.errors import Conflict, NotFound
from kernel.ids import parse_uuid
from knowledge import selectors
from knowledge.contents import read_content
from knowledge.limits import MAX_CHOSEN_DOCUMENTS
from knowledge.models import Document, KnowledgeBase, RemovedDocument
from knowledge.services.bases import KEEP_DELETED, find_base
from knowledge.services.documents import find_document, note_act, queue_ingestion, tell_documents
from knowledge.services.removal import enqueue_removal
from knowledge.types import (
    BulkOutcome,
    DocumentFile,
    DocumentName,
    DocumentState,
    DocumentView,
)
from substrate.bridge import wait_for
from substrate.jobs import enqueue_job
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants.services import require, within_limits
from tenants.types import Principal

_AT_WORK = (DocumentState.QUEUED, DocumentState.PROCESSING)
_KEPT = (
    "title",
    "external_id",
    "url",
    "media_type",
    "file_name",
    "size",
    "blob_key",
    "content_hash",
    "metadata",
    "acl",
    "version",
)
_NOT_KEPT = "There is no such deleted document."


def get_document(
    *, principal: Principal, document_id: uuid.UUID, knowledge_base_id: uuid.UUID | None = None
) -> DocumentView:
    """One document: name, state, figures. Raises PermissionDenied, NotFound."""
    require(principal, "knowledge.inspect")
    with tenant_scope(principal.tenant_id, read_only=True):
        return without_content(
            principal, selectors.document_view(find_document(principal, document_id, knowledge_base_id))
        )


def without_content(principal: Principal, view: DocumentView) -> DocumentView:
    """The view, as who may inspect but not read sees it: metadata is the document's own words."""
    return view if "knowledge.read" in principal.permissions else replace(view, metadata={}, acl=())


def name_documents(
    *, principal: Principal, document_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, DocumentName]:
    """What the tenant's documents of these ids are called, of those that there are. Raises PermissionDenied."""
    require(principal, "knowledge.inspect")
    if not document_ids:
        return {}
    with tenant_scope(principal.tenant_id, read_only=True):
        rows = selectors.documents_in_sight(principal).filter(id__in=document_ids)
        found = rows.values_list("id", "knowledge_base_id", "title")
        return {row_id: DocumentName(row_id, base, title) for row_id, base, title in found}


def read_file(*, principal: Principal, document_id: uuid.UUID) -> DocumentFile:
    """The document's file as it was handed in. Raises PermissionDenied, NotFound, Unavailable."""
    require(principal, "knowledge.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        row = find_document(principal, document_id, None)
    content = wait_for(lambda: read_content(row.blob_key))
    return DocumentFile(row.file_name or f"{row.title}.txt", row.media_type, content)


def describe_document(
    *,
    principal: Principal,
    document_id: uuid.UUID,
    url: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    expected: str | None = None,
) -> DocumentView:
    """Replace what describes the document, if it still is the `expected` revision; nothing is ingested again.

    Raises PermissionDenied, NotFound, Stale.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        row = find_document(principal, document_id, None, lock=True)
        check_version(row.updated_at, expected)
        if url is not None:
            row.url = url
        if metadata is not None:
            row.metadata = dict(metadata)
        row.save(update_fields=["url", "metadata", "updated_at"])
        tell_documents(row.knowledge_base)
        note_act("changed", row.id, row.title, row.tenant_id)
        return selectors.document_view(row)


def retry_document(
    *, principal: Principal, document_id: uuid.UUID, knowledge_base_id: uuid.UUID | None = None
) -> DocumentView:
    """Queue a failed (or ready) document's content again. Raises PermissionDenied, NotFound, Conflict while at work."""
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        row = find_document(principal, document_id, knowledge_base_id, lock=True)
        if row.state in _AT_WORK:
            raise Conflict("The document is already queued.")
        _again(row)
        tell_documents(row.knowledge_base)
        return selectors.document_view(row)


def retry_documents(
    *, principal: Principal, knowledge_base_id: uuid.UUID, document_ids: Sequence[uuid.UUID] | None = None
) -> BulkOutcome:
    """Queue several documents again, or (None) all that failed, 500 at most; those at work stay as they are.

    Raises PermissionDenied, NotFound for the base.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        base = find_base(principal, knowledge_base_id)
        rows = selectors.documents(base.id)
        if document_ids is None:
            rows = rows.filter(state=DocumentState.FAILED)
        else:
            rows = rows.filter(id__in=document_ids).exclude(state__in=_AT_WORK)
        chosen = list(rows.select_for_update().order_by("id")[:MAX_CHOSEN_DOCUMENTS])
        for row in chosen:
            _again(row)
        if chosen:
            tell_documents(base)
        failed = rows.filter(state=DocumentState.FAILED).count() if document_ids is None else 0
        return BulkOutcome(len(chosen), failed)


def _again(row: Document) -> None:
    row.version += 1
    queue_ingestion(row)
    note_act("retried", row.id, row.title, row.tenant_id)


def delete_document(
    *, principal: Principal, document_id: uuid.UUID, knowledge_base_id: uuid.UUID | None = None
) -> None:
    """Delete the document from everything at once; it can be restored for seven days.

    Raises PermissionDenied, NotFound.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        row = find_document(principal, document_id, knowledge_base_id, lock=True)
        _remove(find_base(principal, row.knowledge_base_id), [row])


def delete_documents(
    *, principal: Principal, knowledge_base_id: uuid.UUID, document_ids: Sequence[uuid.UUID]
) -> BulkOutcome:
    """Delete several documents of a base, as `delete_document`; unknown ids are left out.

    Raises PermissionDenied, NotFound for the base.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        base = find_base(principal, knowledge_base_id)
        rows = selectors.documents(base.id).filter(id__in=document_ids).select_for_update()
        chosen = list(rows.order_by("id")[:MAX_CHOSEN_DOCUMENTS])
        if chosen:
            _remove(base, chosen)
        return BulkOutcome(len(chosen), 0)


def _remove(base: KnowledgeBase, rows: Sequence[Document]) -> None:
    RemovedDocument.objects.bulk_create(
        [
            RemovedDocument(
                id=row.id,
                tenant_id=row.tenant_id,
                knowledge_base_id=base.id,
                title=row.title,
                blob_key=row.blob_key,
                kept=_kept(row),
            )
            for row in rows
        ]
    )
    ids = [row.id for row in rows]
    enqueue_removal(base, [(each, "") for each in ids])
    enqueue_job(
        tenant_id=base.tenant_id,
        kind="knowledge.purge",
        payload={"documents": [str(each) for each in ids]},
        max_attempts=8,
        delay=KEEP_DELETED,
    )
    Document.objects.filter(id__in=ids).delete()
    for row in rows:
        note_act("deleted", row.id, row.title, row.tenant_id)
    tell_documents(base)


def _kept(row: Document) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _KEPT} | {
        "user_id": str(row.user_id) if row.user_id else None
    }


def restore_document(*, principal: Principal, document_id: uuid.UUID) -> DocumentView:
    """Bring a deleted document back; its content is ingested again.

    Raises PermissionDenied, NotFound, Conflict when its external id was handed in again meanwhile, QuotaExhausted.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        row = RemovedDocument.objects.select_for_update().filter(id=document_id).first()
        if row is None:
            raise NotFound(_NOT_KEPT)
        base = find_base(principal, row.knowledge_base_id)
        kept = {**row.kept, "user_id": parse_uuid(row.kept.get("user_id") or "")}
        document = Document(id=row.id, tenant_id=row.tenant_id, knowledge_base=base, **kept)
        same = Document.objects.filter(knowledge_base=base, external_id=document.external_id)
        if document.external_id and same.exists():
            raise Conflict("The same external_id was handed in again meanwhile.")
        document.version += 1
        with within_limits(row.tenant_id, [document.user_id]):
            queue_ingestion(document)
        row.delete()
        note_act("restored", document.id, document.title, document.tenant_id)
        tell_documents(base)
        return selectors.document_view(document)
