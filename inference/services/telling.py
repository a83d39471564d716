"""What this process sees of replicas is told to the others, and what they see is heard."""

import asyncio
import random
import time
from dataclasses import replace

import msgspec

from inference.ports import SightingBoard
from inference.services.lookup import directory
from inference.sightings import Sighting, encode, percentile
from inference.types import ReplicaHealth, ReplicaLoad, ReplicaVitals
from kernel.backends import backends
from kernel.errors import AtriumError

EVERY_S = 2.0


async def share_sightings_forever() -> None:
    """Tell and hear, every two seconds. Who calls no engines itself only hears."""
    while True:
        await asyncio.sleep(EVERY_S * random.uniform(0.9, 1.1))  # noqa: S311 - nothing secret about it
        await directory().ensure()
        await share_sightings(time.perf_counter())


async def share_sightings(now: float) -> None:
    """Tell what was seen until `now`, and hear the others; while that cannot be, this process knows of itself alone."""
    board: SightingBoard = backends["sighting_board"]
    known = directory()
    own = {key: found for key in known.snapshot.replicas if (found := own_sighting(key, now)) is not None}
    try:
        async with asyncio.timeout(EVERY_S):
            heard = await board.exchange(encode(own))
    except (AtriumError, TimeoutError):
        heard = ()
    known.sightings.hear(heard)
    for key, speed in known.sightings.speeds().items():
        if key in known.snapshot.replicas:
            known.vitals.adopt(key, speed)


def own_sighting(replica_id: str, now: float) -> Sighting | None:
    """What this process has seen of the replica; None when nothing."""
    known = directory()
    seen, health = known.vitals.sighting(replica_id, now), known.health.read(replica_id)
    if health is None or not health.left_alone:
        return seen
    return msgspec.structs.replace(
        seen or Sighting(), left_alone=health.left_alone, left_alone_s=health.left_alone_s
    )


def seen_vitals(replica_id: str, now: float, load: ReplicaLoad | None) -> ReplicaVitals | None:
    """What all processes have seen of the replica; `load` is what its engine says of itself, where it was asked.

    None when none has seen anything.
    """
    known = directory()
    own = known.vitals.sighting(replica_id, now)
    seen = [*known.sightings.of(replica_id), *((own,) if own is not None else ())]
    if load is None and own is not None:
        vital = known.vitals.of(replica_id)
        load = vital.load if vital.fresh(now) else None
    if not seen and load is None:
        return None
    firsts = [each for one in seen for each in one.firsts_ms]
    gaps = [each for one in seen for each in one.gaps_ms]
    asked = load.cache_asked if load is not None else 0
    return ReplicaVitals(
        prefill_tps=max((one.prefill_tps for one in seen), default=0.0) or None,
        ttft_ms=percentile(firsts, 0.5),
        ttft_p99_ms=percentile(firsts, 0.99),
        gap_ms=percentile(gaps, 0.5),
        gap_p99_ms=percentile(gaps, 0.99),
        distance_ms=known.vitals.of(replica_id).distance_s * 1000 or None if own is not None else None,
        kv_usage=load.kv_usage if load is not None else None,
        hit_rate=load.cache_hits / asked if load is not None and asked else None,
        restarts=max((one.restarts for one in seen), default=0),
    )


def seen_health(replica_id: str) -> ReplicaHealth | None:
    """What this process knows of the replica's health, and whether another one leaves it alone."""
    known = directory()
    health = known.health.read(replica_id)
    others = [each for each in known.sightings.of(replica_id) if each.left_alone_s > 0]
    if health is None or health.left_alone or not others:
        return health
    longest = max(others, key=lambda each: each.left_alone_s)
    return replace(health, available=False, left_alone=longest.left_alone, left_alone_s=longest.left_alone_s)
