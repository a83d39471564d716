"""What crosses the door of knowledge."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


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
    not find it.
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
