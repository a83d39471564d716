"""An assistant's answer given again to a question like its own: looked for before retrieval, kept once it has ended.

What is found has still to pass `dispatch`, which asks for rights, limits and the model as for a new answer. Whatever is away
(the cache, the embedder) makes this a miss, never a failure.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

import structlog
from django.conf import settings
from msgspec import Struct
from msgspec.structs import replace

from assistants.alike import (
    KeptExchange,
    Vector,
    decode_exchange,
    encode_exchange,
    encode_question,
    name_of,
    nearest,
    question_to_keep,
    shelf_of,
    unit,
)
from assistants.citations import used_citations
from assistants.ports import SemanticCache
from assistants.replay import stream_events, whole_body
from assistants.types import AssistantView, Citation, Shelf, Turn, TurnRequest
from inference.services import (
    embedder_fingerprint,
    ensure_models,
    get_model,
    lexical_models,
    list_models,
)
from inference.types import Chunk, Completion, ModelSpec, Surface, TokenUsage
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import AtriumError, ModelNotFound, PermissionDenied, Unavailable
from kernel.hops import note_hop
from knowledge.services import knowledge_state
from knowledge.types import KnowledgeState
from routing.services import embed, find_caching
from routing.types import KeptAnswer, ModelCall, RoutingDecision, Settled
from substrate.aside import Aside
from substrate.units import run_unit
from tenants.types import PriorityClass

log = structlog.get_logger(__name__)

# Longer vectors are compared beside the event loop.
MOST_DIMENSIONS_AT_ONCE = 1024
NO_KNOWLEDGE = KnowledgeState((), (), calm=True)


class TurnFlow(Protocol):
    """A turn's answer that has begun, new or given again."""

    @property
    def decision(self) -> RoutingDecision:
        """Where it came from."""
        ...

    @property
    def settled(self) -> Settled | None:
        """Usage and cost, None before the end."""
        ...

    def chunks(self) -> AsyncIterator[Chunk]:
        """The answer as it is made."""
        ...

    async def completion(self) -> Completion:
        """The whole answer."""
        ...


class Recalled(Struct):
    """A question that may be answered again: its place, and what was found there. `until` is when its answer ends.

    `keep` says whether a new answer may be kept; `likeness` how alike the found question is, 1 for the same words.
    """

    turn: TurnRequest
    question: str
    shelf: Shelf
    name: str
    at: float
    until: float
    keep: bool
    vector: Vector | None = None
    found: KeptExchange | None = None
    likeness: float = 0.0


async def recall_turn(
    turn: TurnRequest, assistant: AssistantView | None, history: tuple[Turn, ...]
) -> Recalled | None:
    """What is remembered of the turn's question; None when its answer may be neither kept nor given again, or it cannot be said.

    Raises PermissionDenied where knowledge may not be read.
    """
    question = question_to_keep(turn, assistant, history=bool(history))
    if assistant is None or not question or not (turn.cache.read or turn.cache.keep):
        return None
    began = time.perf_counter()
    if not await _wanted(turn, began):
        return None
    # The time that an answer ends by begins before its knowledge is looked at.
    now = _now()
    try:
        state = await _state(turn, assistant)
        await ensure_models()
        embedder = embedder_fingerprint(settings.EMBEDDING_MODEL)
    except (Unavailable, ModelNotFound) as error:
        # What can still be answered without it shall be.
        log.info("question_not_compared", tenant_id=str(turn.principal.tenant_id), error=error.code)
        return None
    made = Recalled(
        turn,
        question,
        shelf_of(turn, assistant, state, embedder),
        name_of(question, turn.principal.tenant_id),
        now,
        now + assistant.semantic_cache_seconds,
        keep=turn.cache.keep and state.calm,
    )
    try:
        await _look(made, assistant.semantic_cache_threshold)
    except AtriumError as error:
        log.info("question_not_compared", tenant_id=str(turn.principal.tenant_id), error=error.code)
        made.keep = False
    if made.found is None:
        note_hop("cache", began, {"outcome": "semantic_miss", "kept": made.keep})
    return made


async def _wanted(turn: TurnRequest, began: float) -> bool:
    """Whether the tenant lets answers be given again to this caller, and any model of its lets its own."""
    principal = turn.principal
    try:
        caching = await find_caching(principal)
        await ensure_models()
    except Unavailable:
        # The call itself will say so.
        return False
    if caching.declined:
        note_hop("cache", began, {"outcome": "declined", "said_by": caching.said_by})
        return False
    models = list_models(tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region)
    return any(spec.cache_seconds for spec in models)


async def _state(turn: TurnRequest, assistant: AssistantView) -> KnowledgeState:
    if not assistant.knowledge_base_ids:
        return NO_KNOWLEDGE
    return await run_unit(
        knowledge_state, principal=turn.principal, knowledge_base_ids=assistant.knowledge_base_ids
    )


async def _look(made: Recalled, threshold: float) -> None:
    """Find the answer to the same words, else to the question most alike; its vector is made at most once."""
    cache: SemanticCache = backends["semantic_cache"]
    made.found = await _answer(made, made.name)
    if made.found is not None:
        made.likeness = 1.0
        return
    if not questions_by_meaning():
        return
    known = await cache.questions(made.shelf) if made.turn.cache.read else {}
    if not known and not made.keep:
        return
    made.vector = unit(await _embedded(made))
    if made.vector is None or not known:
        return
    compare = partial(nearest, made.question, made.vector, known, threshold=threshold, now=made.at)
    near = await asyncio.to_thread(compare) if made.vector.size > MOST_DIMENSIONS_AT_ONCE else compare()
    if near is not None:
        made.found, made.likeness = await _answer(made, near[0]), near[1]


