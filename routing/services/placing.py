"""Finding a replica for a call and starting it there; elsewhere when that fails before the first byte."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from inference.services import Vital, ensure_models, get_model, replica_available, vital_of
from inference.types import EngineRequest, ModelSpec, ReplicaSpec, Surface
from kernel.backends import backends
from kernel.errors import (
    AtriumError,
    ContextTooLong,
    EngineRefused,
    EngineUnavailable,
    NoReplica,
    QueueShareFull,
    ServerOverloaded,
)
from kernel.hops import Fact, note_hop
from kernel.ids import another_span, uuid7
from routing.cascade import Ladder
from routing.choice_types import USUAL_CACHING, CachingInForce, Shadow, TenantPolicy, caching_for
from routing.eligibility import Candidate, named_candidates
from routing.examples import Likeness
from routing.limits import (
    BETWEEN_CHUNKS_S,
    COPY_QUEUE_S,
    FIRST_TOKEN_S,
    MOST_ATTEMPTS,
    MOST_ATTEMPTS_OF_ALL,
    QUEUE_WAIT_S,
    RETRY_AFTER_S,
    RETRY_WITHIN_S,
    SILENT_S,
    WHOLE_ANSWER_S,
)
from routing.ports import Scheduler
from routing.prefixes import Prefix
from routing.services.admission import Admission, Admissions
from routing.services.choosing import choose, facts_of, find_ladder, find_policy
from routing.services.memory import RoutingMemory
from routing.services.outlook import Outlook
from routing.services.waking import ask_for, hold
from routing.services.weighing import note_chosen
from routing.types import Lease, ModelCall, RoutingDecision, Terms, Ticket

log = structlog.get_logger(__name__)
T = TypeVar("T")
Begin = Callable[[ReplicaSpec, EngineRequest], Awaitable[T]]
Liken = Callable[[ModelCall, TenantPolicy], Awaitable[Likeness | None]]


class Progress(Struct):
    """How far a call has come: what its settlement needs, whatever happens. Times are of `time.perf_counter`.

    Scheduler and memory are those of the loop that the call runs in.
    """

    started: float
    scheduler: Scheduler
    memory: RoutingMemory
    call_id: uuid.UUID = field(default_factory=uuid7)
    model: ModelSpec | None = None
    replica: ReplicaSpec | None = None
    lease: Lease | None = None
    admission: Admission | None = None
    attempts: int = 0
    queue_ms: float = 0.0
    stream: bool = False
    prefix: Prefix | None = None
    terms: Terms | None = None
    # Of the replica whose slot it holds; how long it took to the first byte there.
    vital: Vital | None = None
    first_s: float = 0.0
    prompt_tokens: int = 0
    # Its answer was begun elsewhere, and only engines that can continue one may go on.
    continued: bool = False
    # When the scheduler is told that a prompt has been read whose answer is not streamed.
    reading: asyncio.TimerHandle | None = None
    # What the tenant says of answers that could be given again.
    caching: CachingInForce = USUAL_CACHING
    # How it is answered in two steps, if it is.
    ladder: Ladder | None = None
    # Which models' answers are copied.
    shadows: tuple[Shadow, ...] = ()

    def elapsed_ms(self) -> float:
        """Milliseconds since the call came."""
        return (time.perf_counter() - self.started) * 1000


class Placed(Struct, Generic[T], frozen=True):
    """A call that has begun on a replica: what `begin` gave, and where it is."""

    begun: T
    replica: ReplicaSpec
    request: EngineRequest
    decision: RoutingDecision


async def admit(call: ModelCall, progress: Progress, liken: Liken | None = None) -> Sequence[Candidate]:
    """Who may answer the call, in order, once its limits are held; what it holds of them is noted in `progress`.

    `liken` is asked what examples say of the call, where it is a call of a tenant that has any. Raises the errors of eligibility, RateLimited, QuotaExhausted, Unavailable.
    """
    await ensure_models()
    return await _admitted(call, progress, liken)


async def place(
    call: ModelCall, begin: Begin[T], progress: Progress, candidates: Sequence[Candidate]
) -> Placed[T]:
    """Wait for a slot of a candidate's replica and `begin` there; another replica or candidate when it is unavailable.

    The lease is left in `progress` for whoever settles the call. Raises ServerOverloaded, QueueShareFull, NoReplica,
    EngineRefused, UpstreamFailed.
    """
    if call.copy:
        # It wakes nobody, and takes no attempt from who waits for an answer.
        return await _begin_at_one(call, begin, progress, _request(call), candidates, set(), most=1)
    # Here, so that answers that were given before earn no attempts at engines.
    progress.memory.budget.earn()
    if candidates and not candidates[-1].replicas:
        # What sleeps is last; whoever stands in for it answers this call.
        ask_for(candidates[-1].pool, progress.memory)
    return await _begin_at_one(call, begin, progress, _request(call), candidates, set())


async def place_again(
    call: ModelCall, begin: Begin[T], progress: Progress, request: EngineRequest, dead: frozenset[str]
) -> Placed[T]:
    """Begin `request`, the rest of a call that was placed before, on a replica of the same model that is not `dead`.

    What the call holds of its limits it holds still. Raises as `place`.
    """
    model = progress.model
    if model is None:
        raise NoReplica(retry_after_s=RETRY_AFTER_S)
    if not progress.memory.budget.take():
        raise NoReplica("Too many attempts fail at the moment.", retry_after_s=RETRY_AFTER_S)
    principal = call.principal
    now = get_model(model.id, tenant_id=principal.tenant_id, region=principal.region, closed=principal.closed)
    candidates = named_candidates(now, call.surface, replica_available)
    # An engine that cannot continue a message would begin the answer anew.
    progress.continued = call.surface is Surface.CHAT
    return await _begin_at_one(call, begin, progress, request, candidates, set(dead))


async def _begin_at_one(
    call: ModelCall,
    begin: Begin[T],
    progress: Progress,
    request: EngineRequest,
    candidates: Sequence[Candidate],
    avoid: set[str],
    *,
    most: int = MOST_ATTEMPTS_OF_ALL,
) -> Placed[T]:
    """Try the candidates' replicas one after the other, but those to `avoid`, as often as limits and budget allow; `most`
    times.
    """
    started = time.perf_counter()
    most += progress.attempts
    tried: dict[str, int] = {}
    problem: Exception | None = None
    engine_ms = 0.0
    # The longest context that an engine said is too short for the prompt.
    too_short = 0
    for at, candidate in enumerate(candidates):
        model = candidate.model.id
        if tried.get(model, 0) >= MOST_ATTEMPTS or 0 < candidate.model.context_length <= too_short:
            # In another of its pools, or no better than one that refused.
            continue
        if call.stream and len(candidate.replicas) > 1:
            request = replace(request, idle_timeout_s=SILENT_S)
        while True:
            try:
                replica = await _slot(call, candidate, avoid, progress)
            except (NoReplica, ServerOverloaded, QueueShareFull) as error:
                problem = problem or error
                break
            begun_at = time.perf_counter()
            try:
                begun = await begin(replica, request)
            except EngineUnavailable as error:
                note_hop("attempt", begun_at, _attempt_facts(replica, request, error.code))
                engine_ms += (time.perf_counter() - begun_at) * 1000
                problem = error
                avoid.add(replica.id)
                await give_back(progress, unused=True)
                if not _may_try_again(progress, started, most):
                    raise _gave_up(error) from error
                # The next attempt is another span of the trace.
                request = replace(request, traceparent=another_span(request.traceparent))
                tried[model] = tried.get(model, 0) + 1
                if tried[model] < MOST_ATTEMPTS:
                    continue
                break
            except BaseException as error:
                note_hop("attempt", begun_at, _attempt_facts(replica, request, _outcome(error)))
                if not (
                    isinstance(error, EngineRefused)
                    and _longer(candidates[at + 1 :], candidate.model, error)
                    and _may_try_again(progress, started, most)
                ):
                    raise
                problem, tried[model] = error, MOST_ATTEMPTS
                too_short = max(too_short, candidate.model.context_length)
                await give_back(progress, unused=True)
                request = replace(request, traceparent=another_span(request.traceparent))
                break
            facts = _attempt_facts(replica, request, "ok")
            if progress.terms is not None:
                facts |= _why(progress.terms)
            note_hop("attempt", begun_at, facts)
            now = time.perf_counter()
            engine_ms += (now - begun_at) * 1000
            progress.first_s = now - begun_at
            if call.stream and progress.vital is not None:
                progress.vital.note_first(now, now - begun_at)
            return Placed(begun, replica, request, _decision(candidate, replica, progress, engine_ms))
    raise _gave_up(problem)


def _may_try_again(progress: Progress, started: float, most: int) -> bool:
    """Whether time, attempts and the process's budget of retries are left for one more; takes it from the budget."""
    late = time.perf_counter() - started > RETRY_WITHIN_S
    return not late and progress.attempts < most and progress.memory.budget.take()


