"""What crosses the door of tenants of the way that one request took."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class TraceState(StrEnum):
    """Why a request's way was kept: it was slow, it failed, it was refused before any work was done for it, or nothing of
    this: it is one of a few that show where calls go.
    """

    SLOW = "slow"
    FAILED = "failed"
    REFUSED = "refused"
    SAMPLED = "sampled"


@dataclass(frozen=True, slots=True)
class TraceHop:
    """One part of a request's way: `at_ms` after its beginning, for `ms`. Facts are names, counts and outcomes."""

    name: str
    at_ms: float
    ms: float
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """The way of one request that is kept, as it goes through the spool. Never content.

    `record_id` is made by Atrium and unique: writing the same entry twice counts once. `door` is v1, ws or rest.
    `status` is the HTTP status it was answered with. Times are milliseconds; `cost_nano` is in billionths of the
    installation's currency.
    """

    record_id: uuid.UUID
    request_id: str
    trace_id: str
    tenant_id: uuid.UUID
    user_id: uuid.UUID | None
    api_key_id: uuid.UUID | None
    door: str
    route: str
    state: TraceState
    status: int
    started_at: datetime
    error: str = ""
    model: str = ""
    assistant: str = ""
    pool: str = ""
    replica: str = ""
    cache: str = "off"
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    queue_ms: int = 0
    first_byte_ms: int = 0
    total_ms: int = 0
    hops: tuple[TraceHop, ...] = ()
    kind: str = "trace"
