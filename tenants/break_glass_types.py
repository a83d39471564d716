"""What crosses doors about break-glass."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

REASON_LENGTH = 500
LEAST_REASON = 10
LEAST_MINUTES = 5
MOST_MINUTES = 8 * 60


class BreakGlassState(StrEnum):
    """Whether it opens content now."""

    OPEN = "open"
    OVER = "over"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class OpenGrant:
    """The grant by which the one who asks reads content now."""

    id: uuid.UUID
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StandingGrant:
    """An operator's leave that opens a tenant's content now."""

    id: uuid.UUID
    operator: str
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BreakGlassView:
    """An operator's leave to read a tenant's content. `mine`: the one who asks is that operator. `reads`: how often it was used."""

    id: uuid.UUID
    operator: str
    reason: str
    state: BreakGlassState
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str
    mine: bool
    reads: int
