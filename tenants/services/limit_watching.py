"""Finding the limits that are passed, at a cost that does not grow with the people who have them.

Every minute the limits of days and months, and what tenants keep, are compared with what is used, for 500 tenants
together (`LimitWatch`). Of limits that hold for each user, key or model of a tenant, only those are read that a call has
passed (`tenants.sightings`); each process that serves calls looks after its own (`SightingWatch`).
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.access_reads import groups_of_tenants
from tenants.limit_types import Level, Limit, Line, LineKind, Measure, TenantLimits
from tenants.planning import line_of
from tenants.ports import Counters, LimitFinder
from tenants.services.limit_notices import Passed, Telling, passed_of
from tenants.services.limits import limits_that_count
from tenants.services.standings import read_standings
from tenants.services.stocks import stocks_of_tenants
from tenants.sightings import LimitSightings

log = structlog.get_logger(__name__)

EVERY_S = 60.0
# Of rates nobody needs a letter: they are whole again within the minute.
LASTING = tuple(each for each in Measure if each.kind not in (LineKind.RATE, LineKind.RUNNING))


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says of a tenant's limits: its groups, where every group has one, and what is kept."""

    groups: Sequence[str] = ()
    kept: Mapping[Limit, int] = field(default_factory=dict)


class LimitWatch:
    """Looks at the limits of all tenants."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Remembers nothing yet."""
        self._clock = clock
        self._telling = Telling()

    async def look(self) -> int:
        """Look at all tenants once; returns how many limits were told. Raises Unavailable."""
        told = 0
        async for page in limits_that_count(LASTING):
            asked = [each for each in page if _needs_looks(each)]
            known = await run_unit(look_up, asked) if asked else {}
            for limits in page:
                found = await find_passed(limits, known.get(limits.tenant_id, Known()), clock=self._clock)
                told += await self._telling.tell(limits.tenant_id, found)
        return told


class SightingWatch:
    """Looks at what this process's calls have passed of limits that hold for each user, key or model."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Remembers nothing yet."""
        self._clock = clock
        self._telling = Telling()

    async def look(self) -> int:
        """Tell what was seen since the last look; returns how many limits. Raises Unavailable: it is told next time."""
        sightings: LimitSightings = backends["limit_sightings"]
        seen, told = dict(sightings.take()), 0
        try:
            for tenant_id in list(seen):
                found = await self._find_passed(tenant_id, seen[tenant_id])
                told += await self._telling.tell(tenant_id, found)
                del seen[tenant_id]
        finally:
            sightings.keep(seen)
        return told

    async def _find_passed(
        self, tenant_id: uuid.UUID, seen: Collection[tuple[Level, str]]
    ) -> Sequence[Passed]:
        finder: LimitFinder = backends["limit_directory"]
        limits = await finder.find(tenant_id)
        if limits is None:
            return []
        now = self._clock.now()
        every = [rule for level, subject in sorted(seen) for rule in limits.of(level, subject)]
        rules = [rule for rule in every if rule.inherited and rule.measure.kind >= LineKind.DAY]
        if not rules:
            return []
        counters: Counters = backends["counters"]
        lines = [line_of(rule, now, limits.timezone) for rule in rules]
        standings = await counters.read(str(tenant_id), lines)
        found = (
            passed_of(rule, standing.used, now, limits.timezone)
            for rule, standing in zip(rules, standings, strict=True)
        )
        return [each for each in found if each is not None]


async def watch_limits_forever() -> None:
    """Look at all tenants every minute. A database or counters that are away are tried again."""
    await _look_forever(LimitWatch().look)


async def tell_sightings() -> None:
    """Tell once what calls have passed since somebody looked. Raises Unavailable."""
    await SightingWatch().look()


async def tell_sightings_forever() -> None:
    """Look every minute at what calls have passed. A database or counters that are away are tried again."""
    await _look_forever(SightingWatch().look)


async def _look_forever(look: Callable[[], Awaitable[int]]) -> None:
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        try:
            await look()
        except AtriumError as error:
            log.warning("limits_not_watched", error=str(error))


def look_up(page: Sequence[TenantLimits]) -> Mapping[uuid.UUID, Known]:
    """What the database says of the limits of these tenants, together. Opens a system scope."""
    with system_scope("look at what tenants keep", read_only=True):
        inheriting = [each.tenant_id for each in page if each.rules.get(Level.GROUP, {}).get("")]
        groups = groups_of_tenants(inheriting) if inheriting else {}
        keeping = [each for each in page if _has_stock(each)]
        kept = stocks_of_tenants(keeping, groups) if keeping else {}
    return {
        each.tenant_id: Known(groups.get(each.tenant_id, ()), kept.get(each.tenant_id, {})) for each in page
    }


def _needs_looks(limits: TenantLimits) -> bool:
    return _has_stock(limits) or bool(limits.rules.get(Level.GROUP, {}).get(""))


def _has_stock(limits: TenantLimits) -> bool:
    every = (rule for by_subject in limits.rules.values() for each in by_subject.values() for rule in each)
    return any(rule.measure.is_stock for rule in every)


async def find_passed(limits: TenantLimits, known: Known, *, clock: Clock = SYSTEM_CLOCK) -> list[Passed]:
    """Which of a tenant's limits of days, months and stocks are passed now. Raises Unavailable."""
    now = clock.now()
    rules = [*_of_somebody(limits)]
    rules += [rule for group in known.groups for rule in limits.of(Level.GROUP, group) if rule.inherited]
    counted = [(rule, line_of(rule, now, limits.timezone)) for rule in rules if not rule.measure.is_stock]
    used = {**await _used(limits.tenant_id, counted), **known.kept}
    found = (passed_of(rule, amount, now, limits.timezone) for rule, amount in used.items())
    return [each for each in found if each is not None]


def _of_somebody(limits: TenantLimits) -> list[Limit]:
    every = [rule for by_subject in limits.rules.values() for each in by_subject.values() for rule in each]
    return [rule for rule in every if rule.subject or rule.level is Level.TENANT]


async def _used(tenant_id: uuid.UUID, counted: Sequence[tuple[Limit, Line]]) -> dict[Limit, int]:
    """What is used of each rule. One that is inherited and that no call has begun yet is left out.

    There may be a thousand groups: the ledger is not summed every minute for each that does nothing.
    """
    own = [pair for pair in counted if not pair[0].inherited]
    inherited = [pair for pair in counted if pair[0].inherited]
    standings = list(await read_standings(tenant_id, own))
    if inherited:
        counters: Counters = backends["counters"]
        standings += await counters.read(str(tenant_id), [line for _, line in inherited])
    return {
        rule: standing.used
        for (rule, _), standing in zip([*own, *inherited], standings, strict=True)
        if standing.seeded or not rule.inherited
    }
