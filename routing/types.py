"""What crosses the door of routing.

What is made for every call is a struct of msgspec: as fixed as a frozen dataclass, and made in a fifth of its time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from inference.types import Chunk, Completion, ContextPassage, Surface, TokenUsage
from kernel.allowance import Allowance
from tenants.types import Principal, PriorityClass, UsageEntry

# Tokens of prompts that a replica reads in a second, as long as nobody has measured it.
PREFILL_TPS = 4000.0
# The reason of a decision that was the caller's own.
NAMED = "named"
# How kept answers are written: those of another form are not read.
KEPT_FORM = 1


class CacheWish(Struct, frozen=True):
    """What a caller says of answers that were given before: whether it may `read` one, and whether this one may be kept.

    `age_s` is how old a kept one may be; None when nothing was said. Who names an age wants to be answered so although
    the answer might be another one each time.
    """

    read: bool = True
    keep: bool = True
    age_s: int | None = None


class KeptAnswer(Struct, frozen=True, array_like=True):
    """An answer as it was given at `at` (seconds since the epoch). `frames` are a stream's events, `body` is a whole
    answer's JSON.
    """

    at: float
    model: str
    pool: str
    replica: str
    usage: TokenUsage
    finish_reason: str
    text: str
    body: bytes = b""
    frames: tuple[bytes, ...] = ()
    form: int = KEPT_FORM
    # Of one that was found elsewhere: the names that its model's engines had.
    served: tuple[str, ...] = ()

    def completion(self) -> Completion:
        """It as the engine gave it."""
        return Completion(self.body, self.text, self.usage, self.finish_reason)

    def chunk(self) -> Chunk:
        """It as a stream that comes at once."""
        return Chunk(
            list(self.frames), self.text, self.usage.completion_tokens, self.usage, self.finish_reason
        )


class ModelCall(Struct, frozen=True):
    """One call of a model, by whoever asks.

    `model` is a model id or `auto`. `body` is the OpenAI body without Atrium's extensions. `prompt_chars` is the
    length of the prompt's text, for estimates. `origin` is `v1`, `ws`, `rest`, `ingestion` or `shadow`. `priority` is already
    clamped to the principal's cap. `cache` is None where no answer is kept, nor a kept one given. `tell` hears of the
    call's place in a queue while it waits in one, at most once a second; it must return at once and not raise.
    `conversation` names what should stay with one model, where there is such a thing. `copy`: it was answered before, and
    is asked again to compare two models; nobody waits for it, and nothing may suffer for it. `given` is an answer that was found
    elsewhere: it is given again if its model may still answer the call.
    """

    principal: Principal
    surface: Surface
    model: str
    body: Mapping[str, Any]
    prompt_chars: int
    request_id: str
    origin: str
    priority: PriorityClass = PriorityClass.STANDARD
    traceparent: str = ""
    stream: bool = False
    question: str = ""
    passages: tuple[ContextPassage, ...] = ()
    assistant: str = ""
    max_tokens: int = 0
    tell: Callable[["QueuePlace"], None] | None = None
    cache: CacheWish | None = None
    conversation: str = ""
    given: KeptAnswer | None = None
    copy: bool = False


class Answered(Struct, frozen=True):
    """An answer to its end: what was booked of it, its text as far as it may be compared, and how it ended."""

    entry: UsageEntry
    text: str
    finish: str


class ReplicaSlots(Struct, frozen=True):
    """A replica as the scheduler sees it for one ticket: what it takes, and what the ticket costs there.

    `max_concurrency` calls at once. `prefill_tps` is how many tokens of prompts it reads a second, `uncached_tokens`
    how many of this ticket's prompt its cache does not hold, `extra_s` seconds to add (a full cache, a far region, a
    slow start). `token_budget` bounds the uncached tokens in flight, 0 is no bound.
    """

    id: str
    max_concurrency: int
    prefill_tps: float = PREFILL_TPS
    uncached_tokens: int = 0
    extra_s: float = 0.0
    token_budget: int = 0


class Terms(Struct, frozen=True):
    """The terms of one replica for one call. Seconds, but for tokens. `load_s` to `trial_s` are added to the read."""

    replica: str
    cached_tokens: int
    uncached_tokens: int
    prefill_tps: float
    load_s: float
    standing_s: float
    stranger_s: float
    trial_s: float

    @property
    def read_s(self) -> float:
        """The time that this call's own prompt takes."""
        return self.uncached_tokens / self.prefill_tps

    @property
    def own_s(self) -> float:
        """All that the call costs here but the tokens of others in flight, which the scheduler adds."""
        return self.read_s + self.load_s + self.standing_s + self.stranger_s + self.trial_s


