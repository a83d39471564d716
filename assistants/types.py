"""What crosses the door of assistants."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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
