"""Reads of models, pools and replicas, for the directory and for the views."""

import re
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from inference.embedders import HASHING, local_embedder
from inference.models import Model, ModelGrant, Pool, PoolSource, PriceChange, Replica
from inference.naming import BUILT_IN, MODEL_ID_PATTERN
from inference.pricing import show_price
from inference.sources import ReplicaSource, read_source
from inference.types import (
    ModelKind,
    ModelSpec,
    ModelState,
    ModelView,
    PlannedPrice,
    PoolView,
    PriceState,
    PriceView,
    ReplicaSpec,
    ReplicaView,
    SourceKind,
    SourceState,
    Tier,
)
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import Internal, NotFound
from substrate.keyring import keyring

log = structlog.get_logger(__name__)

# A source that has said nothing good for so long is stale: what is in service may be what was there once.
STALE_S = 120.0
LEXICAL_NOTICE = "The embedding model's weights are not installed; vectors are made from words alone, without their meaning."


def key_context(replica_id: uuid.UUID) -> str:
    """What a replica's stored key is bound to."""
    return f"inference.replica.api_key:{replica_id}"


def source_key_context(source_id: uuid.UUID) -> str:
    """What the stored key of a source's engines is bound to."""
    return f"inference.pool_source.api_key:{source_id}"


def source_of(row: PoolSource) -> ReplicaSource:
    """What a row says. A document that this version cannot read is nobody's to follow, loudly."""
    try:
        return read_source(row.document)
    except msgspec.ValidationError as error:
        log.error("pool_source_unreadable", pool=str(row.pool_id), error=str(error))
        return ReplicaSource()


def source_state(row: PoolSource | None, now: datetime) -> SourceState:
    """How it goes with a source at that moment."""
    if row is None or row.kind == SourceKind.STATIC:
        return SourceState.STATIC
    since = row.discovered_at or row.updated_at
    if now - since > timedelta(seconds=STALE_S):
        return SourceState.STALE
    if row.problem:
        return SourceState.FAILING
    return SourceState.FOUND if row.discovered_at else SourceState.WAITING


def load_specs(moment: datetime | None = None) -> tuple[ModelSpec, ...]:
    """All models with their replicas, the oldest first, as they are priced at `moment` (now)."""
    moment = moment or SYSTEM_CLOCK.now()
    serving: dict[uuid.UUID, list[ReplicaSpec]] = {}
    resting: dict[uuid.UUID, list[ReplicaSpec]] = {}
    for row in Replica.objects.select_related("pool", "model").order_by("id"):
        spec = replica_spec(row)
        if spec is not None:
            (resting if row.draining else serving).setdefault(row.model_id, []).append(spec)
    rows = list(priced(Model.objects.order_by("id"), moment))
    planned: dict[uuid.UUID, list[PlannedPrice]] = {}
    for change in PriceChange.objects.filter(valid_from__gt=moment).order_by("valid_from"):
        planned.setdefault(change.model_id, []).append(
            PlannedPrice(change.valid_from, change.input_price_nano, change.output_price_nano)
        )
    granted: dict[uuid.UUID, set[uuid.UUID]] = {row.id: set() for row in rows if row.restricted}
    for model_id, tenant_id in ModelGrant.objects.filter(model__in=granted).values_list(
        "model_id", "tenant_id"
    ):
        granted[model_id].add(tenant_id)
    return tuple(
        ModelSpec(
            id=row.model_id,
            kind=ModelKind(row.kind),
            tier=Tier(row.tier),
            context_length=row.context_length,
            tools=row.tools,
            images=row.images,
            input_price_nano=row.input_now,
            output_price_nano=row.output_now,
            planned=tuple(planned.get(row.id, ())),
            built_in=row.built_in,
            created=int(row.created_at.timestamp()),
            replicas=tuple(serving.get(row.id, ())),
            dimensions=row.dimensions,
            resting=tuple(resting.get(row.id, ())),
            enabled=row.enabled,
            tenants=frozenset(granted[row.id]) if row.restricted else None,
            cache_seconds=row.cache_seconds,
            cached_price_percent=row.cached_price_percent,
        )
        for row in rows
    )


def replica_spec(row: Replica) -> ReplicaSpec | None:
    """The replica (with its pool and model joined) as calls need it; None when its key cannot be read."""
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


