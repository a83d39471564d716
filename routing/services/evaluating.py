"""The evaluator: one process of all decides, every few seconds, how many replicas each pool should have.

Whoever holds the turn does, a row of the database that its owner puts off while it lives; when it has died another one
takes over within `TURN_S`. The memory that decisions rest on dies with it: a new one stops nothing before it has watched
for as long as its policy says.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct
from msgspec.structs import replace

from inference.ports import Scaler
from inference.services import list_models, replica_available, vital_of
from inference.types import ReplicaSpec
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError
from routing.ports import Scheduler
from routing.scaling import PoolScaler
from routing.scaling_reads import ScaledPool, load_scaled_pools
from routing.scaling_types import Decision, ScalingMode, ScalingPolicy, Signals
from routing.services.fleets import Stock, follow, running_by_url, take_stock
from routing.services.scaling import record_decision
from routing.services.turns import give_turn_back, own_name, take_turn
from routing.services.waking import note_awake, note_served
from substrate.units import run_unit

log = structlog.get_logger(__name__)

EVERY_S = 5.0
# While calls are held for a pool, they should hear of its first replica soon.
WAKING_S = 1.0
# A pool that has not woken after so many times what it should take is woken by the next call anew.
GIVE_UP_TIMES = 3.0
LEAST_GIVE_UP_S = 120.0
# For one pool, in one look.
ACT_WITHIN_S = 30.0
TELL_EVERY_S = 60.0
# What calls were like longer ago than this says nothing of now.
RECENT_S = 45.0
USUAL_SLOTS = 64
TURN = "scaling"


class Told(Struct):
    """What was written down of a pool last."""

    decision: Decision
    policy: ScalingPolicy
    at: float
    outcome: str


class PoolEvaluator:
    """One per process; only that which holds the turn has decisions."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Nothing decided yet."""
        self.decisions: Mapping[str, Decision] = {}
        self._clock = clock
        self._owner = own_name()
        self._scalers: dict[uuid.UUID, PoolScaler] = {}
        self._told: dict[uuid.UUID, Told] = {}
        # Pools whose first engine is being started: how long that takes is learned.
        self._cold: set[uuid.UUID] = set()
        self._waking = False
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """A pool is to wake: the next look is due at once."""
        self._nudged.set()

    async def rest(self) -> None:
        """Until the next look is due: soon while a pool wakes, at once when one is to."""
        # Spread, or all processes would ask for the turn at once.
        pause = (WAKING_S if self._waking else EVERY_S) * random.uniform(0.9, 1.1)  # noqa: S311 - nothing secret about it
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._nudged.wait()
        self._nudged.clear()

    async def look(self) -> bool:
        """Decide about every pool, if it is this process's turn; whether it was. Raises Unavailable."""
        if not await run_unit(take_turn, name=TURN, owner=self._owner, clock=self._clock):
            self.decisions = {}
            self._scalers.clear()
            self._told.clear()
            return False
        pools = await run_unit(load_scaled_pools)
        there = {each.id for each in pools}
        for gone in [each for each in self._scalers if each not in there]:
            del self._scalers[gone]
            self._told.pop(gone, None)
        made: dict[str, Decision] = {}
        self._waking = any(each.waking_at is not None for each in pools)
        self._cold &= there
        for pool in pools:
            try:
                made[pool.name] = await self._decide(pool)
            except AtriumError as error:
                # One pool that cannot be seen must not keep the others from being decided about.
                log.warning("pool_not_scaled", pool=pool.name, error=error.message)
        self.decisions = made
        return True

    async def leave(self) -> None:
        """Give the turn back, so that another process need not wait for its end."""
        await run_unit(give_turn_back, name=TURN, owner=self._owner)

    async def _decide(self, pool: ScaledPool) -> Decision:
        scheduler: Scheduler = backends["scheduler"]
        snapshot = await scheduler.snapshot(pool.name)
        replicas = engines_of(pool.name)
        scaler, stock, outcome = acting(pool.policy), None, ""
        if scaler is not None:
            stock, outcome = await self._take_stock(scaler, pool)
        started = {each.url for each in stock.staying} | set(stock.leaving) if stock else set()
        others = [each for each in replicas if each.url not in started]
        ready = [each for each in replicas if replica_available(each.id)]
        ttft, tpot = promises(pool.policy, ready, time.perf_counter())
        signals = Signals(
            at=self._clock.monotonic(),
            now=self._clock.now(),
            ready=len(ready),
            provisioned=len(others) + len(stock.staying) if stock else len(replicas),
            running=sum(snapshot.running.values()),
            waiting=snapshot.waiting,
            work=snapshot.work,
            slots=slots_of(replicas),
            ttft_ratio=ttft,
            tpot_ratio=tpot,
            woken=await self._still_wakes(pool, bool(ready)),
        )
        decision = self._scalers.setdefault(pool.id, PoolScaler()).decide(_measured(pool), signals)
        if scaler is not None and stock is not None:
            wanted = max(0, decision.desired - len(others))
            calls = running_by_url(snapshot.running)
            if wanted and not (others or stock.staying or stock.leaving):
                self._cold.add(pool.id)
            outcome = await self._act(follow(scaler, pool, stock, wanted, calls, clock=self._clock))
        await self._tell(pool, decision, outcome)
        return decision

    async def _take_stock(self, scaler: Scaler, pool: ScaledPool) -> tuple[Stock | None, str]:
        try:
            async with asyncio.timeout(ACT_WITHIN_S):
                fleet = await scaler.observe(pool.name)
            if fleet is None:
                return None, "Nothing starts or stops replicas of this pool."
            if fleet.model and fleet.model != pool.serves:
                await run_unit(note_served, pool_id=pool.id, model=fleet.model)
            return await take_stock(pool, fleet), ""
        except (AtriumError, TimeoutError) as error:
            return None, _words(error)

    async def _still_wakes(self, pool: ScaledPool, ready: bool) -> bool:
        """Whether the pool was woken and has no replica yet; learns how long that took when it has."""
        if pool.waking_at is None:
            return False
        took_s = (self._clock.now() - pool.waking_at).total_seconds()
        longest = max(float(pool.policy.start_s), pool.starts_in_s or 0.0, LEAST_GIVE_UP_S)
        if not ready and took_s < GIVE_UP_TIMES * longest:
            return True
        learned = took_s if ready and pool.id in self._cold else None
        self._cold.discard(pool.id)
        await run_unit(note_awake, pool_id=pool.id, pool=pool.name, took_s=learned)
        return False

    async def _act(self, act: Awaitable[None]) -> str:
        """Do it; what went wrong, in words."""
        try:
            async with asyncio.timeout(ACT_WITHIN_S):
                await act
        except (AtriumError, TimeoutError) as error:
            return _words(error)
        return ""

    async def _tell(self, pool: ScaledPool, decision: Decision, outcome: str) -> None:
        """Write a decision down that differs from the last, or once a minute."""
        told, at = self._told.get(pool.id), self._clock.monotonic()
        if told is not None and at - told.at < TELL_EVERY_S and told.policy == pool.policy:
            one, other = told.decision, decision
            same = (one.desired, one.provisioned, one.ready) == (
                other.desired,
                other.provisioned,
                other.ready,
            )
            if same and told.outcome == outcome:
                return
        self._told[pool.id] = Told(decision, pool.policy, at, outcome)
        await run_unit(
            record_decision, pool_id=pool.id, mode=pool.policy.mode, decision=decision, outcome=outcome
        )


