"""What crosses the door of tenants."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What a member may do, from most to least. See `tenants.permissions` for the table."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class PriorityClass(StrEnum):
    """How urgent a request is, the most urgent first."""

    CRITICAL = "critical"
    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"

    @property
    def rank(self) -> int:
        """0 for the most urgent; lower goes first."""
        return list(PriorityClass).index(self)

    def clamped(self, cap: "PriorityClass") -> "PriorityClass":
        """This class, or `cap` where this one is more urgent than allowed."""
        return self if self.rank >= cap.rank else cap


class UsageState(StrEnum):
    """How a model call ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user's membership, or an API key, in exactly one tenant.

    `user_id` and `membership_id` are None for a key that belongs to no user; `api_key_id` is None for a session.
    `priority_cap` is the most urgent class this principal may ask for. `is_operator` is a platform operator: rights
    over tenants, models and pools, none over other tenants' content.
    """

    tenant_id: uuid.UUID
    tenant_slug: str
    role: Role
    user_id: uuid.UUID | None = None
    membership_id: uuid.UUID | None = None
    api_key_id: uuid.UUID | None = None
    api_key_prefix: str = ""
    is_operator: bool = False
    priority_cap: PriorityClass = PriorityClass.CRITICAL
    permissions: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """One finished model call, as it goes through the spool into the usage ledger.

    `record_id` is made by Atrium and unique: writing the same entry twice counts once. `cost_nano` is in billionths
    of the installation's currency. Times are milliseconds.
    """

    record_id: uuid.UUID
    request_id: str
    tenant_id: uuid.UUID
    user_id: uuid.UUID | None
    api_key_id: uuid.UUID | None
    model: str
    pool: str
    replica: str
    origin: str
    state: UsageState
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    started_at: datetime
    queue_ms: int = 0
    first_token_ms: int = 0
    total_ms: int = 0
    error: str = ""
    estimated: bool = False
    assistant: str = ""