def priced(rows: QuerySet[Model], moment: datetime) -> QuerySet[Any]:
    """Models with the prices of that moment as `input_now` and `output_now`."""
    held = PriceChange.objects.filter(model=OuterRef("pk"), valid_from__lte=moment).order_by(
        "-valid_from", "-id"
    )
    return rows.annotate(
        input_now=Coalesce(Subquery(held.values("input_price_nano")[:1]), F("input_price_nano")),
        output_now=Coalesce(Subquery(held.values("output_price_nano")[:1]), F("output_price_nano")),
    )


def prices_of(rows: Iterable[Model], moment: datetime | None = None) -> dict[uuid.UUID, tuple[int, int]]:
    """What each model costs at `moment` (now): nano-units per token of input and of output."""
    chosen = Model.objects.filter(pk__in=[row.pk for row in rows])
    found = priced(chosen, moment or SYSTEM_CLOCK.now()).values_list("id", "input_now", "output_now")
    return {id: (input_nano, output_nano) for id, input_nano, output_nano in found}


def models(*, tenant_id: uuid.UUID | None = None) -> QuerySet[Model]:
    """All models, or just those that calls of the tenant can use: open to it, with a replica in service."""
    in_service = Replica.objects.filter(model=OuterRef("pk"), draining=False)
    counted = Model.objects.annotate(
        replica_count=Coalesce(
            Subquery(in_service.order_by().values("model").annotate(count=Count("id")).values("count")),
            0,
            output_field=IntegerField(),
        )
    )
    rows = priced(counted, SYSTEM_CLOCK.now())
    if tenant_id is not None:
        granted = ModelGrant.objects.filter(model=OuterRef("pk"), tenant_id=tenant_id)
        rows = rows.filter(Q(restricted=False) | Exists(granted), enabled=True, replica_count__gt=0)
    return rows


def find_model(model_id: str, *, tenant_id: uuid.UUID | None = None) -> Model:
    """The model of the id that callers use, of those that `models` gives. Raises NotFound."""
    row = None
    # What cannot be an id never reaches the database, which refuses some of it (NUL) in its own way.
    if re.match(MODEL_ID_PATTERN, model_id):
        row = models(tenant_id=tenant_id).filter(model_id=model_id).first()
    if row is None:
        raise NotFound("There is no such model.")
    return row


def pools() -> QuerySet[Pool]:
    """All pools, with their number of replicas."""
    mine = Replica.objects.filter(pool=OuterRef("pk")).order_by().values("pool")
    return Pool.objects.annotate(
        replica_count=Coalesce(
            Subquery(mine.annotate(count=Count("id")).values("count")), 0, output_field=IntegerField()
        )
    )


def find_pool(pool_id: uuid.UUID) -> PoolView:
    """One pool. Raises NotFound."""
    row = Pool.objects.filter(id=pool_id).first()
    if row is None:
        raise NotFound("There is no such pool.")
    return pool_views([row])[0]


def replicas(pool_id: uuid.UUID | None = None) -> QuerySet[Replica]:
    """The replicas of a pool, or of all, with their pools and models."""
    rows = Replica.objects.select_related("pool", "model")
    return rows if pool_id is None else rows.filter(pool_id=pool_id)


def find_replica(pool_id: uuid.UUID, replica_id: uuid.UUID) -> Replica:
    """One replica of a pool. Raises NotFound."""
    row = replicas(pool_id).filter(id=replica_id).first()
    if row is None:
        raise NotFound("There is no such replica.")
    return row


def model_views(rows: Iterable[Model], *, with_tenants: bool = False) -> list[ModelView]:
    """Views of model rows, with one query for their numbers of replicas, and one for their tenants if asked for."""
    rows = list(rows)
    counts = dict(
        Replica.objects.filter(model__in=rows, draining=False)
        .values_list("model_id")
        .annotate(count=Count("id"))
        .order_by()
    )
    tenants: dict[uuid.UUID, list[str]] = {}
    if with_tenants and any(row.restricted for row in rows):
        granted = ModelGrant.objects.filter(model__in=rows).order_by("tenant__slug")
        for model_id, slug in granted.values_list("model_id", "tenant__slug"):
            tenants.setdefault(model_id, []).append(slug)
    prices = prices_of(rows)
    return [
        _model_view(row, prices[row.id], counts.get(row.id, 0), tuple(tenants.get(row.id, ())))
        for row in rows
    ]