def _measured(pool: ScaledPool) -> ScalingPolicy:
    """The policy with the time that a start takes as it was measured, where it was."""
    if pool.starts_in_s is None:
        return pool.policy
    return replace(pool.policy, start_s=max(1, round(pool.starts_in_s)))


def acting(policy: ScalingPolicy) -> Scaler | None:
    """What starts and stops replicas, where that is wanted and there is one."""
    if policy.mode is not ScalingMode.ON or "scaler" not in backends.specs:
        return None
    scaler: Scaler = backends["scaler"]
    return scaler


def _words(error: Exception) -> str:
    return (
        error.message if isinstance(error, AtriumError) else "What starts and stops replicas takes too long."
    )


async def scale_pools_forever() -> None:
    """Take part in the election, and decide when elected; a database or a queue that is away is tried again."""
    evaluator: PoolEvaluator = backends["pool_evaluator"]
    try:
        while True:
            await evaluator.rest()
            try:
                await evaluator.look()
            except AtriumError as error:
                log.warning("pools_not_scaled", error=error.message)
    finally:
        await asyncio.shield(evaluator.leave())


def engines_of(pool: str) -> list[ReplicaSpec]:
    """The engines of a pool that are not to be drained: one that serves several models counts once."""
    found: dict[str, ReplicaSpec] = {}
    for model in list_models():
        for replica in model.replicas:
            if replica.pool == pool:
                found.setdefault(replica.url or replica.id, replica)
    return list(found.values())


def slots_of(replicas: Sequence[ReplicaSpec]) -> int:
    """How many calls one replica takes at once, on average."""
    if not replicas:
        return USUAL_SLOTS
    return max(1, round(sum(each.max_concurrency for each in replicas) / len(replicas)))


def promises(policy: ScalingPolicy, ready: Sequence[ReplicaSpec], now: float) -> tuple[float, float]:
    """TTFT and TPOT over what was promised, as far as this process has seen calls of late; 0 where it has not.

    Of each replica the running mean of its calls is known. The worst replica's TTFT counts, and the mean of their TPOT.
    `now` is of `time.perf_counter`.
    """
    vitals = [vital for each in ready if now - (vital := vital_of(each.id)).progress_at <= RECENT_S]
    firsts = [vital.ttft_s for vital in vitals if vital.calls]
    gaps = [vital.gap_s for vital in vitals if vital.gap_tokens]
    ttft = max(firsts) * 1000 / policy.ttft_ms if firsts and policy.ttft_ms else 0.0
    tpot = sum(gaps) / len(gaps) * 1000 / policy.tpot_ms if gaps and policy.tpot_ms else 0.0
    return ttft, tpot