class RoutingDecision(Struct, frozen=True):
    """Where a call went, known before its first byte: model, pool, replica, the wait in the queue, attempts made.

    `engine_ms` is the time engines took, from an attempt's start to its first byte (to its answer, when that is not
    streamed), attempts that failed included: what is left of the request's time is Atrium's own.
    `cache` is `hit` for an answer that was given before (the place is where it was made), `semantic` for one that was given
    to a question like this one, `miss` where one could have been, else `off`. `allowance` is what the caller is told of its rates. `terms` are those of the chosen replica, None where there was no
    other.
    """

    model: str
    pool: str
    replica: str
    queue_ms: float
    attempts: int
    reason: str = ""
    engine_ms: float = 0.0
    allowance: Allowance | None = None
    terms: Terms | None = None
    cache: str = "off"


class Ticket(Struct, frozen=True):
    """One call that wants a slot of one of `replicas` of one pool.

    `avoid` are replicas that already failed this call. `wait_s` is the longest wait for a slot. `user` is who asks
    within the tenant (a person or a key), `weight` the tenant's weight. `tell` hears of the ticket's place in the queue
    when it begins to wait, and once a second then; it must return at once and not raise. `look` is asked while the ticket
    waits: where it may go now, None when that is as before; it costs nothing then, and does not raise. `held`: it may
    wait although there is no replica, for one that is on its way.
    """

    id: str
    pool: str
    tenant: str
    priority: PriorityClass
    replicas: tuple[ReplicaSlots, ...]
    prompt_tokens: int
    max_tokens: int
    wait_s: float
    avoid: frozenset[str] = frozenset()
    user: str = ""
    weight: int = 1
    tell: Callable[["QueuePlace"], None] | None = None
    look: Callable[[], tuple[ReplicaSlots, ...] | None] | None = None
    held: bool = False


class QueuePlace(Struct, frozen=True):
    """Where a ticket stands: how many calls are answered before it counting itself, and its expected wait in seconds.

    Both are estimates: who comes later may go first, by class or by share. None where nothing was measured yet.
    """

    position: int
    expected_wait_s: float | None


class Lease(Struct, frozen=True):
    """A slot of `replica` held for the ticket `id` until released, or until its heartbeat stops.

    `waited_ms` is the time in the queue.
    """

    id: str
    pool: str
    tenant: str
    replica: str
    waited_ms: float


class PoolWork(Struct, frozen=True):
    """The work of a pool in tokens, as calls are reckoned when they come (`queueing.work_tokens`).

    Of calls that hold a slot and that wait, now; of all that gave a slot back and that were refused, since the queue began.
    """

    running: int = 0
    waiting: int = 0
    done: int = 0
    refused: int = 0


NO_WORK = PoolWork()


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """How busy a pool is: slots held and uncached tokens in flight per replica, and how many wait, also by class.

    `hold_s` is how long a slot is held, on average; None before any was given back.
    """

    pool: str
    running: Mapping[str, int]
    waiting: int
    in_flight: Mapping[str, int] = field(default_factory=dict)
    waiting_by_class: Mapping[PriorityClass, int] = field(default_factory=dict)
    hold_s: float | None = None
    work: PoolWork = NO_WORK


class Settled(Struct, frozen=True):
    """How a call ended: its usage and what it cost in nano-units."""

    usage: TokenUsage
    cost_nano: int

    @property
    def used_anything(self) -> bool:
        """Whether any token was read or written."""
        return self.usage.prompt_tokens + self.usage.completion_tokens > 0
