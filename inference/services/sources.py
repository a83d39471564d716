"""What operators say of where a pool's replicas come from, and what is known of how it goes."""

import uuid
from datetime import datetime

import msgspec
from django.db import transaction
from msgspec import Struct

from inference import selectors
from inference.models import Model, PoolSource, Replica
from inference.naming import check_model_id, check_served_name
from inference.services.engines import encrypted_key, set_api_key
from inference.sources import ReplicaSource, SourceView, read_source, written_source
from inference.types import SourceKind, SourceState
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.keyring import keyring
from substrate.versions import check_version, version_of

KIND = "pool_source"
NEVER_SET = "0"
PROBLEM_LENGTH = 300


class FollowedPool(Struct, frozen=True):
    """A pool whose source is to be followed. Another `version` is another source, or the same to be asked anew."""

    id: uuid.UUID
    name: str
    source: ReplicaSource
    version: str


def get_source(*, pool_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> SourceView:
    """Where a pool's replicas come from; `static` before anything was said. Raises NotFound."""
    row = PoolSource.objects.filter(pool_id=pool_id).first()
    if row is None:
        selectors.find_pool(pool_id)
        return SourceView(ReplicaSource(), SourceState.STATIC, version=NEVER_SET)
    return _view(row, clock.now())


def set_source(
    *, pool_id: uuid.UUID, document: object, api_key: str | None = None, expected: str | None = None
) -> SourceView:
    """Replace what is said of where a pool's replicas come from; followed within seconds.

    `api_key` is the engines' own (None leaves it, empty removes it). Replicas that the source before found stay where
    the new one names them too, and are drained where it does not; where it is `static` they stay as if people had
    registered them. `expected` is the version seen. Raises NotFound, BadInput, Stale.
    """
    pool = selectors.find_pool(pool_id)
    if pool.built_in:
        raise BadInput("A built-in pool has the replicas it came with.", param="kind")
    source = checked_source(document)
    with transaction.atomic():
        _, made = PoolSource.objects.get_or_create(pool_id=pool_id)
        row = PoolSource.objects.select_for_update().get(pool_id=pool_id)
        if not (made and expected == NEVER_SET):
            check_version(row.updated_at, expected)
        before = _told(row)
        row.kind, row.document = source.kind.value, written_source(source)
        row.discovered_at, row.found, row.problem = None, 0, ""
        if api_key is not None:
            row.api_key = encrypted_key(api_key, context=selectors.source_key_context(row.id))
        row.save()
        _hand_on(row, api_key)
        record_change(kind=KIND, object_id=pool_id)
        record_act(
            act="changed", kind=KIND, object_id=pool_id, label=pool.name, before=before, after=_told(row)
        )
    return _view(row, SYSTEM_CLOCK.now())


def checked_source(document: object) -> ReplicaSource:
    """The source of a document; by hand, whatever else is said. Raises BadInput, which says what is wrong where."""
    try:
        source = read_source(document)
    except msgspec.ValidationError as error:
        raise BadInput(f"This is no such document: {error}", param="source") from error
    if source.kind is SourceKind.STATIC:
        return ReplicaSource()
    source.check()
    check_model_id(source.model)
    if source.served_name:
        check_served_name(source.served_name)
    if not Model.objects.filter(model_id=source.model).exists():
        raise BadInput(f"There is no model `{source.model}`: make it first.", param="model")
    return source


def ask_source_again(*, pool_id: uuid.UUID) -> SourceView:
    """Have the source asked anew, at once. Raises NotFound, and Conflict when there is nothing to ask."""
    view = get_source(pool_id=pool_id)
    if view.source.kind is SourceKind.STATIC:
        raise Conflict("The replicas of this pool are registered by hand.")
    with transaction.atomic():
        record_change(kind=KIND, object_id=pool_id)
    return view


def load_followed_pools() -> list[FollowedPool]:
    """The pools whose sources are to be followed, by name."""
    rows = PoolSource.objects.exclude(kind=SourceKind.STATIC.value).select_related("pool")
    found = []
    for row in rows.order_by("pool__name"):
        source = selectors.source_of(row)
        if source.kind is not SourceKind.STATIC:
            found.append(FollowedPool(row.pool_id, row.pool.name, source, version_of(row.updated_at)))
    return found


def note_look(*, pool: FollowedPool, found: int | None, problem: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Write down what came of following: how many there are (None when that could not be told), and what is wrong.

    A source that was replaced meanwhile is not told of its predecessor's.
    """
    row = PoolSource.objects.filter(pool_id=pool.id).first()
    if row is None or version_of(row.updated_at) != pool.version:
        return
    told: dict[str, object] = {"problem": problem[:PROBLEM_LENGTH]}
    if found is not None:
        told |= {"found": found, "discovered_at": clock.now()}
    # By `update`, so that the version that people hold stays the same.
    PoolSource.objects.filter(pool_id=pool.id, updated_at=row.updated_at).update(**told)


def engines_key(pool_id: uuid.UUID) -> str:
    """The key of the engines that a pool's source finds; empty without one. Raises Internal when it cannot be read."""
    row = PoolSource.objects.filter(pool_id=pool_id).first()
    if row is None or not row.api_key:
        return ""
    return keyring().decrypt(row.api_key, context=selectors.source_key_context(row.id))


def _hand_on(row: PoolSource, api_key: str | None) -> None:
    """Tell the replicas that were found of another key, and of that nobody looks for them any more."""
    found = Replica.objects.filter(pool_id=row.pool_id).exclude(origin=SourceKind.STATIC.value)
    for replica in found if api_key is not None else ():
        set_api_key(replica, api_key)
        replica.save(update_fields=["api_key", "updated_at"])
        record_change(kind="replica", object_id=replica.id)
    if row.kind == SourceKind.STATIC.value:
        found.update(origin=SourceKind.STATIC.value, vanished_at=None)


def _told(row: PoolSource) -> dict[str, object]:
    return {**written_source(selectors.source_of(row)), "api_key": row.api_key}


def _view(row: PoolSource, now: datetime) -> SourceView:
    return SourceView(
        source=selectors.source_of(row),
        state=selectors.source_state(row, now),
        has_api_key=bool(row.api_key),
        discovered_at=row.discovered_at,
        found=row.found,
        problem=row.problem,
        updated_at=row.updated_at,
        version=version_of(row.updated_at),
    )
