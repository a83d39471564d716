"""Runs from outside: start one, follow it from anywhere, stop it from anywhere, end those whose owner died."""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import structlog

from assistants import selectors
from assistants.citations import used_citations
from assistants.errors import RunFinished, RunInterrupted, RunTaken
from assistants.ownership import owner_of
from assistants.ports import RunLog
from assistants.services.outlet import Outlet
from assistants.services.runner import LiveRun, Runner, end_event
from assistants.services.transcripts import (
    Ending,
    NewRun,
    RunningMessage,
    close_run,
    close_stranded_run,
    find_run,
    open_run,
    running_messages,
)
from assistants.services.turns import context_of, resolve_assistant
from assistants.types import (
    AUTO_MODEL,
    Citation,
    MessageState,
    MessageView,
    RunEvent,
    StartedRun,
    TurnRequest,
)
from kernel.backends import backends
from kernel.context import ensure_request
from kernel.errors import AtriumError, BadInput, NotFound, Unavailable
from kernel.ids import make_traceparent, parse_uuid, uuid7
from substrate.units import run_unit
from tenants.services import require
from tenants.types import Principal, PriorityClass

log = structlog.get_logger(__name__)

CONTENT_LIMIT = 200_000
REQUEST_ID_LIMIT = 128
SWEEP_EVERY_S = 1.0
# An answer whose log is gone is waited for as long as a sweep may take to end it.
SWEPT_WITHIN_S = 6.0

_END_TYPES = ("message.completed", "message.stopped", "error")


async def start_run(
    *,
    principal: Principal,
    request_id: str,
    content: str,
    assistant: str | None = None,
    model: str | None = None,
    conversation_id: str | uuid.UUID | None = None,
    knowledge_base_ids: list[str] | None = None,
    origin: str = "ws",
    priority: PriorityClass = PriorityClass.INTERACTIVE,
) -> StartedRun:
    """Accept a question: both messages are stored and `message.started` is in the log when this returns.

    The same `request_id` of the same owner gives the same Run. Raises PermissionDenied, BadInput, ModelNotFound,
    NotFound (conversation), RateLimited, ServerOverloaded, Unavailable.
    """
    require(principal, "chat.use")
    require(principal, "conversations.own")
    check_input(request_id, content, assistant, model)
    owner = owner_of(principal)
    found = await run_unit(find_run, principal.tenant_id, owner, request_id)
    if found is not None:
        return found
    request = ensure_request()
    turn = TurnRequest(
        principal=principal,
        messages=({"role": "user", "content": content},),
        request_id=request.request_id,
        origin=origin,
        assistant=assistant,
        model=None if assistant is not None else model or AUTO_MODEL,
        conversation_id=_conversation_id(conversation_id),
        knowledge_base_ids=knowledge_base_ids,
        stream=True,
        priority=priority.clamped(principal.priority_cap),
        traceparent=make_traceparent(request.trace_id),
    )
    await _check_model(turn)
    runner: Runner = backends["runner"]
    runner.take_place(principal.tenant_id)
    try:
        return await _accept(runner, turn, owner, request_id, content)
    except BaseException:
        runner.give_place(principal.tenant_id)
        raise


async def _accept(runner: Runner, turn: TurnRequest, owner: str, request_id: str, content: str) -> StartedRun:
    run_log: RunLog = backends["run_log"]
    message_id = uuid7()
    # Claimed before it is stored: a sweep never finds the row without its owner.
    claim = await run_log.claim(message_id, f"{os.getpid()}-{uuid7()}")
    given = turn.conversation_id
    new = NewRun(
        tenant_id=turn.principal.tenant_id,
        owner=owner,
        message_id=message_id,
        request_id=request_id,
        content=content,
        assistant=turn.assistant or "",
        conversation_id=given if isinstance(given, uuid.UUID) else None,
    )
    try:
        started = await run_unit(open_run, new)
        if started.repeated:
            await claim.release()
            runner.give_place(turn.principal.tenant_id)
            return started
        await run_log.append(message_id, started_event(started))
    except BaseException as error:
        await _give_up(new, error)
        await claim.release()
        raise
    runner.start(LiveRun(message_id, turn, claim, Outlet(run_log, message_id)))
    log.info(
        "run_started",
        message_id=str(message_id),
        tenant_id=str(turn.principal.tenant_id),
        assistant=turn.assistant,
        model=turn.model,
        origin=turn.origin,
    )
    return started


