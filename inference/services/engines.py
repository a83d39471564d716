"""How engines come and go: register, drain, remove, each in effect in every process within two seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction

from inference import selectors
from inference.models import Model, Pool, PriceChange, Replica
from inference.naming import check_model_id, check_pool_name, check_region, check_served_name, normal_url
from inference.pricing import parse_price
from inference.services.access import set_access
from inference.types import MAX_CONCURRENCY, MAX_CONTEXT_LENGTH, MAX_DIMENSIONS, ModelKind, ReplicaView, Tier
from kernel.clock import SYSTEM_CLOCK
from kernel.errors import BadInput, Conflict, NotFound
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.keyring import keyring

OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What may be said of a model when it is registered; None leaves what is there."""

    kind: ModelKind | None = None
    tier: Tier | None = None
    context_length: int | None = None
    input_price_nano: int | None = None
    output_price_nano: int | None = None
    dimensions: int | None = None
    tenants: Sequence[str] | None = None


def register_engine(
    *,
    pool: str,
    model: str,
    url: str,
    served_name: str | None = None,
    kind: ModelKind | None = None,
    api_key: str | None = None,
    max_concurrency: int | None = None,
    context_length: int | None = None,
    region: str | None = None,
    tier: Tier | None = None,
    input_price: str | Decimal | None = None,
    output_price: str | Decimal | None = None,
    dimensions: int | None = None,
    vllm: bool | None = None,
    tenants: Sequence[str] | None = None,
) -> ReplicaView:
    """Put one engine into service as a replica of `model` in `pool`, making both when they are new.

    Upsert by (pool, model, url); what is None keeps its value (of a new row: its default). Prices are per million
    tokens. A draining replica is in service again. `tenants` restricts the model to those of these slugs, before any
    call can reach it. Raises BadInput, and Conflict when the model is of another kind.
    """
    url = normal_url(url)
    check_model_id(model)
    facts = _Facts(
        kind=kind,
        tier=tier,
        context_length=bounded(context_length, 0, MAX_CONTEXT_LENGTH, param="context"),
        input_price_nano=None if input_price is None else parse_price(input_price, param="input_price"),
        output_price_nano=None if output_price is None else parse_price(output_price, param="output_price"),
        dimensions=bounded(dimensions, 0, MAX_DIMENSIONS, param="dimensions"),
        tenants=tenants,
    )
    fields: dict[str, object] = {"draining": False}
    if max_concurrency is not None:
        fields["max_concurrency"] = bounded(max_concurrency, 1, MAX_CONCURRENCY, param="max_concurrency")
    if region is not None:
        fields["region"] = check_region(region)
    if vllm is not None:
        fields["vllm"] = vllm
    with transaction.atomic():
        model_row = _upsert_model(model, facts)
        pool_row, made = Pool.objects.get_or_create(name=check_pool_name(pool), defaults={"engine": OPENAI})
        if made:
            record_change(kind="pool", object_id=pool_row.id)
            record_act(act="created", kind="pool", object_id=pool_row.id, label=pool)
        replica, new = Replica.objects.get_or_create(
            pool=pool_row, model=model_row, url=url, defaults={"served_name": model}
        )
        if served_name is not None:
            fields["served_name"] = check_served_name(served_name)
        for name, value in fields.items():
            setattr(replica, name, value)
        set_api_key(replica, api_key)
        replica.save()
        record_change(kind="replica", object_id=replica.id)
        record_act(
            act="created" if new else "changed", kind="replica", object_id=replica.id, label=str(replica)
        )
        return selectors.replica_view(replica)


def set_api_key(replica: Replica, api_key: str | None) -> None:
    """Put the engine's key, encrypted, into the row; None leaves it, empty removes it. Raises BadInput."""
    if api_key is not None:
        replica.api_key = encrypted_key(api_key, context=selectors.key_context(replica.id))


def encrypted_key(api_key: str, *, context: str) -> str:
    """An engine's key as it is stored, bound to `context`; empty stays empty. Raises BadInput."""
    if len(api_key) > 1000 or not api_key.isascii() or not api_key.isprintable():
        raise BadInput("An engine's key has up to 1000 printable ASCII characters.", param="api_key")
    return keyring().encrypt(api_key, context=context) if api_key else ""


