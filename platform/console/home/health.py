"""The parts an installation stands on, each looked at for a moment at most: a part that hangs never hangs the page."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, connection

from inference.services import ensure_models, get_model, replica_available
from kernel.backends import backends
from kernel.errors import AtriumError, NotFound, Unavailable
from kernel.ids import uuid7
from knowledge.ports import VectorStore
from knowledge.types import Collection
from routing.ports import Scheduler
from substrate.job_figures import oldest_due_job_age
from substrate.ports import BlobStore
from substrate.units import run_unit
from tenants.ports import UsageSpool, WatchedCounters
from tenants.services import drifted_lines

OK, SLOW, DOWN = "ok", "degraded", "down"
STATES = (OK, SLOW, DOWN)
PATIENCE_S = 1.5
KEEP_S = 5
# A worker looks for jobs every half second; who waits this long has none, or one with too much to do.
LATE_JOB_S = 60.0
MOST_WAITING_CALLS = 20_000
_KEY = "console.health"


@dataclass(frozen=True, slots=True)
class Part:
    """What was found of one part; `ms` is None when it did not answer."""

    name: str
    state: str
    ms: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """All parts at one moment; `state` is the worst of theirs."""

    state: str
    checked_at: datetime
    parts: tuple[Part, ...]

    def without_details(self) -> "Health":
        """The same for people who do not run the platform."""
        return Health(self.state, self.checked_at, tuple(Part(each.name, each.state) for each in self.parts))


Outcome = tuple[str, str]


async def look_at_parts() -> Health:
    """Look at every part at once, or tell what was found some seconds ago."""
    kept = await asyncio.to_thread(cache.get, _KEY)
    if isinstance(kept, dict):
        return _unpacked(kept)
    checks = _checks()
    parts = await asyncio.gather(*(_look(name, check) for name, check in checks.items()))
    worst = max((part.state for part in parts), key=STATES.index)
    found = Health(worst, datetime.now(UTC), tuple(parts))
    await asyncio.to_thread(cache.set, _KEY, asdict(found), KEEP_S)
    return found


def _unpacked(kept: Mapping[str, Any]) -> Health:
    return Health(kept["state"], kept["checked_at"], tuple(Part(**each) for each in kept["parts"]))


def _checks() -> dict[str, Callable[[], Awaitable[Outcome]]]:
    found: dict[str, Callable[[], Awaitable[Outcome]]] = {
        "database": _database,
        "vector_store": _vector_store,
        "blob_store": _blob_store,
        "embedder": _embedder,
        "worker": _worker,
        "usage_spool": _usage_spool,
        "counters": _counters,
    }
    return {**found, "redis": _scheduler} if settings.ATRIUM.redis_url else found


async def _look(name: str, check: Callable[[], Awaitable[Outcome]]) -> Part:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_S):
            state, detail = await check()
    except TimeoutError:
        return Part(name, DOWN, None, f"no answer within {PATIENCE_S} s")
    except (AtriumError, DatabaseError, OSError) as error:
        return Part(name, DOWN, None, str(error) or type(error).__name__)
    return Part(name, state, round((time.monotonic() - begun) * 1000), detail)


async def _database() -> Outcome:
    await run_unit(_select_one)
    return OK, connection.vendor


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _scheduler() -> Outcome:
    scheduler: Scheduler = backends["scheduler"]
    await scheduler.snapshot("health")
    return OK, ""


async def _vector_store() -> Outcome:
    store: VectorStore = backends["vector_store"]
    await store.count(Collection(uuid7(), settings.EMBEDDING_MODEL, 0))
    return OK, type(store).__name__


async def _blob_store() -> Outcome:
    store: BlobStore = backends["blob_store"]
    try:
        await store.read(f"{uuid7()}/health")
    except NotFound:
        return OK, type(store).__name__
    return SLOW, "a blob was found that nobody stored"


async def _embedder() -> Outcome:
    await ensure_models()
    replicas = get_model(settings.EMBEDDING_MODEL).replicas
    up = sum(replica_available(replica.id) for replica in replicas)
    told = f"{settings.EMBEDDING_MODEL}: {up} of {len(replicas)} replicas"
    if up == len(replicas) and up:
        return OK, told
    return (SLOW if up else DOWN), told


async def _worker() -> Outcome:
    late = await run_unit(oldest_due_job_age)
    if late is None:
        return OK, "no job waits"
    told = f"a job has waited for {late:,.0f} s"
    return (OK if late < LATE_JOB_S else SLOW), told


async def _usage_spool() -> Outcome:
    spool: UsageSpool = backends["usage_spool"]
    try:
        waiting = (await spool.backlog()).entries
    except Unavailable:
        if not settings.ATRIUM.redis_url:
            raise
        return SLOW, "Redis is away: usage waits in files and is booked later"
    return (
        OK if waiting < MOST_WAITING_CALLS else SLOW
    ), f"about {waiting:,} calls are not in the ledger yet"


async def _counters() -> Outcome:
    """Whether they are there; and what was found when they were compared with the ledger, last night."""
    counters: WatchedCounters = backends["counters"]
    counted = await counters.check()
    if not counted.reachable:
        return SLOW, "Redis is away: each process keeps limits within a share of its own"
    if not counted.exact:
        return SLOW, "Redis was emptied: budgets are counted anew, for a few seconds"
    drifted = await run_unit(drifted_lines)
    if drifted:
        return (
            SLOW,
            f"{drifted} counters of limits differ from the ledger; see the audit, and rebuild_counters",
        )
    return OK, ""
