"""Job handlers of knowledge: ingest a document, remove what deleted documents leave behind.

Ingestion reads the file, parses it in a confined process, cuts chunks, embeds them in batches and writes rows and
points under the new version's number; the last step makes that version visible in one transaction. Any step may fail
and the job run again; a reader sees the old version until the new one is whole.
"""

import asyncio
import uuid
from collections.abc import Iterator, Sequence

import structlog
from django.conf import settings

from inference.services import embedder_fingerprint, ensure_models
from inference.types import Surface
from kernel.backends import backends
from kernel.errors import AtriumError, Conflict, NotFound, UpstreamFailed
from kernel.ids import make_traceparent
from knowledge.chunking import TextChunk, cut_chunks
from knowledge.limits import MAX_CHUNKS
from knowledge.naming import chunk_id
from knowledge.parsing import plain_text
from knowledge.parsing.blocks import ParsedDocument
from knowledge.parsing.runner import DocumentUnreadable, parse_document
from knowledge.ports import VectorStore
from knowledge.services import ingestion, purging
from knowledge.services.ingestion import IngestionPlan
from knowledge.types import ChunkPoint, Collection
from routing.services import embed
from routing.types import ModelCall
from substrate.job_board import CANCELLED
from substrate.job_progress import JobProgress
from substrate.jobs import ClaimedJob
from substrate.ports import BlobStore
from substrate.units import run_unit
from tenants.types import PriorityClass

log = structlog.get_logger(__name__)

# One request to the embedder; and how many points are written (and waited for) at once.
EMBED_BATCH = 32
WRITE_BATCH = 256
TEXT = "text/plain"


async def ingest_document(job: ClaimedJob) -> None:
    """Ingest one version of a document. Safe to run again; returns when there is nothing left to do.

    Raises DocumentUnreadable (final), Unavailable and UpstreamFailed (to be tried again).
    """
    document_id, version = uuid.UUID(job.payload["document_id"]), int(job.payload["version"])
    plan = await run_unit(ingestion.begin, job.tenant_id, document_id, version)
    if plan is None:
        log.info("ingestion_superseded", document_id=str(document_id), version=version)
        return
    try:
        if plan.live:
            await _tidy(plan, plan.collection)
        else:
            await _ingest(plan, job)
    except AtriumError as error:
        if error.retryable:
            await run_unit(ingestion.note_waiting, job.tenant_id, document_id, version, code=error.code)
        else:
            await run_unit(
                ingestion.note_failure,
                job.tenant_id,
                document_id,
                version,
                reason=error.message,
                code=error.code,
            )
        raise


async def give_up_ingestion(job: ClaimedJob, reason: str) -> None:
    """Write the reason to the document."""
    document_id, version = uuid.UUID(job.payload["document_id"]), int(job.payload["version"])
    code = "cancelled" if reason == CANCELLED else ""
    await run_unit(ingestion.note_failure, job.tenant_id, document_id, version, reason=reason, code=code)


async def delete_document(job: ClaimedJob) -> None:
    """Remove points and files of documents whose rows are gone. Safe to run again. Raises Unavailable."""
    blobs: BlobStore = backends["blob_store"]
    if job.payload["embedder"]:
        collection = Collection(job.tenant_id, job.payload["embedder"], job.payload["dimensions"])
        await _delete_points(collection, [uuid.UUID(each) for each in job.payload["documents"]])
    for key in job.payload["blob_keys"]:
        await blobs.delete(key)


async def _delete_points(collection: Collection, document_ids: Sequence[uuid.UUID]) -> None:
    """Remove the points of documents, but of those that were restored meanwhile."""
    store: VectorStore = backends["vector_store"]
    restored = await run_unit(ingestion.find_again, collection.tenant_id, document_ids)
    gone = [each for each in document_ids if each not in restored]
    for document_id in gone:
        await store.delete_document(collection, document_id)
    # Restored while its points were deleted: some of the new ones may be among them.
    late = await run_unit(ingestion.find_again, collection.tenant_id, gone)
    for document_id in late:
        await run_unit(purging.ingest_again, collection.tenant_id, document_id)


async def purge(job: ClaimedJob) -> None:
    """Remove for good what was deleted seven days ago: a base with all it holds, or some documents' files.

    What was restored meanwhile stays. Safe to run again. Raises Unavailable.
    """
    base = job.payload.get("knowledge_base_id")
    if base is not None:
        while not await run_unit(
            purging.purge_base, job.tenant_id, uuid.UUID(base), job.payload["deleted_at"]
        ):
            continue
        return
    documents = [uuid.UUID(each) for each in job.payload["documents"]]
    await run_unit(purging.purge_documents, job.tenant_id, documents)


async def give_up_purge(job: ClaimedJob, reason: str) -> None:
    """Say that something stays behind, hidden."""
    log.error("purge_given_up", reason=reason, tenant_id=str(job.tenant_id), **job.payload)


async def give_up_deletion(job: ClaimedJob, reason: str) -> None:
    """Say that something stays behind; searches never show it, for its rows are gone."""
    log.error(
        "removal_given_up",
        reason=reason,
        tenant_id=str(job.tenant_id),
        documents=job.payload["documents"],
        blob_keys=job.payload["blob_keys"],
    )


