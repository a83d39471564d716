"""Back-office pages of knowledge: what there is and where it stands, never what it says."""

from typing import ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from knowledge.models import Chunk, ChunkVector, Document, KnowledgeBase
from substrate.back_office import ReadOnlyAdmin

_STATES = {"queued": "info", "processing": "info", "ready": "success", "failed": "danger"}


@admin.register(KnowledgeBase)
class KnowledgeBaseAdmin(ReadOnlyAdmin):
    """Knowledge bases of all tenants."""

    list_display = ("name", "tenant", "embedder", "dimensions", "alpha", "created_at")
    list_filter = ("tenant", "embedder")
    list_select_related = ("tenant",)
    search_fields = ("name", "tenant__slug")
    ordering = ("-id",)


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    """Documents with their states and the reasons of failures; no text, no metadata of the tenant's own."""

    list_display = (
        "id",
        "tenant",
        "knowledge_base",
        "shown_state",
        "media_type",
        "size",
        "chunk_count",
        "updated_at",
    )
    list_filter = ("state", "error_code", "media_type", "tenant")
    list_select_related = ("tenant", "knowledge_base")
    search_fields = ("id", "tenant__slug", "knowledge_base__name")
    ordering = ("-id",)
    fields: ClassVar[tuple[str, ...]] = (
        "id", "tenant", "knowledge_base", "state", "error", "error_code", "media_type", "size", "content_hash",
        "chunk_count", "page_count", "version", "live_version", "created_at", "updated_at",
    )  # fmt: skip

    @display(description="State", label=_STATES)
    def shown_state(self, row: Document) -> str:
        """The state as a badge."""
        return row.state


@admin.register(Chunk)
class ChunkAdmin(ReadOnlyAdmin):
    """Chunks by size and place."""

    list_display = ("id", "tenant", "document_id", "version", "position", "page", "tokens")
    list_filter = ("tenant",)
    list_select_related = ("tenant",)
    search_fields = ("=id", "=document__id")
    ordering = ("-id",)
    fields: ClassVar[tuple[str, ...]] = (
        "id", "tenant", "document", "version", "position", "page", "tokens", "created_at",
    )  # fmt: skip


@admin.register(ChunkVector)
class ChunkVectorAdmin(ReadOnlyAdmin):
    """Points of the embedded vector store."""

    list_display = ("id", "tenant", "chunk_id", "embedder", "dimensions", "version", "length")
    list_filter = ("embedder", "tenant")
    list_select_related = ("tenant",)
    search_fields = ("=chunk_id", "=document_id")
    ordering = ("-id",)
    fields: ClassVar[tuple[str, ...]] = (
        "id", "tenant", "chunk_id", "document_id", "knowledge_base_id", "embedder", "dimensions", "version", "length",
        "created_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChunkVector]:
        """Without the vectors and terms themselves."""
        rows: QuerySet[ChunkVector] = super().get_queryset(request)
        return rows.defer("vector", "keywords", "term_counts")
