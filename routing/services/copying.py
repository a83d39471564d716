"""Copies of answered calls: the same question to another model, beside the calls that somebody waits for.

A copy takes part as the least of all: in class `batch`, for its tenant alone, within bounds of its own, once, without waking
anybody. What becomes of it is told by one comparison in the spool (`tenants.shadow_types`), never by the call it copies.
What it says is compared, and forgotten.
"""

import asyncio
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace as replaced
from time import perf_counter

import structlog
from msgspec import Struct
from msgspec.structs import replace

from kernel.backends import backends
from kernel.errors import AtriumError
from kernel.hops import Trail, meters, on_trail
from kernel.ids import make_traceparent, new_trace_id, uuid7
from kernel.streams import Supervisor
from routing.agreement import Agreement, agreement_of
from routing.limits import COPY_ANSWER_S, COPY_FIRST_S, MOST_COPIES
from routing.services.calls import Flow, dispatch
from routing.types import Answered, ModelCall
from substrate.aside import Aside
from tenants.services import record_pair
from tenants.types import (
    SHADOW,
    PairEntry,
    PairSide,
    PairState,
    PriorityClass,
    UsageEntry,
)

log = structlog.get_logger(__name__)

TOO_SLOW = "too_slow"
# What a copy that was not begun, or not brought to its end, is counted as.
BUSY, STOPPED = "busy", "stopped"
# Ends of answers that are no text.
_TOOLS = frozenset({"tool_calls", "function_call"})


class _Outcome(Struct, frozen=True):
    """What became of a copy: its answer, or why there is none."""

    state: PairState
    answer: Answered | None = None
    error: str = ""


class ProcessCopies:
    """`Copies` of one process and event loop: so many at once, and what comes then is not copied."""

    def __init__(self, *, limit: int = MOST_COPIES) -> None:
        """Nothing is under way."""
        self._tasks = Supervisor(limit=limit, on_error=_report)
        self._limit = limit

    def begin(self, call: ModelCall, to: str, answered: Answered) -> None:
        """As the port says."""
        if len(self._tasks) >= self._limit:
            _count(BUSY)
            aside: Aside = backends["aside"]
            aside.do("record-dropped-copy", record_pair(_left_out(call, to, answered)))
            return
        self._tasks.start("copy_call", _compare(call, to, answered))

    async def settled(self) -> None:
        """As the port says."""
        await self._tasks.settled()

    async def close(self) -> None:
        """As the port says."""
        await self._tasks.close()


async def close_copies() -> None:
    """End the copies that are under way in this process, at once: nobody waits for them."""
    await backends["copies"].close()


def copy_of(call: ModelCall, to: str, id: uuid.UUID) -> ModelCall:
    """The call as it is asked of `to`: its tenant's, and nobody's in it, in the least class."""
    asker = replaced(
        call.principal,
        user_id=None,
        membership_id=None,
        api_key_id=None,
        api_key_prefix="",
        service_account="",
        group_ids=frozenset(),
    )
    return replace(
        call,
        principal=asker,
        model=to,
        request_id=str(id),
        traceparent=make_traceparent(new_trace_id()),
        origin=SHADOW,
        priority=PriorityClass.BATCH,
        assistant="",
        conversation="",
        tell=None,
        cache=None,
        given=None,
        copy=True,
    )


async def _compare(call: ModelCall, to: str, answered: Answered) -> None:
    """Ask `to`, and have both compared."""
    id, began = uuid7(), perf_counter()
    copy = copy_of(call, to, id)
    trail = Trail("job", copy.request_id, copy.traceparent[3:35])
    trail.route, trail.asker, trail.model, trail.stream = SHADOW, copy.principal, to, copy.stream
    told = STOPPED
    try:
        with on_trail(trail):
            outcome = await _asked(copy, trail)
        told = outcome.state.value
        trail.state = "completed" if outcome.state is PairState.COMPARED else "failed"
        trail.error = outcome.error
        found = await _agreement(answered, outcome.answer)
        await record_pair(_pair(id, call, to, answered, outcome, found))
    except asyncio.CancelledError:
        trail.state = "cancelled"
        raise
    finally:
        trail.note("shadow", began, {"outcome": told})
        trail.finish()


async def _asked(copy: ModelCall, trail: Trail) -> _Outcome:
    try:
        return _Outcome(PairState.COMPARED, await _answer(copy))
    except TimeoutError:
        error = TOO_SLOW
    except AtriumError as refusal:
        error = refusal.code
    # Its way knows whether an engine was asked.
    reached = any(hop[0] == "attempt" for hop in trail.hops)
    return _Outcome(PairState.FAILED if reached else PairState.DROPPED, error=error)


async def _answer(copy: ModelCall) -> Answered:
    """The whole answer. Raises as `dispatch`, TimeoutError."""
    async with asyncio.timeout(COPY_ANSWER_S), AsyncExitStack() as stack:
        async with asyncio.timeout(COPY_FIRST_S if copy.stream else None):
            flow = await stack.enter_async_context(dispatch(copy))
        if copy.stream:
            text, finish = await _read(flow)
        else:
            answer = await flow.completion()
            text, finish = answer.text, answer.finish_reason or ""
        entry = flow.entry
    if entry is None:
        raise AssertionError("an answer that an engine gave is booked")
    return Answered(entry, text, finish)


async def _read(flow: Flow) -> tuple[str, str]:
    """The text of a stream, and how it ended."""
    parts, finish = [], ""
    async for chunk in flow.chunks():
        parts.append(chunk.text)
        finish = chunk.finish_reason or finish
    return "".join(parts), finish


async def _agreement(answered: Answered, copied: Answered | None) -> Agreement | None:
    """How far both texts agree; None without two texts."""
    if copied is None or {answered.finish, copied.finish} & _TOOLS:
        return None
    # In a thread: streams that pass meanwhile are not to wait for it.
    return await asyncio.to_thread(agreement_of, answered.text, copied.text)


def _left_out(call: ModelCall, to: str, answered: Answered) -> PairEntry:
    """What the comparison is told of a copy for which there was no room: the tenant sees how many it was not shown."""
    return _pair(uuid7(), call, to, answered, _Outcome(PairState.DROPPED, error=BUSY), None)


def _pair(
    id: uuid.UUID,
    call: ModelCall,
    to: str,
    answered: Answered,
    outcome: _Outcome,
    found: Agreement | None,
) -> PairEntry:
    copied = outcome.answer
    return PairEntry(
        record_id=id,
        tenant_id=call.principal.tenant_id,
        started_at=answered.entry.started_at,
        model=answered.entry.model,
        shadow=to,
        state=outcome.state,
        error=outcome.error,
        stream=call.stream,
        answered=_side(answered, stream=call.stream),
        copied=_side(copied, stream=call.stream) if copied is not None else PairSide(),
        agreement=found.share if found is not None else None,
        same=found.same if found is not None else None,
    )


def _side(answer: Answered, *, stream: bool) -> PairSide:
    entry: UsageEntry = answer.entry
    return PairSide(
        first_ms=max(0, entry.first_token_ms - entry.queue_ms) if stream else 0,
        total_ms=max(0, entry.total_ms - entry.queue_ms),
        prompt_tokens=entry.prompt_tokens,
        completion_tokens=entry.completion_tokens,
        cost_nano=entry.cost_nano,
        finish_reason=answer.finish,
    )


def _count(outcome: str) -> None:
    now = perf_counter()
    meters().passed(("shadow", now, now, {"outcome": outcome}))


def _report(name: str, error: BaseException) -> None:
    log.error("copy_failed", work=name, error=str(error), kind=type(error).__name__)
