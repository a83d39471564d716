"""What crosses the door of knowledge."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class SearchMode(StrEnum):
    """Which legs of the search are used."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    KEYWORD = "keyword"


class DocumentState(StrEnum):
    """Where a document stands: queued → processing → ready, or failed with its reason."""

    QUEUED = "queued"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a document that answers a query. Scores are comparable within one result only.

    `score` is the fused score in 0–1; `vector_score` and `keyword_score` are the legs' own, None when the leg did
    not find it; `vector_rank` and `keyword_rank` are its places in each leg among what was found, from 1.
    """

    document_id: uuid.UUID
    knowledge_base_id: uuid.UUID
    chunk_id: uuid.UUID
    title: str
    text: str
    score: float
    vector_score: float | None
    keyword_score: float | None
    external_id: str = ""
    url: str = ""
    heading: str = ""
    position: int = 0
    page: int = 0
    vector_rank: int | None = None
    keyword_rank: int | None = None


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document that could not be taken in, and why. `error` is for people."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    title: str
    error: str
    error_code: str
    knowledge_base_id: uuid.UUID
    failed_at: datetime
    knowledge_base: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Where vectors live: one tenant's part of the index of one embedder and one schema version."""

    tenant_id: uuid.UUID
    embedder: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class ChunkPoint:
    """A chunk as the vector store keeps it. `search_text` is the title put in front of the text.

    `version` is the document's; a newer version's points stand beside the older ones until those are removed.
    """

    chunk_id: uuid.UUID
    document_id: uuid.UUID
    knowledge_base_id: uuid.UUID
    search_text: str
    vector: Sequence[float]
    version: int = 1


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as a store holds it, for backup and restore: nothing is embedded or analysed again.

    `vector` packs float32, little-endian. `terms` counts the analysed terms. What a store knows of terms by number or
    by hash alone is in `numbers` ((CRC-32, count) pairs) and `hashes`; `length` counts all terms.
    """

    chunk_id: uuid.UUID
    document_id: uuid.UUID
    knowledge_base_id: uuid.UUID
    version: int
    vector: bytes
    terms: Mapping[str, int]
    length: int
    numbers: tuple[tuple[int, int], ...] = ()
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """What backup and restore ask of a document: its file, and which points belong to its visible version.

    `live_version` 0 means that searches show none of it yet; `embedder` is empty until its base has one.
    """

    tenant_id: uuid.UUID
    id: uuid.UUID
    knowledge_base_id: uuid.UUID
    blob_key: str
    live_version: int
    chunk_count: int
    embedder: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """A query over some knowledge bases of one tenant. `alpha` 1 is vectors alone, 0 keywords alone.

    `document_ids` narrows it to some documents; None does not.
    """

    text: str
    vector: Sequence[float] | None
    knowledge_base_ids: tuple[uuid.UUID, ...]
    limit: int
    mode: SearchMode = SearchMode.HYBRID
    alpha: float = 0.5
    document_ids: tuple[uuid.UUID, ...] | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a vector store found. `score` is fused by min-max normalised legs, 0–1."""

    chunk_id: uuid.UUID
    document_id: uuid.UUID
    knowledge_base_id: uuid.UUID
    score: float
    vector_score: float | None
    keyword_score: float | None


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """What narrows a search; all that is given must hold. `metadata` values are compared for equality."""

    document_ids: tuple[uuid.UUID, ...] = ()
    external_ids: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ()
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is narrowed."""
        return not (self.document_ids or self.external_ids or self.media_types or self.metadata)


@dataclass(frozen=True, slots=True)
class KnowledgeBaseView:
    """A knowledge base as the outside sees it. `embedding_model` is empty until its first document is embedded.

    `states` counts its documents by state. `deleted_at` is None unless it waits for its purge.
    """

    id: uuid.UUID
    name: str
    description: str
    alpha: float
    embedding_model: str
    dimensions: int
    document_count: int
    created_at: datetime
    updated_at: datetime
    version: str = ""
    states: Mapping[str, int] = field(default_factory=dict)
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DocumentName:
    """What a document is called, and where it is."""

    id: uuid.UUID
    knowledge_base_id: uuid.UUID
    title: str


@dataclass(frozen=True, slots=True)
class RemovedDocumentView:
    """A document that was deleted and can still be restored."""

    id: uuid.UUID
    knowledge_base_id: uuid.UUID
    title: str
    size_bytes: int
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A document's file, to be saved. `content` is all of it."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """How many documents an act on many reached, and how many are left that it may be asked for again."""

    done: int
    remaining: int


@dataclass(frozen=True, slots=True)
class KnowledgeFound:
    """Knowledge bases and documents whose names match, best first."""

    bases: tuple[tuple[uuid.UUID, str], ...]
    documents: tuple[tuple[DocumentName, str], ...]


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document as the outside sees it. `error` is None unless it failed; sizes are bytes.

    `error_code` of a document that waits says why its last attempt ended. `version` counts its contents, `revision`
    is the version of its description, for `If-Match`. `user_id` is who handed in the content that is there.
    """

    id: uuid.UUID
    knowledge_base_id: uuid.UUID
    title: str
    external_id: str
    url: str
    media_type: str
    file_name: str
    size_bytes: int
    metadata: Mapping[str, Any]
    acl: Sequence[str]
    state: DocumentState
    error: str | None
    error_code: str | None
    chunk_count: int
    page_count: int
    version: int
    user_id: uuid.UUID | None
    created_at: datetime
    updated_at: datetime
    revision: str = ""


@dataclass(frozen=True, slots=True)
class DocumentPassage:
    """A chunk as it stands in its document. `page` is 0 where the format has none."""

    chunk_id: uuid.UUID
    text: str
    heading: str
    position: int
    page: int


class UpsertOutcome(StrEnum):
    """What became of a document that was handed in."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document that is handed in, but for its content. An `external_id` known in the base replaces that document."""

    title: str
    external_id: str = ""
    url: str = ""
    media_type: str = ""
    file_name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    acl: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content that lies in the blob store."""

    blob_key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upserted:
    """A document after it was handed in, and what became of it."""

    document: DocumentView
    outcome: UpsertOutcome


@dataclass(frozen=True, slots=True)
class BulkLine:
    """What became of one line, counted from 1; `error` says why it was not taken."""

    line: int
    outcome: UpsertOutcome | None
    document_id: uuid.UUID | None
    external_id: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """A file of a folder that was handed in, or `reason` why it was left out."""

    path: str
    document_id: uuid.UUID | None
    outcome: UpsertOutcome | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FoundPassages:
    """What a search found, best first.

    `whole` says that it was made as asked for and that nothing of it is just being removed: asked again, while nothing
    changes, it finds the same.
    """

    passages: tuple[Passage, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class KnowledgeState:
    """The bases that somebody may read, and the numbers of the last changes in them.

    `calm` is False right after a change, while searches may not show it yet.
    """

    bases: tuple[uuid.UUID, ...]
    changes: tuple[int, ...]
    calm: bool
