"""Whether a call may use what it asks for: all its limits are reserved before it waits, and settled when it has ended.

A call that nothing limits passes here without a round trip, a task or an object. What a limited one holds is renewed by
one heartbeat of the process for all its calls, so that the counters notice a process that died. The place of a call
among those that run counts from the grant of its slot: one that waits for its engine longer than a moment gives it up
until then, and one that finds no place waits in line, first come first served, until its deadline.
"""

import asyncio
import uuid
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any

import structlog
from msgspec.structs import replace

from inference.types import ModelSpec, Surface, TokenUsage
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, unix_ms
from kernel.errors import QuotaExhausted, RateLimited, Unavailable
from kernel.streams import Supervisor
from routing.eligibility import Candidate
from routing.limits import estimate_answer, estimate_tokens
from routing.ports import Scheduler
from routing.services.places import Lines
from routing.types import Lease, ModelCall, Ticket
from tenants.limit_types import Claim, Level, LineKind, Measure, Outcome, Settlement, Verdict
from tenants.ports import Counters
from tenants.services import Plan, Plans, seed_counters
from tenants.sightings import LimitSightings

log = structlog.get_logger(__name__)

HEARTBEAT_S = 2.5
# A call that has its slot within this time never gives up its place; within twice that time any other has.
PATIENCE_S = 0.05
# An emptied Redis may lose what it was just told.
MOST_SEEDINGS = 3
BUSY_RETRY_S = 1.0
NO_MODELS: frozenset[str] = frozenset()
_ADMITTED, _UNSEEDED = Outcome.ADMITTED, Outcome.UNSEEDED
_EMBEDDINGS = Surface.EMBEDDINGS
# What a call holds of these depends on the model.
_BY_MODEL = frozenset(
    {
        Measure.TOKENS_PER_MINUTE,
        Measure.TOKENS_PER_DAY,
        Measure.TOKENS_PER_MONTH,
        Measure.MONEY_PER_DAY,
        Measure.MONEY_PER_MONTH,
    }
)


