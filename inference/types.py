"""What crosses the door of inference.

What is made for every call is a struct of msgspec: as fixed as a frozen dataclass, and made in a fifth of its time.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

MODEL_ID_LENGTH = 200
POOL_NAME_LENGTH = 100
URL_LENGTH = 500
REGION_LENGTH = 64
# vLLM refuses nothing of its own below this; more than this at once on one engine is a typing error.
MAX_CONCURRENCY = 100_000
MAX_CONTEXT_LENGTH = 100_000_000
# An answer is kept an hour at most: so long it may outlive the tenant whose it was.
MAX_CACHE_SECONDS = 3_600
MAX_DIMENSIONS = 100_000
MAX_PRICE_NANO = 10**12
# Every process has heard of a planned price before it comes into force: an edit takes two seconds to be everywhere.
PLAN_AHEAD_S = 10
PLAN_DAYS = 5 * 366
MAX_PLANNED_PRICES = 50


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
class PlannedPrice:
    """A price in nano-units per token that comes into force at `valid_from` (aware)."""

    valid_from: datetime
    input_price_nano: int
    output_price_nano: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as callers name it, with the pools' replicas that serve it.

    Prices are nano-units per token (a price per million tokens times 1000), `planned` those that come later, the next
    first: see `priced_at`. `context_length` is in tokens, 0 when unknown. `built_in` engines (extractive, local embedding) are never chosen while a real model is eligible.
    `replicas` are the ones in service (draining ones excluded), of all pools; `resting` those that drain. `tenants` are
    the ids of those that may use it, None when it is open to all; a model that is not `enabled` is there for nobody.
    `cache_seconds` is for how long its answers may be kept (0: never), `cached_price_percent` the part of its price that
    one costs which was given before.
    `tools` and `images` say what it takes beside text: what `auto` may give it. `asleep` are pools without a replica in
    service that start one when a call comes; who knows of them tells (`routing.sleepers`).
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
    resting: tuple[ReplicaSpec, ...] = ()
    enabled: bool = True
    tenants: frozenset[uuid.UUID] | None = None
    cache_seconds: int = 0
    cached_price_percent: int = 0
    tools: bool = True
    images: bool = False
    asleep: tuple[str, ...] = ()
    planned: tuple[PlannedPrice, ...] = ()

    pools: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """`pools` are those that serve it, in a stable order: told once, asked with every call."""
        object.__setattr__(self, "pools", tuple(dict.fromkeys(replica.pool for replica in self.replicas)))

    def priced_at(self, moment: datetime) -> "ModelSpec":
        """The model with the prices of that moment: itself until the first planned one is in force."""
        planned = self.planned
        if not planned or moment < planned[0].valid_from:
            return self
        due = sum(each.valid_from <= moment for each in planned)
        return replace(
            self,
            input_price_nano=planned[due - 1].input_price_nano,
            output_price_nano=planned[due - 1].output_price_nano,
            planned=planned[due:],
        )

    def within(self, region: str) -> "ModelSpec":
        """The model with those replicas alone that may see what must stay in `region` (empty: all of them).

        A replica that names no region is in none. Built-in engines are this installation itself.
        """
        if not region or self.built_in:
            return self
        kept = tuple(each for each in self.replicas if each.region == region)
        return self if len(kept) == len(self.replicas) else replace(self, replicas=kept)

    def served_names(self) -> tuple[str, ...]:
        """The names that its engines know it by: an answer under other names was another model's."""
        return tuple(sorted({replica.served_name for replica in self.replicas}))

    def open_to(self, tenant_id: uuid.UUID) -> bool:
        """Whether calls of the tenant may use it."""
        return self.enabled and (self.tenants is None or tenant_id in self.tenants)


@dataclass(frozen=True, slots=True)
class ContextPassage:
    """One passage given to the engine as structured context; `index` is its citation number, from 1."""

    index: int
    title: str
    text: str
    score: float


class EngineRequest(Struct, frozen=True):
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


class TokenUsage(Struct, frozen=True):
    """Tokens of one call. `estimated` when the engine did not say and they were counted by us."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    estimated: bool = False


class Chunk(Struct):
    """What one read from the engine brought: whole SSE events as JSON bytes (without `data: `), and their sense.

    `frames` are the events in order, `[DONE]` and usage-only events left out; `text` is their text joined;
    `tokens` is how many they say, by the engine's count or as many as carried text or tool calls; `usage` and `finish_reason` when among them. `opaque` when
    some said what is not plain text of the answer (tool calls, reasoning). `prompt_tokens` where the engine counts
    along. Not frozen: it is made per read on the hottest path.
    """

    frames: list[bytes]
    text: str = ""
    tokens: int = 0
    usage: TokenUsage | None = None
    finish_reason: str | None = None
    opaque: bool = False
    prompt_tokens: int = 0


class Completion(Struct, frozen=True):
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
    """What an engine says of itself. `kv_usage` is 0–1.

    The others count tokens since the engine began: answered, of prompts, asked for in its prefix cache and found there;
    but `cache_tokens`, which is how many its cache holds, 0 where it does not say.
    """

    running: int
    waiting: int
    kv_usage: float
    made_tokens: float = 0.0
    prompt_tokens: float = 0.0
    cache_asked: float = 0.0
    cache_hits: float = 0.0
    cache_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaVitals:
    """What all processes have seen of a replica's work; None where none has seen anything of late.

    `prefill_tps` are uncached prompt tokens a second; times to the first token and between two tokens are the median and
    the 99th percentile of the last answers; `distance_ms` is the way from the answering process; `hit_rate` the share
    (0–1) of prompt tokens that the engine found in its cache; `restarts` how often it was seen to begin anew.
    """

    prefill_tps: float | None
    ttft_ms: float | None
    ttft_p99_ms: float | None
    gap_ms: float | None
    gap_p99_ms: float | None
    distance_ms: float | None
    kv_usage: float | None
    hit_rate: float | None
    restarts: int


class ModelState(StrEnum):
    """Whether a model can be called."""

    IN_SERVICE = "in_service"
    WITHOUT_REPLICA = "without_replica"
    DISABLED = "disabled"


class PriceState(StrEnum):
    """A price that comes, the one that holds now, or one that another has followed."""

    PLANNED = "planned"
    IN_FORCE = "in_force"
    PAST = "past"


class ReplicaState(StrEnum):
    """How a replica stands, as the process that answers sees it."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNKNOWN = "unknown"


