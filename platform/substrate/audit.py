"""What was done, by whom: one record an act, written in the act's own transaction.

A record names things and never holds their content. Acts of a tenant are rows of that tenant; acts on what all
tenants share (models, pools, the platform itself) are the platform's.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kernel.actors import current_actor
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.context import ensure_request
from substrate.crossing import system_scope
from substrate.models import PlatformAct, TenantAct
from substrate.scoping import tenant_scope

KEEP_ACTS = timedelta(days=400)
LABEL_LENGTH = 255


@dataclass(frozen=True, slots=True)
class ActView:
    """One act: who did what to which thing, and when. `tenant_id` is None for an act of the platform."""

    id: uuid.UUID
    at: datetime
    act: str
    kind: str
    object_id: str
    label: str
    actor_kind: str
    actor: str
    actor_id: uuid.UUID | None
    request_id: str
    tenant_id: uuid.UUID | None


def record_act(
    *, act: str, kind: str, object_id: object, label: str = "", tenant_id: uuid.UUID | None = None
) -> None:
    """Write down, in the transaction at hand, that the actor at hand did `act` (a past tense) to the thing.

    `kind` is the change log's word for it, `label` what people call it. With `tenant_id` the scope of that tenant, or
    the system's, is open.
    """
    actor = current_actor()
    values = {
        "act": act,
        "kind": kind,
        "object_id": str(object_id),
        "label": label[:LABEL_LENGTH],
        "actor_kind": actor.kind,
        "actor": actor.label[:LABEL_LENGTH],
        "actor_id": actor.user_id,
        "request_id": ensure_request().request_id[:128],
    }
    if tenant_id is None:
        PlatformAct.objects.create(**values)
    else:
        TenantAct.objects.create(tenant_id=tenant_id, **values)


def acts_of_tenant(*, tenant_id: uuid.UUID, limit: int, before: uuid.UUID | None = None) -> list[ActView]:
    """The newest acts of a tenant, of those before the act `before`."""
    with tenant_scope(tenant_id, read_only=True):
        return [_view(row) for row in _newest(TenantAct, limit, before)]


def acts_everywhere(*, limit: int, before: uuid.UUID | None = None) -> list[ActView]:
    """The newest acts of the platform and of all tenants; for operators alone: the caller has checked that."""
    with system_scope("operators see what was done", read_only=True):
        rows: list[Any] = [*_newest(PlatformAct, limit, before), *_newest(TenantAct, limit, before)]
    rows.sort(key=lambda row: row.id, reverse=True)
    return [_view(row) for row in rows[:limit]]


def _newest(model: type[PlatformAct] | type[TenantAct], limit: int, before: uuid.UUID | None) -> list[Any]:
    rows = model._default_manager.order_by("-id")
    return list((rows if before is None else rows.filter(id__lt=before))[:limit])


def _view(row: PlatformAct | TenantAct) -> ActView:
    return ActView(
        id=row.id,
        at=row.created_at,
        act=row.act,
        kind=row.kind,
        object_id=row.object_id,
        label=row.label,
        actor_kind=row.actor_kind,
        actor=row.actor,
        actor_id=row.actor_id,
        request_id=row.request_id,
        tenant_id=row.tenant_id if isinstance(row, TenantAct) else None,
    )


def forget_old_acts(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete acts older than 400 days; returns how many."""
    before = clock.now() - KEEP_ACTS
    with system_scope("forget old acts"):
        mine, _ = TenantAct.objects.filter(created_at__lt=before).delete()
        platform, _ = PlatformAct.objects.filter(created_at__lt=before).delete()
    return mine + platform
