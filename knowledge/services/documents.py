"""Documents: handed in and replaced.

The content is stored first; then one transaction writes the row and queues its ingestion. A failure between the two
leaves a file that nothing refers to, never a document without its file.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import IntegrityError

from kernel.errors import BadInput, Conflict, NotFound
from knowledge import selectors
from knowledge.contents import forget_contents, store_content, store_texts
from knowledge.limits import MAX_FILE_BYTES, MAX_TEXT_CHARS
from knowledge.models import Document, KnowledgeBase
from knowledge.services.bases import find_base
from knowledge.services.removal import enqueue_forgetting
from knowledge.types import DocumentState, NewDocument, StoredContent, Upserted, UpsertOutcome
from substrate.audit import record_act
from substrate.bridge import wait_for
from substrate.changes import record_change
from substrate.jobs import enqueue_job
from substrate.scoping import tenant_scope
from tenants.limit_types import Measure
from tenants.services import require, require_room, within_limits
from tenants.types import Principal

T = TypeVar("T")
# With growing pauses: an engine that is away for ten minutes costs no document.
ATTEMPTS = 10


def upload_document(
    *,
    principal: Principal,
    knowledge_base_id: uuid.UUID,
    new: NewDocument,
    pieces: Iterable[bytes],
    size: int = 1,
) -> Upserted:
    """Store a file, about `size` bytes long, and queue its ingestion.

    Raises PermissionDenied, NotFound, BadInput for an empty file, TooLarge beyond 50 MB, QuotaExhausted when the tenant,
    the user or a group of theirs may not keep more, Unavailable.
    """
    known = _check_base(principal, knowledge_base_id, [new.external_id])
    if new.external_id not in known:
        require_room(principal=principal, added={Measure.DOCUMENTS: 1, Measure.STORAGE_BYTES: size})
    stored = wait_for(lambda: store_content(principal.tenant_id, pieces, limit=MAX_FILE_BYTES))
    if stored.size == 0:
        wait_for(lambda: forget_contents([stored.blob_key]))
        raise BadInput("The file is empty.", param="file")
    return _or_forget([stored], lambda: upsert_documents(principal, knowledge_base_id, [(new, stored)])[0])


def create_text_document(
    *, principal: Principal, knowledge_base_id: uuid.UUID, new: NewDocument, text: str
) -> Upserted:
    """Store a text as a document and queue its ingestion. Raises as `upload_document`."""
    return create_text_documents(
        principal=principal, knowledge_base_id=knowledge_base_id, documents=[(new, text)]
    )[0]


def create_text_documents(
    *, principal: Principal, knowledge_base_id: uuid.UUID, documents: list[tuple[NewDocument, str]]
) -> list[Upserted]:
    """Store several texts in one transaction, in order. Raises as `upload_document`."""
    if any(len(text) > MAX_TEXT_CHARS for _, text in documents):
        raise BadInput("The text is longer than 10 million letters.", param="text")
    known = _check_base(principal, knowledge_base_id, [new.external_id for new, _ in documents])
    fresh = [(new, text) for new, text in documents if known.get(new.external_id) != _digest(text)]
    more = [len(text.encode()) for new, text in fresh if new.external_id not in known]
    require_room(principal=principal, added={Measure.DOCUMENTS: len(more), Measure.STORAGE_BYTES: sum(more)})
    contents = (
        wait_for(lambda: store_texts(principal.tenant_id, [text for _, text in fresh])) if fresh else []
    )
    by_new = {id(new): stored for (new, _), stored in zip(fresh, contents, strict=True)}
    pairs = [
        (new, by_new.get(id(new)) or StoredContent("", len(text.encode()), _digest(text)))
        for new, text in documents
    ]
    return _or_forget(contents, lambda: upsert_documents(principal, knowledge_base_id, pairs))


def upsert_documents(
    principal: Principal, knowledge_base_id: uuid.UUID, documents: list[tuple[NewDocument, StoredContent]]
) -> list[Upserted]:
    """Write the rows and queue the ingestions in one transaction. A content with an empty key is known to be the same.

    Raises NotFound, QuotaExhausted, Conflict when another request hands in the same external id at the same time.
    """
    try:
        with tenant_scope(principal.tenant_id), within_limits(principal.tenant_id, [principal.user_id]):
            base = find_base(principal, knowledge_base_id)
            names = [new.external_id for new, _ in documents if new.external_id]
            rows = Document.objects.select_for_update().filter(knowledge_base=base, external_id__in=names)
            known = {row.external_id: row for row in rows}
            done = []
            for new, stored in documents:
                old = known.get(new.external_id) if new.external_id else None
                row, outcome = _upsert(base, old, new, stored, principal.user_id)
                if row.external_id:
                    known[row.external_id] = row
                done.append(Upserted(selectors.document_view(row), outcome))
            tell_documents(base)
            for each in done:
                if each.outcome is not UpsertOutcome.UNCHANGED:
                    act = "created" if each.outcome is UpsertOutcome.CREATED else "changed"
                    note_act(act, each.document.id, each.document.title, base.tenant_id)
            return done
    except IntegrityError as error:
        raise Conflict(
            "The same external_id is being written by another request.", retry_after_s=1.0
        ) from error


def _upsert(
    base: KnowledgeBase,
    row: Document | None,
    new: NewDocument,
    stored: StoredContent,
    user_id: uuid.UUID | None,
) -> tuple[Document, UpsertOutcome]:
    if row is None:
        if not stored.blob_key:
            raise Conflict("The document was deleted meanwhile; hand it in again.", retry_after_s=1.0)
        row = Document(tenant_id=base.tenant_id, knowledge_base=base, external_id=new.external_id, version=0)
        outcome = UpsertOutcome.CREATED
    else:
        same_content = row.content_hash == stored.sha256 and row.title == new.title
        if same_content and row.state != DocumentState.FAILED:
            return _keep(base, row, new, stored)
        outcome = UpsertOutcome.UPDATED
        if stored.blob_key:
            enqueue_forgetting(base, [row.blob_key])
    describe(row, new)
    row.media_type, row.file_name = new.media_type, new.file_name
    row.blob_key = stored.blob_key or row.blob_key
    row.size, row.content_hash, row.user_id = stored.size, stored.sha256, user_id
    row.version += 1
    queue_ingestion(row)
    return row, outcome


def _keep(
    base: KnowledgeBase, row: Document, new: NewDocument, stored: StoredContent
) -> tuple[Document, UpsertOutcome]:
    """The same content again: only what describes it may have changed."""
    before = (row.url, row.metadata, row.acl)
    describe(row, new)
    changed = before != (row.url, row.metadata, row.acl)
    if changed:
        row.save()
    if stored.blob_key:
        enqueue_forgetting(base, [stored.blob_key])
    return row, UpsertOutcome.UPDATED if changed else UpsertOutcome.UNCHANGED


def describe(row: Document, new: NewDocument) -> None:
    """Put what describes the document, beside its content, into the row."""
    row.title, row.url = new.title, new.url
    row.metadata, row.acl = dict(new.metadata), list(new.acl)


def queue_ingestion(row: Document) -> None:
    """Save the row and queue the ingestion of the version it has now."""
    row.state, row.error, row.error_code = DocumentState.QUEUED.value, "", ""
    row.save()
    enqueue_job(
        tenant_id=row.tenant_id,
        kind="knowledge.ingest",
        payload={"document_id": str(row.id), "version": row.version},
        max_attempts=ATTEMPTS,
    )


def tell_documents(base: KnowledgeBase) -> None:
    """Say, in the transaction at hand, that documents of the base changed."""
    record_change(kind="document", object_id=base.id, tenant_id=base.tenant_id)
    record_change(kind="knowledge_base", object_id=base.id, tenant_id=base.tenant_id)


def note_act(act: str, document_id: uuid.UUID, title: str, tenant_id: uuid.UUID) -> None:
    """Record who did what to a document."""
    record_act(act=act, kind="document", object_id=document_id, label=title, tenant_id=tenant_id)


def find_document(
    principal: Principal, document_id: uuid.UUID, knowledge_base_id: uuid.UUID | None, *, lock: bool = False
) -> Document:
    """The row, in the scope at hand, within the given base, unless that is deleted or shut. Raises NotFound."""
    rows = selectors.documents_in_sight(principal)
    if lock:
        rows = rows.select_for_update()
    if knowledge_base_id is not None:
        rows = rows.filter(knowledge_base_id=knowledge_base_id)
    row = rows.filter(id=document_id).first()
    if row is None:
        raise NotFound("There is no such document.")
    return row


def _check_base(
    principal: Principal, knowledge_base_id: uuid.UUID, external_ids: Iterable[str] = ()
) -> dict[str, str]:
    """Refuse early, before content is stored. Returns the content hashes of the documents known by external id."""
    require(principal, "knowledge.write")
    wanted = [name for name in external_ids if name]
    with tenant_scope(principal.tenant_id, read_only=True):
        base = find_base(principal, knowledge_base_id)
        if not wanted:
            return {}
        rows = Document.objects.filter(knowledge_base=base, external_id__in=wanted)
        return dict(rows.values_list("external_id", "content_hash"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _or_forget(contents: list[StoredContent], work: Callable[[], T]) -> T:
    """What `work` returns; when it fails, the contents are removed again."""
    done = False
    try:
        outcome = work()
        done = True
        return outcome
    finally:
        if not done:
            wait_for(lambda: forget_contents([stored.blob_key for stored in contents]))
