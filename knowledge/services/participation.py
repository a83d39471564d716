"""What knowledge holds of one tenant: rows, the files that were handed in, the points in the vector store."""

import uuid
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

from kernel.backends import backends
from kernel.errors import NotFound
from knowledge.models import Document
from knowledge.ports import VectorStore
from substrate.participation import TableParticipant
from substrate.ports import BlobStore, ExportedPiece
from substrate.scoping import tenant_scope
from substrate.units import run_unit

PAGE = 500


class KnowledgeParticipant(TableParticipant):
    """Files are in the archive as `files/<document>/<name>`; vectors are not: they can be made again from them."""

    apps = ("knowledge",)
    kept_in: ClassVar[Mapping[str, str]] = {"knowledge.ChunkVector": "made again from the chunks' texts"}

    async def export(self, tenant_id: uuid.UUID) -> AsyncIterator[ExportedPiece]:
        """As the port says."""
        async for piece in super().export(tenant_id):
            yield piece
        store: BlobStore = backends["blob_store"]
        after: uuid.UUID | None = None
        while page := await run_unit(_files, tenant_id, after):
            for document_id, key, name in page:
                try:
                    async for content in store.stream(key):
                        yield ExportedPiece(f"files/{document_id}/{name}", content)
                except NotFound:
                    # Deleted meanwhile.
                    continue
            after = page[-1][0]

    async def delete_outside(self, tenant_id: uuid.UUID) -> None:
        """Points and files."""
        vectors: VectorStore = backends["vector_store"]
        await vectors.delete_tenant(tenant_id)
        blobs: BlobStore = backends["blob_store"]
        await blobs.delete_tenant(tenant_id)

    async def count_outside(self, tenant_id: uuid.UUID) -> Mapping[str, int]:
        """Points and files."""
        vectors: VectorStore = backends["vector_store"]
        blobs: BlobStore = backends["blob_store"]
        files = 0
        async for _ in blobs.keys(tenant_id):
            files += 1
        return {"vectors": await vectors.count(tenant_id), "files": files}


def _files(tenant_id: uuid.UUID, after: uuid.UUID | None) -> list[tuple[uuid.UUID, str, str]]:
    """Documents after that one, each with its file and a name that is safe in an archive."""
    with tenant_scope(tenant_id, read_only=True):
        rows = Document.objects.order_by("id")
        if after is not None:
            rows = rows.filter(id__gt=after)
        found = rows.values_list("id", "blob_key", "file_name")[:PAGE]
        return [(document, key, _safe(name)) for document, key, name in found]


def _safe(name: str) -> str:
    kept = "".join(each if each.isalnum() or each in "._- " else "_" for each in name).strip(". ")
    return kept[:120] or "content"
