"""What crosses the door of tenants."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from tenants.access_types import RoleName as RoleName
from tenants.break_glass_types import OpenGrant
from tenants.shadow_types import SHADOW as SHADOW
from tenants.shadow_types import PairEntry as PairEntry
from tenants.shadow_types import PairSide as PairSide
from tenants.shadow_types import PairState as PairState
from tenants.trace_types import TraceEntry as TraceEntry
from tenants.trace_types import TraceHop as TraceHop
from tenants.trace_types import TraceState as TraceState

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"
SLUG_LENGTH = 63
NAME_LENGTH = 200
LANGUAGE_LENGTH = 16
EMAIL_LENGTH = 254
WEIGHT_MAX = 1000
MESSAGE_LENGTH = 1000


class Role(StrEnum):
    """What a member may do, from most to least. See `tenants.permissions` for the table."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    @property
    def rank(self) -> int:
        """0 for the one who may most."""
        return list(Role).index(self)

    def at_most(self, cap: "Role") -> "Role":
        """This role, or `cap` where this one may more."""
        return self if self.rank >= cap.rank else cap


class TenantState(StrEnum):
    """Whether a tenant is served. One that is to be deleted is refused like a suspended one, until it is gone."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


class PriorityClass(StrEnum):
    """How urgent a request is, the most urgent first."""

    CRITICAL = "critical"
    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"

    @property
    def rank(self) -> int:
        """0 for the most urgent; lower goes first."""
        return _RANKS[self]

    def clamped(self, cap: "PriorityClass") -> "PriorityClass":
        """This class, or `cap` where this one is more urgent than allowed."""
        return self if self.rank >= cap.rank else cap


_RANKS = {each: rank for rank, each in enumerate(PriorityClass)}


class KeyState(StrEnum):
    """Whether a key works, and for how long: `expiring` is valid for two more weeks at most."""

    VALID = "valid"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    REVOKED = "revoked"


class InvitationState(StrEnum):
    """What became of an invitation."""

    OPEN = "open"
    EXPIRED = "expired"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"


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
    over tenants, models and pools, none over other tenants' content. `visiting` is an operator at work in a tenant
    they are no member of: its owner's rights but for reading content and for what lets others read it. `group_ids` are
    the groups its membership is in. `custom_role` names the role made of permissions that it has in place of a built-in
    one; `role` is the least then. `closed` are the things restricted to others (`tenants.services.may_use`).
    `confined` is a session that vouches for its user in this tenant alone: it shows nothing of others, and has no
    operator's rights. `weight` is the tenant's share of a contended pool, by the shares of the others that wait.
    `region` is where the tenant's content must stay: engines elsewhere never see it (empty: anywhere).
    `break_glass` is the grant by which a visiting operator reads content. `service_account` is the name of the one whose
    key it is (`user_id` its id). `tenant_name` is the tenant's id as text, `sharer` that of the user, else the key;
    `caller` tells apart all whom different limits may hold for: tenant, user, key and groups. `plan` are the limits of its
    latest call, for the next one (`tenants.services.limits`); the only part that changes.
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
    visiting: bool = False
    group_ids: frozenset[uuid.UUID] = field(default_factory=frozenset)
    custom_role: str = ""
    closed: frozenset[str] = field(default_factory=frozenset)
    confined: bool = False
    weight: int = 1
    region: str = ""
    break_glass: uuid.UUID | None = None
    service_account: str = ""
    # Told once: the queue asks with every call.
    tenant_name: str = field(init=False, repr=False, compare=False)
    sharer: str = field(init=False, repr=False, compare=False)
    caller: str = field(init=False, repr=False, compare=False)
    plan: object = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """The texts follow from the ids."""
        object.__setattr__(self, "tenant_name", str(self.tenant_id))
        object.__setattr__(self, "sharer", str(self.user_id or self.api_key_id or ""))
        groups = " ".join(sorted(map(str, self.group_ids)))
        object.__setattr__(self, "caller", f"{self.tenant_name} {self.user_id} {self.api_key_id} {groups}")

    def bring(self, plan: object) -> None:
        """Have the plan at hand with the next call."""
        object.__setattr__(self, "plan", plan)


class UsageEntry(Struct, frozen=True):
    """One finished model call, as it goes through the spool into the usage ledger.

    `record_id` is made by Atrium and unique: writing the same entry twice counts once. `cost_nano` is in billionths
    of the installation's currency. Times are milliseconds. `cached` is an answer that was given before: no replica made it.
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
    cached: bool = False


