"""Runs of this process: each a supervised task that answers into the run log, whoever watches.

A Run ends once: its row is closed by a conditional update, and whoever closed it writes the last event. It ends when
the answer does, when a stop was asked anywhere, when its time is over, when the rights of who asked end, when another
process took it over because the lease ran out, or when this process shuts down.
"""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import structlog

from assistants.citations import used_citations
from assistants.errors import RunInterrupted
from assistants.ports import RunClaim, RunLog
from assistants.selectors import citation_rows
from assistants.services.outlet import Outlet
from assistants.services.queue_notices import QueueNotices
from assistants.services.run_trails import end_trail, note_first_byte, trail_of
from assistants.services.transcripts import Ending, close_run, save_progress
from assistants.services.turns import PreparedTurn, dispatch_turn
from assistants.types import MessageState, TurnRequest
from assistants.usage import usage_object
from kernel.backends import backends
from kernel.errors import AtriumError, Internal, RateLimited, ServerOverloaded, Unavailable
from kernel.hops import current_trail, on_trail
from kernel.streams import PeerGone, Supervisor, beside, run_until
from substrate.units import run_unit
from tenants.services import until_refused
from tenants.types import Principal

log = structlog.get_logger(__name__)

RENEW_EVERY_S = 1.0
DRAIN_S = 5.0


class Interruption(Enum):
    """Why a Run ended before its answer did."""

    STOPPED = "stopped"
    TAKEN = "taken"
    TIMED_OUT = "timed out"
    CLOSING = "closing"
    REFUSED = "refused"


@dataclass(slots=True)
class LiveRun:
    """A Run of this process, and what is known of its answer so far."""

    message_id: uuid.UUID
    turn: TurnRequest
    claim: RunClaim
    outlet: Outlet
    prepared: PreparedTurn | None = None
    model: str = ""
    finish_reason: str = ""
    usage: dict[str, int] | None = None
    interruption: Interruption | None = None
    refusal: AtriumError | None = None


