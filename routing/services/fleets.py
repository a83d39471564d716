"""What follows from a decision: engines are started, put into service when they answer, drained and stopped.

A `Scaler` starts and stops; here is what happens around it. An engine is registered as a replica when it first answers,
drained before it is stopped, and stopped when its last call has ended, or `DRAIN_S` later. One that has gone is forgotten,
and the next decision finds one too few. What was registered here is written down, so that replicas which people registered
themselves are left alone.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import transaction
from msgspec import Struct

from inference.fleets import Fleet, FleetEngine
from inference.ports import Scaler
from inference.services import drain_engine, list_models, register_engine, remove_engine, resume_engine
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound
from routing.models import StartedReplica
from routing.scaling_reads import ScaledPool
from substrate.units import run_unit

DRAIN_S = 600.0


class Stock(Struct, frozen=True):
    """The engines that a scaler started in a pool: those that stay, and since when those that leave have been draining."""

    staying: tuple[FleetEngine, ...]
    leaving: Mapping[str, datetime]


async def take_stock(pool: ScaledPool, fleet: Fleet) -> Stock:
    """Register engines that answer, forget those that are gone. Raises Unavailable, BadInput."""
    leaving = await run_unit(_take_stock, pool, fleet)
    return Stock(tuple(each for each in fleet.engines if each.url not in leaving), leaving)


async def follow(
    scaler: Scaler,
    pool: ScaledPool,
    stock: Stock,
    wanted: int,
    running: Mapping[str, int],
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Bring the engines of a pool one step nearer to `wanted`; `running` are calls by the engine's URL.

    Raises what the scaler raises.
    """
    now, staying, leaving = clock.now(), len(stock.staying), dict(stock.leaving)
    # What drains still is there at once; the busiest have the warmest caches.
    for url in sorted(leaving, key=lambda each: -running.get(each, 0))[: max(0, wanted - staying)]:
        await run_unit(_bring_back, pool, url)
        del leaving[url]
        staying += 1
    late = now - timedelta(seconds=DRAIN_S)
    ended = [url for url, since in leaving.items() if not running.get(url) or since < late]
    by_use = sorted(stock.staying, key=lambda each: (each.ready, running.get(each.url, 0)))
    extra = by_use[: max(0, staying - wanted)]
    for each in extra:
        if each.ready:
            # Stopped at the next look: until then every process has heard that it takes no calls.
            await run_unit(_let_go, pool, each.url, now)
            leaving[each.url] = now
    # One that has never answered has no calls to end.
    unborn = [each.url for each in extra if not each.ready]
    if ended or unborn or staying < wanted:
        going = (*ended, *(url for url in unborn if url))
        await scaler.scale(pool.name, wanted + len(leaving) - len(ended), going)
    if ended:
        await run_unit(_forget, pool, ended)


def running_by_url(running: Mapping[str, int]) -> dict[str, int]:
    """Calls by the engine's URL, from calls by replica."""
    found: dict[str, int] = {}
    for model in list_models():
        for replica in (*model.replicas, *model.resting):
            if replica.url:
                found[replica.url] = found.get(replica.url, 0) + running.get(replica.id, 0)
    return found


def _take_stock(pool: ScaledPool, fleet: Fleet) -> dict[str, datetime]:
    rows = {row.url: row for row in StartedReplica.objects.filter(pool_id=pool.id)}
    urls = {each.url for each in fleet.engines}
    for url in [each for each in rows if each not in urls]:
        _remove(rows.pop(url))
    for each in fleet.engines:
        if each.ready and each.url not in rows:
            with transaction.atomic():
                register_engine(
                    pool=pool.name,
                    model=each.model,
                    url=each.url,
                    kind=each.kind,
                    served_name=each.served_name or None,
                    max_concurrency=each.max_concurrency or None,
                )
                rows[each.url] = StartedReplica.objects.create(pool_id=pool.id, url=each.url)
    return {url: row.leaving_since for url, row in rows.items() if row.leaving_since is not None}


def _let_go(pool: ScaledPool, url: str, now: datetime) -> None:
    with transaction.atomic():
        if StartedReplica.objects.filter(pool_id=pool.id, url=url).update(leaving_since=now):
            drain_engine(url=url)


def _bring_back(pool: ScaledPool, url: str) -> None:
    with transaction.atomic():
        if StartedReplica.objects.filter(pool_id=pool.id, url=url).update(leaving_since=None):
            resume_engine(url=url)


def _forget(pool: ScaledPool, urls: list[str]) -> None:
    for row in StartedReplica.objects.filter(pool_id=pool.id, url__in=urls):
        _remove(row)


def _remove(row: StartedReplica) -> None:
    with transaction.atomic():
        # Somebody may have been quicker.
        with suppress(NotFound):
            remove_engine(url=row.url)
        row.delete()
