"""Trying an assistant before it is saved: one question to a draft, of which nothing is stored but its usage.

A trial lives as long as the socket that follows it: there is no message to come back to. Its events are those of a
Run, with `conversation_id` null.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

import structlog

from assistants.citations import used_citations
from assistants.errors import RunInterrupted
from assistants.selectors import citation_rows
from assistants.services.queue_notices import queued_event
from assistants.services.recalling import TurnFlow
from assistants.services.runner import Runner, end_event
from assistants.services.runs import check_input
from assistants.services.transcripts import Ending
from assistants.services.turns import PreparedTurn, dispatch_turn
from assistants.types import AssistantDraft, MessageRole, MessageState, RunEvent, Turn, TurnRequest
from assistants.usage import usage_object
from kernel.backends import backends
from kernel.context import ensure_request
from kernel.errors import AtriumError, BadInput, Internal
from kernel.ids import make_traceparent, uuid7
from kernel.streams import PeerGone, beside, run_until
from routing.types import QueuePlace
from tenants.services import require
from tenants.types import Principal, PriorityClass

log = structlog.get_logger(__name__)

ORIGIN = "try"
INSTRUCTIONS_LIMIT = 100_000
HISTORY_LIMIT = 40
HISTORY_CHARS = 200_000
TIME_LIMIT_S = 300.0
# Events that wait for a client that reads slowly; the engine is read no faster than the client.
MOST_WAITING = 64


class Trial:
    """One question to a draft. Read `events` to their end; `stop` ends them early."""

    def __init__(self, turn: TurnRequest, request_id: str) -> None:
        """Made by `start_trial`."""
        self.message_id = uuid7()
        self._turn = turn
        self._request_id = request_id
        self._stop = asyncio.Event()
        self._timed_out = False
        self._said: list[str] = []
        self._prepared: PreparedTurn | None = None
        self._flow: TurnFlow | None = None
        self._finish_reason = ""

    def stop(self) -> None:
        """End the answer as stopped."""
        self._stop.set()

    async def events(self) -> AsyncGenerator[RunEvent, None]:
        """The events, to exactly one end. Leaving early stops the engine. Raises RateLimited, ServerOverloaded."""
        runner: Runner = backends["runner"]
        tenant_id = self._turn.principal.tenant_id
        runner.take_place(tenant_id)
        try:
            numbers = itertools.count(1)
            yield self._event(next(numbers), self._started())
            waiting: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(MOST_WAITING)
            async with beside(self._produce(waiting)):
                while (body := await waiting.get()) is not None:
                    yield self._event(next(numbers), body)
        finally:
            runner.give_place(tenant_id)

    def _event(self, seq: int, body: dict[str, Any]) -> RunEvent:
        return RunEvent(seq, {**body, "message_id": str(self.message_id)})

    def _started(self) -> dict[str, Any]:
        return {"type": "message.started", "request_id": self._request_id, "conversation_id": None}

    async def _produce(self, waiting: asyncio.Queue[dict[str, Any] | None]) -> None:
        error: AtriumError | None = None
        try:
            await run_until(self._watch, self._answer(waiting))
        except PeerGone:
            if self._timed_out:
                error = RunInterrupted("The answer took longer than it may.", code="time_limit")
        except AtriumError as failure:
            error = failure
        except Exception:
            # The edge of a trial's task: whoever listens must hear of its end, whatever went wrong.
            log.exception("trial_crashed", message_id=str(self.message_id))
            error = Internal()
        text = "".join(self._said)
        cited = used_citations(text, self._prepared.offered if self._prepared is not None else ())
        if cited:
            await waiting.put({"type": "message.citations", "citations": citation_rows(cited)})
        await waiting.put(end_event(self._ending(error, text)))
        await waiting.put(None)

    async def _watch(self) -> None:
        """Return when the answer must end early."""
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                await self._stop.wait()
        except TimeoutError:
            self._timed_out = True

    async def _answer(self, waiting: asyncio.Queue[dict[str, Any] | None]) -> None:
        def tell(place: QueuePlace) -> None:
            # A reader that is slow hears of the next place.
            with suppress(asyncio.QueueFull):
                waiting.put_nowait(queued_event(place))

        async with dispatch_turn(self._turn, tell=tell) as (self._prepared, self._flow):
            flow = self._flow
            routed: dict[str, Any] = {"type": "message.routed", "model": flow.decision.model}
            if self._prepared.knowledge_away:
                routed["notice"] = "knowledge_unavailable"
            await waiting.put(routed)
            async for chunk in flow.chunks():
                self._finish_reason = chunk.finish_reason or self._finish_reason
                if chunk.text:
                    self._said.append(chunk.text)
                    await waiting.put({"type": "message.delta", "text": chunk.text})

    def _ending(self, error: AtriumError | None, text: str) -> Ending:
        settled = self._flow.settled if self._flow is not None else None
        stopped = error is None and self._stop.is_set()
        state = MessageState.STOPPED if stopped else MessageState.COMPLETED
        return Ending(
            state=MessageState.FAILED if error is not None else state,
            content=text,
            usage=usage_object(settled.usage) if settled is not None else {},
            finish_reason=self._finish_reason,
            error_code=error.code if error is not None else "",
            error=error.message if error is not None else "",
        )


def start_trial(
    *,
    principal: Principal,
    request_id: str,
    content: str,
    draft: AssistantDraft,
    history: Sequence[Turn] = (),
) -> Trial:
    """A trial of `draft`, which answers once its events are read. Raises PermissionDenied, BadInput."""
    require(principal, "assistants.write")
    require(principal, "chat.use")
    check_input(request_id, content, None, None)
    if len(draft.instructions) > INSTRUCTIONS_LIMIT or "\x00" in draft.instructions:
        raise BadInput(
            f"Instructions have at most {INSTRUCTIONS_LIMIT:,} characters, and no NUL.", param="draft"
        )
    if len(history) > HISTORY_LIMIT or sum(len(turn.content) for turn in history) > HISTORY_CHARS:
        raise BadInput(
            f"A history has at most {HISTORY_LIMIT} messages and {HISTORY_CHARS:,} characters.",
            param="history",
        )
    if any(turn.role is MessageRole.ASSISTANT for turn in history[:1]):
        raise BadInput("A history begins with a question.", param="history")
    request = ensure_request()
    turn = TurnRequest(
        principal=principal,
        messages=({"role": "user", "content": content},),
        request_id=request.request_id,
        origin=ORIGIN,
        stream=True,
        priority=PriorityClass.INTERACTIVE.clamped(principal.priority_cap),
        traceparent=make_traceparent(request.trace_id),
        draft=draft,
        history=tuple(history),
    )
    log.info("trial_started", tenant_id=str(principal.tenant_id), model=draft.model, earlier=len(history))
    return Trial(turn, request_id)
