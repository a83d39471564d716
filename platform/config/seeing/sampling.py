"""What is looked at from time to time, because nothing happens when it changes: queues, replicas, jobs, lags, memory."""

import asyncio
import platform
import resource
import time
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog
from django.conf import settings
from prometheus_client import Counter as PrometheusCounter

from config.seeing import series
from config.seeing.sharing import tidy
from inference.services import list_models, replica_available, vital_of
from kernel.backends import backends
from kernel.errors import AtriumError
from routing.ports import Scheduler
from routing.services import PoolEvaluator, ReplicaFinder, RoutingMemory, list_sleepers
from substrate.changes import ChangeTail
from substrate.jobs import count_waiting_jobs
from substrate.units import run_unit
from tenants.ports import WatchedCounters
from tenants.services import drifted_lines, spool_backlog

log = structlog.get_logger(__name__)

LOOK_S = 0.25
TELL_EVERY = 20
POOLS_EVERY_S = 2.0
STORES_EVERY_S = 10.0
# Also what brings a process back to exact limits that gets no calls.
COUNTERS_EVERY_S = 1.0
_PAGE_BYTES = resource.getpagesize()


async def watch_process_forever() -> None:
    """How late the loop is, how far the change log, how much memory and processor time this process takes."""
    role = settings.ATRIUM.role
    if settings.METRICS_FOLDER is not None:
        await asyncio.to_thread(tidy, settings.METRICS_FOLDER)
    series.BUILD.labels(atrium_version(), platform.python_version(), settings.ATRIUM.profile).set(1)
    series.PROCESSES.labels(role).set(1)
    loop = asyncio.get_running_loop()
    used = 0.0
    while True:
        times = resource.getrusage(resource.RUSAGE_SELF)
        now_used = times.ru_utime + times.ru_stime
        series.PROCESSOR_SECONDS.labels(role).inc(max(0.0, now_used - used))
        used = now_used
        series.RESIDENT_BYTES.labels(role).set(_resident_bytes())
        tail: ChangeTail = backends["change_tail"]
        series.CHANGE_LAG_SECONDS.set(max(0.0, time.monotonic() - tail.caught_up_at))
        lags = []
        for _ in range(TELL_EVERY):
            before = loop.time()
            await asyncio.sleep(LOOK_S)
            lags.append(max(0.0, loop.time() - before - LOOK_S))
        series.LOOP_LAG_SECONDS.observe_many(lags)


async def watch_pools_forever() -> None:
    """Who waits and who runs in each pool, and the replicas as this process sees them."""
    shown: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    routing = RoutingWatch()
    while True:
        routing.look()
        try:
            await _look_at_pools(shown)
        except AtriumError as error:
            log.warning("pools_not_seen", error=str(error))
        await asyncio.sleep(POOLS_EVERY_S)


async def _look_at_pools(shown: dict[str, set[tuple[str, ...]]]) -> None:
    scheduler: Scheduler = backends["scheduler"]
    replicas = {replica.id: replica for model in list_models() for replica in model.replicas}
    states = {replica_id: _state(replica_id) for replica_id in replicas}
    running: Counter[tuple[str, ...]] = Counter()
    waiting: Counter[tuple[str, ...]] = Counter()
    work: Counter[tuple[str, ...]] = Counter()
    serving = {replica.pool for replica in replicas.values()}
    asleep, starts = _sleepers(serving)
    for pool in serving | {pool for (pool,) in asleep}:
        snapshot = await scheduler.snapshot(pool)
        waiting[pool,] = snapshot.waiting
        work[pool, "running"], work[pool, "waiting"] = snapshot.work.running, snapshot.work.waiting
        running[pool, "available"] += 0
        for replica_id, count in snapshot.running.items():
            running[pool, states.get(replica_id, "leaving")] += count
    there: Counter[tuple[str, ...]] = Counter()
    for replica_id, replica in replicas.items():
        for state in ("available", "out"):
            there[replica.model, replica.pool, state] += int(states[replica_id] == state)
    engines = {(each.pool, each.url or each_id): states[each_id] for each_id, each in replicas.items()}
    ready: Counter[tuple[str, ...]] = Counter({(pool,): 0 for pool, _ in engines})
    for (pool, _), state in engines.items():
        ready[pool,] += int(state == "available")
    evaluator: PoolEvaluator = backends["pool_evaluator"]
    decided = evaluator.decisions.items()
    for gauge, found in (
        (series.QUEUE_LENGTH, waiting),
        (series.RUNNING, running),
        (series.REPLICAS, there),
        (series.POOL_WORK, work),
        (series.READY_REPLICAS, ready),
        (series.ASLEEP, asleep),
        (series.WAKE_SECONDS, starts),
        (series.DESIRED_REPLICAS, Counter({(pool,): each.desired for pool, each in decided})),
        (series.PROVISIONED_REPLICAS, Counter({(pool,): each.provisioned for pool, each in decided})),
    ):
        before = shown[gauge._name]
        # A pool that is gone, or a state that nobody is in, shows 0 and not its last figure.
        for labels in before - set(found):
            gauge.labels(*labels).set(0)
        for labels, count in found.items():
            gauge.labels(*labels).set(count)
        before |= set(found)


