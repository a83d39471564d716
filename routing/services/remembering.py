"""A call and the answer that was kept for it: looked up once its limits are held, kept once a new one is settled."""

import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from inference.types import Completion, ModelSpec, TokenUsage
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK
from kernel.hops import Facts, note_hop
from routing.caching import (
    StreamRecord,
    decode,
    encode,
    keep_seconds,
    key_of,
    may_stand,
    worth_keeping,
)
from routing.choice_types import CachingInForce
from routing.eligibility import Candidate
from routing.errors import NotGivenAgain
from routing.ports import ResponseCache
from routing.services.placing import Progress
from routing.types import KeptAnswer, ModelCall, RoutingDecision
from substrate.aside import Aside


class Remembering(Struct):
    """Where the answer to a call may be kept, and what is kept there. `record` is what its stream says."""

    tenant: str
    key: str
    seconds: int
    model: str
    cache: ResponseCache
    keep: bool
    found: KeptAnswer | None = None
    record: StreamRecord | None = None


async def recall(call: ModelCall, model: ModelSpec, caching: CachingInForce) -> Remembering | None:
    """What is remembered of `call`, whose first candidate is `model`; None when its answer may not be kept."""
    wish, seconds = call.cache, keep_seconds(call, model, caching.use)
    if caching.declined and keep_seconds(call, model):
        note_hop("cache", time.perf_counter(), {"outcome": "declined", "said_by": caching.said_by})
    if wish is None or not seconds or not (wish.read or wish.keep):
        return None
    began = time.perf_counter()
    cache: ResponseCache = backends["response_cache"]
    made = Remembering(
        call.principal.tenant_name,
        key_of(call, model),
        # What one caller takes at most does not shorten how long others find it.
        model.cache_seconds,
        model.id,
        cache,
        keep=wish.keep,
    )
    if wish.read:
        raw = await cache.get(made.tenant, made.key)
        if raw is not None:
            made.found = decode(raw, now=_now(), age_s=seconds)
    if made.found is None:
        note_hop("cache", began, {"outcome": "miss", "model": model.id})
        if call.stream and made.keep:
            made.record = StreamRecord()
    return made


def model_of_given(given: KeptAnswer, candidates: Sequence[Candidate], caching: CachingInForce) -> ModelSpec:
    """The model of an answer that was found elsewhere, one of those that may answer now and whose operators and tenant let
    answers be given again. Raises NotGivenAgain.
    """
    for each in candidates:
        if each.model.id == given.model and not caching.declined:
            if not may_stand(given, each.model, now=_now()):
                break
            return each.model
    raise NotGivenAgain


def kept_decision(kept: KeptAnswer, progress: Progress, cache: str = "hit") -> RoutingDecision:
    """Where a kept answer was made, and that it is one."""
    return RoutingDecision(
        model=kept.model,
        pool=kept.pool,
        replica=kept.replica,
        queue_ms=0.0,
        attempts=0,
        reason="given before" if cache == "hit" else "given to a question like this",
        allowance=progress.admission.allowance if progress.admission else None,
        cache=cache,
    )


def new_decision(decision: RoutingDecision, made: Remembering | None) -> RoutingDecision:
    """`decision` of an answer that was made now, though one could have been kept."""
    return decision if made is None else replace(decision, cache="miss")


def kept_facts(kept: KeptAnswer, *, saved_nano: int, cache: str) -> Facts:
    """What a request's way tells of an answer that was given before."""
    return {
        "outcome": cache,
        "model": kept.model,
        "saved_tokens": kept.usage.prompt_tokens + kept.usage.completion_tokens,
        "saved_nano": saved_nano,
    }


def keep_completion(made: Remembering, decision: RoutingDecision, answer: Completion) -> None:
    """Keep a whole answer, if it is one to be kept."""
    if worth_keeping(answer.finish_reason, answer.usage):
        kept = _kept(decision, answer.usage, answer.finish_reason or "", answer.text)
        _keep(made, replace(kept, body=answer.body))


def keep_stream(made: Remembering, decision: RoutingDecision, usage: TokenUsage | None) -> None:
    """Keep what a stream has said from its beginning to its end, if it is to be kept."""
    record = made.record
    if record is None or not record.whole or usage is None or not worth_keeping(record.finish_reason, usage):
        return
    kept = _kept(decision, usage, record.finish_reason, "".join(record.texts))
    _keep(made, replace(kept, frames=tuple(record.frames)))


def _kept(decision: RoutingDecision, usage: TokenUsage, finish_reason: str, text: str) -> KeptAnswer:
    return KeptAnswer(
        at=_now(),
        model=decision.model,
        pool=decision.pool,
        replica=decision.replica,
        usage=usage,
        finish_reason=finish_reason,
        text=text,
    )


def _keep(made: Remembering, kept: KeptAnswer) -> None:
    # An answer of another model than the first candidate's came because that one could not answer.
    raw = encode(kept) if made.keep and kept.model == made.model else None
    if raw is not None:
        # Beside the request: its last byte does not wait for a Redis that is slow.
        aside: Aside = backends["aside"]
        aside.do("keep-answer", made.cache.put(made.tenant, made.key, raw, made.seconds))


def _now() -> float:
    return SYSTEM_CLOCK.now().timestamp()