def _model_view(
    row: Model, price: tuple[int, int], replica_count: int, tenants: tuple[str, ...]
) -> ModelView:
    lexical = row.built_in and row.kind == ModelKind.EMBEDDING and local_embedder() == HASHING
    state = ModelState.IN_SERVICE if replica_count else ModelState.WITHOUT_REPLICA
    return ModelView(
        uuid=row.id,
        id=row.model_id,
        kind=ModelKind(row.kind),
        tier=Tier(row.tier),
        context_length=row.context_length,
        dimensions=row.dimensions,
        input_price=show_price(price[0]),
        output_price=show_price(price[1]),
        built_in=row.built_in,
        enabled=row.enabled,
        restricted=row.restricted,
        tenants=tenants,
        state=state if row.enabled else ModelState.DISABLED,
        replica_count=replica_count,
        notice=LEXICAL_NOTICE if lexical else "",
        created_at=row.created_at,
        updated_at=row.updated_at,
        cache_seconds=row.cache_seconds,
        cached_price_percent=row.cached_price_percent,
        tools=row.tools,
        images=row.images,
    )


def price_changes(model_id: str | None = None) -> QuerySet[PriceChange]:
    """What models have cost, and will cost, since when, of one model or of all."""
    rows = PriceChange.objects.select_related("model")
    return rows if model_id is None else rows.filter(model__model_id=model_id)


def price_views(rows: Iterable[PriceChange]) -> list[PriceView]:
    """Views of price changes (with their models joined)."""
    rows, now = list(rows), SYSTEM_CLOCK.now()
    newest = PriceChange.objects.filter(model=OuterRef("pk"), valid_from__lte=now).order_by(
        "-valid_from", "-id"
    )
    holding = Model.objects.filter(pk__in={row.model_id for row in rows}).annotate(
        held=Subquery(newest.values("id")[:1])
    )
    in_force = set(holding.values_list("held", flat=True))
    return [
        PriceView(
            id=row.id,
            model=row.model.model_id,
            input_price=show_price(row.input_price_nano),
            output_price=show_price(row.output_price_nano),
            valid_from=row.valid_from,
            state=PriceState.PLANNED
            if row.valid_from > now
            else PriceState.IN_FORCE
            if row.id in in_force
            else PriceState.PAST,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def pool_views(rows: Iterable[Pool]) -> list[PoolView]:
    """Views of pool rows, with one query for what is in them and one for where that comes from."""
    rows = list(rows)
    served: dict[uuid.UUID, list[str]] = {}
    held = Replica.objects.filter(pool__in=rows).order_by("model__model_id")
    for pool_id, model_id in held.values_list("pool_id", "model__model_id"):
        served.setdefault(pool_id, []).append(model_id)
    sources = {row.pool_id: row for row in PoolSource.objects.filter(pool__in=rows)}
    now = SYSTEM_CLOCK.now()
    return [
        PoolView(
            id=row.id,
            name=row.name,
            engine=row.engine,
            region=row.region,
            replica_count=len(served.get(row.id, ())),
            created_at=row.created_at,
            updated_at=row.updated_at,
            models=tuple(dict.fromkeys(served.get(row.id, ()))),
            built_in=row.name in BUILT_IN,
            source=SourceKind(sources[row.id].kind) if row.id in sources else SourceKind.STATIC,
            source_state=source_state(sources.get(row.id), now),
        )
        for row in rows
    ]


def replica_view(row: Replica) -> ReplicaView:
    """The view of a replica row (with its pool and model joined)."""
    return ReplicaView(
        id=row.id,
        pool_id=row.pool_id,
        pool=row.pool.name,
        model=row.model.model_id,
        kind=ModelKind(row.model.kind),
        url=row.url,
        served_name=row.served_name,
        max_concurrency=row.max_concurrency,
        region=row.region,
        draining=row.draining,
        vllm=row.vllm,
        built_in=not row.url,
        has_api_key=bool(row.api_key),
        origin=SourceKind(row.origin),
        vanished_at=row.vanished_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
