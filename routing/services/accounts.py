"""What a model call has used, and its settlement: once, whatever happens."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from inference import services as inference
from inference.types import Chunk, Completion, ModelSpec, TokenUsage
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import AtriumError, Unavailable
from kernel.hops import Facts, note_hop
from kernel.ids import uuid7
from routing.limits import CHARGE_TOKENS, estimate_tokens
from routing.services.admission import Admission
from routing.services.placing import Progress, give_back
from routing.services.remembering import kept_facts
from routing.types import KeptAnswer, ModelCall, Settled
from tenants.services import record_usage
from tenants.types import UsageEntry, UsageState

log = structlog.get_logger(__name__)


class Account:
    """What one call used so far, and its settlement, which happens once."""

    __slots__ = (
        "_charged", "_earlier", "_prompt", "call", "charge_at", "closed", "entry", "finished", "first_token_ms", "opaque",
        "progress", "settled", "tokens", "usage",
    )  # fmt: skip

    def __init__(self, call: ModelCall) -> None:
        """Nothing was used yet."""
        self.call = call
        self._charged = 0
        # What was booked of the call itself, once it was.
        self.entry: UsageEntry | None = None
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
        self.entry = self._entry_of(
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
        if self.entry is None:
            self.entry = self._make_entry(state, error)
        entry = self.entry
        try:
            if entry is not None:
                began = time.perf_counter()
                await record_usage(entry)
                note_hop("settle", began, _settlement(entry))
        finally:
            if self.progress.admission is not None:
                self._close_admission(self.progress.admission, entry)

    def _close_admission(self, admission: Admission, entry: UsageEntry | None) -> None:
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
                admission.refund()
                return
            usage = TokenUsage(0, 0)
        else:
            usage, cost = settled.usage, cost + settled.cost_nano
        # One call has one settlement: what attempts have used that are not shown counts with what is.
        whole = TokenUsage(usage.prompt_tokens + prompt, usage.completion_tokens + answer)
        admission.settle(model, whole, cost)

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
