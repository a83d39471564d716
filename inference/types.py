"""What crosses the door of inference."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

MODEL_ID_LENGTH = 200
POOL_NAME_LENGTH = 100
URL_LENGTH = 500
REGION_LENGTH = 64
# vLLM refuses nothing of its own below this; more than this at once on one engine is a typing error.
MAX_CONCURRENCY = 100_000
MAX_CONTEXT_LENGTH = 100_000_000
MAX_DIMENSIONS = 100_000
MAX_PRICE_NANO = 10**12


class ModelKind(StrEnum):
    """What a model does."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"


class Tier(StrEnum):
    """How capable (and dear) a model is."""

    LIGHT = "light"
    HEAVY = "heavy"


class Surface(StrEnum):
    """Which OpenAI route a call uses upstream."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """One engine process that serves one model of one pool. `max_concurrency` is how many calls it takes at once.

    `engine` names the adapter (`BACKENDS["engine.<engine>"]`); `url` is the OpenAI base URL ending in `/v1`, empty
    for built-in engines. `api_key` is the engine's own, never the caller's. `vllm` says that the engine takes vLLM's
    own fields (`cache_salt`, `priority`); other OpenAI-compatible endpoints refuse them.
    """

    id: str
    pool: str
    model: str
    engine: str
    url: str
    served_name: str
    max_concurrency: int
    region: str = ""
    draining: bool = False
    api_key: str = field(default="", repr=False)
    vllm: bool = True


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as callers name it, with the pools' replicas that serve it.

    Prices are nano-units per token (a price per million tokens times 1000). `context_length` is in tokens, 0 when
    unknown. `built_in` engines (extractive, local embedding) are never chosen while a real model is eligible.
    `replicas` are the ones in service (draining ones excluded), of all pools.
    """

    id: str
    kind: ModelKind
    tier: Tier
    context_length: int
    input_price_nano: int
    output_price_nano: int
    built_in: bool
    created: int
    replicas: tuple[ReplicaSpec, ...]
    dimensions: int = 0

    pools: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """`pools` are those that serve it, in a stable order: told once, asked with every call."""
        object.__setattr__(self, "pools", tuple(dict.fromkeys(replica.pool for replica in self.replicas)))


@dataclass(frozen=True, slots=True)
class ContextPassage:
    """One passage given to the engine as structured context; `index` is its citation number, from 1."""

    index: int
    title: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One call for one replica. `body` is the OpenAI request body, already cleaned; the adapter sets the model's name.

    `tenant_id` becomes the engine's cache salt. `priority` is vLLM's (lower is earlier). `question` and `passages`
    are the structured context that the extractive engine answers from; HTTP engines ignore them, for their prompt
    already holds the passages.
    """

    surface: Surface
    body: Mapping[str, Any]
    tenant_id: uuid.UUID
    request_id: str
    traceparent: str = ""
    priority: int = 0
    question: str = ""
    passages: tuple[ContextPassage, ...] = ()
    first_byte_timeout_s: float = 120.0
    idle_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call. `estimated` when the engine did not say and they were counted by us."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    estimated: bool = False


@dataclass(slots=True)
class Chunk:
    """What one read from the engine brought: whole SSE events as JSON bytes (without `data: `), and their sense.

    `frames` are the events in order, `[DONE]` and usage-only events left out; `text` is their text joined;
    `tokens` is how many of them carried text or tool calls; `usage` and `finish_reason` when among them. Not frozen: it is made per
    read on the hottest path.
    """

    frames: list[bytes]
    text: str = ""
    tokens: int = 0
    usage: TokenUsage | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer that was not streamed: the engine's JSON body as bytes, and its usage."""

    body: bytes
    text: str
    usage: TokenUsage
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each input, in order, as float32 sequences."""

    vectors: Sequence[Sequence[float]]
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What an engine says of itself. `kv_usage` is 0–1."""

    running: int
    waiting: int
    kv_usage: float


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as the outside sees it. Prices are decimal text per million tokens.

    `notice` is empty, or says what its user must know (the local embedder is the lexical one).
    """

    uuid: uuid.UUID
    id: str
    kind: ModelKind
    tier: Tier
    context_length: int
    dimensions: int
    input_price: str
    output_price: str
    built_in: bool
    replica_count: int
    notice: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as the outside sees it."""

    id: uuid.UUID
    name: str
    engine: str
    region: str
    replica_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as the outside sees it; never its key. `available` is what this process thinks of its health."""

    id: uuid.UUID
    pool_id: uuid.UUID
    pool: str
    model: str
    url: str
    served_name: str
    max_concurrency: int
    region: str
    draining: bool
    vllm: bool
    has_api_key: bool
    available: bool
    created_at: datetime
