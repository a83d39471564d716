"""A call that is answered by a light model if it is sure of its answer, else by a heavy one.

The beginning of the light answer is held until it is known how sure it is, or for HOLD_S at most; then it is shown whole and
the rest follows, or it is dropped, booked for what it has used, and the heavy model is asked as if nothing had been. Nobody
sees both. A light model that dies meanwhile is followed by the heavy one too.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from inference import services as inference
from inference.types import Chunk, Completion
from kernel.errors import NoReplica, QueueShareFull, ServerOverloaded, UpstreamFailed
from kernel.hops import Fact, note_hop
from routing.cascade import (
    Ladder,
    Measured,
    asking,
    asks_itself,
    joined,
    stripped,
    stripped_completion,
    unsure_at,
)
from routing.limits import RETRY_WITHIN_S
from routing.services.continuing import Begun
from routing.services.placing import Begin, Placed, Progress, T, place
from routing.types import ModelCall, RoutingDecision

# The longest time that tokens are held which could be shown.
HOLD_S = 3.0
ESCALATED = "escalated"
_SHOWN = frozenset({"kept", "unknown"})


class Spending(Protocol):
    """The account of the call: what an attempt has used, and that it was given up."""

    progress: Progress

    def take(self, chunk: Chunk) -> None:
        """Count a chunk."""
        ...

    def count_whole(self, answer: Completion) -> None:
        """Count a whole answer."""
        ...

    def forget(self) -> None:
        """Nothing was counted: the same chunks come again."""
        ...

    async def book_attempt(self, error: str) -> None:
        """Book what was counted as an entry of its own, which ended with `error`; free the slot and begin anew."""
        ...


class _Verdict(Struct):
    """What is known of a light answer. `outcome` is kept, escalated, failed, or unknown where no probability was told."""

    outcome: str
    confidence: float | None
    below: float
    tokens: int


async def place_stream(call: ModelCall, account: Spending, ladder: Ladder) -> Placed[Begun]:
    """Begin the stream that is shown. Raises as `place`."""
    began = time.perf_counter()
    placed = await _light(call, inference.begin_stream, account.progress, ladder)
    if placed is None:
        return await place(call, inference.begin_stream, account.progress, ladder.rest)
    rest, seen = _Rest(placed.begun[1]), time.perf_counter()
    try:
        held, verdict = await _hold(call, account, ladder, placed, rest)
    except BaseException:
        await rest.aclose()
        raise
    _note(began, seen, ladder, verdict, placed.decision)
    if verdict.outcome in _SHOWN:
        account.forget()
        if not asks_itself(call.body):
            held, rest.strip = [stripped(chunk) for chunk in held], True
        told = _told(placed.decision, verdict)
        return Placed((joined(held) if held else None, rest), placed.replica, placed.request, told)
    await rest.aclose()
    await account.book_attempt(ESCALATED if verdict.outcome == ESCALATED else UpstreamFailed.code)
    heavy = await place(call, inference.begin_stream, account.progress, ladder.rest)
    return replace(heavy, decision=_told(heavy.decision, verdict))


async def place_whole(call: ModelCall, account: Spending, ladder: Ladder) -> Placed[Completion]:
    """The whole answer that is shown; a light one is waited for to its end. Raises as `place`."""
    began = time.perf_counter()
    placed = await _light(call, inference.complete, account.progress, ladder)
    if placed is None:
        return await place(call, inference.complete, account.progress, ladder.rest)
    answer, seen = placed.begun, time.perf_counter()
    measured = Measured(ladder.rule.tokens)
    measured.take([answer.body])
    verdict = _judge(account.progress, ladder, measured, call, answer.usage.completion_tokens)
    _note(began, seen, ladder, verdict, placed.decision)
    if verdict.outcome != ESCALATED:
        shown = answer if asks_itself(call.body) else stripped_completion(answer)
        return replace(placed, begun=shown, decision=_told(placed.decision, verdict))
    account.count_whole(answer)
    await account.book_attempt(ESCALATED)
    heavy = await place(call, inference.complete, account.progress, ladder.rest)
    return replace(heavy, decision=_told(heavy.decision, verdict))


async def _light(call: ModelCall, begin: Begin[T], progress: Progress, ladder: Ladder) -> Placed[T] | None:
    """The light attempt; None when no replica of the light model could take it."""
    asked = replace(call, body=asking(call.surface, call.body))
    try:
        return await place(asked, begin, progress, ladder.light)
    except (NoReplica, ServerOverloaded, QueueShareFull):
        return None


async def _hold(
    call: ModelCall, account: Spending, ladder: Ladder, placed: Placed[Begun], rest: "_Rest"
) -> tuple[list[Chunk], _Verdict]:
    """The chunks that came until it was known how sure the answer is, and what is to become of it."""
    held: list[Chunk] = []
    measured = Measured(ladder.rule.tokens)
    deadline = time.perf_counter() + HOLD_S
    chunk, tokens = placed.begun[0], 0
    try:
        while chunk is not None:
            held.append(chunk)
            account.take(chunk)
            measured.take(chunk.frames)
            tokens += chunk.tokens
            # An engine that tells no probabilities with its first token tells none later.
            if measured.full or (tokens and not measured.count) or tokens >= 2 * ladder.rule.tokens:
                break
            chunk = await rest.within(deadline - time.perf_counter())
    except UpstreamFailed as error:
        inference.note_broken_stream(placed.replica, placed.request, error)
        return held, _Verdict("failed", measured.confidence, 0.0, tokens)
    return held, _judge(account.progress, ladder, measured, call, tokens)


def _judge(progress: Progress, ladder: Ladder, measured: Measured, call: ModelCall, tokens: int) -> _Verdict:
    """What is to become of a light answer. What it showed counts among the tenant's from now on."""
    confidence = measured.confidence
    if confidence is None:
        return _Verdict("unknown", None, 0.0, tokens)
    rule, memory, doubt = ladder.rule, progress.memory, 1 - confidence
    sketch = memory.doubts.of(call.principal.tenant_id)
    threshold = sketch.threshold(rule.escalate_percent) if rule.escalate_percent is not None else None
    sketch.note(doubt)
    below = unsure_at(rule, threshold)
    unsure = threshold.heavy(doubt, memory.chance) if threshold is not None else confidence < below
    # No second model is begun with when a retry would not be either.
    late = progress.elapsed_ms() > RETRY_WITHIN_S * 1000
    return _Verdict(ESCALATED if unsure and not late else "kept", confidence, below, tokens)


