"""What was done, by whom: one record an act, linked into its chain in the act's own transaction.

A record names things and never holds their content. Acts of a tenant are rows of that tenant, in its chain; acts on what
all tenants share (models, pools, the platform itself) are the platform's. Each link covers the one before, so that a
change, a gap or a stranger's row is found by `substrate.audit_verifying`.

A chain's row is locked until the act is committed: acts of one tenant are written one after the other.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import QuerySet
from django.utils import timezone

from kernel.actors import current_actor
from kernel.backends import backends
from kernel.context import ensure_request
from substrate.audit_chain import differing, link, written
from substrate.crossing import system_scope
from substrate.models import PlatformAct, PlatformChain, TenantAct, TenantChain
from substrate.ports import AuditForward
from substrate.scoping import tenant_scope

LABEL_LENGTH = 255
FORWARD = "audit_forward"


@dataclass(frozen=True, slots=True)
class ActView:
    """One act: who did what to which thing, from where, when. `tenant_id` is None for an act of the platform.

    `before` and `after` are the values that differ; `seq` and `hash` are its place in its chain and its link (None and
    "" while it is loose).
    """

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
    address: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    tenant_id: uuid.UUID | None
    chain: uuid.UUID | None
    seq: int | None
    hash: str


def record_act(
    *,
    act: str,
    kind: str,
    object_id: object,
    label: str = "",
    tenant_id: uuid.UUID | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write down, in the transaction at hand, that the actor at hand did `act` (a past tense) to the thing.

    `kind` is the change log's word for it, `label` what people call it. Of `before` and `after` what differs is kept,
    secrets masked; neither may hold content. With `tenant_id` the scope of that tenant, or the system's, is open.
    """
    actor, request = current_actor(), ensure_request()
    old, new = differing(before, after)
    values = {
        "created_at": timezone.now(),
        "act": act,
        "kind": kind,
        "object_id": str(object_id)[:128],
        "label": label[:LABEL_LENGTH],
        "actor_kind": actor.kind,
        "actor": actor.label[:LABEL_LENGTH],
        "actor_id": actor.user_id,
        "request_id": request.request_id[:128],
        "address": request.address[:64],
        "before": written(old),
        "after": written(new),
    }
    with transaction.atomic(savepoint=False):
        if tenant_id is None:
            _record_platform_act(PlatformAct(**values))
        else:
            append_acts(tenant_id=tenant_id, rows=[TenantAct(tenant_id=tenant_id, **values)])


def values_of(row: models.Model, *names: str) -> dict[str, Any]:
    """The values of these columns, for `before` and `after`."""
    return {name: getattr(row, name) for name in names}


def append_acts(*, tenant_id: uuid.UUID, rows: Sequence[TenantAct]) -> None:
    """Link `rows`, in this order, to the end of the tenant's chain; in the scope and transaction at hand."""
    chain = _locked_chain(tenant_id)
    _link_to(chain, rows, tenant_id)
    TenantAct.objects.bulk_create(rows)
    chain.save(update_fields=["seq", "head", "updated_at"])
    for row in rows:
        _forward(row)


def _record_platform_act(row: PlatformAct) -> None:
    chain = open_platform_chain()
    row.chain_id = chain.id
    _link_to(chain, [row], chain.id)
    row.save(force_insert=True)
    chain.save(update_fields=["seq", "head", "updated_at"])
    _forward(row)


def _link_to(
    chain: TenantChain | PlatformChain, rows: Sequence[TenantAct | PlatformAct], key: uuid.UUID
) -> None:
    for row in rows:
        chain.seq += 1
        row.seq = chain.seq
        row.hash = chain.head = link(chain.head, row, key)


def _locked_chain(tenant_id: uuid.UUID) -> TenantChain:
    """The tenant's chain, locked until the transaction ends; made at its first act."""
    rows = TenantChain.objects.select_for_update().filter(tenant_id=tenant_id)
    chain = rows.first()
    if chain is None:
        try:
            with transaction.atomic():
                TenantChain.objects.create(tenant_id=tenant_id)
        except IntegrityError:
            # Somebody else's first act, committed meanwhile.
            pass
        chain = rows.get()
    return chain


def open_platform_chain() -> PlatformChain:
    """The chain that the platform's acts are written to, locked; there is always one, but in an emptied database."""
    rows = PlatformChain.objects.select_for_update().filter(closed_at=None).order_by("-id")
    return rows.first() or PlatformChain.objects.create()


def _forward(row: TenantAct | PlatformAct) -> None:
    """Once the act is committed, send it on as a JSON line, where the installation wants that."""
    if FORWARD not in backends.specs:
        return
    forward: AuditForward = backends[FORWARD]
    transaction.on_commit(partial(forward.send, act_line(act_view(row))), robust=True)


def act_line(view: ActView) -> str:
    """An act as one line of JSON: what is sent on, and what an export holds."""
    told = {
        "at": view.at.isoformat(timespec="microseconds"),
        "id": str(view.id),
        "tenant_id": str(view.tenant_id) if view.tenant_id else None,
        "chain": str(view.chain) if view.chain else None,
        "seq": view.seq,
        "hash": view.hash,
        "act": view.act,
        "kind": view.kind,
        "object_id": view.object_id,
        "label": view.label,
        "actor_kind": view.actor_kind,
        "actor": view.actor,
        "actor_id": str(view.actor_id) if view.actor_id else None,
        "request_id": view.request_id,
        "address": view.address,
        "before": view.before,
        "after": view.after,
    }
    return json.dumps(told, separators=(",", ":"), ensure_ascii=True)


@contextmanager
def audit_scope(tenant_id: uuid.UUID | None) -> Iterator[list[QuerySet[Any]]]:
    """The acts of a tenant, or (None) of all tenants and the platform: for operators alone, as the caller has checked."""
    if tenant_id is None:
        with system_scope("operators see what was done", read_only=True):
            yield [PlatformAct.objects.all(), TenantAct.objects.all()]
    else:
        with tenant_scope(tenant_id, read_only=True):
            yield [TenantAct.objects.all()]


def acts_of_tenant(*, tenant_id: uuid.UUID, limit: int, before: uuid.UUID | None = None) -> list[ActView]:
    """The newest acts of a tenant, of those before the act `before`."""
    with audit_scope(tenant_id) as (acts,):
        return [act_view(row) for row in _newest(acts, limit, before)]


def acts_everywhere(*, limit: int, before: uuid.UUID | None = None) -> list[ActView]:
    """The newest acts of the platform and of all tenants; for operators alone: the caller has checked that."""
    with audit_scope(None) as sources:
        rows = [row for acts in sources for row in _newest(acts, limit, before)]
    rows.sort(key=lambda row: row.id, reverse=True)
    return [act_view(row) for row in rows[:limit]]


def _newest(acts: QuerySet[Any], limit: int, before: uuid.UUID | None) -> list[Any]:
    rows = acts.order_by("-id")
    return list((rows if before is None else rows.filter(id__lt=before))[:limit])


def act_view(row: PlatformAct | TenantAct) -> ActView:
    """The row as a view."""
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
        address=row.address,
        before=json.loads(row.before or "{}"),
        after=json.loads(row.after or "{}"),
        tenant_id=row.tenant_id if isinstance(row, TenantAct) else None,
        chain=row.tenant_id if isinstance(row, TenantAct) else row.chain_id,
        seq=row.seq,
        hash=row.hash,
    )