async def _ingest(plan: IngestionPlan, job: ClaimedJob) -> None:
    """Read, cut, embed, write, publish; and tidy up, also when the document was deleted or replaced meanwhile."""
    parsed = await _read(plan)
    chunks = await asyncio.to_thread(cut_chunks, parsed.blocks)
    if not chunks:
        raise DocumentUnreadable("The document holds no text.", code="empty")
    if len(chunks) > MAX_CHUNKS:
        raise DocumentUnreadable("The document holds more text than can be indexed.", code="too_large")
    model = plan.embedding_model or settings.EMBEDDING_MODEL
    progress = JobProgress(job)
    done = 0
    await ensure_models()
    collection = plan.collection
    store: VectorStore = backends["vector_store"]
    for part in _batches(chunks, WRITE_BATCH):
        vectors: list[Sequence[float]] = []
        for batch in _batches(part, EMBED_BATCH):
            vectors += await _embed(plan, parsed, batch, model, job)
            await progress.tell(done + len(vectors), len(chunks), "embedding")
        done += len(part)
        if collection is None:
            collection = await run_unit(
                ingestion.fix_embedder,
                job.tenant_id,
                plan.knowledge_base_id,
                model=model,
                embedder=embedder_fingerprint(model),
                dimensions=len(vectors[0]),
            )
        if collection is None or not await run_unit(ingestion.store_chunks, plan, part):
            await _tidy_abandoned(plan, collection)
            return
        _check(collection, model, vectors)
        points = [_point(plan, parsed, chunk, vector) for chunk, vector in zip(part, vectors, strict=True)]
        await store.upsert(collection, points)
    if await run_unit(ingestion.publish, plan, chunk_count=len(chunks), page_count=parsed.pages):
        await _tidy(plan, collection)
    else:
        await _tidy_abandoned(plan, collection)


async def _read(plan: IngestionPlan) -> ParsedDocument:
    blobs: BlobStore = backends["blob_store"]
    try:
        content = await blobs.read(plan.blob_key)
    except NotFound as error:
        raise DocumentUnreadable("The stored file is gone; upload it again.", code="file_gone") from error
    if not plan.file_name and plan.media_type == TEXT:
        # It came as text and was encoded by us: there is nothing to parse that could do harm.
        return await asyncio.to_thread(plain_text.parse, content, "")
    return await parse_document(content, file_name=plan.file_name or plan.title, media_type=plan.media_type)


async def _embed(
    plan: IngestionPlan, parsed: ParsedDocument, chunks: Sequence[TextChunk], model: str, job: ClaimedJob
) -> Sequence[Sequence[float]]:
    texts = [search_text(plan.title, parsed.title, chunk) for chunk in chunks]
    call = ModelCall(
        principal=plan.principal,
        surface=Surface.EMBEDDINGS,
        model=model,
        body={"model": model, "input": texts},
        prompt_chars=sum(map(len, texts)),
        request_id=job.request_id or str(job.id),
        origin="ingestion",
        priority=PriorityClass.BATCH,
        traceparent=make_traceparent(job.trace_id) if job.trace_id else "",
    )
    embeddings, _ = await embed(call)
    if len(embeddings.vectors) != len(texts):
        raise UpstreamFailed("The embedding engine gave another number of vectors than texts.")
    return embeddings.vectors


def _check(collection: Collection, model: str, vectors: Sequence[Sequence[float]]) -> None:
    """Vectors of another making must never get into the index."""
    embedder = embedder_fingerprint(model)
    if embedder != collection.embedder:
        raise Conflict(
            f"The knowledge base was embedded by {collection.embedder}, this installation now has {embedder}. "
            "Make a new knowledge base.",
            code="embedder_changed",
        )
    if any(len(vector) != collection.dimensions for vector in vectors):
        raise Conflict(
            f"The embedding model now makes vectors of {len(vectors[0])} numbers, the knowledge base has "
            f"{collection.dimensions}. Make a new knowledge base.",
            code="embedder_changed",
        )


def search_text(title: str, own_title: str, chunk: TextChunk) -> str:
    """What is embedded and searched: the titles in front, then the headings, then the text."""
    parts = [title, own_title if own_title != title else "", chunk.heading, chunk.text]
    return "\n".join(part for part in parts if part)


def _point(
    plan: IngestionPlan, parsed: ParsedDocument, chunk: TextChunk, vector: Sequence[float]
) -> ChunkPoint:
    return ChunkPoint(
        chunk_id=chunk_id(plan.document_id, plan.version, chunk.position),
        document_id=plan.document_id,
        knowledge_base_id=plan.knowledge_base_id,
        search_text=search_text(plan.title, parsed.title, chunk),
        vector=vector,
        version=plan.version,
    )


async def _tidy(plan: IngestionPlan, collection: Collection | None) -> None:
    """Remove the points of older versions."""
    if collection is not None and plan.version > 1:
        store: VectorStore = backends["vector_store"]
        await store.delete_document(collection, plan.document_id, plan.version)


async def _tidy_abandoned(plan: IngestionPlan, collection: Collection | None) -> None:
    """The document went away, or was replaced, while this version was written: remove what nobody will."""
    if collection is None:
        return
    store: VectorStore = backends["vector_store"]
    live = await run_unit(ingestion.live_version, plan.principal.tenant_id, plan.document_id)
    await store.delete_document(collection, plan.document_id, live)


def _batches(items: Sequence[TextChunk], size: int) -> Iterator[Sequence[TextChunk]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
