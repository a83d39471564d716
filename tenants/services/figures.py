"""Usage for a page at first sight: a range up to now in steps, beside the range before it, and who used most."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.core.cache import cache

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.permissions import OPERATE, require
from tenants.slowness import marked, slowest, usual_ms
from tenants.tallies import Tally
from tenants.types import Principal, UsageFigures, UsageGroup
from tenants.usage_reads import Question, largest_tenants, tallies, tenant_slugs, whole

TOP = 8
# Among how many of the busiest tenants the slow ones are looked for.
BUSIEST = 200
KEPT_PERIOD, KEEP_S = "30d", 60
_KEY = "usage.figures.platform"
# Whose latencies are told in the lists of those who used most.
MEASURED = frozenset({"tenant", "model"})


@dataclass(frozen=True, slots=True)
class Range:
    """How a range is cut: so many steps of so many seconds, the last of which is going on."""

    steps: int
    step_s: int


RANGES: Mapping[str, Range] = {
    "1h": Range(60, 60),
    "24h": Range(24, 3_600),
    "7d": Range(168, 3_600),
    "30d": Range(120, 21_600),
}


def usage_figures(
    *, principal: Principal, period: str, platform: bool = False, clock: Clock = SYSTEM_CLOCK
) -> UsageFigures:
    """Usage of the principal's tenant, or of all (`platform`), over `period` (a name in `RANGES`).

    Raises PermissionDenied.
    """
    if platform:
        require(principal, OPERATE)
        return _of_platform(period, clock)
    require(principal, "usage.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _figures(RANGES[period], clock.now(), tenant_id=principal.tenant_id)


def _of_platform(period: str, clock: Clock) -> UsageFigures:
    """A month of ten thousand tenants takes a third of a second to sum: it may be a minute old."""
    kept = cache.get(_KEY) if period == KEPT_PERIOD else None
    if isinstance(kept, UsageFigures):
        return kept
    with system_scope("figures of the platform", read_only=True):
        found = _figures(RANGES[period], clock.now(), tenant_id=None)
    if period == KEPT_PERIOD:
        cache.set(_KEY, found, KEEP_S)
    return found


def _bounds(cut: Range, now: datetime) -> tuple[datetime, datetime]:
    last = int(now.timestamp()) // cut.step_s * cut.step_s
    first = last - (cut.steps - 1) * cut.step_s
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last + cut.step_s, UTC)


def range_bounds(period: str, *, clock: Clock = SYSTEM_CLOCK) -> tuple[datetime, datetime]:
    """From the first step of `period` (a name in `RANGES`) to now."""
    now = clock.now()
    return _bounds(RANGES[period], now)[0], now


def _figures(cut: Range, now: datetime, *, tenant_id: uuid.UUID | None) -> UsageFigures:
    start, end = _bounds(cut, now)
    first = int(start.timestamp())

    def step_of(moment: datetime) -> str:
        return str((int(moment.timestamp()) - first) // cut.step_s)

    step = timedelta(seconds=cut.step_s)
    steps = tallies(Question(start, end, moment=step_of, step=step))
    before = tallies(Question(start - (end - start), start, moment=lambda _: ""))
    busiest = None if tenant_id else marked(_top("tenant", start, end, BUSIEST))
    return UsageFigures(
        start=start,
        end=min(now, end),
        step_s=cut.step_s,
        steps=[steps.get(str(number), Tally()).shown() for number in range(cut.steps)],
        totals=whole(list(steps.values())).shown(),
        previous=whole(list(before.values())).shown(),
        tenants=None if busiest is None else busiest[:TOP],
        slowest=None if busiest is None else slowest(busiest, TOP),
        usual_first_token_ms=None if busiest is None else usual_ms(busiest),
        models=_top("model", start, end),
        assistants=None if tenant_id is None else _top("assistant", start, end),
        users=None if tenant_id is None else _top("user", start, end),
    )


def _top(group: str, start: datetime, end: datetime, most: int = TOP) -> list[UsageGroup]:
    """Those with most requests, at most so many; calls that belong to nobody are left out."""
    question = Question(start, end, group=group, latencies=False)
    if group == "tenant" and end - start > timedelta(hours=1):
        # Of ten thousands the database picks the few.
        question = replace(question, among=largest_tenants(question, most))
    ranked = sorted((each for each in tallies(question).items() if each[0]), key=_rank)[:most]
    chosen = [name for name, _ in ranked]
    latencies: dict[str, Tally] = {}
    if group in MEASURED:
        latencies = tallies(replace(question, among=chosen, numbers=False, latencies=True))
    names = labels(group, chosen)
    return [
        UsageGroup(name, names.get(name, ""), whole([tally, latencies.get(name, Tally())]).shown())
        for name, tally in ranked
    ]


def _rank(group: tuple[str, Tally]) -> tuple[int, str]:
    return (-group[1].requests, group[0])


def labels(group: str, names: Sequence[str]) -> dict[str, str]:
    """What people call the groups. Needs the scope at hand."""
    if group == "user":
        return selectors.user_emails([uuid.UUID(each) for each in names])
    if group == "key":
        return selectors.key_names([uuid.UUID(each) for each in names])
    if group == "tenant":
        return tenant_slugs([uuid.UUID(each) for each in names])
    return {each: each for each in names}
