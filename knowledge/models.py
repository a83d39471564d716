"""Rows of knowledge: knowledge bases, documents, chunks, and the embedded profile's vectors."""

from typing import ClassVar

from django.db import models

from knowledge.types import DocumentState
from substrate.models import TenantOwned


class KnowledgeBase(TenantOwned):
    """A collection of documents that is searched together.

    `embedding_model`, `embedder` (the fingerprint of its vectors) and `dimensions` are empty until the first document
    is embedded; then they stay, for vectors of different models cannot be compared. `alpha` weighs the legs of a hybrid search: 1 is meaning alone, 0 words alone.
    With `deleted_at` it is hidden from everything, its documents too, its name is free, and it can be restored until
    the purge comes.
    """

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    alpha = models.FloatField(default=0.5)
    embedding_model = models.CharField(max_length=200, blank=True)
    embedder = models.CharField(max_length=200, blank=True)
    dimensions = models.PositiveIntegerField(default=0)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """A name is given once per tenant, among those that are not deleted."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "name"],
                condition=models.Q(deleted_at=None),
                name="knowledge_base_name_while_there",
            ),
        ]

    def __str__(self) -> str:
        """The name people gave it."""
        return self.name


class Document(TenantOwned):
    """One file or text of a knowledge base.

    queued → processing → ready, or failed with `error` (for people) and `error_code`. New content raises `version`
    and queues the document again; until that version is ready, the chunks of `live_version` (0: none yet) answer
    searches. `blob_key` is where the content of `version` lies, `user_id`
    who handed it in: a bare id, which outlives its user (None: a key without user, or older than this column). `acl` is
    stored as it was given; nothing enforces it
    yet.
    """

    knowledge_base = models.ForeignKey(KnowledgeBase, on_delete=models.CASCADE, related_name="documents")
    title = models.CharField(max_length=500)
    external_id = models.CharField(max_length=500, blank=True)
    url = models.CharField(max_length=2000, blank=True)
    media_type = models.CharField(max_length=200, blank=True)
    file_name = models.CharField(max_length=255, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    blob_key = models.CharField(max_length=200)
    content_hash = models.CharField(max_length=64)
    metadata = models.JSONField(default=dict, blank=True)
    acl = models.JSONField(default=list, blank=True)
    state = models.CharField(
        max_length=16,
        choices=[(state.value, state.value) for state in DocumentState],
        default=DocumentState.QUEUED.value,
    )
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    chunk_count = models.PositiveIntegerField(default=0)
    page_count = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)
    live_version = models.PositiveIntegerField(default=0)
    user_id = models.UUIDField(null=True, blank=True)

    class Meta(TenantOwned.Meta):
        """Listed by knowledge base; an external id is given once in one."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["knowledge_base", "external_id"],
                condition=~models.Q(external_id=""),
                name="document_external_id_once",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "knowledge_base", "id"], name="document_by_base"),
            models.Index(fields=["tenant", "state"], name="document_by_state"),
            # Each order that the list of a base can have; the first of them also answers for the counts by state, the
            # second for searches in titles.
            models.Index(fields=["tenant", "knowledge_base", "state", "id"], name="document_in_base_state"),
            models.Index(fields=["tenant", "knowledge_base", "title", "id"], name="document_in_base_title"),
            models.Index(fields=["tenant", "knowledge_base", "size", "id"], name="document_in_base_size"),
            models.Index(
                fields=["tenant", "knowledge_base", "chunk_count", "id"], name="document_in_base_chunks"
            ),
            models.Index(
                fields=["tenant", "knowledge_base", "updated_at", "id"], name="document_in_base_changed"
            ),
            # Answers alone for how much is kept: by the tenant, and of what a user handed in.
            models.Index(fields=["tenant", "user_id", "knowledge_base", "size"], name="document_by_user"),
        ]

    def __str__(self) -> str:
        """Its title."""
        return self.title


class RemovedDocument(TenantOwned):
    """A document that was deleted and can still be restored: its row as it was (`kept`), and where its file lies.

    Its id is the document's. Its passages and vectors are gone at once; restoring it ingests the file again. The
    purge removes the file and this row. The id of the knowledge base is no foreign key: the base may go first.
    """

    knowledge_base_id = models.UUIDField()
    title = models.CharField(max_length=500)
    blob_key = models.CharField(max_length=200)
    kept = models.JSONField()

    class Meta(TenantOwned.Meta):
        """Listed by knowledge base, the last deleted first."""

        indexes: ClassVar = [
            models.Index(
                fields=["tenant", "knowledge_base_id", "-created_at"], name="removed_document_by_base"
            ),
        ]

    def __str__(self) -> str:
        """Its id: it is deleted."""
        return str(self.id)


class Chunk(TenantOwned):
    """A part of a document as it is found and cited.

    Its id is made from document, version and position, so that an ingestion that is run again writes the same rows.
    Only chunks of the document's `live_version` are shown.
    """

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="chunks")
    version = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    heading = models.TextField(blank=True)
    text = models.TextField()
    page = models.PositiveIntegerField(default=0)
    tokens = models.PositiveIntegerField(default=0)

    class Meta(TenantOwned.Meta):
        """Read in order within a version."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["document", "version", "position"], name="chunk_position_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "document"], name="chunk_by_document")]


class ChunkVector(TenantOwned):
    """A point of the embedded vector store: a chunk's vector and its terms. Written and deleted, never changed.

    The ids of chunk, document and knowledge base are no foreign keys: the store is a port and stands alone. The
    integer id only grows and is never used again, so (count, greatest id, sum of ids) tells whether a copy in memory
    is current; it is also the row of the full-text index (see `keyword_index`). `keywords` are the distinct terms,
    each behind its knowledge base's tag; `term_counts` packs (CRC-32 of the term, count) pairs; `length` counts terms.
    """

    id = models.BigAutoField(primary_key=True)  # type: ignore[assignment]  # the base's is a UUID; see above
    chunk_id = models.UUIDField()
    document_id = models.UUIDField()
    knowledge_base_id = models.UUIDField()
    embedder = models.CharField(max_length=200)
    version = models.PositiveIntegerField()
    dimensions = models.PositiveIntegerField()
    length = models.PositiveIntegerField()
    term_counts = models.BinaryField()
    vector = models.BinaryField()
    keywords = models.TextField()

    class Meta(TenantOwned.Meta):
        """One point per chunk; the second index alone answers for a knowledge base's statistics."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "chunk_id"], name="chunk_vector_once"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["tenant", "knowledge_base_id", "embedder", "dimensions", "id", "length"],
                name="chunk_vector_by_base",
            ),
            models.Index(fields=["tenant", "document_id"], name="chunk_vector_by_document"),
        ]