@dataclass(slots=True)
class KeyEntry:
    """What a process remembers of one API key: who it is, and how to check the secret.

    `refusal` says why a genuine key is refused, else "": "revoked", or its user "inactive", tenant "suspended", membership "disabled".
    `sight` is how the genuine key looks to this process, once it has been here (`Keyring.sight`); the only part that changes.
    """

    principal: Principal
    name: str
    fingerprint: str
    pepper_version: int
    expires_at: datetime | None
    refusal: str = ""
    sight: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class TenantView:
    """A tenant as the outside sees it. `members` and `keys` count who and what may come in now, where it was asked."""

    id: uuid.UUID
    slug: str
    name: str
    state: TenantState
    priority_class: PriorityClass
    weight: int
    is_demo: bool
    created_at: datetime
    version: str
    members: int = 0
    keys: int = 0
    timezone: str = "UTC"
    region: str = ""


@dataclass(frozen=True, slots=True)
class MemberView:
    """A user in a tenant."""

    user_id: uuid.UUID
    membership_id: uuid.UUID
    email: str
    name: str
    role: Role
    disabled: bool
    created_at: datetime
    last_used_at: datetime | None
    version: str
    custom_role: RoleName | None = None


@dataclass(frozen=True, slots=True)
class MembershipView:
    """One of a user's memberships, with its tenant."""

    tenant_id: uuid.UUID
    tenant_slug: str
    tenant_name: str
    role: Role


@dataclass(frozen=True, slots=True)
class KeyView:
    """An API key as the outside sees it: never its secret.

    `replaces` and `replaced_by` are the two keys of a rotation. `user` and `created_by` are e-mail addresses, empty where
    there is none; `service_account` is the name of the account whose key it is, `user_id` its id then.
    """

    id: uuid.UUID
    prefix: str
    name: str
    role: Role
    priority_class: PriorityClass
    user_id: uuid.UUID | None
    created_by_id: uuid.UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    state: KeyState
    version: str
    user: str = ""
    created_by: str = ""
    replaces: uuid.UUID | None = None
    replaced_by: uuid.UUID | None = None
    custom_role: RoleName | None = None
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key just made. `key` is the only time its secret is seen."""

    id: uuid.UUID
    prefix: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvitationView:
    """An invitation as the tenant's administrators see it: never its token."""

    id: uuid.UUID
    email: str
    role: Role
    custom_role: RoleName | None
    message: str
    state: InvitationState
    invited_by: str
    created_at: datetime
    sent_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    mailed: bool
    version: str


@dataclass(frozen=True, slots=True)
class SentInvitation:
    """An invitation just sent. `link` is its only way to the person where no mail went out, else None."""

    view: InvitationView
    link: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OpenedTenant:
    """A tenant just made, and what became of its first owner: a member at once, or invited. `joined`: the maker too."""

    tenant: TenantView
    owner: str
    invitation: SentInvitation | None
    joined: bool


@dataclass(frozen=True, slots=True)
class CreatedUser:
    """What `create_user` did: `user_created` is False when the person was known and only the membership is new."""

    member: MemberView
    tenant_slug: str
    user_created: bool