def _sleepers(serving: set[str]) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """Of the pools that wake for a call, whether each sleeps now, and how many seconds it takes to wake."""
    asleep: Counter[tuple[str, ...]] = Counter()
    starts: Counter[tuple[str, ...]] = Counter()
    for each in list_sleepers():
        asleep[each.pool,] = int(each.pool not in serving)
        if each.starts_in_s is not None:
            starts[each.pool,] = round(each.starts_in_s)
    return asleep, starts


def _state(replica_id: str) -> str:
    return "available" if replica_available(replica_id) else "out"


class RoutingWatch:
    """Turns what routing and its replicas have counted since the process began into the series."""

    def __init__(self) -> None:
        """Nothing told yet."""
        self._told: Counter[tuple[str, ...]] = Counter()

    def look(self) -> None:
        """Count what has come since the last look."""
        memory: RoutingMemory = backends["routing_memory"]
        figures, budget = memory.figures, memory.budget
        missed = figures.prompt_tokens - figures.cached_tokens
        self._tell(series.PREFIX_TOKENS, figures.cached_tokens, "cached")
        self._tell(series.PREFIX_TOKENS, missed, "uncached")
        self._tell(series.EXTRA_ATTEMPTS, budget.spent, "made")
        self._tell(series.EXTRA_ATTEMPTS, budget.refused, "refused")
        self._tell(series.CONTINUATIONS, figures.continuations, "continued")
        self._tell(series.CONTINUATIONS, figures.continuations_failed, "failed")
        alone: Counter[tuple[str, str]] = Counter()
        for model in list_models():
            for replica in model.replicas if len(model.replicas) > 1 else ():
                alone[replica.model, replica.pool] += vital_of(replica.id).left_alone
        for labels, count in alone.items():
            self._tell(series.LEFT_ALONE, count, *labels)

    def _tell(self, counter: PrometheusCounter, count: int, *labels: str) -> None:
        key = (counter._name, *labels)
        # A replica that was removed takes its count along.
        counter.labels(*labels).inc(max(0, count - self._told[key]))
        self._told[key] = count


async def watch_counters_forever() -> None:
    """Whether this process keeps limits exactly or within a share of its own."""
    told = 0
    while True:
        counters: WatchedCounters = backends["counters"]
        state = await counters.check()
        series.LIMITS_ALONE.set(0 if state.exact else 1)
        series.COUNTERS_EMPTIED.inc(state.emptied - told)
        told = state.emptied
        await asyncio.sleep(COUNTERS_EVERY_S)


async def watch_stores_forever() -> None:
    """What waits in the job table and in the usage spool, and whether pools' sources say where replicas are."""
    followed: set[str] = set()
    while True:
        followed = _tell_sources(followed)
        with suppress(AtriumError):
            jobs = await run_unit(count_waiting_jobs)
            for state, count in jobs.counts.items():
                series.JOBS.labels(state).set(count)
            waited = datetime.now(UTC) - jobs.oldest_due if jobs.oldest_due else None
            series.OLDEST_JOB_SECONDS.set(max(0.0, waited.total_seconds()) if waited else 0.0)
        with suppress(AtriumError):
            backlog = await spool_backlog()
            series.SPOOL_ENTRIES.set(backlog.entries)
            series.SPOOL_OLDEST_SECONDS.set(backlog.oldest_s if backlog.entries else 0.0)
        with suppress(AtriumError):
            series.DRIFTED_COUNTERS.set(await run_unit(drifted_lines))
        await asyncio.sleep(STORES_EVERY_S)


def _tell_sources(before: set[str]) -> set[str]:
    """Tell how the sources stand that this process follows; returns their pools."""
    finder: ReplicaFinder = backends["replica_finder"]
    sightings = finder.sightings
    for pool in before - set(sightings):
        series.DISCOVERED_REPLICAS.labels(pool).set(0)
        series.DISCOVERY_FAILING.labels(pool).set(0)
    for pool, seen in sightings.items():
        series.DISCOVERED_REPLICAS.labels(pool).set(seen.found)
        series.DISCOVERY_FAILING.labels(pool).set(int(seen.failing))
    return set(sightings)


def atrium_version() -> str:
    """The version that is installed."""
    try:
        return version("atrium")
    except PackageNotFoundError:
        return "unknown"


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
