"""Health probes of all replicas, from every process that calls them, or shows how they are."""

import asyncio
import random
import time

import structlog

from inference.ports import InferenceEngine
from inference.services.lookup import directory
from inference.types import ReplicaSpec
from kernel.backends import backends
from kernel.errors import EngineUnavailable

log = structlog.get_logger(__name__)

EVERY_S = 2.0
JITTER_S = 0.5
AT_ONCE = 32


async def probe_replicas_forever() -> None:
    """Ask each engine every two seconds whether it is well. One engine that serves several models is asked once."""
    at_once = asyncio.Semaphore(AT_ONCE)
    while True:
        await directory().ensure()
        engines: dict[tuple[str, str], list[ReplicaSpec]] = {}
        for replica in directory().snapshot.replicas.values():
            if replica.url:
                engines.setdefault((replica.url, replica.api_key), []).append(replica)
        async with asyncio.TaskGroup() as group:
            for replicas in engines.values():
                group.create_task(_probe(replicas, at_once))
        await asyncio.sleep(EVERY_S - JITTER_S / 2)


async def _probe(replicas: list[ReplicaSpec], at_once: asyncio.Semaphore) -> None:
    # All processes probe all engines: spread over time, or each engine would be asked by all of them at once.
    await asyncio.sleep(random.uniform(0, JITTER_S))  # noqa: S311 - nothing secret about it
    engine: InferenceEngine = backends[f"engine.{replicas[0].engine}"]
    health = directory().health
    try:
        async with at_once:
            began = time.perf_counter()
            await engine.health(replicas[0])
            took_ms = (time.perf_counter() - began) * 1000
    except EngineUnavailable as error:
        for replica in replicas:
            if health.probe_failed(replica.id, error.message):
                # Whatever comes back there may be another process.
                directory().vitals.of(replica.id).restarted()
                log.warning("replica_out", replica=replica.id, url=replica.url, reason=error.message)
    else:
        for replica in replicas:
            directory().vitals.of(replica.id).note_distance(took_ms / 1000)
            if health.probe_succeeded(replica.id, took_ms):
                log.info("replica_back", replica=replica.id, url=replica.url)