def _longer(later: Sequence[Candidate], than: ModelSpec, error: EngineRefused) -> bool:
    """Whether the prompt was too long and a model with a longer context comes `later`."""
    if error.code != ContextTooLong.code:
        return False
    return any(
        candidate.model.context_length > than.context_length > 0 or not candidate.model.context_length
        for candidate in later
        if candidate.model.id != than.id
    )


async def give_back(progress: Progress, *, unused: bool = False) -> None:
    """Release the slot that the call holds, if any. Interrupted, it can be called again."""
    lease = progress.lease
    reading, progress.reading = progress.reading, None
    if reading is not None:
        reading.cancel()
    vital, progress.vital = progress.vital, None
    if vital is not None:
        vital.end(stream=progress.stream)
    if lease is not None:
        await progress.scheduler.release(lease, unused=unused)
        progress.lease = None


async def _admitted(call: ModelCall, progress: Progress, liken: Liken | None) -> Sequence[Candidate]:
    """The candidates that the call's limits leave; what it holds of them is noted in `progress`."""
    began = time.perf_counter()
    policy = None if call.copy else await find_policy(call)
    likeness = None
    if liken is not None and policy is not None and policy.bank is not None:
        likeness = await liken(call, policy)
    choice = choose(call, policy, likeness=likeness)
    if policy is not None:
        progress.shadows = policy.policy.shadows
        note_hop("choose", began, facts_of(choice, call.model))
        progress.caching = caching_for(policy.policy, call.principal.api_key_id)
    candidates = choice.candidates
    admissions: Admissions = backends["admissions"]
    admission = progress.admission = await admissions.admit(call, candidates, progress.call_id)
    if admission is not None and admission.left:
        candidates = [candidate for candidate in candidates if candidate.model.id in admission.left]
    progress.ladder = find_ladder(call, policy, choice, candidates)
    return candidates


