"""Reads of models, pools and replicas, for the directory and for the views."""

import re
import uuid
from collections.abc import Iterable

import structlog
from django.db.models import Count, Exists, OuterRef, QuerySet

from inference.embedders import HASHING, local_embedder
from inference.models import Model, Pool, Replica
from inference.naming import MODEL_ID_PATTERN
from inference.pricing import show_price
from inference.types import ModelKind, ModelSpec, ModelView, PoolView, ReplicaSpec, ReplicaView, Tier
from kernel.errors import Internal, NotFound
from substrate.keyring import keyring

log = structlog.get_logger(__name__)

LEXICAL_NOTICE = "The embedding model's weights are not installed; vectors are made from words alone, without their meaning."


def key_context(replica_id: uuid.UUID) -> str:
    """What a replica's stored key is bound to."""
    return f"inference.replica.api_key:{replica_id}"


def load_specs() -> tuple[ModelSpec, ...]:
    """All models with their replicas in service, the oldest first."""
    by_model: dict[uuid.UUID, list[ReplicaSpec]] = {}
    rows = Replica.objects.filter(draining=False).select_related("pool", "model").order_by("id")
    for row in rows:
        spec = _replica_spec(row)
        if spec is not None:
            by_model.setdefault(row.model_id, []).append(spec)
    return tuple(_model_spec(row, by_model.get(row.id, ())) for row in Model.objects.order_by("id"))


def _replica_spec(row: Replica) -> ReplicaSpec | None:
    try:
        api_key = keyring().decrypt(row.api_key, context=key_context(row.id)) if row.api_key else ""
    except Internal:
        # One key that is lost must not take the other replicas with it.
        log.error("replica_key_unreadable", replica=str(row.id), url=row.url)
        return None
    return ReplicaSpec(
        id=str(row.id),
        pool=row.pool.name,
        model=row.model.model_id,
        engine=row.pool.engine,
        url=row.url,
        served_name=row.served_name,
        max_concurrency=row.max_concurrency,
        region=row.region or row.pool.region,
        draining=row.draining,
        api_key=api_key,
        vllm=row.vllm,
    )


def _model_spec(row: Model, replicas: Iterable[ReplicaSpec]) -> ModelSpec:
    return ModelSpec(
        id=row.model_id,
        kind=ModelKind(row.kind),
        tier=Tier(row.tier),
        context_length=row.context_length,
        input_price_nano=row.input_price_nano,
        output_price_nano=row.output_price_nano,
        built_in=row.built_in,
        created=int(row.created_at.timestamp()),
        replicas=tuple(replicas),
        dimensions=row.dimensions,
    )


def models(*, usable_only: bool) -> QuerySet[Model]:
    """Models, or just those with a replica in service."""
    rows = Model.objects.all()
    if usable_only:
        rows = rows.filter(Exists(Replica.objects.filter(model=OuterRef("pk"), draining=False)))
    return rows


def find_model(model_id: str, *, usable_only: bool = False) -> Model:
    """The model of the id that callers use. Raises NotFound."""
    row = None
    # What cannot be an id never reaches the database, which refuses some of it (NUL) in its own way.
    if re.match(MODEL_ID_PATTERN, model_id):
        row = models(usable_only=usable_only).filter(model_id=model_id).first()
    if row is None:
        raise NotFound("There is no such model.")
    return row


def pools() -> QuerySet[Pool]:
    """All pools."""
    return Pool.objects.all()


def find_pool(pool_id: uuid.UUID) -> PoolView:
    """One pool. Raises NotFound."""
    row = Pool.objects.filter(id=pool_id).first()
    if row is None:
        raise NotFound("There is no such pool.")
    return pool_views([row])[0]


def replicas(pool_id: uuid.UUID) -> QuerySet[Replica]:
    """The replicas of a pool, with their models."""
    return Replica.objects.filter(pool_id=pool_id).select_related("pool", "model")


def find_replica(pool_id: uuid.UUID, replica_id: uuid.UUID) -> Replica:
    """One replica of a pool. Raises NotFound."""
    row = replicas(pool_id).filter(id=replica_id).first()
    if row is None:
        raise NotFound("There is no such replica.")
    return row


def model_views(rows: Iterable[Model]) -> list[ModelView]:
    """Views of model rows, with one query for their numbers of replicas."""
    rows = list(rows)
    counts = dict(
        Replica.objects.filter(model__in=rows, draining=False)
        .values_list("model_id")
        .annotate(count=Count("id"))
        .order_by()
    )
    return [_model_view(row, counts.get(row.id, 0)) for row in rows]


def _model_view(row: Model, replica_count: int) -> ModelView:
    lexical = row.built_in and row.kind == ModelKind.EMBEDDING and local_embedder() == HASHING
    return ModelView(
        uuid=row.id,
        id=row.model_id,
        kind=ModelKind(row.kind),
        tier=Tier(row.tier),
        context_length=row.context_length,
        dimensions=row.dimensions,
        input_price=show_price(row.input_price_nano),
        output_price=show_price(row.output_price_nano),
        built_in=row.built_in,
        replica_count=replica_count,
        notice=LEXICAL_NOTICE if lexical else "",
        created_at=row.created_at,
    )


def pool_views(rows: Iterable[Pool]) -> list[PoolView]:
    """Views of pool rows, with one query for their numbers of replicas."""
    rows = list(rows)
    counts = dict(
        Replica.objects.filter(pool__in=rows).values_list("pool_id").annotate(count=Count("id")).order_by()
    )
    return [
        PoolView(
            id=row.id,
            name=row.name,
            engine=row.engine,
            region=row.region,
            replica_count=counts.get(row.id, 0),
            created_at=row.created_at,
        )
        for row in rows
    ]


def replica_view(row: Replica, *, available: bool = True) -> ReplicaView:
    """The view of a replica row (with its pool and model joined)."""
    return ReplicaView(
        id=row.id,
        pool_id=row.pool_id,
        pool=row.pool.name,
        model=row.model.model_id,
        url=row.url,
        served_name=row.served_name,
        max_concurrency=row.max_concurrency,
        region=row.region,
        draining=row.draining,
        vllm=row.vllm,
        has_api_key=bool(row.api_key),
        available=available,
        created_at=row.created_at,
    )
