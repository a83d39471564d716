"""Pools and replicas as they stand now: what this process knows of their health, and the slots of all processes.

Health is what the answering process sees: each process that serves the REST API probes the engines itself (a `GET
/health` every two seconds). Speeds, and which replica is left alone, are of all processes (`telling.py`). Slots and
queues are the scheduler's: those of the whole installation in the full profile, of the one process elsewhere. What an
engine says of its own load is asked for when somebody looks.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from inference import selectors
from inference.models import Pool, Replica
from inference.ports import InferenceEngine, PoolLoad, SlotBook
from inference.services.telling import seen_health, seen_vitals
from inference.types import (
    LivePool,
    LiveReplica,
    PoolState,
    PoolStatus,
    ReplicaHealth,
    ReplicaLoad,
    ReplicaSpec,
    ReplicaState,
    ReplicaView,
)
from kernel.backends import backends
from kernel.errors import AtriumError
from kernel.streams import together
from substrate.bridge import wait_for

# What an engine has not said of its load by then is left out: a page does not wait for a sick engine.
LOAD_S = 1.0
SCHEDULER_S = 1.0
LOADS_AT_ONCE = 32

HealthOf = Callable[[str], ReplicaHealth | None]


def live_replicas(rows: Sequence[Replica]) -> list[LiveReplica]:
    """The replicas of these rows (with pools and models joined) as they stand now. Not to be called from a coroutine."""
    views = [selectors.replica_view(row) for row in rows]
    specs = {row.id: selectors.replica_spec(row) for row in rows if row.url and row.vllm}
    if not views:
        return []
    return wait_for(lambda: _look(views, specs))


def live_pools(rows: Iterable[Pool]) -> list[LivePool]:
    """The pools of these rows as they stand now. Not to be called from a coroutine."""
    views = selectors.pool_views(rows)
    held = Replica.objects.filter(pool__in=[view.id for view in views]).select_related("pool", "model")
    by_pool: dict[uuid.UUID, list[ReplicaView]] = {view.id: [] for view in views}
    for row in held:
        by_pool[row.pool_id].append(selectors.replica_view(row))
    if not views:
        return []

    async def look() -> list[LivePool]:
        loads = await _loads_of_pools([view.name for view in views])
        return [
            LivePool(view, _status(by_pool[view.id], loads.get(view.name), seen_health)) for view in views
        ]

    return wait_for(look)


def list_live_pools() -> list[LivePool]:
    """All pools as they stand now, by name, for who sums the installation up. Not to be called from a coroutine."""
    return live_pools(selectors.pools().order_by("name"))


async def _look(
    views: Sequence[ReplicaView], specs: Mapping[uuid.UUID, ReplicaSpec | None]
) -> list[LiveReplica]:
    health = {view.id: seen_health(str(view.id)) for view in views}
    asked = [
        spec for key, spec in specs.items() if spec is not None and (known := health[key]) and known.available
    ]
    pools, loads = await asyncio.gather(
        _loads_of_pools(sorted({view.pool for view in views})), _loads_of_engines(asked)
    )
    now = time.perf_counter()
    return [
        LiveReplica(
            replica=view,
            state=_state(view, health[view.id]),
            health=health[view.id],
            running=pools[view.pool].running.get(str(view.id), 0) if view.pool in pools else 0,
            tokens_in_flight=pools[view.pool].in_flight.get(str(view.id), 0) if view.pool in pools else 0,
            load=loads.get(str(view.id)),
            vitals=seen_vitals(str(view.id), now, loads.get(str(view.id))),
        )
        for view in views
    ]


def _state(view: ReplicaView, health: ReplicaHealth | None) -> ReplicaState:
    if view.draining:
        return ReplicaState.DRAINING
    if view.built_in:
        return ReplicaState.HEALTHY
    if health is None:
        return ReplicaState.UNKNOWN
    return ReplicaState.HEALTHY if health.available else ReplicaState.UNHEALTHY


def _status(replicas: Sequence[ReplicaView], load: PoolLoad | None, read: HealthOf) -> PoolStatus:
    states = Counter(_state(view, read(str(view.id))) for view in replicas)
    return PoolStatus(
        state=_pool_state(states),
        healthy=states[ReplicaState.HEALTHY],
        unhealthy=states[ReplicaState.UNHEALTHY],
        draining=states[ReplicaState.DRAINING],
        running=sum(load.running.values()) if load is not None else 0,
        slots=sum(view.max_concurrency for view in replicas if not view.draining),
        waiting=load.waiting if load is not None else 0,
        waiting_by_class={each.value: count for each, count in load.waiting_by_class.items() if count}
        if load is not None
        else {},
    )


def _pool_state(states: Counter[ReplicaState]) -> PoolState:
    if not states:
        return PoolState.EMPTY
    serving = states.total() - states[ReplicaState.DRAINING]
    if not serving:
        return PoolState.DRAINING
    if states[ReplicaState.HEALTHY] == serving:
        return PoolState.OK
    if states[ReplicaState.UNHEALTHY] == serving:
        return PoolState.DOWN
    return PoolState.DEGRADED if states[ReplicaState.UNHEALTHY] else PoolState.UNKNOWN


async def _loads_of_pools(names: Sequence[str]) -> dict[str, PoolLoad]:
    """What the scheduler says of each pool; nothing while it is away."""
    scheduler: SlotBook = backends["scheduler"]
    try:
        async with asyncio.timeout(SCHEDULER_S):
            found = await together(*(scheduler.snapshot(name) for name in names))
    except (AtriumError, TimeoutError):
        return {}
    return dict(zip(names, found, strict=True))


async def _loads_of_engines(replicas: Sequence[ReplicaSpec]) -> dict[str, ReplicaLoad]:
    """What the engines say of themselves, by replica id; one engine that serves several models is asked once."""
    at_once = asyncio.Semaphore(LOADS_AT_ONCE)
    by_engine = {(spec.url, spec.api_key): spec for spec in replicas}

    async def ask(spec: ReplicaSpec) -> ReplicaLoad | None:
        engine: InferenceEngine = backends[f"engine.{spec.engine}"]
        try:
            async with at_once, asyncio.timeout(LOAD_S):
                return await engine.load(spec)
        except (AtriumError, TimeoutError):
            return None

    found = dict(zip(by_engine, await together(*map(ask, by_engine.values())), strict=True))
    told = {spec.id: found[spec.url, spec.api_key] for spec in replicas}
    return {key: load for key, load in told.items() if load is not None}