class Admissions:
    """All limited calls of this process."""

    def __init__(self) -> None:
        """Nothing runs before the first limited call. It belongs to the running loop."""
        self.loop = asyncio.get_running_loop()
        self.lines = Lines()
        self.sightings: LimitSightings = backends["limit_sightings"]
        self._plans = Plans()
        self._live: dict[str, Admission] = {}
        self._seedings: dict[str, asyncio.Task[None]] = {}
        self._background = Supervisor(limit=10_000, on_error=_report)
        self._beating = False
        # Calls with a place that wait for their engine, and since when; one timer looks after all of them.
        self._waiting: dict[str, tuple[Admission, float]] = {}
        self._look: asyncio.TimerHandle | None = None
        self._recounted: weakref.WeakSet[Plan] = weakref.WeakSet()

    async def admit(
        self, call: ModelCall, candidates: Sequence[Candidate], call_id: uuid.UUID
    ) -> "Admission | None":
        """What `call` holds of its limits, None when it has none.

        A candidate whose own limit is used up is left out while there are others; so is the dearest that only stands in
        for the first, where the budget does not hold as much as it might use. A copy counts for days and months alone, and
        not to their ends. Raises RateLimited, QuotaExhausted,
        Unavailable.
        """
        models = {candidate.model.id: candidate.model for candidate in candidates}
        counters: Counters = backends["counters"]
        all_of_them = len(models)
        while True:
            plan = await self._plans.find(call.principal, tuple(models), spare=call.copy)
            if plan is None:
                return None
            if plan.limits.recount:
                self._recount(plan)
            values = plan.charges.reserved(*_estimate(call, models))
            claim = Claim(call_id.hex, plan.tenant, plan.lines, values)
            verdict = await counters.reserve(claim)
            if verdict.outcome is _UNSEEDED:
                verdict = await self._reserve_seeded(counters, plan, claim)
            if plan.each:
                self.sightings.note(plan, verdict.counts)
            if verdict.outcome is _ADMITTED:
                left = frozenset(models) if len(models) < all_of_them else NO_MODELS
                admission = Admission(self, counters, plan, claim, verdict, left)
                self._live[claim.id] = admission
                if not self._beating:
                    self._beating = True
                    self.run("limits_heartbeat", self._beat_forever())
                return admission
            rule = plan.rules[verdict.refused]
            if len(models) > 1 and rule.level is Level.MODEL:
                del models[rule.subject]
            elif len(models) > 1 and rule.measure in _BY_MODEL:
                del models[_dearest_stand_in(call, models)]
            else:
                raise _refusal(plan, verdict)

    async def _reserve_seeded(self, counters: Counters, plan: Plan, claim: Claim) -> Verdict:
        """Hold all or nothing, once the counters were told what was used before. Raises Unavailable when nobody knows."""
        for _ in range(MOST_SEEDINGS):
            await self.seed(plan)
            verdict = await counters.reserve(claim)
            if verdict.outcome is not _UNSEEDED:
                return verdict
        raise Unavailable("What was used of this budget is not known at the moment.", retry_after_s=1.0)

    async def seed(self, plan: Plan) -> None:
        """Tell the counters what the plan's days and months have counted. Raises Unavailable.

        Calls of one caller that ask together wait together.
        """
        key = "|".join((plan.tenant, *(line.field for line in plan.lines)))
        task = self._seedings.get(key)
        if task is None:
            pairs = list(zip(plan.rules, plan.lines, strict=True))
            task = self.run("seed_limits", seed_counters(plan.limits.tenant_id, pairs))
            self._seedings[key] = task
            task.add_done_callback(lambda _: self._seedings.pop(key, None))
        await asyncio.shield(task)

    def _recount(self, plan: Plan) -> None:
        """Tell the counters anew what the plan's days and months have counted, once for each plan."""
        if plan not in self._recounted:
            self._recounted.add(plan)
            pairs = list(zip(plan.rules, plan.lines, strict=True))
            self.run("recount", seed_counters(plan.limits.tenant_id, pairs, replace=True))

    def forget(self, admission: "Admission") -> None:
        """The call has ended: whoever stands in line may ask again."""
        if (
            self._live.pop(admission.claim.id, None) is not None
            and self.lines.by_place
            and admission.place[1]
        ):
            self.lines.wake(admission.claim.tenant)

    def note_wait(self, admission: "Admission") -> float:
        """The call waits for its engine, since the time that is returned: it gives its place up once that has taken longer
        than a moment.
        """
        now = self.loop.time()
        self._waiting[admission.claim.id] = admission, now
        if self._look is None:
            self._look = self.loop.call_later(PATIENCE_S, self._look_after, context=Context())
        return now

    def note_slot(self, admission: "Admission") -> None:
        """The call waits no longer."""
        self._waiting.pop(admission.claim.id, None)

    # In a context of its own: it works for all calls, and its log lines are no request's.
    def _look_after(self) -> None:
        self._look = None
        long_ago = self.loop.time() - PATIENCE_S
        for id, (admission, since) in list(self._waiting.items()):
            if since <= long_ago:
                del self._waiting[id]
                admission.let_go()
        if self._waiting:
            self._look = self.loop.call_later(PATIENCE_S, self._look_after, context=Context())

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` in the background."""
        return self._background.start(name, work)

    async def close(self) -> None:
        """End the heartbeat."""
        if self._look is not None:
            self._look.cancel()
        await self._background.close()

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            counters: Counters = backends["counters"]
            beats = [counters.renew(each.claim) for each in self._live.values()]
            outcomes = await asyncio.gather(*beats, return_exceptions=True)
            if lost := sum(outcome is not True for outcome in outcomes):
                log.warning("reservations_lost", count=lost)


class Admission:
    """What one call holds of its limits, from its acceptance to its settlement.

    `left` are the models that may still answer it, where others would have asked for more than is there; else empty.
    """

    __slots__ = ("_all", "_counters", "_plan", "_running", "allowance", "claim", "left", "place")

    def __init__(
        self,
        all_calls: Admissions,
        counters: Counters,
        plan: Plan,
        claim: Claim,
        verdict: Verdict,
        left: frozenset[str],
    ) -> None:
        """`verdict` says that `claim` is held."""
        self._all = all_calls
        self._counters = counters
        self._plan = plan
        self._running = verdict.running
        self.claim = claim
        self.left = left
        self.allowance = plan.allowance(verdict.counts)
        self.place = plan.place

    async def acquire(self, scheduler: Scheduler, ticket: Ticket) -> Lease:
        """A slot of an engine, and with it the call's place among those that run. Raises as the scheduler, RateLimited."""
        if not self.place[1]:
            return await scheduler.acquire(ticket)
        lines, loop = self._all.lines, self._all.loop
        if not self._running or self.place in lines.by_place:
            return await self._acquire_in_line(scheduler, ticket, loop.time())
        began = self._all.note_wait(self)
        try:
            lease = await scheduler.acquire(ticket)
        finally:
            self._all.note_slot(self)
        if self._running:
            return lease
        if await self._take_place():
            return _waited_since(lease, began, loop.time(), known=True)
        # Its place went to another meanwhile: the slot is for who can use it.
        await scheduler.release(lease, unused=True)
        return await self._acquire_in_line(scheduler, ticket, began, attempt=1)

    async def _acquire_in_line(
        self, scheduler: Scheduler, ticket: Ticket, began: float, attempt: int = 0
    ) -> Lease:
        """A slot and a place, once it is this call's turn; it began to wait at `began`."""
        loop = self._all.loop
        deadline = began + ticket.wait_s
        if self._running:
            # Others came before.
            await self._step_aside()
        while True:
            if not self._running and not await self._all.lines.wait(self.place, self._take_place, deadline):
                raise RateLimited(
                    "The limit of requests at once is reached, and none ended in time.",
                    retry_after_s=BUSY_RETRY_S,
                    allowance=self.allowance,
                )
            self._all.note_wait(self)
            try:
                left = max(0.0, deadline - loop.time())
                asked = replace(ticket, id=f"{ticket.id}-{attempt}", wait_s=left) if attempt else ticket
                lease = await scheduler.acquire(asked)
            finally:
                self._all.note_slot(self)
            if self._running or await self._take_place():
                return _waited_since(lease, began, loop.time(), known=not attempt)
            await scheduler.release(lease, unused=True)
            attempt += 1

    def settle(self, model: str, usage: TokenUsage, cost: int) -> None:
        """Book what the call has used of `model`, whose usage is in the spool. Done once."""
        values = self._plan.charges.used(model, usage.prompt_tokens + usage.completion_tokens, cost)
        self._counters.settle(Settlement(self.claim, values, unix_ms(SYSTEM_CLOCK)))
        self._all.forget(self)

    def refund(self) -> None:
        """The call was refused, or nobody could answer it: it costs nothing."""
        self._counters.refund(self.claim)
        self._all.forget(self)

    async def _take_place(self) -> bool:
        self._running = await self._counters.renew(self.claim, running=True)
        return self._running

    def let_go(self) -> None:
        """The engine is busy: the place is for who can use it now."""
        if self._running:
            self._all.run("step_aside", self._step_aside())

    async def _step_aside(self) -> None:
        self._running = False
        await self._counters.renew(self.claim, running=False)
        self._all.lines.wake(self.claim.tenant)


def _waited_since(lease: Lease, began: float, now: float, *, known: bool) -> Lease:
    """`lease` with the whole wait since `began`; `known` says that its own was a part of that."""
    waited_ms = lease.waited_ms if known and lease.waited_ms else 0.0
    total_ms = (now - began) * 1000
    return replace(lease, waited_ms=total_ms) if total_ms - waited_ms > 1 else lease


def _dearest_stand_in(call: ModelCall, models: Mapping[str, ModelSpec]) -> str:
    """Of several models the one, the first left out, that might cost the call most."""

    def most(id: str) -> tuple[int, int]:
        tokens, cost = _estimate(call, {id: models[id]})
        return cost, tokens

    return max(list(models)[1:], key=most)


def _estimate(call: ModelCall, models: Mapping[str, ModelSpec]) -> tuple[int, int]:
    """The tokens and nano-units that the call may use at most, as far as that is known: those of the dearest model."""
    prompt = estimate_tokens(call.prompt_chars)
    embeds = call.surface is _EMBEDDINGS
    tokens = cost = 0
    for model in models.values():
        answer = 0 if embeds else estimate_answer(call.max_tokens, prompt, model.context_length)
        price = prompt * model.input_price_nano + answer * model.output_price_nano
        if prompt + answer > tokens:
            tokens = prompt + answer
        if price > cost:
            cost = price
    return tokens, cost


_WORDS = {
    LineKind.RATE: "The limit of {measure} ({limit}) of this {level} is reached.",
    LineKind.DAY: "The budget of the day ({measure}) of this {level} is used up.",
    LineKind.MONTH: "The budget of the month ({measure}) of this {level} is used up.",
}


def _refusal(plan: Plan, verdict: Verdict) -> RateLimited | QuotaExhausted:
    """Why the call is refused, and when it makes sense to come back."""
    rule, line = plan.rules[verdict.refused], plan.lines[verdict.refused]
    words = _WORDS[line.kind].format(
        measure=rule.measure.value.replace("_", " "), limit=line.limit, level=rule.level.value
    )
    kind = RateLimited if line.kind is LineKind.RATE else QuotaExhausted
    wait_s = verdict.wait_ms / 1000
    return kind(words, retry_after_s=wait_s, allowance=plan.allowance(verdict.counts))


def _report(name: str, error: BaseException) -> None:
    log.error("admission_task_failed", work=name, error=str(error))
