"""What crosses the door of assistants."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from routing.types import CacheWish
from tenants.types import Principal, PriorityClass

AUTO_MODEL = "auto"
NO_WISH = CacheWish()
# How alike two questions must be, as the cosine of their vectors. At 0.95, with the words' guard, one of 5,649 pairs of
# different questions about one paragraph was taken for the same (docs/benchmarks/semantic-cache.md).
DEFAULT_THRESHOLD = 0.95
LEAST_THRESHOLD = 0.85
# Not longer than the change log tells of what has changed since.
LONGEST_KEPT_S = 3_600


class MessageRole(StrEnum):
    """Who wrote a message."""

    USER = "user"
    ASSISTANT = "assistant"


class MessageState(StrEnum):
    """Where a message stands: running, then exactly one of the ends."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the answer refers to as `[index]`."""

    index: int
    document_id: str
    knowledge_base_id: str
    title: str
    chunk_id: str
    text: str
    score: float
    url: str


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a Run: `seq` counts from 1 without gaps; `body` is the WebSocket frame's JSON without `seq`."""

    seq: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A Run that was accepted (or found again by its request id): the ids a client needs to follow it."""

    message_id: uuid.UUID
    conversation_id: uuid.UUID
    request_id: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class AssistantView:
    """An assistant as it may leave its app. `model` is a model id or `auto`.

    `semantic_cache_seconds` is for how long an answer may be given again to a question like its own (0: never),
    `semantic_cache_threshold` how alike the two must be (a cosine), `semantic_cache_epoch` how often what was kept has been
    thrown away.
    """

    id: uuid.UUID
    tenant_id: uuid.UUID
    slug: str
    name: str
    description: str
    instructions: str
    model: str
    knowledge_base_ids: tuple[uuid.UUID, ...]
    suggestions: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    semantic_cache_seconds: int = 0
    semantic_cache_threshold: float = DEFAULT_THRESHOLD
    semantic_cache_epoch: int = 0


@dataclass(frozen=True, slots=True)
class AssistantDraft:
    """An assistant as its editor holds it, not saved yet."""

    name: str
    instructions: str
    model: str
    knowledge_base_ids: tuple[uuid.UUID, ...]


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation of one person or key. `assistant` is the slug it was last held with, empty for a plain model."""

    id: uuid.UUID
    title: str
    assistant: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OwnerView:
    """Whose a conversation is: a `user`, or a `key` that belongs to no user. `name` is empty once they have left."""

    kind: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class InspectedView(ConversationView):
    """Somebody's conversation, as an operator reads it by a break-glass grant."""

    owner: OwnerView


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message of a conversation; `error` is empty but for a failed one."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    role: MessageRole
    content: str
    state: MessageState
    citations: tuple[Citation, ...]
    model: str
    usage: Mapping[str, Any]
    finish_reason: str
    error_code: str
    error: str
    request_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where answers stand that may be given to each other's questions: a tenant's, an assistant's, and a hash of all else
    that must be equal."""

    tenant: str
    assistant: str
    key: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation, as the prompt needs it."""

    role: MessageRole
    content: str


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One question to an assistant or, with a conversation or knowledge bases, to a model.

    `messages` are OpenAI's, the last one the question; with `conversation_id` exactly one, the user's. Either
    `assistant` (a slug) or `model` (an id or `auto`) says who answers. `knowledge_base_ids` None means the
    assistant's own. `body` is the rest of the OpenAI body. `priority` is already clamped to the principal's cap.

    A `draft` answers instead of any stored assistant; `history` are the turns before the question, oldest first, that
    its caller keeps, for nothing of a draft's conversation is stored. `cache` is what the caller says of answers that were
    given before.
    """

    principal: Principal
    messages: Sequence[Mapping[str, Any]]
    request_id: str
    origin: str
    assistant: str | None = None
    model: str | None = None
    conversation_id: str | uuid.UUID | None = None
    knowledge_base_ids: Sequence[str] | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    priority: PriorityClass = PriorityClass.STANDARD
    traceparent: str = ""
    draft: AssistantDraft | None = None
    history: Sequence[Turn] = ()
    cache: CacheWish = NO_WISH