def bounded(value: int | None, least: int, most: int, *, param: str) -> int | None:
    """`value` when it is None or within its bounds. Raises BadInput."""
    if value is not None and not least <= value <= most:
        raise BadInput(f"{param} is a number from {least} to {most}.", param=param)
    return value


def _upsert_model(model_id: str, facts: _Facts) -> Model:
    kind = facts.kind or ModelKind.CHAT
    row, made = Model.objects.get_or_create(model_id=model_id, defaults={"kind": kind.value})
    hold_price(row)
    if facts.kind is not None and row.kind != facts.kind.value:
        raise Conflict(f"The model `{model_id}` is of kind {row.kind!r}.", param="kind")
    told = {
        "tier": None if facts.tier is None else facts.tier.value,
        "context_length": facts.context_length,
        "input_price_nano": facts.input_price_nano,
        "output_price_nano": facts.output_price_nano,
        "dimensions": facts.dimensions,
    }
    changed = {
        name: value for name, value in told.items() if value is not None and value != getattr(row, name)
    }
    before = None if made else (row.input_price_nano, row.output_price_nano)
    for name, value in changed.items():
        setattr(row, name, value)
    if changed:
        row.save()
    if facts.tenants is not None:
        set_access(row, restricted=True, tenants=facts.tenants)
    if before != (row.input_price_nano, row.output_price_nano):
        note_price(row, before)
    if made or changed:
        record_change(kind="model", object_id=row.id)
        record_act(act="created" if made else "changed", kind="model", object_id=row.id, label=model_id)
    return row


def hold_price(row: Model) -> None:
    """Take the price in force into the row, to be changed from there: a planned one may have come meanwhile."""
    row.input_price_nano, row.output_price_nano = selectors.prices_of([row])[row.pk]


def note_price(row: Model, before: tuple[int, int] | None = None) -> None:
    """Write down that the model costs from now on what its row says; `before` is what it has cost until now.

    What is planned for later stays planned.
    """
    if before is not None:
        note_first_price(row, *before)
    PriceChange.objects.create(
        model=row,
        input_price_nano=row.input_price_nano,
        output_price_nano=row.output_price_nano,
        valid_from=SYSTEM_CLOCK.now(),
    )


def note_first_price(row: Model, input_price_nano: int, output_price_nano: int) -> None:
    """Write down what a model has cost from its beginning, where nothing is written of it yet."""
    if not PriceChange.objects.filter(model=row).exists():
        PriceChange.objects.create(
            model=row,
            input_price_nano=input_price_nano,
            output_price_nano=output_price_nano,
            valid_from=row.created_at,
        )


def drain_engine(*, url: str) -> int:
    """Give the engine at `url` no new calls; those under way end as they will. Returns how many replicas it was.

    Raises NotFound, BadInput.
    """
    with transaction.atomic():
        replicas = _of_engine(url)
        for replica in replicas:
            replica.draining = True
            replica.save(update_fields=["draining", "updated_at"])
            record_change(kind="replica", object_id=replica.id)
            record_act(act="drained", kind="replica", object_id=replica.id, label=str(replica))
        return len(replicas)


def resume_engine(*, url: str) -> int:
    """Give the engine at `url`, which was to be drained, calls again. Returns how many replicas it was.

    Raises NotFound, BadInput.
    """
    with transaction.atomic():
        replicas = _of_engine(url)
        for replica in replicas:
            replica.draining = False
            replica.save(update_fields=["draining", "updated_at"])
            record_change(kind="replica", object_id=replica.id)
            record_act(act="resumed", kind="replica", object_id=replica.id, label=str(replica))
        return len(replicas)


def remove_engine(*, url: str) -> int:
    """Forget the engine at `url`; its models and pools stay. Returns how many replicas it was.

    Raises NotFound, BadInput.
    """
    with transaction.atomic():
        replicas = _of_engine(url)
        for replica in replicas:
            record_change(kind="replica", object_id=replica.id)
            record_act(act="deleted", kind="replica", object_id=replica.id, label=str(replica))
            replica.delete()
        return len(replicas)


def _of_engine(url: str) -> list[Replica]:
    replicas = list(Replica.objects.select_for_update().filter(url=normal_url(url)))
    if not replicas:
        raise NotFound(f"No engine is registered at {url}.", param="url")
    return replicas
