"""The door of knowledge: bases and documents, their ingestion, and retrieval."""

from knowledge.services.bases import (
    create_knowledge_base,
    delete_knowledge_base,
    ensure_knowledge_base,
    get_knowledge_base,
    update_knowledge_base,
)
from knowledge.services.bulk import CheckedLine, upsert_lines
from knowledge.services.documents import (
    create_text_document,
    create_text_documents,
    delete_document,
    get_document,
    retry_document,
    upload_document,
)
from knowledge.services.failures import failed_documents
from knowledge.services.folders import ingest_paths
from knowledge.services.passages import list_passages
from knowledge.services.retrieval import retrieve, search

__all__ = [
    "CheckedLine",
    "create_knowledge_base",
    "create_text_document",
    "create_text_documents",
    "delete_document",
    "delete_knowledge_base",
    "ensure_knowledge_base",
    "failed_documents",
    "get_document",
    "get_knowledge_base",
    "ingest_paths",
    "list_passages",
    "retrieve",
    "retry_document",
    "search",
    "update_knowledge_base",
    "upload_document",
    "upsert_lines",
]
