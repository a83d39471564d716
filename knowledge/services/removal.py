"""What is left to remove once rows are gone: points of the vector store and files, by jobs."""

import uuid
from collections.abc import Iterable, Sequence

from knowledge.models import KnowledgeBase
from substrate.jobs import enqueue_job

# Documents per job: a job is retried as a whole.
PER_JOB = 200
ATTEMPTS = 8


def enqueue_removal(base: KnowledgeBase, documents: Sequence[tuple[uuid.UUID, str]]) -> None:
    """Queue the removal of documents (id, blob key), in the transaction that deletes their rows.

    An empty key keeps the file.
    """
    for start in range(0, len(documents), PER_JOB):
        part = documents[start : start + PER_JOB]
        _enqueue(base, [str(document) for document, _ in part], [key for _, key in part if key])


def enqueue_forgetting(base: KnowledgeBase, blob_keys: Iterable[str]) -> None:
    """Queue the removal of files that a newer version replaced."""
    _enqueue(base, [], list(blob_keys))


def _enqueue(base: KnowledgeBase, documents: list[str], blob_keys: list[str]) -> None:
    enqueue_job(
        tenant_id=base.tenant_id,
        kind="knowledge.delete_document",
        payload={
            "documents": documents,
            "blob_keys": blob_keys,
            "embedder": base.embedder,
            "dimensions": base.dimensions,
        },
        max_attempts=ATTEMPTS,
    )