async def _answer(made: Recalled, name: str) -> KeptExchange | None:
    """The answer of this name that the turn may have."""
    cache: SemanticCache = backends["semantic_cache"]
    raw = await cache.answer(made.shelf, name) if made.turn.cache.read else None
    return decode_exchange(raw, now=made.at, age_s=made.turn.cache.age_s) if raw is not None else None


async def _embedded(made: Recalled) -> list[float]:
    """The question's vector, booked to who asks. Raises as `embed`."""
    turn = made.turn
    model = settings.EMBEDDING_MODEL
    call = ModelCall(
        principal=turn.principal,
        surface=Surface.EMBEDDINGS,
        model=model,
        body={"model": model, "input": [made.question]},
        prompt_chars=len(made.question),
        request_id=turn.request_id,
        origin=turn.origin,
        priority=PriorityClass.INTERACTIVE.clamped(turn.principal.priority_cap),
        traceparent=turn.traceparent,
    )
    embeddings, _ = await embed(call)
    return list(embeddings.vectors[0])


def questions_by_meaning() -> bool:
    """Whether this installation compares questions by meaning: not while its vectors are made of words alone."""
    return settings.EMBEDDING_MODEL not in lexical_models()


def given_again(found: KeptExchange, turn: TurnRequest) -> KeptAnswer:
    """The found answer in the form that the turn asked for."""
    id, created = f"chatcmpl-{turn.request_id}", int(_now())
    kept = KeptAnswer(
        at=found.at,
        model=found.model,
        pool=found.pool,
        replica=found.replica,
        usage=found.usage,
        finish_reason=found.finish_reason,
        text=found.text,
        served=found.served,
    )
    if turn.stream:
        events = stream_events(
            id=id, created=created, model=found.model, text=found.text, finish_reason=found.finish_reason
        )
        return replace(kept, frames=events)
    body = whole_body(
        id=id,
        created=created,
        model=found.model,
        text=found.text,
        finish_reason=found.finish_reason,
        usage=found.usage,
    )
    return replace(kept, body=body)


class KeepingFlow:
    """A new answer to a question that may be asked again: it is kept when it has ended by itself, if it may be."""

    def __init__(self, flow: TurnFlow, recalled: Recalled, offered: tuple[Citation, ...]) -> None:
        """`offered` are the passages in its prompt."""
        self._flow = flow
        self._recalled = recalled
        self._offered = offered

    @property
    def decision(self) -> RoutingDecision:
        """Where the call went; that nothing was found."""
        return replace(self._flow.decision, cache="miss")

    @property
    def settled(self) -> Settled | None:
        """Usage and cost, None before the end."""
        return self._flow.settled

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The answer as it is made."""
        texts: list[str] = []
        finish_reason, opaque = "", False
        async for chunk in self._flow.chunks():
            texts.append(chunk.text)
            finish_reason = chunk.finish_reason or finish_reason
            opaque = opaque or chunk.opaque
            yield chunk
        if not opaque:
            self._keep("".join(texts), finish_reason)

    async def completion(self) -> Completion:
        """The whole answer."""
        answer = await self._flow.completion()
        self._keep(answer.text, answer.finish_reason or "")
        return answer

    def _keep(self, text: str, finish_reason: str) -> None:
        """Keep an answer that ended by itself, beside the request."""
        settled, decision, recalled = self.settled, self._flow.decision, self._recalled
        if (
            not recalled.keep
            or settled is None
            or settled.usage.estimated
            or finish_reason != "stop"
            or not text.strip()
        ):
            return
        model = _model_of(recalled, decision.model)
        if model is None:
            return
        until = min(recalled.until, recalled.at + model.cache_seconds)
        exchange = KeptExchange(
            at=recalled.at,
            until=until,
            text=text,
            finish_reason=finish_reason,
            model=decision.model,
            pool=decision.pool,
            replica=decision.replica,
            usage=_counted(settled.usage),
            citations=used_citations(text, self._offered),
            served=model.served_names(),
        )
        raw, seconds = encode_exchange(exchange), int(until - _now())
        if raw is None or seconds < 1:
            return
        question = encode_question(recalled.question, recalled.vector, until)
        cache: SemanticCache = backends["semantic_cache"]
        aside: Aside = backends["aside"]
        aside.do("keep-exchange", cache.put(recalled.shelf, recalled.name, question, raw, seconds))


def _model_of(recalled: Recalled, model_id: str) -> ModelSpec | None:
    """The model that answered, None when it is none of the caller's any more."""
    principal = recalled.turn.principal
    try:
        return get_model(
            model_id, tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region
        )
    except (ModelNotFound, PermissionDenied):
        return None


def _counted(usage: TokenUsage) -> TokenUsage:
    """What the engine read and wrote; what its own cache spared it then is of no matter now."""
    return TokenUsage(usage.prompt_tokens, usage.completion_tokens)


def _now() -> float:
    return SYSTEM_CLOCK.now().timestamp()