class PoolState(StrEnum):
    """How a pool stands: all its replicas well, some, none; none there; or not looked at yet."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    DRAINING = "draining"
    EMPTY = "empty"
    UNKNOWN = "unknown"


class SourceKind(StrEnum):
    """Who says where a pool's replicas are. A replica's origin is one of these too."""

    STATIC = "static"
    DNS = "dns"
    KUBERNETES = "kubernetes"


class SourceState(StrEnum):
    """How it goes: nothing is to be found; nobody has looked yet; all is well; the last look failed; it is long since one
    did not.
    """

    STATIC = "static"
    WAITING = "waiting"
    FOUND = "found"
    FAILING = "failing"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as the outside sees it. Prices are decimal text per million tokens.

    `notice` is empty, or says what its user must know (the local embedder is the lexical one). `tenants` are the slugs
    of those that may use a restricted model; only operators are shown them.
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
    enabled: bool
    restricted: bool
    tenants: tuple[str, ...]
    state: ModelState
    replica_count: int
    notice: str
    created_at: datetime
    updated_at: datetime
    cache_seconds: int = 0
    cached_price_percent: int = 0
    tools: bool = True
    images: bool = False


@dataclass(frozen=True, slots=True)
class PriceView:
    """A price of a model from `valid_from` on, decimal text per million tokens; `state` says how that lies to now."""

    id: uuid.UUID
    model: str
    input_price: str
    output_price: str
    valid_from: datetime
    state: PriceState
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SavingView:
    """Of a model's `calls` in the last 24 hours those that were `given_again`, and what that has saved.

    `given_alike` of them were an assistant's, to questions like those they were made for.
    """

    model: str
    calls: int
    given_again: int
    given_alike: int
    saved_tokens: int
    saved_cost_nano: int


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as the outside sees it."""

    id: uuid.UUID
    name: str
    engine: str
    region: str
    replica_count: int
    created_at: datetime
    updated_at: datetime
    models: tuple[str, ...] = ()
    built_in: bool = False
    source: SourceKind = SourceKind.STATIC
    source_state: SourceState = SourceState.STATIC


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool as it stands now. `running` calls hold one of `slots`, `waiting` calls queue for one, also by class."""

    state: PoolState
    healthy: int
    unhealthy: int
    draining: int
    running: int
    slots: int
    waiting: int
    waiting_by_class: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LivePool:
    """A pool with its status."""

    pool: PoolView
    status: PoolStatus


@dataclass(frozen=True, slots=True)
class ReplicaHealth:
    """What a process knows of a replica from its probes and calls. `latency_ms` is the last health check's.

    `since` is when it last went out or came back (or was first heard of); `error` why it last failed, empty when it
    never did. `left_alone` says why it is left alone for `left_alone_s` more seconds although it answers, or empty;
    `on_trial` that it has come back from that and is not yet trusted like the others.
    """

    available: bool
    since: datetime
    checked_at: datetime | None
    latency_ms: float | None
    error: str
    error_at: datetime | None
    left_alone: str = ""
    left_alone_s: float = 0.0
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as the outside sees it; never its key. `vanished_at` is since when its source names it no more."""

    id: uuid.UUID
    pool_id: uuid.UUID
    pool: str
    model: str
    kind: ModelKind
    url: str
    served_name: str
    max_concurrency: int
    region: str
    draining: bool
    vllm: bool
    built_in: bool
    has_api_key: bool
    created_at: datetime
    updated_at: datetime
    origin: SourceKind = SourceKind.STATIC
    vanished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LiveReplica:
    """A replica with what the answering process sees of it now.

    `running` is how many calls hold one of its slots, over the whole installation, `tokens_in_flight` what is being read
    of their prompts; `load` what the engine says of itself, None where it says nothing; `vitals` what all processes have
    seen of it, None where nothing. What another process leaves alone is told with its `health`.
    """

    replica: ReplicaView
    state: ReplicaState
    health: ReplicaHealth | None
    running: int
    load: ReplicaLoad | None
    vitals: ReplicaVitals | None = None
    tokens_in_flight: int = 0


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that an engine says it serves. `context_length` is in tokens, 0 when unsaid."""

    id: str
    context_length: int
    owner: str


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """What a call of one token told of an engine. `problem` is empty when it was answered.

    `first_token_ms` is the time to the first byte of the answer; `dimensions` are of an embedding model.
    """

    model: str
    kind: ModelKind | None
    first_token_ms: float | None
    streams: bool
    tells_usage: bool
    dimensions: int
    problem: str


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What a connection test found. `problem` is a code, empty when the engine can be used; `message` says it in words.

    `url` is the base URL that was asked. `tries_ms` are the times of equal small calls.
    """

    url: str
    problem: str
    message: str
    engine: str = ""
    version: str = ""
    vllm: bool = False
    models: tuple[FoundModel, ...] = ()
    tries_ms: tuple[float, ...] = ()
    first_tokens: FirstTokens | None = None
    took_ms: float = 0.0
