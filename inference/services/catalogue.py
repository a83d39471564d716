"""What operators do with models, pools and replicas by REST and in the back-office."""

import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.db import IntegrityError, transaction

from inference import selectors
from inference.models import Model, Pool, Replica
from inference.naming import check_model_id, check_pool_name, check_region, check_served_name
from inference.pricing import parse_price
from inference.services.access import set_access, set_enabled
from inference.services.engines import OPENAI, bounded, hold_price, note_price, set_api_key
from inference.types import (
    MAX_CACHE_SECONDS,
    MAX_CONCURRENCY,
    MAX_CONTEXT_LENGTH,
    MAX_DIMENSIONS,
    ModelKind,
    ModelView,
    PoolView,
    ReplicaView,
    Tier,
)
from kernel.errors import Conflict, NotFound
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.versions import check_version

# What the record compares; an engine's key is masked by its name.
_OF_MODEL = (
    "tier",
    "context_length",
    "dimensions",
    "input_price_nano",
    "output_price_nano",
    "enabled",
    "restricted",
    "cache_seconds",
    "cached_price_percent",
    "tools",
    "images",
)
_OF_REPLICA = ("served_name", "max_concurrency", "region", "draining", "vllm", "api_key")


def find_pool(pool_id: uuid.UUID) -> PoolView:
    """One pool. Raises NotFound."""
    return selectors.find_pool(pool_id)


def pool_serves(pool_id: uuid.UUID) -> bool:
    """Whether a replica of the pool takes calls, well or not, as the database says it to every process."""
    rows = Replica.objects.filter(pool_id=pool_id, draining=False, model__enabled=True)
    return rows.exists()


def create_model(
    *,
    model_id: str,
    kind: ModelKind = ModelKind.CHAT,
    tier: Tier = Tier.LIGHT,
    context_length: int = 0,
    dimensions: int = 0,
    input_price: str | Decimal = "0",
    output_price: str | Decimal = "0",
    enabled: bool = True,
    restricted: bool = False,
    tenants: Sequence[str] | None = None,
    cache_seconds: int = 0,
    cached_price_percent: int = 0,
    tools: bool = True,
    images: bool = False,
) -> ModelView:
    """Make a model that no engine serves yet; `tenants` are the slugs of those it is restricted to.

    Raises BadInput, and Conflict when the id is taken.
    """
    row = Model(
        model_id=check_model_id(model_id), kind=kind.value, enabled=enabled, tools=tools, images=images
    )
    _set_model(row, tier, context_length, dimensions, input_price, output_price)
    _set_cache(row, cache_seconds, cached_price_percent)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            set_access(row, restricted=restricted, tenants=tenants)
            note_price(row)
            record_change(kind="model", object_id=row.id)
            record_act(act="created", kind="model", object_id=row.id, label=model_id)
    except IntegrityError as error:
        raise Conflict(f"There is a model `{model_id}` already.", param="id") from error
    return _model_view(row)


def change_model(
    *,
    model_id: str,
    tier: Tier | None = None,
    context_length: int | None = None,
    dimensions: int | None = None,
    input_price: str | Decimal | None = None,
    output_price: str | Decimal | None = None,
    enabled: bool | None = None,
    restricted: bool | None = None,
    tenants: Sequence[str] | None = None,
    cache_seconds: int | None = None,
    cached_price_percent: int | None = None,
    tools: bool | None = None,
    images: bool | None = None,
    expected: str | None = None,
) -> ModelView:
    """Change what is not None; a price is valid for calls that are accepted from now on. `expected` is the version seen.

    Raises NotFound, BadInput, Stale, and Conflict for what the model of knowledge bases cannot be.
    """
    with transaction.atomic():
        row = _model(model_id)
        check_version(row.updated_at, expected)
        hold_price(row)
        before = row.input_price_nano, row.output_price_nano
        was_enabled, were = row.enabled, values_of(row, *_OF_MODEL)
        _set_model(row, tier, context_length, dimensions, input_price, output_price)
        _set_cache(row, cache_seconds, cached_price_percent)
        _apply(row, {"tools": tools, "images": images})
        if enabled is not None:
            set_enabled(row, enabled)
        row.save()
        set_access(row, restricted=restricted, tenants=tenants)
        if before != (row.input_price_nano, row.output_price_nano):
            note_price(row, before)
        record_change(kind="model", object_id=row.id)
        act = "changed" if row.enabled == was_enabled else "enabled" if row.enabled else "disabled"
        now = values_of(row, *_OF_MODEL)
        record_act(act=act, kind="model", object_id=row.id, label=model_id, before=were, after=now)
    return _model_view(row)


def _model_view(row: Model) -> ModelView:
    return selectors.model_views([row], with_tenants=True)[0]


def _set_model(
    row: Model,
    tier: Tier | None,
    context_length: int | None,
    dimensions: int | None,
    input_price: str | Decimal | None,
    output_price: str | Decimal | None,
) -> None:
    changes = {
        "tier": None if tier is None else tier.value,
        "context_length": bounded(context_length, 0, MAX_CONTEXT_LENGTH, param="context_length"),
        "dimensions": bounded(dimensions, 0, MAX_DIMENSIONS, param="dimensions"),
        "input_price_nano": None if input_price is None else parse_price(input_price, param="input_price"),
        "output_price_nano": None
        if output_price is None
        else parse_price(output_price, param="output_price"),
    }
    _apply(row, changes)


