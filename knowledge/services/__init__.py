"""The door of knowledge: bases and documents, their ingestion, and retrieval."""

from knowledge.services.bases import (
    create_knowledge_base,
    delete_knowledge_base,
    ensure_knowledge_base,
    get_knowledge_base,
    name_bases,
    restore_knowledge_base,
    update_knowledge_base,
)
from knowledge.services.bulk import CheckedLine, upsert_lines
from knowledge.services.document_acts import (
    delete_document,
    delete_documents,
    describe_document,
    get_document,
    name_documents,
    read_file,
    restore_document,
    retry_document,
    retry_documents,
    without_content,
)
from knowledge.services.documents import create_text_document, create_text_documents, upload_document
from knowledge.services.existing import existing_knowledge_bases
from knowledge.services.failures import failed_documents
from knowledge.services.finding import find_by_name
from knowledge.services.folders import ingest_paths
from knowledge.services.passages import list_passages
from knowledge.services.retrieval import find_passages, retrieve, search
from knowledge.services.seeding import seed_documents
from knowledge.services.state import knowledge_state

__all__ = [
    "CheckedLine",
    "create_knowledge_base",
    "create_text_document",
    "create_text_documents",
    "delete_document",
    "delete_documents",
    "delete_knowledge_base",
    "describe_document",
    "ensure_knowledge_base",
    "existing_knowledge_bases",
    "failed_documents",
    "find_by_name",
    "find_passages",
    "get_document",
    "get_knowledge_base",
    "ingest_paths",
    "knowledge_state",
    "list_passages",
    "name_bases",
    "name_documents",
    "read_file",
    "restore_document",
    "restore_knowledge_base",
    "retrieve",
    "retry_document",
    "retry_documents",
    "search",
    "seed_documents",
    "update_knowledge_base",
    "upload_document",
    "upsert_lines",
    "without_content",
]