class Runner:
    """At most `limit` Runs at once in this process, and `tenant_limit` of one tenant."""

    def __init__(
        self,
        *,
        limit: int = 500,
        tenant_limit: int = 100,
        time_limit_s: float = 600.0,
        save_every_s: float = 0.0,
        until_refused: Callable[[Principal], Awaitable[AtriumError]] = until_refused,
    ) -> None:
        """`save_every_s` > 0 keeps partial text in the database, where the log dies with the process."""
        self._until_refused = until_refused
        self._limit = limit
        self._tenant_limit = tenant_limit
        self._time_limit_s = time_limit_s
        self._save_every_s = save_every_s
        self._places: Counter[uuid.UUID] = Counter()
        self._closing = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks = Supervisor(limit=limit, on_error=_report)
        self.live: set[uuid.UUID] = set()

    def take_place(self, tenant_id: uuid.UUID) -> None:
        """Hold a place for a Run to come. Raises ServerOverloaded, or RateLimited for the tenant's own bound."""
        if self._closing.is_set() or self._places.total() >= self._limit:
            raise ServerOverloaded("Too many answers are being written.", retry_after_s=1.0)
        if self._places[tenant_id] >= self._tenant_limit:
            raise RateLimited("Too many answers are being written for this tenant.", retry_after_s=1.0)
        self._places[tenant_id] += 1

    def give_place(self, tenant_id: uuid.UUID) -> None:
        """Give the place back."""
        self._places[tenant_id] -= 1
        self._places += Counter()

    def start(self, run: LiveRun) -> None:
        """Answer in the background; the place is given back at the end."""
        self.live.add(run.message_id)
        self._idle.clear()
        self._tasks.start(f"run-{run.message_id}", self._answer(run))

    async def close(self) -> None:
        """End all Runs as interrupted, at most within the drain time."""
        self._closing.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._idle.wait()
        await self._tasks.close()

    async def _answer(self, run: LiveRun) -> None:
        error: AtriumError | None = None
        trail = trail_of(run.turn)
        try:
            try:
                with on_trail(trail):
                    await run_until(lambda: self._watch(run), self._produce(run))
            except PeerGone:
                error = run.refusal or _interrupted(run.interruption)
            except AtriumError as failure:
                error = failure
            except Exception:
                # The edge of a Run's task: whoever listens must hear of its end, whatever went wrong.
                log.exception("run_crashed", message_id=str(run.message_id))
                error = Internal()
            await self._end(run, error)
        finally:
            end_trail(trail, _end_state(run, error), error)
            self.live.discard(run.message_id)
            self.give_place(run.turn.principal.tenant_id)
            if not self.live:
                self._idle.set()

    async def _watch(self, run: LiveRun) -> None:
        """Return when the Run must end early; renew its lease meanwhile."""
        refused = asyncio.ensure_future(self._until_refused(run.turn.principal))
        try:
            await self._watch_until(run, refused)
        finally:
            refused.cancel()
            await asyncio.gather(refused, return_exceptions=True)

    async def _watch_until(self, run: LiveRun, refused: asyncio.Future[AtriumError]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._time_limit_s
        saved, save_at = "", loop.time() + self._save_every_s
        while run.interruption is None:
            stop = asyncio.ensure_future(run.claim.stop_asked())
            closing = asyncio.ensure_future(self._closing.wait())
            awaited: set[asyncio.Future[Any]] = {stop, closing, refused}
            try:
                await asyncio.wait(awaited, timeout=RENEW_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                if stop.done():
                    run.interruption = Interruption.STOPPED
                elif refused.done():
                    run.interruption, run.refusal = Interruption.REFUSED, refused.result()
                elif closing.done():
                    run.interruption = Interruption.CLOSING
                elif loop.time() > deadline:
                    run.interruption = Interruption.TIMED_OUT
                elif not await _still_held(run):
                    run.interruption = Interruption.TAKEN
            finally:
                stop.cancel()
                closing.cancel()
                await asyncio.gather(stop, closing, return_exceptions=True)
            if self._save_every_s and loop.time() >= save_at and run.outlet.text != saved:
                saved, save_at = run.outlet.text, loop.time() + self._save_every_s
                await _save(run, saved)

    async def _produce(self, run: LiveRun) -> None:
        notices = QueueNotices(lambda event: _tell(run, event))
        async with (
            beside(notices.pass_on()),
            dispatch_turn(run.turn, answering=run.message_id, tell=notices.note) as (run.prepared, flow),
        ):
            await notices.end()
            run.model = flow.decision.model
            routed = {"type": "message.routed", "model": run.model}
            if run.prepared is not None and run.prepared.knowledge_away:
                routed["notice"] = "knowledge_unavailable"
            if flow.decision.cache != "off":
                routed["cache"] = flow.decision.cache
            await _tell(run, routed)
            async with beside(run.outlet.flush_often()):
                trail = current_trail()
                if trail is not None:
                    note_first_byte(trail)
                async for chunk in flow.chunks():
                    run.outlet.say(chunk.text)
                    run.finish_reason = chunk.finish_reason or run.finish_reason
                    if chunk.usage is not None:
                        run.usage = usage_object(chunk.usage)
            if flow.settled is not None:
                run.usage = usage_object(flow.settled.usage)

    async def _end(self, run: LiveRun, error: AtriumError | None) -> None:
        text = run.outlet.text
        offered = run.prepared.offered if run.prepared is not None else ()
        ending = Ending(
            state=_end_state(run, error),
            content=text,
            model=run.model,
            citations=used_citations(text, offered),
            usage=run.usage or {},
            finish_reason=run.finish_reason,
            error_code=error.code if error is not None else "",
            error=error.message if error is not None else "",
        )
        if ending.state is MessageState.STOPPED:
            ending = replace(ending, error_code="", error="")
        log.info(
            "run_ended",
            message_id=str(run.message_id),
            tenant_id=str(run.turn.principal.tenant_id),
            state=ending.state.value,
            model=run.model,
            error_code=ending.error_code,
        )
        if not await _insist(run_unit, close_run, run.turn.principal.tenant_id, run.message_id, ending):
            # Someone else ended it, or the conversation was deleted: close the log, if nobody has.
            ending = replace(ending, state=MessageState.FAILED, error_code=RunInterrupted.code)
        await _tell_end(run, ending)


def end_event(ending: Ending) -> dict[str, Any]:
    """The one last event of a Run."""
    if ending.state is MessageState.COMPLETED:
        return {
            "type": "message.completed",
            "usage": ending.usage,
            "finish_reason": ending.finish_reason or "stop",
        }
    if ending.state is MessageState.STOPPED:
        return {"type": "message.stopped", "usage": ending.usage}
    return {
        "type": "error",
        "code": ending.error_code or Internal.code,
        "message": ending.error or Internal.default_message,
    }


def _end_state(run: LiveRun, error: AtriumError | None) -> MessageState:
    if error is None:
        return MessageState.COMPLETED
    return MessageState.STOPPED if run.interruption is Interruption.STOPPED else MessageState.FAILED


def _interrupted(reason: Interruption | None) -> AtriumError:
    if reason is Interruption.TIMED_OUT:
        return RunInterrupted("The answer took longer than it may.", code="time_limit")
    if reason is Interruption.CLOSING:
        return RunInterrupted("The server is restarting. Ask again.")
    return RunInterrupted()


async def _still_held(run: LiveRun) -> bool:
    """Renew the lease. While the log is away nobody else can take the run either: go on."""
    try:
        return await run.claim.renew()
    except Unavailable as error:
        log.warning("run_lease_not_renewed", message_id=str(run.message_id), error=str(error))
        return True


async def _save(run: LiveRun, text: str) -> None:
    try:
        await run_unit(save_progress, run.turn.principal.tenant_id, run.message_id, text)
    except Unavailable as error:
        log.warning("run_progress_not_saved", message_id=str(run.message_id), error=str(error))


async def _tell(run: LiveRun, body: dict[str, Any]) -> None:
    """Say it if the log can take it: an answer does not fail because its log is away."""
    try:
        await run.outlet.tell(body)
    except AtriumError as error:
        log.warning(
            "run_event_lost", message_id=str(run.message_id), event_type=body["type"], error=str(error)
        )


async def _tell_end(run: LiveRun, ending: Ending) -> None:
    """The text that still waits, the citations, the end."""
    run_log: RunLog = backends["run_log"]
    if ending.citations:
        body: dict[str, Any] = {"type": "message.citations", "citations": citation_rows(ending.citations)}
        await _tell(run, body)
    try:
        await _insist(run.outlet.flush)
    except AtriumError as error:
        log.warning("run_text_not_told", message_id=str(run.message_id), error=str(error))
    try:
        await _insist(run_log.finish, run.message_id, end_event(ending))
    except AtriumError as error:
        log.warning("run_end_not_told", message_id=str(run.message_id), error=str(error))


async def _insist(work: Any, *args: Any) -> Any:
    """Do `work`, again for some seconds while what it needs is away."""
    for pause in (0.1, 0.3, 1.0, 2.0):
        try:
            return await work(*args)
        except Unavailable:
            await asyncio.sleep(pause)
    return await work(*args)


def _report(name: str, error: BaseException) -> None:
    log.error("run_task_failed", run=name, error=str(error), kind=type(error).__name__)
