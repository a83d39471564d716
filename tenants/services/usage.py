"""Use cases around usage: a finished call goes into the spool at once, and from there into the ledger exactly once."""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from django.db import DataError, IntegrityError, transaction
from django.db.models import Q, Sum

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.ledger import book_usage
from tenants.models import ApiKey, PlatformHour, Tenant, User
from tenants.ports import UsageSpool
from tenants.services.shadow_pairs import store_pairs
from tenants.services.ticks import UsageTicks
from tenants.services.traces import store_traces
from tenants.types import PairEntry, PlatformSummary, SpoolEntry, TenantState, TraceEntry, UsageEntry

log = structlog.get_logger(__name__)

BATCH = 500
IDLE_S = 0.5
LONGEST_PAUSE_S = 10.0


async def record_usage(entry: UsageEntry) -> None:
    """Put a finished call where it outlives this process, before returning. Raises Unavailable."""
    spool: UsageSpool = backends["usage_spool"]
    await spool.append(entry)


async def drain_usage_once(ticks: UsageTicks | None = None) -> int:
    """Move one batch from the spool into the ledger; returns how many entries were taken. Raises Unavailable.

    `ticks` notes whose usage it was.
    """
    spool: UsageSpool = backends["usage_spool"]
    batch = await spool.take(BATCH)
    usage, traces, pairs = _by_kind(batch.entries)
    if usage:
        await run_unit(store_usage, usage)
        if ticks is not None:
            ticks.note(each.tenant_id for each in usage)
    if traces:
        await run_unit(store_traces, traces)
    if pairs:
        await run_unit(store_pairs, pairs)
    await spool.confirm(batch)
    return len(batch.entries)


def _by_kind(
    entries: Iterable[SpoolEntry],
) -> tuple[list[UsageEntry], list[TraceEntry], list[PairEntry]]:
    """A batch of the spool by what its entries are."""
    usage: list[UsageEntry] = []
    traces: list[TraceEntry] = []
    pairs: list[PairEntry] = []
    for each in entries:
        if isinstance(each, UsageEntry):
            usage.append(each)
        elif isinstance(each, TraceEntry):
            traces.append(each)
        else:
            pairs.append(each)
    return usage, traces, pairs


async def drain_usage_forever() -> None:
    """Drain for ever. A database or spool that is away is tried again after a growing pause."""
    pause = IDLE_S
    ticks = UsageTicks()
    while True:
        try:
            taken = await drain_usage_once(ticks)
            await ticks.tell()
            pause = IDLE_S
        except Unavailable as error:
            log.warning("usage_drain_failed", error=str(error), again_in_s=pause)
            taken, pause = 0, min(pause * 2, LONGEST_PAUSE_S)
        if taken < BATCH:
            await asyncio.sleep(pause)


def store_usage(entries: Sequence[UsageEntry]) -> None:
    """Write entries into the ledger; an entry that is there already is left as it is.

    Entries of tenants that are gone are dropped with a log line; one that the database refuses does not hold up the
    others.
    """
    with system_scope("drain the usage spool"):
        known = set(
            Tenant.objects.filter(id__in={each.tenant_id for each in entries}).values_list("id", flat=True)
        )
        owned = [each for each in entries if each.tenant_id in known]
        if len(owned) < len(entries):
            log.warning("usage_without_tenant", count=len(entries) - len(owned))
        try:
            with transaction.atomic():
                book_usage(owned)
        except (DataError, IntegrityError):
            _store_singly(owned)
        _touch_keys(entries)


def _store_singly(entries: Iterable[UsageEntry]) -> None:
    for entry in entries:
        try:
            with transaction.atomic():
                book_usage([entry])
        except (DataError, IntegrityError) as error:
            log.error("usage_row_refused", record_id=str(entry.record_id), error=str(error))


def _touch_keys(entries: Iterable[UsageEntry]) -> None:
    latest: dict[uuid.UUID, datetime] = {}
    for each in entries:
        if each.api_key_id is not None:
            latest[each.api_key_id] = max(each.started_at, latest.get(each.api_key_id, each.started_at))
    for key_id, moment in latest.items():
        older = Q(last_used_at=None) | Q(last_used_at__lt=moment)
        ApiKey.objects.filter(older, id=key_id).update(last_used_at=moment)


def summarise_platform(*, clock: Clock = SYSTEM_CLOCK) -> PlatformSummary:
    """Figures of the whole installation, for its operators alone: the caller has checked that."""
    now = clock.now()
    valid = Q(expires_at=None) | Q(expires_at__gt=now)
    with system_scope("summarise the platform", read_only=True):
        # The last 24 hours of the clock, the one that goes on included.
        used = PlatformHour.objects.filter(start__gt=now - timedelta(days=1)).aggregate(
            completed=Sum("completed"),
            cancelled=Sum("cancelled"),
            failed=Sum("failed"),
            tokens=Sum("prompt_tokens") + Sum("completion_tokens"),
            cost=Sum("cost_nano"),
        )
        calls = [int(used[name] or 0) for name in ("completed", "cancelled", "failed")]
        return PlatformSummary(
            tenants=Tenant.objects.count(),
            suspended_tenants=Tenant.objects.filter(state=TenantState.SUSPENDED).count(),
            users=User.objects.filter(is_active=True, service_of=None).count(),
            valid_keys=ApiKey.objects.filter(valid, revoked_at=None).count(),
            requests=sum(calls),
            failed_requests=calls[-1],
            tokens=used["tokens"] or 0,
            cost_nano=used["cost"] or 0,
        )
