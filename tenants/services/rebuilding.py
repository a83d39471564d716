"""Rollups made again from the ledger, and compared with it: a tenant's days at a time, each in its own transaction."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Min, Q, Sum
from django.db.models.functions import TruncDay

from substrate.crossing import system_scope
from tenants.models import PlatformHour, Tenant, TenantDay, TenantHour, UsageDay, UsageHour, UsageRecord
from tenants.rollups import (
    Call,
    OfPlatform,
    add_tenant_sums,
    by_hour,
    hold_rollups,
    row_id,
    unpacked,
    write_sums,
)
from tenants.tallies import Tally
from tenants.types import SHADOW, RollupDrift, UsageState

REASON = "rebuild the rollups from the ledger"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# Rows of the ledger that are summed in one transaction, about.
AT_ONCE = 50_000
_OF_TENANTS = (UsageHour, UsageDay, TenantHour, TenantDay)
_NUMBERS = ("completed", "cancelled", "failed", "prompt_tokens", "completion_tokens", "cost_nano")
_SUMS = (*_NUMBERS, "first_tokens", "totals")
_TENANTS_AT_ONCE = 500

Told = Callable[[str], None]


def rebuild_rollups(*, told: Told = lambda _: None) -> int:
    """Make all rollups again; returns how many calls were summed. Draining goes on meanwhile. `told` hears of steps."""
    summed = 0
    tenants = _tenants()
    for number, (tenant_id, slug) in enumerate(tenants, start=1):
        for start, end in _spans(tenant_id):
            summed += _rebuild_tenant(tenant_id, start, end)
        told(f"{number} of {len(tenants)} tenants ({slug})")
    for hour in _hours():
        _rebuild_hour(hour)
    return summed


def check_rollups() -> list[RollupDrift]:
    """Where rollups and ledger differ; empty when they agree."""
    found = []
    for tenant_id, slug in _tenants():
        with system_scope(REASON, read_only=True):
            found += _drift_of_tenant(tenant_id, slug)
    with system_scope(REASON, read_only=True):
        return found + _drift_of_platform()


def _tenants() -> list[tuple[uuid.UUID, str]]:
    return list(Tenant.objects.order_by("id").values_list("id", "slug"))


def _spans(tenant_id: uuid.UUID) -> Iterator[tuple[datetime, datetime]]:
    """Spans of whole days that hold everything of the tenant, each of about `AT_ONCE` calls (or one day)."""
    days: dict[datetime, int] = {}
    with system_scope(REASON, read_only=True):
        mine = UsageRecord.objects.filter(tenant_id=tenant_id)
        counted = mine.annotate(day=TruncDay("started_at", tzinfo=UTC)).values_list("day")
        days.update(counted.annotate(count=Count("id")).order_by("day"))
        # Days that only the rollups know of must go too.
        for model in (UsageDay, TenantDay):
            for day in model.objects.filter(tenant_id=tenant_id).values_list("start", flat=True).distinct():
                days.setdefault(day, 0)
    start: datetime | None = None
    waiting = 0
    for day in sorted(days):
        if start is not None and waiting + days[day] > AT_ONCE:
            yield start, day
            start, waiting = None, 0
        start = day if start is None else start
        waiting += days[day]
    if start is not None:
        yield start, max(days) + DAY


def _rebuild_tenant(tenant_id: uuid.UUID, start: datetime, end: datetime) -> int:
    with system_scope(REASON):
        hold_rollups()
        for model in _OF_TENANTS:
            model._default_manager.filter(tenant_id=tenant_id, start__gte=start, start__lt=end).delete()
        rows = UsageRecord.objects.filter(tenant_id=tenant_id, started_at__gte=start, started_at__lt=end)
        calls = [Call(*row)._replace(state=UsageState(row[7])) for row in rows.values_list(*Call._fields)]
        add_tenant_sums(by_hour(calls))
    return len(calls)


def _hours() -> Iterator[datetime]:
    """Every hour from the first to the last that any rollup knows of."""
    with system_scope(REASON, read_only=True):
        bounds = [
            model._default_manager.aggregate(first=Min("start"), last=Max("start"))
            for model in (TenantHour, PlatformHour)
        ]
    known = [each for each in bounds if each["first"] is not None]
    if known:
        hour, last = min(each["first"] for each in known), max(each["last"] for each in known)
        while hour <= last:
            yield hour
            hour += HOUR


def _rebuild_hour(hour: datetime) -> None:
    """The platform's sums of an hour, from those of its tenants."""
    with system_scope(REASON):
        hold_rollups()
        PlatformHour.objects.filter(start=hour).delete()
        tenants = list(TenantHour.objects.filter(start=hour).values_list("tenant_id", flat=True))
        found: dict[OfPlatform, Tally] = {}
        for first in range(0, len(tenants), _TENANTS_AT_ONCE):
            some = tenants[first : first + _TENANTS_AT_ONCE]
            rows = UsageHour.objects.filter(tenant_id__in=some, start=hour)
            for model, origin, *sums in rows.values_list("model", "origin", *_SUMS):
                key = OfPlatform(int(hour.timestamp()), model, origin)
                found.setdefault(key, Tally()).add(unpacked(sums))
        write_sums(PlatformHour, {row_id(key): (key, tally) for key, tally in found.items()})


def _drift_of_tenant(tenant_id: uuid.UUID, slug: str) -> list[RollupDrift]:
    ledger = UsageRecord.objects.filter(tenant_id=tenant_id)
    right = _by_day(
        ledger.annotate(day=TruncDay("started_at", tzinfo=UTC)),
        **{state.value: Count("id", filter=Q(state=state) & ~Q(origin=SHADOW)) for state in UsageState},
        **{f"sum_{name}": Sum(name) for name in _NUMBERS[3:]},
    )
    found = []
    for model in _OF_TENANTS:
        rows = model._default_manager.filter(tenant_id=tenant_id)
        there = _by_day(
            rows.annotate(day=TruncDay("start", tzinfo=UTC)),
            **{f"sum_{name}": Sum(name) for name in _NUMBERS},
        )
        found += [
            RollupDrift(model.__name__, slug, day, right.get(day, ()), there.get(day, ()))
            for day in sorted(right.keys() | there.keys())
            if right.get(day, ()) != there.get(day, ())
        ]
    return found


def _by_day(rows: Any, **sums: Any) -> dict[datetime, tuple[int, ...]]:
    return {
        row["day"]: tuple(int(row[name]) for name in sums)
        for row in rows.order_by().values("day").annotate(**sums)
    }


def _drift_of_platform() -> list[RollupDrift]:
    sums = {f"sum_{name}": Sum(name) for name in _NUMBERS}
    right, there = (
        _by_day(model._default_manager.annotate(day=F("start")), **sums)
        for model in (TenantHour, PlatformHour)
    )
    return [
        RollupDrift("PlatformHour", "", hour, right.get(hour, ()), there.get(hour, ()))
        for hour in sorted(right.keys() | there.keys())
        if right.get(hour, ()) != there.get(hour, ())
    ]