def _set_cache(row: Model, seconds: int | None, percent: int | None) -> None:
    changes = {
        "cache_seconds": bounded(seconds, 0, MAX_CACHE_SECONDS, param="cache_seconds"),
        "cached_price_percent": bounded(percent, 0, 100, param="cached_price_percent"),
    }
    _apply(row, changes)


def delete_model(*, model_id: str, expected: str | None = None) -> None:
    """Remove a model. Raises NotFound, Stale, and Conflict while an engine serves it or when it is built in."""
    with transaction.atomic():
        row = _model(model_id)
        check_version(row.updated_at, expected)
        if row.built_in:
            raise Conflict("A built-in model cannot be removed.")
        if Replica.objects.filter(model=row).exists():
            raise Conflict("The model still has replicas; remove them first.")
        record_change(kind="model", object_id=row.id)
        record_act(act="deleted", kind="model", object_id=row.id, label=model_id)
        row.delete()


def create_pool(*, name: str, region: str = "") -> PoolView:
    """Make a pool without replicas. Raises BadInput, and Conflict when the name is taken."""
    row = Pool(name=check_pool_name(name), region=check_region(region), engine=OPENAI)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            record_change(kind="pool", object_id=row.id)
            record_act(act="created", kind="pool", object_id=row.id, label=name)
    except IntegrityError as error:
        raise Conflict(f"There is a pool `{name}` already.", param="name") from error
    return selectors.pool_views([row])[0]


def change_pool(*, pool_id: uuid.UUID, region: str | None = None, expected: str | None = None) -> PoolView:
    """Change what is not None. Raises NotFound, BadInput, Stale."""
    with transaction.atomic():
        row = _pool(pool_id)
        check_version(row.updated_at, expected)
        were = values_of(row, "region")
        if region is not None:
            row.region = check_region(region)
        row.save()
        record_change(kind="pool", object_id=row.id)
        now = values_of(row, "region")
        record_act(act="changed", kind="pool", object_id=row.id, label=row.name, before=were, after=now)
    return selectors.pool_views([row])[0]


def delete_pool(*, pool_id: uuid.UUID, expected: str | None = None) -> None:
    """Remove a pool. Raises NotFound, Stale, and Conflict while it has replicas."""
    with transaction.atomic():
        row = _pool(pool_id)
        check_version(row.updated_at, expected)
        if Replica.objects.filter(pool=row).exists():
            raise Conflict("The pool still has replicas; remove them first.")
        record_change(kind="pool", object_id=row.id)
        record_act(act="deleted", kind="pool", object_id=row.id, label=row.name)
        row.delete()


def change_replica(
    *,
    replica_id: uuid.UUID,
    pool_id: uuid.UUID | None = None,
    served_name: str | None = None,
    max_concurrency: int | None = None,
    region: str | None = None,
    draining: bool | None = None,
    vllm: bool | None = None,
    api_key: str | None = None,
    expected: str | None = None,
) -> ReplicaView:
    """Change what is not None (`api_key` empty: removed). `pool_id` narrows the search.

    Raises NotFound, BadInput, Stale.
    """
    with transaction.atomic():
        row = _replica(replica_id, pool_id)
        check_version(row.updated_at, expected)
        was_draining, were = row.draining, values_of(row, *_OF_REPLICA)
        changes = {
            "served_name": None if served_name is None else check_served_name(served_name),
            "max_concurrency": bounded(max_concurrency, 1, MAX_CONCURRENCY, param="max_concurrency"),
            "region": None if region is None else check_region(region),
            "draining": draining,
            "vllm": vllm,
        }
        _apply(row, changes)
        set_api_key(row, api_key)
        row.save()
        record_change(kind="replica", object_id=row.id)
        act = "changed" if row.draining == was_draining else "drained" if row.draining else "resumed"
        now = values_of(row, *_OF_REPLICA)
        record_act(act=act, kind="replica", object_id=row.id, label=str(row), before=were, after=now)
    return selectors.replica_view(row)


def delete_replica(
    *, replica_id: uuid.UUID, pool_id: uuid.UUID | None = None, expected: str | None = None
) -> None:
    """Forget one replica. Raises NotFound, Stale, and Conflict when it is built in."""
    with transaction.atomic():
        row = _replica(replica_id, pool_id)
        check_version(row.updated_at, expected)
        if row.model.built_in:
            raise Conflict("A built-in replica cannot be removed.")
        record_change(kind="replica", object_id=row.id)
        record_act(act="deleted", kind="replica", object_id=row.id, label=str(row))
        row.delete()


def _apply(row: Model | Replica, changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        if value is not None:
            setattr(row, name, value)


def _model(model_id: str) -> Model:
    row = Model.objects.select_for_update().filter(model_id=model_id).first()
    if row is None:
        raise NotFound("There is no such model.")
    return row


def _pool(pool_id: uuid.UUID) -> Pool:
    row = Pool.objects.select_for_update().filter(id=pool_id).first()
    if row is None:
        raise NotFound("There is no such pool.")
    return row


def _replica(replica_id: uuid.UUID, pool_id: uuid.UUID | None) -> Replica:
    rows = Replica.objects.select_for_update(of=("self",)).select_related("pool", "model")
    row = rows.filter(id=replica_id).first()
    if row is None or (pool_id is not None and row.pool_id != pool_id):
        raise NotFound("There is no such replica.")
    return row
