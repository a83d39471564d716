"""One model call from its acceptance to its settlement.

Whatever happens, a call that has reached an engine leaves exactly one usage entry in the spool, and its slot is free
again: when the answer has ended, before its last byte leaves; when it broke off, or its reader left, with the tokens
that were counted until then. Calls that never reached an engine (no such model, queue full) leave none.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

import structlog
from msgspec.structs import replace

from inference import services as inference
from inference.types import Chunk, Completion, Embeddings, ModelSpec, TokenUsage
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import AtriumError, Unavailable, UpstreamFailed
from kernel.hops import Facts, note_hop
from kernel.ids import uuid7
from routing.caching import StreamRecord
from routing.eligibility import Candidate
from routing.limits import CHARGE_TOKENS, estimate_tokens
from routing.services.admission import Admission
from routing.services.cascading import place_stream, place_whole
from routing.services.continuing import Begun, continuing
from routing.services.placing import Placed, Progress, admit, give_back, place
from routing.services.remembering import (
    Remembering,
    keep_completion,
    keep_stream,
    kept_decision,
    kept_facts,
    model_of_given,
    new_decision,
    recall,
)
from routing.types import KeptAnswer, ModelCall, RoutingDecision, Settled
from tenants.services import record_usage
from tenants.types import UsageEntry, UsageState

log = structlog.get_logger(__name__)


# How often the pace of a slow stream is noted: after so many seconds of waiting for it.
PACE_S = 1.0


class Flow:
    """An answer that has begun: `decision` is final. `settled` says what it cost, once it has ended."""

    __slots__ = ("_account", "_completion", "_kept", "_remembering", "_rest", "_stream", "decision")

    def __init__(
        self,
        account: "_Account",
        decision: RoutingDecision,
        answer: Completion | Placed[Begun] | KeptAnswer,
        remembering: Remembering | None = None,
    ) -> None:
        """Made by `dispatch`; a stream is kept where `remembering` says."""
        self._account = account
        self.decision = decision
        self._remembering = remembering
        self._kept = answer if isinstance(answer, KeptAnswer) else None
        self._completion = answer if isinstance(answer, Completion) else None
        self._stream = answer if isinstance(answer, Placed) else None
        self._rest = self._stream.begun[1] if self._stream is not None else None

    @property
    def settled(self) -> Settled | None:
        """Usage and cost, None before the end."""
        return self._account.settled

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
        if self._remembering is None or self._remembering.record is None:
            return self._read()
        return self._recorded(self._remembering, self._remembering.record)

    async def _recorded(self, remembering: Remembering, record: StreamRecord) -> AsyncIterator[Chunk]:
        """The answer as it is made, kept once it has ended."""
        async for chunk in self._read():
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
        self._account = _Account(call)
        self._flow: Flow | None = None

    async def __aenter__(self) -> Flow:
        """Begin the call."""
        call, account = self._call, self._account
        try:
            candidates = await admit(call, account.progress)
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
                self._flow = Flow(account, new_decision(streamed.decision, made), streamed, made)
            else:
                whole = await _complete(call, account, candidates)
                account.first_token_ms = account.progress.elapsed_ms()
                account.usage = whole.begun.usage
                self._flow = Flow(account, new_decision(whole.decision, made), whole.begun)
                await account.settle(UsageState.COMPLETED)
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


async def _begin_stream(
    call: ModelCall, account: "_Account", candidates: Sequence[Candidate]
) -> Placed[Begun]:
    ladder = account.progress.ladder
    if ladder is not None:
        return await place_stream(call, account, ladder)
    return await place(call, inference.begin_stream, account.progress, candidates)


async def _complete(
    call: ModelCall, account: "_Account", candidates: Sequence[Candidate]
) -> Placed[Completion]:
    ladder = account.progress.ladder
    if ladder is not None:
        return await place_whole(call, account, ladder)
    return await place(call, inference.complete, account.progress, candidates)


async def embed(call: ModelCall) -> tuple[Embeddings, RoutingDecision]:
    """One vector for each entry of `body["input"]`, and where they were made. Raises as `dispatch`."""
    account = _Account(call)
    try:
        candidates = await admit(call, account.progress)
        # Vectors have no first token: their times, of a whole document's chunks often, would stand among answers'.
        placed = await place(call, inference.embed, account.progress, candidates)
        account.usage = placed.begun.usage
        await account.settle(UsageState.COMPLETED)
    except BaseException as error:
        await account.settle_broken(error)
        raise
    return placed.begun, placed.decision


class _Account:
    """What one call used so far, and its settlement, which happens once."""

    __slots__ = (
        "_charged", "_earlier", "_entry", "_prompt", "call", "charge_at", "closed", "finished", "first_token_ms", "opaque",
        "progress", "settled", "tokens", "usage",
    )  # fmt: skip

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        self._charged = 0
        self._entry: UsageEntry | None = None
        # What attempts have cost that are not shown: prompt tokens, answer tokens, nano-units.
        self._earlier = (0, 0, 0)
        self.progress = Progress(
            time.perf_counter(), scheduler=backends["scheduler"], memory=backends["routing_memory"]
        )
        self.charge_at = CHARGE_TOKENS
        self.tokens = 0
        # Of the prompt, where the engine counts along.
        self._prompt = 0
        self.usage: TokenUsage | None = None
        self.first_token_ms = 0.0
        self.settled: Settled | None = None
        self.closed = False
        # Whether the answer has said how it ends; whether it said what a continuation could not know.
        self.finished = False
        self.opaque = False

    def take(self, chunk: Chunk) -> None:
        """Count a first chunk."""
        self.tokens += chunk.tokens
        self._prompt = self._prompt or chunk.prompt_tokens
        self.note(chunk)

    def note(self, chunk: Chunk) -> None:
        """Note what a chunk says beside its text."""
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finished = True
        if chunk.opaque:
            self.opaque = True

    def count_whole(self, answer: Completion) -> None:
        """Count an answer that came whole."""
        self.usage, self.tokens = answer.usage, answer.usage.completion_tokens

    def forget(self) -> None:
        """Nothing was counted: the same chunks come again."""
        self.tokens, self._prompt, self.usage, self.finished, self.opaque = 0, 0, None, False, False

    async def book_attempt(self, error: str) -> None:
        """Book what was counted as an entry of its own, which ended with `error`; free the slot and begin anew.

        Cancelled meanwhile, it is done all the same. Raises Unavailable.
        """
        entry = self._make_entry(UsageState.CANCELLED, error)
        if entry is not None:
            prompt, answer, cost = self._earlier
            self._earlier = (
                prompt + entry.prompt_tokens,
                answer + entry.completion_tokens,
                cost + entry.cost_nano,
            )
            # Its own: that of the call is for what is shown.
            began = time.perf_counter()
            await _insist(record_usage(replace(entry, record_id=uuid7())))
            note_hop("settle", began, _settlement(entry))
        self.settled = None
        await self._charge_rest()
        await give_back(self.progress)
        self.progress.model = self.progress.replica = None
        self._charged, self.charge_at = 0, CHARGE_TOKENS
        self.forget()

    async def charge(self) -> None:
        """Tell the scheduler of the tokens since the last time."""
        tokens, self._charged = self.tokens - self._charged, self.tokens
        self.charge_at = self.tokens + CHARGE_TOKENS
        if self.progress.lease is not None:
            await self.progress.scheduler.charge(self.progress.lease, tokens)

    def note_pace(self, now: float, tokens: int, waited_s: float) -> None:
        """The replica has given `tokens` more tokens, for which `waited_s` seconds were waited."""
        vital = self.progress.vital
        if vital is not None:
            vital.note_pace(now, tokens, waited_s)

    def note_prefill(self) -> None:
        """The replica has read a prompt whose length it has told."""
        usage, progress = self.usage, self.progress
        if progress.vital is not None and usage is not None and not usage.estimated:
            expected = progress.terms.cached_tokens if progress.terms is not None else 0
            cached = max(usage.cached_tokens, expected)
            progress.vital.note_prefill(usage.prompt_tokens - cached, progress.first_s)

    async def _charge_rest(self) -> None:
        """Tell the scheduler what the call has used in the end: what the engine said, else what was counted."""
        lease, usage = self.progress.lease, self.usage
        if lease is None:
            return
        written, read = self.tokens - self._charged, 0
        if usage is not None and not usage.estimated:
            written = usage.completion_tokens - self._charged
            read = usage.prompt_tokens - self.progress.prompt_tokens
        if written or read:
            self._charged += written
            await self.progress.scheduler.charge(lease, written, read)

    async def settle(self, state: UsageState, error: str = "") -> None:
        """Free the slot and store the usage, before anything else is told. Raises Unavailable.

        Cancelled meanwhile, it is done all the same: the entry has an id, so that storing it twice counts once.
        """
        if self.closed:
            return
        self.closed = True
        try:
            await self._charge_rest()
            await give_back(self.progress)
            await self._store(state, error)
        except asyncio.CancelledError:
            await _insist(self._finish(state, error))
            raise

    async def settle_kept(self, kept: KeptAnswer, model: ModelSpec, cache: str = "hit") -> None:
        """Book an answer that was given before: its tokens, for what kept ones cost. Raises Unavailable."""
        began = time.perf_counter()
        usage, cost = kept.usage, inference.price_kept(model, kept.usage)
        self.usage, self.settled = usage, Settled(usage, cost)
        self.first_token_ms = self.progress.elapsed_ms()
        self._entry = self._entry_of(
            kept.model, kept.pool, "", UsageState.COMPLETED, self.settled, cached=True
        )
        saved = inference.price(model, usage) - cost
        note_hop("cache", began, kept_facts(kept, saved_nano=saved, cache=cache))
        await self.settle(UsageState.COMPLETED)

    async def settle_broken(self, error: BaseException) -> None:
        """Settle a call that did not come to its end; it never raises over the error that ended it."""
        state = UsageState.FAILED if isinstance(error, Exception) else UsageState.CANCELLED
        if self.closed:
            return
        self.closed = True
        await _insist(self._finish(state, _code(error) if state is UsageState.FAILED else ""))

    async def _finish(self, state: UsageState, error: str) -> None:
        try:
            await self._charge_rest()
            await give_back(self.progress)
        except Unavailable as problem:
            log.warning("slot_not_released", request_id=self.call.request_id, error=str(problem))
        try:
            await self._store(state, error)
        except Unavailable as problem:
            log.error("usage_not_stored", request_id=self.call.request_id, error=str(problem))

    async def _store(self, state: UsageState, error: str) -> None:
        if self._entry is None:
            self._entry = self._make_entry(state, error)
        entry = self._entry
        try:
            if entry is not None:
                began = time.perf_counter()
                await record_usage(entry)
                note_hop("settle", began, _settlement(entry))
        finally:
            if self.progress.admission is not None:
                await self._close_admission(self.progress.admission, entry)

    async def _close_admission(self, admission: Admission, entry: UsageEntry | None) -> None:
        """Tell the counters what was used; a call that nobody could answer costs nothing, its request included."""
        settled = self.settled
        prompt, answer, cost = self._earlier
        model = entry.model if entry is not None else ""
        if (
            entry is None
            or settled is None
            or (entry.state is UsageState.FAILED and not settled.used_anything)
        ):
            if not prompt + answer:
                await admission.refund()
                return
            usage = TokenUsage(0, 0)
        else:
            usage, cost = settled.usage, cost + settled.cost_nano
        # One call has one settlement: what attempts have used that are not shown counts with what is.
        whole = TokenUsage(usage.prompt_tokens + prompt, usage.completion_tokens + answer)
        await admission.settle(model, whole, cost)

    def _make_entry(self, state: UsageState, error: str) -> UsageEntry | None:
        """The entry of a call that has reached an engine."""
        model, replica = self.progress.model, self.progress.replica
        if model is None or replica is None:
            return None
        usage = self._final_usage(state)
        self.settled = Settled(usage, inference.price(model, usage))
        return self._entry_of(model.id, replica.pool, replica.id, state, self.settled, error)

    def _entry_of(
        self,
        model: str,
        pool: str,
        replica: str,
        state: UsageState,
        settled: Settled,
        error: str = "",
        *,
        cached: bool = False,
    ) -> UsageEntry:
        call, progress, usage = self.call, self.progress, settled.usage
        elapsed_ms = progress.elapsed_ms()
        principal = call.principal
        return UsageEntry(
            record_id=progress.call_id,
            request_id=call.request_id,
            tenant_id=principal.tenant_id,
            user_id=principal.user_id,
            api_key_id=principal.api_key_id,
            model=model,
            pool=pool,
            replica=replica,
            origin=call.origin,
            state=state,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost_nano=settled.cost_nano,
            started_at=SYSTEM_CLOCK.now() - timedelta(milliseconds=elapsed_ms),
            queue_ms=round(progress.queue_ms),
            first_token_ms=round(self.first_token_ms),
            total_ms=round(elapsed_ms),
            error=error,
            estimated=usage.estimated,
            assistant=call.assistant,
            cached=cached,
        )

    def _final_usage(self, state: UsageState) -> TokenUsage:
        """What the engine said; else what was counted, with the prompt estimated from its length.

        A call that failed before its first token has used nothing.
        """
        usage = self.usage
        if usage is not None and not (
            usage.completion_tokens < self.tokens and state is not UsageState.COMPLETED
        ):
            if usage.prompt_tokens == 0 and usage.estimated:
                return replace(usage, prompt_tokens=estimate_tokens(self.call.prompt_chars))
            return usage
        if state is UsageState.FAILED and not self.tokens:
            return TokenUsage(0, 0, estimated=True)
        prompt = self._prompt or estimate_tokens(self.call.prompt_chars)
        return TokenUsage(prompt, self.tokens, estimated=not self._prompt)


async def _at_once(chunk: Chunk) -> AsyncIterator[Chunk]:
    yield chunk


def _settlement(entry: UsageEntry) -> Facts:
    # What no engine read or wrote counts as saved, not as used.
    made = not entry.cached
    return {
        "model": entry.model,
        "pool": entry.pool,
        "state": entry.state.value,
        "prompt_tokens": entry.prompt_tokens * made,
        "completion_tokens": entry.completion_tokens * made,
        "cost_nano": entry.cost_nano,
    }


async def _insist(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end even when the task is cancelled meanwhile (again)."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, AtriumError) else "internal_error"