def started_event(started: StartedRun) -> dict[str, Any]:
    """The first event of a Run."""
    return {
        "type": "message.started",
        "request_id": started.request_id,
        "conversation_id": str(started.conversation_id),
    }


async def follow_run(
    *, principal: Principal, message_id: uuid.UUID, last_seq: int = 0
) -> AsyncGenerator[RunEvent, None]:
    """The events of a Run after `last_seq`, to its end, from any process.

    When the log is gone the stored message speaks: `message.snapshot` and its end. Raises NotFound for a message that
    is not the caller's, Unavailable.
    """
    require(principal, "conversations.own")
    owner = owner_of(principal)
    await run_unit(selectors.load_message, principal.tenant_id, owner, message_id)
    run_log: RunLog = backends["run_log"]
    seq = max(0, last_seq)
    try:
        async with aclosing(run_log.read_from(message_id, seq)) as events:
            async for event in events:
                seq = event.seq
                yield RunEvent(seq, {**event.body, "message_id": str(message_id)})
                if event.body["type"] in _END_TYPES:
                    return
    except NotFound:
        pass
    message = await _ended_message(principal, owner, message_id)
    if message is None:
        raise Unavailable("This answer has not ended, and its log is gone.", retry_after_s=2.0)
    for number, body in enumerate(_events_of(message), seq + 1):
        yield RunEvent(number, {**body, "message_id": str(message_id)})


async def stop_run(*, principal: Principal, message_id: uuid.UUID) -> None:
    """Ask that the Run stops, wherever it runs; nothing happens when it has ended.

    Raises NotFound for a message that is not the caller's, Unavailable.
    """
    require(principal, "conversations.own")
    message = await run_unit(selectors.load_message, principal.tenant_id, owner_of(principal), message_id)
    if message.state is not MessageState.RUNNING:
        return
    await _stop_log(message_id)


async def stop_logs(message_ids: Sequence[uuid.UUID]) -> None:
    """Ask that Runs stop whose messages are gone: what cannot be told now goes on to its end, and is written nowhere."""
    for message_id in message_ids:
        try:
            await _stop_log(message_id)
        except Unavailable:
            log.warning("run_not_stopped", message_id=str(message_id))


async def _stop_log(message_id: uuid.UUID) -> None:
    run_log: RunLog = backends["run_log"]
    try:
        await run_log.stop(message_id)
    except NotFound:
        # Its log is gone, so its owner cannot be told; the sweep ends it as soon as nobody holds it.
        log.warning("run_to_stop_has_no_log", message_id=str(message_id))


async def find_message(*, principal: Principal, message_id: uuid.UUID) -> MessageView:
    """An assistant's message of the caller. Raises NotFound, Unavailable."""
    return await run_unit(selectors.load_message, principal.tenant_id, owner_of(principal), message_id)


async def sweep_runs_forever() -> None:
    """Each second end the Runs that nobody holds; those of a dead process are ended within five seconds."""
    while True:
        try:
            await sweep_runs()
        except AtriumError as error:
            log.warning("sweep_failed", error=str(error))
        await asyncio.sleep(SWEEP_EVERY_S)


async def sweep_runs() -> int:
    """End the Runs that nobody holds; returns how many this process ended. Raises Unavailable."""
    runner: Runner = backends["runner"]
    ended = 0
    for running in await run_unit(running_messages):
        if running.message_id not in runner.live:
            ended += await _sweep(running)
    return ended


async def close_runs() -> None:
    """End the Runs of this process as interrupted, for a shutdown."""
    runner: Runner = backends["runner"]
    await runner.close()


async def _sweep(running: RunningMessage) -> bool:
    """Take the run over and end it; False when it is held, or another sweep was first."""
    run_log: RunLog = backends["run_log"]
    try:
        claim = await run_log.claim(running.message_id, f"sweep-{os.getpid()}-{uuid7()}")
    except RunTaken:
        return False
    except RunFinished:
        return await _close_finished(run_log, running)
    events = [event.body for event in await claim.events_so_far()]
    ending = _ending_of(events, running)
    if not await run_unit(close_stranded_run, running, ending):
        await claim.release()
        return False
    if not events:
        started = StartedRun(running.message_id, running.conversation_id, running.request_id, repeated=False)
        await run_log.append(running.message_id, started_event(started))
    await run_log.finish(running.message_id, end_event(ending))
    log.warning("run_swept", message_id=str(running.message_id), tenant_id=str(running.tenant_id))
    return True


