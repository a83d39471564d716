"""The end of a tenant: asked for, thought better of for a while, carried out, and proven.

From the moment it is asked for every door refuses the tenant, as a suspended one. When the time of grace is over a
process of the control plane takes a lease, has every `TenantParticipant` delete what it holds, counts that nothing is
left, takes the tenant's own row away, and looks through every table for ids of what the tenant held. Any step may be
interrupted: another process goes on from what is left. The row of the deletion, and an act of the platform, stay.
"""

import asyncio
import random
import uuid
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q

from kernel.actors import SYSTEM, acting, current_actor
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, BadInput, Conflict, NotFound
from substrate.audit import record_act
from substrate.audit_keeping import let_go_chain
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.jobs import RENEW_EVERY_S, drop_jobs
from substrate.participation import owned_models
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.lifecycle_types import (
    GRACE,
    MOST_GRACE_HOURS,
    REASON_LENGTH,
    DeletionState,
    DeletionView,
)
from tenants.models import Tenant, TenantDeletion
from tenants.permissions import OPERATE, require
from tenants.services.exporting import participants
from tenants.services.webhook_sending import emit_event
from tenants.types import Principal, TenantState

log = structlog.get_logger(__name__)

EVERY_S = 20.0
LEASE = timedelta(seconds=60)
BATCH = 500
MOST_ROUNDS = 5
# A worker that lost its job stops within a renewal; what it had begun to write ends soon after.
SETTLING_S = RENEW_EVERY_S + 2.0
# Where the record of the deletion itself names the tenant, and what expires by itself within the hour.
ON_RECORD = frozenset({"substrate.PlatformAct", "tenants.TenantDeletion"})
EXPIRING = frozenset({"substrate.Change"})
CANARIES_PER_TABLE = 1
SHOWN = 200


