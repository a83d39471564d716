"""How alike a call's question is to a tenant's examples: their vectors are made when they are saved, the question's when
complexity decides, within a bound that no caller notices. Without a vector the words alone are judged.
"""

import asyncio
from collections.abc import Sequence

from django.conf import settings

from inference.services import embedder_fingerprint, ensure_models
from inference.types import Surface
from kernel.backends import backends
from kernel.errors import AtriumError, ModelNotFound, Unavailable
from kernel.ids import uuid7
from routing.choice_types import TenantPolicy
from routing.choosing import By
from routing.complexity import asked_part
from routing.eligibility import AUTO
from routing.examples import Bank, Examples, Likeness, likeness_of, make_bank
from routing.services.choosing import choose, text_asked
from routing.services.embedding import embed
from routing.services.memory import RoutingMemory
from routing.types import ModelCall
from substrate.bridge import wait_for
from tenants.types import Principal, PriorityClass

# MiniLM takes some 10 ms for a question on one core; who has no vector by then is judged by words.
LOOK_S = 0.1
# Of all examples at once, when they are saved.
LEARN_S = 30.0


async def find_likeness(
    call: ModelCall, policy: TenantPolicy, *, within_s: float = LOOK_S
) -> Likeness | None:
    """What the examples in force say of the call's question; None where something else decides, or no vector can be had.

    A vector is waited for `within_s`. Raises the errors of eligibility.
    """
    bank = policy.bank
    if bank is None or call.model != AUTO or policy.policy.heavy_percent is None:
        return None
    if choose(call, policy, only_asked=True).by is not By.COMPLEXITY:
        return None
    vector = await _vector(call, bank, asked_part(text_asked(call)).strip(), within_s)
    return likeness_of(vector, bank) if vector is not None else None


def learn_examples(principal: Principal, examples: Examples, known: Bank | None) -> Bank | None:
    """The examples with their vectors, those of `known` where it is of the same examples and embedder; None of none.

    For synchronous callers. The calls are booked to `principal`. Raises Unavailable when they cannot be made.
    """
    if not examples:
        return None
    return wait_for(lambda: _learn(principal, examples, known))


def in_use(bank: Bank | None) -> bool:
    """Whether the bank's vectors are of the embedder that this installation has. For synchronous callers."""
    return bank is not None and bank.embedder == wait_for(_known_embedder)


async def _known_embedder() -> str:
    await ensure_models()
    return _embedder()


async def _learn(principal: Principal, examples: Examples, known: Bank | None) -> Bank | None:
    await ensure_models()
    embedder = _embedder()
    if known is not None and known.examples == examples and known.embedder == embedder:
        return known
    texts = [asked_part(each) for each in (*examples.easy, *examples.hard)]
    try:
        async with asyncio.timeout(LEARN_S):
            vectors = await _embed(principal, texts, str(uuid7()), "rest", PriorityClass.INTERACTIVE)
    except (TimeoutError, AtriumError) as error:
        raise Unavailable("The examples could not be embedded. Try again, or save without them.") from error
    bank = make_bank(examples, embedder, vectors)
    if bank is None:
        raise Unavailable("The examples could not be embedded. Try again, or save without them.")
    return bank


async def _vector(call: ModelCall, bank: Bank, text: str, within_s: float) -> Sequence[float] | None:
    """The question's vector in the space of the bank, from what was embedded already or made now."""
    if not text or bank.embedder != _embedder():
        return None
    memory: RoutingMemory = backends["routing_memory"]
    found = memory.asked.find(call.principal.tenant_id, settings.EMBEDDING_MODEL, text)
    if found is not None:
        return found
    try:
        async with asyncio.timeout(within_s):
            vectors = await _embed(
                call.principal, [text], call.request_id, call.origin, call.priority, call.traceparent
            )
            return vectors[0]
    except (TimeoutError, AtriumError):
        return None


async def _embed(
    principal: Principal,
    texts: list[str],
    request_id: str,
    origin: str,
    priority: PriorityClass,
    traceparent: str = "",
) -> Sequence[Sequence[float]]:
    embeddings, _ = await embed(
        ModelCall(
            principal=principal,
            surface=Surface.EMBEDDINGS,
            model=settings.EMBEDDING_MODEL,
            body={"model": settings.EMBEDDING_MODEL, "input": texts},
            prompt_chars=sum(map(len, texts)),
            request_id=request_id,
            origin=origin,
            priority=priority.clamped(principal.priority_cap),
            traceparent=traceparent,
        )
    )
    return embeddings.vectors


def _embedder() -> str:
    """The fingerprint of the embedder, empty where there is none."""
    try:
        return embedder_fingerprint(settings.EMBEDDING_MODEL)
    except ModelNotFound:
        return ""
