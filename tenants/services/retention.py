"""Retention: how long a tenant keeps conversations, files and the ways of requests, and the deletion of what is older.

What is kept belongs to higher apps too, so each kind stands behind the port `Retainable`; settings name who implements
it. The usage ledger is never shortened. While a tenant is suspended nothing of it is deleted.
"""

import asyncio
import random
import uuid
from datetime import datetime, timedelta

import structlog
from django.db.models import Q

from kernel.actors import SYSTEM, acting
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, BadInput
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from substrate.versions import check_version, version_of
from tenants.models import RequestTrace, RetentionRule
from tenants.permissions import require
from tenants.ports import Retainable
from tenants.services.traces import KEEP_TRACES
from tenants.types import Expiring, Principal, RetentionDays, RetentionView, TenantState

log = structlog.get_logger(__name__)

KINDS = ("conversations", "files", "requests")
_RECORDED = tuple(f"{kind}_days" for kind in KINDS)
LONGEST_DAYS = 3650
# The version of rules that nobody has set yet.
NO_RULES = "0"
REQUESTS_DAYS = KEEP_TRACES.days
# Rows deleted in one transaction, so that nobody waits long for a lock.
BATCH = 200
FIRST_AFTER_S = 120.0
EVERY_S = 1800.0
# Between two batches, so that the deletion of years does not crowd out what people wait for.
BREATH_S = 0.05


def get_retention(*, principal: Principal) -> RetentionView:
    """The tenant's rules. Raises PermissionDenied."""
    require(principal, "usage.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _view(RetentionRule.objects.first())


def set_retention(*, principal: Principal, days: RetentionDays, expected: str | None = None) -> RetentionView:
    """Replace the tenant's rules; in force with the next sweep, within the hour.

    `expected` is the version the caller has seen. Raises PermissionDenied, BadInput, Stale.
    """
    require(principal, "retention.write")
    _check(days)
    with tenant_scope(principal.tenant_id):
        _, made = RetentionRule.objects.get_or_create(tenant_id=principal.tenant_id)
        row = RetentionRule.objects.select_for_update().get()
        if not (made and expected == NO_RULES):
            check_version(row.updated_at, expected)
        before = values_of(row, *_RECORDED)
        row.conversations_days = days.conversations
        row.files_days = days.files
        row.requests_days = days.requests
        row.save()
        record_change(kind="retention", object_id=row.id, tenant_id=row.tenant_id)
        record_act(
            act="changed",
            kind="retention",
            object_id=row.id,
            label=_said(days),
            tenant_id=row.tenant_id,
            before=before,
            after=values_of(row, *_RECORDED),
        )
        return _view(row)


def preview_retention(
    *, principal: Principal, days: RetentionDays, clock: Clock = SYSTEM_CLOCK
) -> list[Expiring]:
    """What each rule would delete now: how many of how many, and when the oldest are from. Deletes nothing.

    Raises PermissionDenied, BadInput.
    """
    require(principal, "retention.write")
    _check(days)
    found = []
    with tenant_scope(principal.tenant_id, read_only=True):
        for kind in KINDS:
            number: int | None = getattr(days, kind)
            before = clock.now() - timedelta(days=number) if number else None
            found.append(_keeper(kind).count_older(before))
    return found


async def keep_retention_forever() -> None:
    """Delete what rules say, every half hour. A database that is away is tried again at the next round."""
    pause = FIRST_AFTER_S
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        pause = EVERY_S
        try:
            await keep_retention_once()
        except AtriumError as error:
            log.warning("retention_failed", error=str(error))


async def keep_retention_once(*, clock: Clock = SYSTEM_CLOCK) -> dict[str, int]:
    """Delete what is older than its tenant's rule, tenant by tenant, in batches; returns how many by kind."""
    deleted = dict.fromkeys(KINDS, 0)
    for rule in await run_unit(_rules):
        for kind in KINDS:
            number: int | None = getattr(rule.days, kind)
            if number is None:
                continue
            before = clock.now() - timedelta(days=number)
            while True:
                gone = await run_unit(_delete_batch, rule.tenant_id, kind, before)
                deleted[kind] += gone
                if gone < BATCH:
                    break
                await asyncio.sleep(BREATH_S)
    if any(deleted.values()):
        log.info("retention_kept", **deleted)
    return deleted


class KeptRequests:
    """`Retainable` for the ways of slow, failed and refused requests."""

    def count_older(self, before: datetime | None) -> Expiring:
        """As the port says."""
        older = RequestTrace.objects.filter(started_at__lt=before) if before else RequestTrace.objects.none()
        oldest = older.order_by("started_at").values_list("started_at", flat=True)[:1]
        return Expiring("requests", older.count(), RequestTrace.objects.count(), next(iter(oldest), None))

    def delete_older(self, before: datetime, limit: int) -> int:
        """As the port says."""
        rows = RequestTrace.objects.select_for_update(skip_locked=True).filter(started_at__lt=before)
        ids = list(rows.order_by("started_at").values_list("id", flat=True)[:limit])
        RequestTrace.objects.filter(id__in=ids).delete()
        return len(ids)


class _Rule:
    """A tenant's rules, out of their scope."""

    def __init__(self, row: RetentionRule) -> None:
        self.tenant_id: uuid.UUID = row.tenant_id
        self.days = _days(row)


def _rules() -> list[_Rule]:
    any_rule = ~Q(conversations_days=None) | ~Q(files_days=None) | ~Q(requests_days=None)
    with system_scope("find retention rules", read_only=True):
        rows = RetentionRule.objects.filter(any_rule, tenant__state=TenantState.ACTIVE)
        return [_Rule(row) for row in rows.order_by("tenant_id")]


def _delete_batch(tenant_id: uuid.UUID, kind: str, before: datetime) -> int:
    """One transaction: the rows, and the record of it."""
    with acting(SYSTEM), tenant_scope(tenant_id):
        gone = _keeper(kind).delete_older(before, BATCH)
        if gone:
            label = f"{gone} {kind} older than {before:%Y-%m-%d}"
            record_act(act="deleted", kind="retention", object_id=kind, label=label, tenant_id=tenant_id)
        return gone


def _keeper(kind: str) -> Retainable:
    keeper: Retainable = backends[f"retention.{kind}"]
    return keeper


def _check(days: RetentionDays) -> None:
    for kind, longest in zip(KINDS, (LONGEST_DAYS, LONGEST_DAYS, REQUESTS_DAYS), strict=True):
        number: int | None = getattr(days, kind)
        if number is not None and not 1 <= number <= longest:
            raise BadInput(f"Days are a whole number from 1 to {longest}.", param=f"{kind}_days")


def _said(days: RetentionDays) -> str:
    told = [f"{kind}: {getattr(days, kind)} days" for kind in KINDS if getattr(days, kind) is not None]
    return ", ".join(told) or "everything is kept"


def _days(row: RetentionRule) -> RetentionDays:
    return RetentionDays(row.conversations_days, row.files_days, row.requests_days)


def _view(row: RetentionRule | None) -> RetentionView:
    if row is None:
        return RetentionView(
            RetentionDays(), version=NO_RULES, updated_at=None, requests_ceiling_days=REQUESTS_DAYS
        )
    return RetentionView(
        _days(row),
        version=version_of(row.updated_at),
        updated_at=row.updated_at,
        requests_ceiling_days=REQUESTS_DAYS,
    )
