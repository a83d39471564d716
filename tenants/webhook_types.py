"""What tenants may be told of by webhook, and what people see of endpoints and deliveries: one declarative list."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a tenant may be told of by name. `tells` says it in words, `holds` what its `data` has."""

    name: str
    tells: str
    holds: tuple[str, ...]


# None of them holds content, nor a name that could be shut to somebody: ids and figures, to be asked for over REST.
EVENTS: tuple[Event, ...] = (
    Event(
        "limit.warned",
        "So much of a limit of a day, a month or a stock is used that its warning is due, once in its period",
        ("level", "subject", "measure", "used", "hard", "soft", "period"),
    ),
    Event(
        "limit.reached",
        "A limit of a day, a month or a stock is used up, once in its period",
        ("level", "subject", "measure", "used", "hard", "soft", "period"),
    ),
    Event(
        "api_key.expiring", "A key ends within seven days, once for each key", ("id", "prefix", "expires_at")
    ),
    Event(
        "document.failed",
        "A document could not be taken in",
        ("document_id", "knowledge_base_id", "version", "code"),
    ),
    Event("break_glass.began", "An operator opened the tenant's content for reading", ("id", "expires_at")),
    Event("tenant.suspended", "The tenant was suspended: all doors refuse it", ()),
    Event("tenant.resumed", "The tenant is no longer suspended", ()),
    Event("tenant.deletion_asked", "The tenant is to be deleted, at `due_at`", ("due_at",)),
    Event("tenant.deletion_withdrawn", "The tenant is not to be deleted any more", ()),
)
EVENT_NAMES = tuple(each.name for each in EVENTS)
# What a test sends; nobody asks for it by name.
TEST_EVENT = "webhook.test"

URL_LENGTH = 500
MOST_WEBHOOKS = 20
# More than these wait for nobody: they are counted as dropped.
MOST_WAITING = 1_000
# As many ended deliveries of an endpoint are kept to be looked at.
MOST_KEPT = 200
LONGEST_GRACE = timedelta(days=30)
# What lies between the tries of one delivery; after the last it is given up, about nine hours after the first.
PAUSES = tuple(timedelta(seconds=each) for each in (10, 60, 300, 1_800, 7_200, 21_600))
MOST_TRIES = len(PAUSES) + 1


class DeliveryState(StrEnum):
    """waiting → delivered, or failed."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """How one try ended."""

    OK = "ok"
    # It answered, but not with 2xx.
    REFUSED = "refused"
    REDIRECT = "redirect"
    # 410: the receiver wants no more of it.
    GONE = "gone"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    UNKNOWN_HOST = "unknown_host"
    PRIVATE = "private"
    ADDRESS = "address"
    # The endpoint was disabled while it waited.
    DISABLED = "disabled"
    # It waited when a backup was taken, which was restored since.
    RESTORED = "restored"
    # The endpoint's secret cannot be read: it could not be signed.
    SECRET = "secret"  # noqa: S105 - a word for what happened
    NONE = ""


class Stopped(StrEnum):
    """Why an endpoint is disabled: by somebody, or by itself."""

    NOT = ""
    BY_HAND = "by_hand"
    FAILING = "failing"
    GONE = "gone"
    SECRET = "secret"  # noqa: S105 - a word for what happened


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """How one request to an endpoint ended: its status where there was an answer, and how long it took."""

    outcome: Outcome
    status: int | None
    took_ms: int


@dataclass(frozen=True, slots=True)
class WebhookView:
    """An endpoint as those see it who may change it; never its secret."""

    id: uuid.UUID
    name: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    stopped: Stopped | None
    hint: str
    second_secret_until: datetime | None
    waiting: int
    dropped: int
    failures: int
    last_success_at: datetime | None
    created_by: str
    created_at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class IssuedWebhook:
    """An endpoint with a secret of its own that is shown this once."""

    view: WebhookView
    secret: str


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One event on its way to one endpoint. `next_at` is when it is tried next, None once it has ended."""

    id: uuid.UUID
    event: str
    state: DeliveryState
    outcome: Outcome | None
    status: int | None
    took_ms: int | None
    attempts: int
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None
