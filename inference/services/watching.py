"""Replicas that answer their health checks and yet should not be given calls; and what engines say of their load.

Both only where a model has several replicas: with one there is nothing to choose.
"""

import asyncio
import random
import time
from collections.abc import Sequence

import structlog

from inference.outliers import Watched, judge
from inference.ports import InferenceEngine
from inference.services.lookup import directory
from inference.types import ReplicaSpec
from kernel.backends import backends
from kernel.errors import AtriumError

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
LOADS_EVERY_S = 1.0
LOADS_AT_ONCE = 32


async def watch_replicas_forever() -> None:
    """Leave alone what hangs or is much slower than the others, twice a second."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        look_at_replicas(time.perf_counter())


def look_at_replicas(now: float) -> None:
    """Judge the replicas of every model; calls that wait for one that hangs are told to go elsewhere."""
    book, vitals = directory().health, directory().vitals
    for model in directory().snapshot.models.values():
        if len(model.replicas) < 2:
            continue
        watched = [Watched(each.id, vitals.of(each.id), book.available(each.id)) for each in model.replicas]
        for verdict in judge(watched, now):
            seconds = book.leave_alone(verdict.id, verdict.reason)
            vital = vitals.of(verdict.id)
            vital.forget_pace()
            vital.left_alone += 1
            log.warning("replica_left_alone", replica=verdict.id, reason=verdict.reason, seconds=seconds)
            if verdict.hangs:
                vital.progress_at = now
                vital.give_up()


async def watch_loads_forever() -> None:
    """Ask the engines of models with several replicas for their load, once a second. Nobody waits for the answers."""
    at_once = asyncio.Semaphore(LOADS_AT_ONCE)
    while True:
        await directory().ensure()
        engines: dict[tuple[str, str], list[ReplicaSpec]] = {}
        for model in directory().snapshot.models.values():
            for replica in model.replicas if len(model.replicas) > 1 else ():
                if replica.url and replica.vllm:
                    engines.setdefault((replica.url, replica.api_key), []).append(replica)
        async with asyncio.TaskGroup() as group:
            for replicas in engines.values():
                group.create_task(_ask(replicas, at_once))
        await asyncio.sleep(LOADS_EVERY_S * random.uniform(0.5, 1.0))  # noqa: S311 - nothing secret about it


async def _ask(replicas: Sequence[ReplicaSpec], at_once: asyncio.Semaphore) -> None:
    engine: InferenceEngine = backends[f"engine.{replicas[0].engine}"]
    vitals = directory().vitals
    try:
        async with at_once, asyncio.timeout(LOADS_EVERY_S):
            load = await engine.load(replicas[0])
    except (AtriumError, TimeoutError):
        for replica in replicas:
            vitals.of(replica.id).stand(time.perf_counter())
    else:
        for replica in replicas:
            vitals.of(replica.id).note_load(time.perf_counter(), load)
