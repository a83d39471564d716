"""What a source says becomes rows: found replicas are registered, those that vanish are drained and then removed.

Called by the one process that follows sources; each step is a transaction of its own, so that one that fails leaves what
was done before. Replicas that people registered are never touched.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import transaction
from msgspec import Struct

from inference.models import Model, Replica
from inference.naming import normal_url
from inference.rosters import Known, steps_for
from inference.services.catalogue import change_replica, delete_replica
from inference.services.engines import register_engine
from inference.services.sources import FollowedPool, engines_key
from inference.sources import Found, Presence, Roster
from inference.types import SourceKind
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, NotFound


class Reconciled(Struct, frozen=True):
    """What came of it: how many replicas are `found`, None when nobody was and nothing was done; what is wrong.

    `leaving` says that some drain, and are to be removed when their calls have ended.
    """

    found: int | None
    remark: str
    leaving: bool


def reconcile_pool(
    *, pool: FollowedPool, roster: Roster, calls: Mapping[str, int] | None, clock: Clock = SYSTEM_CLOCK
) -> Reconciled:
    """Bring the replicas of a pool in line with what its source says; `calls` run by replica, None when unknown.

    Raises AtriumError for a step that cannot be done; the steps before it are.
    """
    usable, left_out = _usable(roster)
    steps = steps_for(usable, _known(pool.id), model=pool.source.model, calls=calls, now=clock.now())
    if steps.join:
        _join(pool, steps.join)
    for replica_id in steps.back:
        _mark(replica_id, draining=False, vanished_at=None)
    for replica_id in steps.drain:
        _mark(replica_id, draining=True, vanished_at=clock.now())
    for replica_id in steps.remove:
        with suppress(NotFound):
            delete_replica(replica_id=replica_id)
    remarks = list[str]()
    if left_out:
        remarks.append("Addresses that are never an engine's were left out.")
    ready = sum(each.presence is Presence.READY for each in usable.found)
    if not ready:
        remarks.append("The source names nobody who takes calls: the replicas stay as they were.")
    leaving = Replica.objects.filter(pool_id=pool.id, vanished_at__isnull=False).exists()
    return Reconciled(ready or None, " ".join(remarks), leaving)


def _usable(roster: Roster) -> tuple[Roster, int]:
    found = []
    for each in roster.found:
        with suppress(BadInput):
            found.append(Found(normal_url(each.url), each.presence))
    return Roster(tuple(found)), len(roster.found) - len(found)


def _known(pool_id: UUID) -> list[Known]:
    rows = Replica.objects.filter(pool_id=pool_id).select_related("model").order_by("id")
    return [
        Known(
            id=row.id,
            model=row.model.model_id,
            url=row.url,
            discovered=row.origin != SourceKind.STATIC,
            vanished_at=row.vanished_at,
        )
        for row in rows
    ]


def _join(pool: FollowedPool, urls: Sequence[str]) -> None:
    source, key = pool.source, engines_key(pool.id)
    for url in urls:
        with transaction.atomic():
            if Replica.objects.filter(pool_id=pool.id, model__model_id=source.model, url=url).exists():
                # Somebody was quicker.
                continue
            if not Model.objects.filter(model_id=source.model).exists():
                raise BadInput(f"There is no model `{source.model}`: make it first.")
            made = register_engine(
                pool=pool.name,
                model=source.model,
                url=url,
                served_name=source.served_name or None,
                max_concurrency=source.max_concurrency or None,
                vllm=source.vllm,
                api_key=key or None,
            )
            Replica.objects.filter(id=made.id).update(origin=source.kind.value)


def _mark(replica_id: UUID, *, draining: bool, vanished_at: datetime | None) -> None:
    # Somebody may have removed it meanwhile.
    with suppress(NotFound), transaction.atomic():
        change_replica(replica_id=replica_id, draining=draining)
        Replica.objects.filter(id=replica_id).update(vanished_at=vanished_at)