def _note(began: float, seen: float, ladder: Ladder, verdict: _Verdict, decision: RoutingDecision) -> None:
    """Tell the way of it. What it adds to the wait: since `seen` of an answer that is shown, since `began` of one that is not."""
    shown = verdict.outcome in _SHOWN
    facts: dict[str, Fact] = {
        "outcome": verdict.outcome,
        "light": decision.model,
        "heavy": ladder.heavy.id,
        "tokens": verdict.tokens,
        "added_ms": round((time.perf_counter() - (seen if shown else began)) * 1000, 1),
    }
    if verdict.confidence is not None:
        facts |= {"confidence": round(verdict.confidence, 3), "below": round(verdict.below, 3)}
    note_hop("cascade", began, facts)


def _told(decision: RoutingDecision, verdict: _Verdict) -> RoutingDecision:
    """The decision, with what the cascade made of it."""
    if verdict.confidence is None:
        reason = f"{decision.reason}; cascade: {verdict.outcome}"
    else:
        sign = "<" if verdict.outcome == ESCALATED else "≥"
        reason = f"{decision.reason}; cascade: confidence {verdict.confidence:.2f} {sign} {verdict.below:.2f}"
    return replace(decision, reason=reason)


class _Rest:
    """The chunks of a stream from here on, of which the next can be waited for a while without being lost."""

    __slots__ = ("_next", "_stream", "strip")

    def __init__(self, stream: AsyncIterator[Chunk]) -> None:
        self._stream = stream
        self._next: asyncio.Future[Chunk | None] | None = None
        self.strip = False

    async def within(self, seconds: float) -> Chunk | None:
        """The next chunk; None at the end, and when it does not come in time: then it is the next one still."""
        if self._next is None:
            self._next = asyncio.ensure_future(_next_of(self._stream))
        done, _ = await asyncio.wait([self._next], timeout=max(0.0, seconds))
        return self._taken() if done else None

    def __aiter__(self) -> "_Rest":
        return self

    async def __anext__(self) -> Chunk:
        if self._next is not None:
            await asyncio.wait([self._next])
            chunk = self._taken()
        else:
            chunk = await anext(self._stream, None)
        if chunk is None:
            raise StopAsyncIteration
        return stripped(chunk) if self.strip else chunk

    def _taken(self) -> Chunk | None:
        waited, self._next = self._next, None
        return waited.result() if waited is not None else None

    async def aclose(self) -> None:
        """Stop the engine."""
        waited, self._next = self._next, None
        if waited is not None:
            waited.cancel()
            await asyncio.gather(waited, return_exceptions=True)
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


async def _next_of(stream: AsyncIterator[Chunk]) -> Chunk | None:
    return await anext(stream, None)
