"""One model call from its acceptance to its settlement.

Whatever happens, a call that has reached an engine leaves exactly one usage entry in the spool, and its slot is free
again: when the answer has ended, before its last byte leaves; when it broke off, or its reader left, with the tokens
that were counted until then. Calls that never reached an engine (no such model, queue full) leave none.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType

from inference import services as inference
from inference.types import Chunk, Completion
from kernel.errors import UpstreamFailed
from kernel.hops import Facts, note_hop
from routing.caching import StreamRecord
from routing.eligibility import Candidate
from routing.services.accounts import Account
from routing.services.cascading import place_stream, place_whole
from routing.services.continuing import Begun, continuing
from routing.services.likening import find_likeness
from routing.services.placing import Placed, admit, place
from routing.services.remembering import (
    Remembering,
    keep_completion,
    keep_stream,
    kept_decision,
    model_of_given,
    new_decision,
    recall,
)
from routing.services.shadowing import Watched, watch
from routing.types import KeptAnswer, ModelCall, RoutingDecision, Settled
from tenants.types import UsageEntry, UsageState

# How often the pace of a slow stream is noted: after so many seconds of waiting for it.
PACE_S = 1.0


class Flow:
    """An answer that has begun: `decision` is final. `settled` says what it cost, once it has ended."""

    __slots__ = (
        "_account",
        "_completion",
        "_kept",
        "_remembering",
        "_rest",
        "_stream",
        "_watched",
        "decision",
    )

    def __init__(
        self,
        account: Account,
        decision: RoutingDecision,
        answer: Completion | Placed[Begun] | KeptAnswer,
        remembering: Remembering | None = None,
        watched: Watched | None = None,
    ) -> None:
        """Made by `dispatch`; a stream is kept where `remembering` says, and copied once it is `watched` to its end."""
        self._account = account
        self.decision = decision
        self._remembering = remembering
        self._watched = watched
        self._kept = answer if isinstance(answer, KeptAnswer) else None
        self._completion = answer if isinstance(answer, Completion) else None
        self._stream = answer if isinstance(answer, Placed) else None
        self._rest = self._stream.begun[1] if self._stream is not None else None

    @property
    def settled(self) -> Settled | None:
        """Usage and cost, None before the end."""
        return self._account.settled

    @property
    def entry(self) -> UsageEntry | None:
        """What was booked of it, None before the end."""
        return self._account.entry

    async def completion(self) -> Completion:
        """The whole answer of a call that was not streamed; it is already settled."""
        if self._kept is not None:
            return self._kept.completion()
        if self._completion is None:
            raise TypeError("a streamed call has chunks, not a completion")
        return self._completion

    def chunks(self) -> AsyncIterator[Chunk]:
        """The answer as it is made; its usage is settled before the iterator ends. To be read once.

        Raises UpstreamFailed when the engine dies in the middle, Unavailable when the usage can be stored nowhere.
        """
        if self._kept is not None:
            return _at_once(self._kept.chunk())
        chunks = self._read()
        if self._remembering is not None and self._remembering.record is not None:
            chunks = self._recorded(chunks, self._remembering, self._remembering.record)
        return chunks if self._watched is None else self._watched.follow(chunks, self._account)

    async def _recorded(
        self, chunks: AsyncIterator[Chunk], remembering: Remembering, record: StreamRecord
    ) -> AsyncIterator[Chunk]:
        """The answer as it is made, kept once it has ended."""
        async for chunk in chunks:
            record.take(chunk)
            yield chunk
        keep_stream(remembering, self.decision, self._account.usage)

    async def _read(self) -> AsyncIterator[Chunk]:
        placed = self._stream
        if placed is None:
            raise TypeError("a call that was not streamed has a completion, not chunks")
        account = self._account
        first, rest = placed.begun
        again = continuing(account.call, account.progress, placed)
        parts = again.parts if again is not None else None
        began = last = time.perf_counter()
        longest = waited = 0.0
        count = paced = 0
        try:
            while True:
                try:
                    if first is not None:
                        count += 1
                        account.take(first)
                        if parts is not None:
                            parts.append(first.text)
                        # The prompt has been read: the scheduler counts it as in flight until the first charge.
                        await account.charge()
                        yield first
                        last = time.perf_counter()
                        paced = account.tokens
                    async for chunk in rest:
                        now = time.perf_counter()
                        gap = now - last
                        if gap > longest:
                            longest = gap
                        waited += gap
                        count += 1
                        account.tokens += chunk.tokens
                        if parts is not None:
                            parts.append(chunk.text)
                        if chunk.usage is not None or chunk.finish_reason is not None or chunk.opaque:
                            account.note(chunk)
                        if account.tokens >= account.charge_at:
                            await account.charge()
                        if waited > PACE_S:
                            account.note_pace(now, account.tokens - paced, waited)
                            paced, waited = account.tokens, 0.0
                        yield chunk
                        # A reader that takes its time is not the engine's slowness.
                        last = time.perf_counter()
                    account.note_pace(last, account.tokens - paced, waited)
                    account.note_prefill()
                    break
                except UpstreamFailed as error:
                    placed = again.placed if again is not None else placed
                    inference.note_broken_stream(placed.replica, placed.request, error)
                    if account.finished:
                        # All was said but the end itself.
                        break
                    if again is None or account.opaque:
                        raise
                    first, rest = await again.resume(error, account.tokens)
                    self._rest = rest
                    if self._remembering is not None and self._remembering.record is not None:
                        self._remembering.record.spoil()
                    last, waited, paced = time.perf_counter(), 0.0, account.tokens
        except UpstreamFailed as error:
            await account.settle(UsageState.FAILED, error.code)
            raise
        finally:
            facts: Facts = {
                "chunks": count,
                "longest_gap_ms": round(longest * 1000, 1),
                "model": placed.replica.model,
            }
            note_hop("stream", began, facts)
        await account.settle(UsageState.COMPLETED)

    async def close(self) -> None:
        """Stop the engine where the answer was not read to its end."""
        # An async generator; ended ones are closed already.
        close = getattr(self._rest, "aclose", None)
        if close is not None:
            await close()


class dispatch:
    """Answer `call` by some replica: an async context manager that gives its Flow.

    It is entered when the first byte is there (of a call that is not streamed: the whole answer), after retries on
    other replicas. Leaving before the end cancels the call, which is settled as cancelled. Raises ModelNotFound,
    BadInput, ServerOverloaded, NoReplica, EngineRefused, UpstreamFailed, Unavailable; NotGivenAgain for a call with an
    answer of a model that may not answer it.
    """

    __slots__ = ("_account", "_call", "_flow")

    def __init__(self, call: ModelCall) -> None:
        """Nothing happens before it is entered."""
        self._call = call
        self._account = Account(call)
        self._flow: Flow | None = None

    async def __aenter__(self) -> Flow:
        """Begin the call."""
        call, account = self._call, self._account
        try:
            candidates = await admit(call, account.progress, find_likeness)
            if call.given is not None:
                kept, model = call.given, model_of_given(call.given, candidates, account.progress.caching)
                self._flow = Flow(account, kept_decision(kept, account.progress, "semantic"), kept)
                await account.settle_kept(kept, model, "semantic")
                return self._flow
            made = None
            if call.cache is not None and candidates:
                made = await recall(call, candidates[0].model, account.progress.caching)
            if made is not None and made.found is not None:
                kept = made.found
                self._flow = Flow(account, kept_decision(kept, account.progress), kept)
                await account.settle_kept(kept, candidates[0].model)
            elif call.stream:
                streamed = await _begin_stream(call, account, candidates)
                account.first_token_ms = account.progress.elapsed_ms()
                watched = watch(call, account.progress, streamed.decision.model)
                self._flow = Flow(account, new_decision(streamed.decision, made), streamed, made, watched)
            else:
                whole = await _complete(call, account, candidates)
                account.first_token_ms = account.progress.elapsed_ms()
                account.usage = whole.begun.usage
                self._flow = Flow(account, new_decision(whole.decision, made), whole.begun)
                await account.settle(UsageState.COMPLETED)
                watched = watch(call, account.progress, whole.decision.model)
                if watched is not None:
                    watched.answered(whole.begun, account)
                if made is not None:
                    keep_completion(made, whole.decision, whole.begun)
        except BaseException as error:
            await account.settle_broken(error)
            raise
        return self._flow

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the call; what was not settled is settled as cancelled."""
        if self._account.closed:
            return
        try:
            if self._flow is not None:
                await self._flow.close()
        finally:
            await self._account.settle_broken(asyncio.CancelledError())


async def _begin_stream(call: ModelCall, account: Account, candidates: Sequence[Candidate]) -> Placed[Begun]:
    ladder = account.progress.ladder
    if ladder is not None:
        return await place_stream(call, account, ladder)
    return await place(call, inference.begin_stream, account.progress, candidates)


async def _complete(call: ModelCall, account: Account, candidates: Sequence[Candidate]) -> Placed[Completion]:
    ladder = account.progress.ladder
    if ladder is not None:
        return await place_whole(call, account, ladder)
    return await place(call, inference.complete, account.progress, candidates)


async def _at_once(chunk: Chunk) -> AsyncIterator[Chunk]:
    yield chunk
