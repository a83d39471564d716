"""Whether the counters of limits say what ledger and spool say: compared once a night, told when they differ.

What a call under way holds is in the counters and not yet in the ledger, so a difference counts only when three looks in
a row find it on the same side. Nothing is mended here: `manage.py rebuild_counters` has every process count anew.
"""

import asyncio
import random
import uuid
from dataclasses import dataclass
from datetime import timedelta

import structlog

from kernel.actors import SYSTEM, acting
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError
from substrate.audit import record_act
from substrate.crossing import system_scope
from substrate.models import PlatformAct
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.limit_types import Level, Limit, Line, LineKind, Measure, TenantLimits
from tenants.planning import line_of
from tenants.ports import Counters
from tenants.services.limits import known_usage, limits_that_count

log = structlog.get_logger(__name__)

KIND, ACT = "counters", "compared"
EVERY = timedelta(hours=24)
LOOK_EVERY_S = 1800.0
LOOKS = 3
# What is summed over a day or month, in the ledger too.
SUMMED = tuple(each for each in Measure if each.kind in (LineKind.DAY, LineKind.MONTH))
PAUSE_S = 10.0
# Lines of one tenant's record; more are only counted.
MOST_TOLD = 50


@dataclass(frozen=True, slots=True)
class CounterDrift:
    """A line whose counter differs from ledger and spool. `counted` and `booked` are those of the last look."""

    field: str
    counted: int
    booked: int


async def compare_counters_forever() -> None:
    """Compare once a day; the record of the last time is the platform's. What is away is tried again later."""
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 - no secret depends on it
        try:
            if await run_unit(_is_due, SYSTEM_CLOCK):
                await compare_counters()
        except AtriumError as error:
            log.warning("counters_not_compared", error=str(error))


async def compare_counters(*, pause_s: float = PAUSE_S, clock: Clock = SYSTEM_CLOCK) -> int:
    """Compare all tenants' counters and write down what was found; returns how many lines differ. Raises Unavailable."""
    looked, drifted = 0, 0
    async for page in limits_that_count(SUMMED):
        for limits in page:
            tenant_id, pairs = limits.tenant_id, _pairs(limits, clock)
            found = await drift_of(tenant_id, pairs, pause_s=pause_s, clock=clock) if pairs else []
            looked += len(pairs)
            drifted += len(found)
            if found:
                log.warning("counters_drifted", tenant_id=str(tenant_id), lines=len(found))
                await run_unit(_record_tenant, tenant_id, found)
    await run_unit(_record_platform, looked, drifted)
    return drifted


async def drift_of(
    tenant_id: uuid.UUID,
    pairs: list[tuple[Limit, Line]],
    *,
    pause_s: float = PAUSE_S,
    clock: Clock = SYSTEM_CLOCK,
) -> list[CounterDrift]:
    """Which of a tenant's lines differ in each of three looks, always on the same side. Raises Unavailable."""
    suspected = await _look(tenant_id, pairs, clock)
    for _ in range(LOOKS - 1):
        if not suspected:
            break
        await asyncio.sleep(pause_s)
        again = await _look(tenant_id, [pair for pair in pairs if pair[1].field in suspected], clock)
        suspected = {
            name: drift
            for name, drift in again.items()
            if (drift.counted > drift.booked) == (suspected[name].counted > suspected[name].booked)
        }
    return list(suspected.values())


def drifted_lines(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """How many lines differed when they were compared last, within two days; 0 when they were not."""
    newest = PlatformAct.objects.filter(kind=KIND, act=ACT, created_at__gt=clock.now() - 2 * EVERY)
    label = newest.order_by("-id").values_list("label", flat=True).first()
    return int(label.split()[0]) if label else 0


async def _look(
    tenant_id: uuid.UUID, pairs: list[tuple[Limit, Line]], clock: Clock
) -> dict[str, CounterDrift]:
    counters: Counters = backends["counters"]
    standings = await counters.read(str(tenant_id), [line for _, line in pairs])
    known = {each.line.field: each.used for each in await known_usage(tenant_id, pairs, clock=clock)}
    return {
        line.field: CounterDrift(line.field, standing.used, known[line.field])
        for (_, line), standing in zip(pairs, standings, strict=True)
        if standing.seeded and standing.used != known[line.field]
    }


def _pairs(limits: TenantLimits, clock: Clock) -> list[tuple[Limit, Line]]:
    """The lines that the tenant's rules count, of somebody in particular."""
    rules = [rule for by_subject in limits.rules.values() for each in by_subject.values() for rule in each]
    return [
        (rule, line_of(rule, clock.now(), limits.timezone))
        for rule in rules
        if rule.subject or rule.level is Level.TENANT
    ]


def _is_due(clock: Clock) -> bool:
    since = clock.now() - EVERY
    return not PlatformAct.objects.filter(kind=KIND, act=ACT, created_at__gt=since).exists()


def _record_tenant(tenant_id: uuid.UUID, found: list[CounterDrift]) -> None:
    told = sorted(found, key=lambda each: each.field)[:MOST_TOLD]
    with acting(SYSTEM), tenant_scope(tenant_id):
        record_act(
            act="drifted",
            kind="quota",
            object_id=tenant_id,
            label=f"{len(found)} counters differ from the ledger",
            tenant_id=tenant_id,
            # Names of measures hold the word token, and would be masked as names of values.
            before={"counted": [f"{each.field} {each.booked}" for each in told]},
            after={"counted": [f"{each.field} {each.counted}" for each in told]},
        )


def _record_platform(looked: int, drifted: int) -> None:
    with acting(SYSTEM), system_scope("record the comparison of counters"):
        record_act(
            act=ACT,
            kind=KIND,
            object_id="all",
            label=f"{drifted} of {looked} counters differ from the ledger",
        )