async def _slot(call: ModelCall, candidate: Candidate, avoid: set[str], progress: Progress) -> ReplicaSpec:
    """A replica of the candidate with its slot, noted in `progress`."""
    scheduler, principal = progress.scheduler, call.principal
    outlook = Outlook(
        call, candidate, avoid, progress.memory, prefix=progress.prefix, vllm=progress.continued
    )
    held = None
    if not outlook.wanted and call.copy:
        raise NoReplica(retry_after_s=RETRY_AFTER_S)
    if not outlook.wanted:
        held = hold(call, candidate, progress.memory, lambda: not outlook.wanted)
    admission = progress.admission
    call_id = admission.claim.id if admission is not None else progress.call_id.hex
    ticket = Ticket(
        id=f"{call_id}-{progress.attempts}-{len(avoid)}",
        pool=candidate.pool,
        tenant=principal.tenant_name,
        priority=call.priority,
        replicas=outlook.wanted,
        prompt_tokens=outlook.prompt_tokens,
        max_tokens=call.max_tokens,
        wait_s=held.wait_s if held is not None else max(0.0, _longest_wait(call) - progress.queue_ms / 1000),
        user=principal.sharer,
        weight=principal.weight,
        tell=held.tell if held is not None else call.tell,
        look=outlook.look,
        held=held is not None,
    )
    began = time.perf_counter()
    try:
        lease = await (admission.acquire(scheduler, ticket) if admission else scheduler.acquire(ticket))
    except BaseException as error:
        outlook.over()
        # What was waited in vain is not waited again for the next candidate.
        progress.queue_ms += (time.perf_counter() - began) * 1000
        note_hop("queue", began, {"pool": candidate.pool, "outcome": _outcome(error)})
        raise
    note_hop("queue", began, {"pool": candidate.pool, "outcome": "ok"})
    progress.lease = lease
    progress.queue_ms += lease.waited_ms
    progress.attempts += 1
    replica = _note_slot(call, outlook, lease, progress)
    progress.model = candidate.model
    outlook.over()
    return replica