def ask_deletion(
    *,
    principal: Principal,
    confirm: str,
    tenant_id: uuid.UUID | None = None,
    reason: str = "",
    grace_hours: int | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> DeletionView:
    """Have a tenant deleted after its time of grace: an owner their own, an operator any but the one they act in.

    `confirm` is the tenant's short name, typed. `grace_hours` is the operators' to say. From now on every door refuses
    it. What a member asked for an operator may make their own, with another time: members do not undo it any more.
    Raises PermissionDenied, NotFound, BadInput, Conflict when it is to be deleted already.
    """
    grace = _grace(principal, tenant_id, grace_hours)
    target = principal.tenant_id if tenant_id is None else tenant_id
    with system_scope("have a tenant deleted"):
        tenant = Tenant.objects.select_for_update().filter(id=target).first()
        if tenant is None:
            raise NotFound("There is no such tenant.")
        if confirm.strip() != tenant.slug:
            raise BadInput("Type the tenant's short name to confirm.", param="confirm", code="not_confirmed")
        by_member = tenant_id is None and not principal.visiting
        if not by_member and (waiting := _of_a_member(tenant.id)) is not None:
            return _take_over(waiting, reason, clock.now() + grace)
        row = TenantDeletion(
            tenant_id=tenant.id,
            slug=tenant.slug,
            name=tenant.name,
            was=tenant.state,
            asked_by=current_actor().label[:255],
            reason=reason.strip()[:REASON_LENGTH],
            due_at=clock.now() + grace,
            by_member=by_member,
        )
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict("This tenant is to be deleted already.", code="deleting") from error
        _set_state(tenant, TenantState.DELETING)
        _tell_asked(row)
        return view_of(row)


def _of_a_member(tenant_id: uuid.UUID) -> TenantDeletion | None:
    """What a member asked for and has not begun, locked; the tenant's row is locked already."""
    waiting = TenantDeletion.objects.filter(tenant_id=tenant_id, state=DeletionState.WAITING, by_member=True)
    return waiting.select_for_update().first()


def _take_over(row: TenantDeletion, reason: str, due_at: datetime) -> DeletionView:
    row.by_member = False
    row.asked_by = current_actor().label[:255]
    row.reason = reason.strip()[:REASON_LENGTH] or row.reason
    row.due_at = due_at
    row.save(update_fields=["by_member", "asked_by", "reason", "due_at", "updated_at"])
    _tell_asked(row)
    return view_of(row)


def _tell_asked(row: TenantDeletion) -> None:
    # Endpoints are locked before the chain of acts, here as everywhere: the other way round two could wait for each other.
    emit_event(tenant_id=row.tenant_id, event="tenant.deletion_asked", told={"due_at": row.due_at})
    _record(row, "deletion_asked", both=True)


def withdraw_deletion(*, principal: Principal, tenant_id: uuid.UUID) -> DeletionView:
    """Think better of it: the tenant is again as it was. Raises PermissionDenied, NotFound, Conflict once it has begun."""
    require(principal, OPERATE)
    return take_back_deletion(tenant_id=tenant_id)


def take_back_deletion(*, tenant_id: uuid.UUID, by_member: bool = False) -> DeletionView:
    """The tenant is again as it was; the caller has checked who asks. `by_member`: only what a member asked for.

    Raises NotFound, Conflict once it has begun.
    """
    with system_scope("withdraw the deletion of a tenant"):
        # The tenant first, as who asks for a deletion does.
        tenant = Tenant.objects.select_for_update().filter(id=tenant_id).first()
        row = TenantDeletion.objects.select_for_update().filter(tenant_id=tenant_id).order_by("-id").first()
        if row is None or row.state == DeletionState.WITHDRAWN or (by_member and not row.by_member):
            raise NotFound("This tenant is not to be deleted.")
        if row.state != DeletionState.WAITING or tenant is None:
            raise Conflict("The deletion has begun and cannot be undone.", code="deletion_begun")
        row.state = DeletionState.WITHDRAWN.value
        row.save(update_fields=["state", "updated_at"])
        _set_state(tenant, TenantState(row.was))
        emit_event(tenant_id=tenant_id, event="tenant.deletion_withdrawn", told={})
        _record(row, "deletion_withdrawn", both=True)
        return view_of(row)


def list_deletions(*, principal: Principal) -> list[DeletionView]:
    """Deletions of tenants, the newest first, those that are over too. Raises PermissionDenied."""
    require(principal, OPERATE)
    return [view_of(row) for row in TenantDeletion.objects.order_by("-id")[:SHOWN]]


def get_deletion(*, principal: Principal, deletion_id: uuid.UUID) -> DeletionView:
    """One deletion, with its report. Raises PermissionDenied, NotFound."""
    require(principal, OPERATE)
    row = TenantDeletion.objects.filter(id=deletion_id).first()
    if row is None:
        raise NotFound("There is no such deletion.")
    return view_of(row)


async def keep_deletions_forever() -> None:
    """Carry out what is due. A database that is away is tried again at the next round."""
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        try:
            await carry_out_deletions()
        except AtriumError as error:
            log.warning("deletions_failed", error=str(error))


async def carry_out_deletions(
    *, clock: Clock = SYSTEM_CLOCK, batch: int = BATCH, settling_s: float = SETTLING_S
) -> int:
    """Carry out every deletion that is due and that nobody else holds; returns how many came to their end."""
    count = 0
    while (found := await run_unit(_claim, clock)) is not None:
        erasure = Erasure(found, clock=clock, batch=batch, settling_s=settling_s)
        try:
            await erasure.run()
            count += 1
        except AtriumError as error:
            log.warning("deletion_interrupted", tenant_id=str(found.tenant_id), error=str(error))
            # The lease stays: it is tried again when it runs out.
            await run_unit(_write, found.id, {"error": str(error)[:500]})
    return count


class Erasure:
    """One tenant being deleted, by one process. Whatever it has done stays done when it is interrupted."""

    def __init__(self, row: TenantDeletion, *, clock: Clock, batch: int, settling_s: float) -> None:
        """`row` is claimed."""
        self._row = row
        self._clock = clock
        self._batch = batch
        self._settling_s = settling_s
        self._deleted = row.deleted

    async def run(self) -> None:
        """Delete, count, take the tenant's row away, prove. Raises Unavailable."""
        tenant_id = self._row.tenant_id
        if await run_unit(_has_tenant, tenant_id):
            await self._tell("jobs")
            if await run_unit(drop_jobs, tenant_id=tenant_id):
                await asyncio.sleep(self._settling_s)
            for _ in range(MOST_ROUNDS):
                await self._delete_all()
                if not any((await self._count()).values()):
                    break
            await run_unit(_remove_tenant, tenant_id)
        await self._tell("proof")
        counts = await self._count()
        if any(counts.values()):
            # Something was written outside of the database while the last row went.
            await self._delete_all()
            counts = await self._count()
        traces = await self._find_traces()
        await run_unit(_end, self._row.id, counts, traces, self._deleted, self._clock)

    async def _delete_all(self) -> None:
        for name, each in participants().items():
            await self._tell(name)
            while gone := await each.delete(self._row.tenant_id, self._batch):
                self._deleted += gone
                await self._tell(name)

    async def _count(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for each in participants().values():
            counts |= await each.count(self._row.tenant_id)
        return counts

    async def _find_traces(self) -> dict[str, int]:
        traces: dict[str, int] = {}
        for name, each in participants().items():
            await self._tell(f"proof: {name}")
            traces |= await each.find_canary(self._row.canaries)
        return traces

    async def _tell(self, step: str) -> None:
        """Say at what it is, and hold the lease."""
        values = {"step": step, "deleted": self._deleted, "lease_until": self._clock.now() + LEASE}
        await run_unit(_write, self._row.id, values)


def _claim(clock: Clock) -> TenantDeletion | None:
    now = clock.now()
    due = Q(state=DeletionState.WAITING, due_at__lte=now) | Q(state=DeletionState.ERASING)
    with system_scope("claim the deletion of a tenant"):
        rows = TenantDeletion.objects.filter(due).exclude(lease_until__gt=now).order_by("due_at")
        row = rows.select_for_update(skip_locked=True).first()
        if row is None:
            return None
        if row.state == DeletionState.WAITING:
            row.canaries = _canaries_of(row.tenant_id)
            row.state = DeletionState.ERASING.value
            _record(row, "deletion_begun")
        row.lease_until = now + LEASE
        row.error = ""
        row.save()
        return row


def _canaries_of(tenant_id: uuid.UUID) -> list[str]:
    """The tenant's id, and one of each table: ids are made once in the world, so none of them may be found later."""
    found = [str(tenant_id)]
    for model in owned_models():
        ids = model._base_manager.filter(tenant_id=tenant_id).order_by("-pk").values_list("pk", flat=True)
        found += [str(each) for each in ids[:CANARIES_PER_TABLE] if isinstance(each, uuid.UUID)]
    return found


def _has_tenant(tenant_id: uuid.UUID) -> bool:
    return Tenant.objects.filter(id=tenant_id).exists()


def _remove_tenant(tenant_id: uuid.UUID) -> None:
    """The last row; should anything have been written meanwhile, it goes with it."""
    with system_scope("remove a deleted tenant"):
        let_go_chain(tenant_id=tenant_id)
        Tenant.objects.filter(id=tenant_id).delete()
        record_change(kind="tenant", object_id=tenant_id, tenant_id=tenant_id)


def _write(deletion_id: uuid.UUID, values: dict[str, Any]) -> None:
    with system_scope("note how far a deletion is"):
        TenantDeletion.objects.filter(id=deletion_id).update(**values)
        record_change(kind="tenant_deletion", object_id=deletion_id)


def _end(
    deletion_id: uuid.UUID, counts: dict[str, int], traces: dict[str, int], deleted: int, clock: Clock
) -> None:
    """Write the proof, into the row and into the platform's audit."""
    report = report_of(counts, traces, clock)
    clean = not report["left"] and not report["traces"]
    with acting(SYSTEM), system_scope("prove the deletion of a tenant"):
        row = TenantDeletion.objects.select_for_update().get(id=deletion_id)
        row.state = (DeletionState.DONE if clean else DeletionState.INCOMPLETE).value
        row.report = {**report, "looked_for": len(row.canaries), "deleted": deleted}
        row.deleted, row.step, row.lease_until, row.error = deleted, "", None, ""
        row.finished_at = clock.now()
        row.save()
        _record(row, "deleted" if clean else "deletion_incomplete", after=_summary(row.report))
    log.info("tenant_deleted", tenant_id=str(row.tenant_id), clean=clean, deleted=deleted)


def report_of(counts: dict[str, int], traces: dict[str, int], clock: Clock) -> dict[str, Any]:
    """The proof: what was counted, and where ids of the tenant were found. `on_record` are the deletion's own records."""
    return {
        "at": clock.now().isoformat(),
        "counted": counts,
        "left": {name: count for name, count in counts.items() if count},
        "traces": {name: count for name, count in traces.items() if name not in ON_RECORD | EXPIRING},
        "on_record": {name: count for name, count in traces.items() if name in ON_RECORD},
        "expiring": {name: count for name, count in traces.items() if name in EXPIRING},
    }


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "deleted": report["deleted"],
        "tables_and_stores": len(report["counted"]),
        "left": sum(report["left"].values()),
        "traces": sum(report["traces"].values()),
        "looked_for": report["looked_for"],
    }


def _grace(principal: Principal, tenant_id: uuid.UUID | None, hours: int | None) -> timedelta:
    if tenant_id is None:
        require(principal, "tenant.delete")
        if hours is not None:
            raise BadInput("How long it waits is the operators' to say.", param="grace_hours")
        return GRACE
    require(principal, OPERATE)
    if principal.tenant_id == tenant_id:
        raise Conflict("You act in this tenant: delete it from another one.", code="own_tenant")
    if hours is None:
        return GRACE
    if not 0 <= hours <= MOST_GRACE_HOURS:
        raise BadInput(f"It waits from 0 to {MOST_GRACE_HOURS} hours.", param="grace_hours")
    return timedelta(hours=hours)


def _set_state(tenant: Tenant, state: TenantState) -> None:
    tenant.state = state.value
    tenant.save(update_fields=["state", "updated_at"])
    record_change(kind="tenant", object_id=tenant.id, tenant_id=tenant.id)


def _record(
    row: TenantDeletion, act: str, *, both: bool = False, after: dict[str, Any] | None = None
) -> None:
    """An act of the platform; with `both` one of the tenant too, while it has a chain."""
    record_change(kind="tenant_deletion", object_id=row.id)
    record_act(act=act, kind="tenant", object_id=row.tenant_id, label=row.slug, after=after)
    if both:
        with tenant_scope(row.tenant_id):
            record_act(
                act=act, kind="tenant", object_id=row.tenant_id, label=row.reason, tenant_id=row.tenant_id
            )


def view_of(row: TenantDeletion) -> DeletionView:
    """A row as operators see it."""
    return DeletionView(
        id=row.id,
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        state=DeletionState(row.state),
        asked_by=row.asked_by,
        reason=row.reason,
        asked_at=row.created_at,
        due_at=row.due_at,
        finished_at=row.finished_at,
        step=row.step,
        deleted=row.deleted,
        error=row.error,
        report=row.report,
    )