@dataclass(frozen=True, slots=True)
class Latency:
    """Median and 95th percentile in milliseconds, within 5 %; None where nothing was measured."""

    p50: int | None
    p95: int | None


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Usage of a range, of a step of it, or of a group. `first_token` is of calls that had one, `total` of completed."""

    requests: int
    completed: int
    cancelled: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    first_token: Latency
    total: Latency


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Usage of one day, model, user … `group` is its id ("" when there is none), `label` its name to people.

    `slow`: its first tokens come much later than those of the groups beside it (see `tenants.slowness`).
    """

    group: str
    label: str
    totals: UsageTotals
    slow: bool = False


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Usage of a range by group, and all of it together; `more` when there are more groups than these."""

    groups: list[UsageGroup]
    totals: UsageTotals
    more: bool


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """Usage of a range for one page: its steps without gaps, its sums, those of the range before, and who used most.

    `steps` begin at `start` and are `step_s` seconds apart; the last one is not over yet. None where a list does not
    belong to the question. `slowest` are the tenants that wait longest for their first tokens, of the busiest ones;
    `usual_first_token_ms` is the p95 of the tenant in the middle of these.
    """

    start: datetime
    end: datetime
    step_s: int
    steps: list[UsageTotals]
    totals: UsageTotals
    previous: UsageTotals
    tenants: list[UsageGroup] | None
    slowest: list[UsageGroup] | None
    usual_first_token_ms: int | None
    models: list[UsageGroup]
    assistants: list[UsageGroup] | None
    users: list[UsageGroup] | None


@dataclass(frozen=True, slots=True)
class RollupDrift:
    """A day (an hour of the platform's) whose rollups of one kind do not sum what the ledger holds.

    Both sums are: completed, cancelled, failed, tokens in, tokens out, money; empty without a row.
    """

    kind: str
    tenant: str
    start: datetime
    ledger: tuple[int, ...]
    rollup: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EndingKey:
    """An API key that ends soon. `replaced`: a key that takes its place was made, and has not been used yet."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    prefix: str
    name: str
    expires_at: datetime
    last_used_at: datetime | None
    replaced: bool


@dataclass(frozen=True, slots=True)
class TenantName:
    """How a tenant is called."""

    id: uuid.UUID
    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class UserView:
    """A person, over all tenants."""

    id: uuid.UUID
    email: str
    name: str
    is_operator: bool


@dataclass(frozen=True, slots=True)
class KeyName:
    """How a key is called."""

    prefix: str
    name: str


@dataclass(frozen=True, slots=True)
class PrincipalView:
    """What a principal may know about themselves. `user` is None for a key without user, `api_key` for a session."""

    user: UserView | None
    tenant: TenantName
    role: Role
    custom_role: str
    permissions: list[str]
    memberships: list[MembershipView]
    api_key: KeyName | None
    visiting: bool = False
    platform: bool = False
    break_glass: OpenGrant | None = None


@dataclass(frozen=True, slots=True)
class PlatformSummary:
    """Figures of the whole installation for its operators. The last four are of the last 24 hours."""

    tenants: int
    suspended_tenants: int
    users: int
    valid_keys: int
    requests: int
    failed_requests: int
    tokens: int
    cost_nano: int


def normal_email(email: str) -> str:
    """The spelling an e-mail address is stored and looked up by: trimmed, lower case."""
    return email.strip().lower()


# What the usage spool carries.
SpoolEntry = UsageEntry | TraceEntry | PairEntry


@dataclass(frozen=True, slots=True)
class SpoolBacklog:
    """What the spool holds and the database has not: how many entries, and how long the oldest has waited, seconds."""

    entries: int
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestPart:
    """What is known of one piece of a request: a kept trace, or a metered call whose trace was not worth keeping.

    `state` is slow, failed or refused of a trace; completed, cancelled or failed of a call. `traced` says that the
    hops were noted on the way and not made from the ledger's figures.
    """

    id: uuid.UUID
    request_id: str
    trace_id: str
    tenant: str
    user: str
    api_key: str
    door: str
    route: str
    state: str
    status: int
    error: str
    model: str
    assistant: str
    pool: str
    replica: str
    cache: str
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    queue_ms: int
    first_byte_ms: int
    total_ms: int
    started_at: datetime
    hops: tuple[TraceHop, ...] = ()
    traced: bool = True


@dataclass(frozen=True, slots=True)
class RequestWay:
    """All that is known of a request by its id: its summary, its kept traces, the calls that were metered."""

    summary: RequestPart
    traces: tuple[RequestPart, ...]
    calls: tuple[RequestPart, ...]


@dataclass(frozen=True, slots=True)
class RetentionDays:
    """Days each kind is kept; None keeps it for ever, or as long as the platform does."""

    conversations: int | None = None
    files: int | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class RetentionView:
    """A tenant's retention rules. Ways of requests are never kept longer than `requests_ceiling_days`."""

    days: RetentionDays
    version: str
    updated_at: datetime | None
    requests_ceiling_days: int


@dataclass(frozen=True, slots=True)
class Expiring:
    """What of one kind is older than its rule allows: `count` of `total`, the oldest from `oldest` (None: nothing)."""

    kind: str
    count: int
    total: int
    oldest: datetime | None