async def _close_finished(run_log: RunLog, running: RunningMessage) -> bool:
    """Its log tells the end that could not be written when it came."""
    events = [event.body async for event in run_log.read_from(running.message_id, 0)]
    return await run_unit(close_stranded_run, running, _ending_of(events, running))


def _ending_of(events: list[Any], running: RunningMessage) -> Ending:
    """How the run ended, or was cut off, as its log tells it."""
    text = "".join(body["text"] for body in events if body["type"] == "message.delta") or running.content
    model = next((body["model"] for body in events if body["type"] == "message.routed"), "")
    cited: list[dict[str, Any]] = next(
        (body["citations"] for body in events if body["type"] == "message.citations"), []
    )
    last: dict[str, Any] = events[-1] if events else {"type": ""}
    citations = used_citations(text, [Citation(**each) for each in cited])
    if last["type"] == "message.completed":
        return Ending(
            MessageState.COMPLETED, text, model, citations, last["usage"], finish_reason=last["finish_reason"]
        )
    if last["type"] == "message.stopped":
        return Ending(MessageState.STOPPED, text, model, citations, last["usage"])
    known = last["type"] == "error"
    return Ending(
        MessageState.FAILED,
        text,
        model,
        citations,
        error_code=last["code"] if known else RunInterrupted.code,
        error=last["message"] if known else RunInterrupted.default_message,
    )


async def _ended_message(principal: Principal, owner: str, message_id: uuid.UUID) -> MessageView | None:
    """The message once it has ended; None when it does not in the time that a sweep may take."""
    for _ in range(int(SWEPT_WITHIN_S / 0.5)):
        message = await run_unit(selectors.load_message, principal.tenant_id, owner, message_id)
        if message.state is not MessageState.RUNNING:
            return message
        await asyncio.sleep(0.5)
    return None


def _events_of(message: MessageView) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"type": "message.snapshot", "text": message.content}]
    if message.citations:
        rows = selectors.citation_rows(message.citations)
        events.append({"type": "message.citations", "citations": rows})
    ending = Ending(
        message.state,
        message.content,
        usage=message.usage,
        finish_reason=message.finish_reason,
        error_code=message.error_code,
        error=message.error,
    )
    return [*events, end_event(ending)]


async def _give_up(new: NewRun, error: BaseException) -> None:
    """Close the row of a Run that was stored but could not be told; a sweep does it if this fails too."""
    known = error if isinstance(error, AtriumError) else Unavailable()
    ending = Ending(MessageState.FAILED, "", error_code=known.code, error=known.message)
    try:
        await run_unit(close_run, new.tenant_id, new.message_id, ending)
    except AtriumError as failure:
        log.warning("run_not_given_up", message_id=str(new.message_id), error=str(failure))


async def _check_model(turn: TurnRequest) -> None:
    """Raises ModelNotFound before anything is stored."""
    assistant = await resolve_assistant(turn)
    model = assistant.model if assistant is not None else turn.model or AUTO_MODEL
    await context_of(model, turn.principal)


def check_input(request_id: str, content: str, assistant: str | None, model: str | None) -> None:
    """Return when a question is well-formed. Raises BadInput."""
    if not 1 <= len(request_id) <= REQUEST_ID_LIMIT or not request_id.isprintable():
        raise BadInput(f"`request_id` has 1 to {REQUEST_ID_LIMIT} printable characters.", param="request_id")
    if not content.strip():
        raise BadInput("`content` is empty.", param="content")
    if len(content) > CONTENT_LIMIT or "\x00" in content:
        raise BadInput(f"`content` has at most {CONTENT_LIMIT:,} characters, and no NUL.", param="content")
    if assistant is not None and model is not None:
        raise BadInput("Name an `assistant` or a `model`, not both.", param="assistant")


def _conversation_id(given: str | uuid.UUID | None) -> uuid.UUID | None:
    if given is None:
        return None
    found = parse_uuid(str(given))
    if found is None:
        raise NotFound("There is no such conversation.", param="conversation_id")
    return found