def _longest_wait(call: ModelCall) -> float:
    return COPY_QUEUE_S if call.copy else QUEUE_WAIT_S[call.priority]


def _note_slot(call: ModelCall, outlook: Outlook, lease: Lease, progress: Progress) -> ReplicaSpec:
    """The replica of the slot that the call has now, with what its settlement and later choices need to know of it."""
    replica, slots, terms = outlook.chosen(lease.replica)
    progress.replica, progress.terms, progress.prefix = replica, terms, outlook.prefix
    progress.prompt_tokens = outlook.prompt_tokens
    progress.vital = vital = vital_of(replica.id)
    progress.stream = call.stream
    now = time.perf_counter()
    vital.begin(now, stream=call.stream, tokens=slots.uncached_tokens, slots=replica.max_concurrency)
    if not call.stream and slots.token_budget:
        # Nothing is heard of its prompt before the whole answer, and unread it would keep others from the replica.
        read_s = vital.read_until - now
        progress.reading = progress.memory.later(
            read_s, "prompt_read", partial(progress.scheduler.charge, lease, 0)
        )
    if terms is not None:
        note_chosen(replica, outlook.prompt_tokens, terms, outlook.prefix, progress.memory)
    return replica


def _request(call: ModelCall) -> EngineRequest:
    return EngineRequest(
        surface=call.surface,
        body=call.body,
        tenant_id=call.principal.tenant_id,
        request_id=call.request_id,
        traceparent=call.traceparent,
        priority=call.priority.rank,
        question=call.question,
        passages=call.passages,
        first_byte_timeout_s=FIRST_TOKEN_S if call.stream else WHOLE_ANSWER_S,
        idle_timeout_s=BETWEEN_CHUNKS_S,
    )


def _decision(
    candidate: Candidate, replica: ReplicaSpec, progress: Progress, engine_ms: float
) -> RoutingDecision:
    return RoutingDecision(
        model=candidate.model.id,
        pool=candidate.pool,
        replica=replica.id,
        queue_ms=progress.queue_ms,
        attempts=progress.attempts,
        reason=candidate.reason,
        engine_ms=engine_ms,
        allowance=progress.admission.allowance if progress.admission else None,
        terms=progress.terms,
    )


def _why(terms: Terms) -> dict[str, Fact]:
    """The terms of the replica that was chosen, as the request's way shows them."""
    return {
        "cached_tokens": terms.cached_tokens,
        "uncached_tokens": terms.uncached_tokens,
        "read_ms": round(terms.read_s * 1000, 1),
        "load_ms": round(terms.load_s * 1000, 1),
        "standing_ms": round(terms.standing_s * 1000, 1),
        "stranger_ms": round(terms.stranger_s * 1000, 1),
        "trial_ms": round(terms.trial_s * 1000, 1),
    }


def _attempt_facts(replica: ReplicaSpec, request: EngineRequest, outcome: str) -> dict[str, Fact]:
    return {
        "model": replica.model,
        "pool": replica.pool,
        "replica": replica.id,
        "outcome": outcome,
        # Of the `traceparent` that the engine was given.
        "span": request.traceparent[36:52],
    }


def _outcome(error: BaseException) -> str:
    if isinstance(error, AtriumError):
        return error.code
    return "internal_error" if isinstance(error, Exception) else "cancelled"


def _gave_up(problem: Exception | None) -> Exception:
    """What the caller is told when no replica could take the call."""
    if isinstance(problem, EngineUnavailable):
        return NoReplica(
            "No replica of this model could answer.", retry_after_s=problem.retry_after_s or RETRY_AFTER_S
        )
    return problem or NoReplica(retry_after_s=RETRY_AFTER_S)
