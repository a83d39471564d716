"""What models there are, from memory."""

import uuid
from collections.abc import Sequence

from inference.directory import ModelDirectory
from inference.embedders import HASHING, local_embedder
from inference.naming import EMBEDDING_MODEL
from inference.pricing import cost, part_of
from inference.types import ModelKind, ModelSpec, ReplicaHealth, ReplicaSpec, TokenUsage
from inference.vitals import Vital
from kernel.backends import backends
from kernel.errors import ModelNotFound, PermissionDenied

NOTHING: frozenset[str] = frozenset()


def directory() -> ModelDirectory:
    """The directory of the running loop."""
    found: ModelDirectory = backends["model_directory"]
    return found


async def ensure_models() -> None:
    """Load the models where no lifespan has done it (a job's own loop). Costs nothing when they are there.

    Raises Unavailable.
    """
    found = directory()
    if not found.fresh:
        await found.ensure()


def get_model(
    model_id: str,
    *,
    tenant_id: uuid.UUID | None = None,
    closed: frozenset[str] = NOTHING,
    region: str = "",
) -> ModelSpec:
    """The model of this id, if calls of the tenant (None: of the platform itself) may use it.

    `closed` is what is shut to the one who asks (`Principal.closed`), `region` where their tenant's content must stay.
    It may have no replica in service. Its prices are those of now, and stay: what a call holds is what it is charged
    by. Raises ModelNotFound, PermissionDenied when all of its replicas are elsewhere.
    """
    held = directory()
    spec = held.snapshot.models.get(model_id)
    if spec is None or not _usable(spec, tenant_id, closed):
        raise ModelNotFound(f"The model `{model_id[:200]}` does not exist.", param="model")
    spec = held.priced(spec)
    if not region:
        return spec
    near = spec.within(region)
    if spec.replicas and not near.replicas:
        raise PermissionDenied(
            f"No engine of `{model_id[:200]}` is in the region {region}, where this tenant's content must stay.",
            param="model",
        )
    return near


def list_models(
    *, tenant_id: uuid.UUID | None = None, closed: frozenset[str] = NOTHING, region: str = ""
) -> tuple[ModelSpec, ...]:
    """Every model that calls of the tenant (None: of the platform itself) can use: those with a replica in service.

    `closed` and `region` as in `get_model`.
    """
    held = directory()
    found = (
        held.priced(spec).within(region)
        for spec in held.snapshot.models.values()
        if spec.replicas and _usable(spec, tenant_id, closed)
    )
    return tuple(spec for spec in found if spec.replicas)


def _usable(spec: ModelSpec, tenant_id: uuid.UUID | None, closed: frozenset[str]) -> bool:
    if closed and f"model:{spec.id}" in closed:
        return False
    return spec.enabled if tenant_id is None else spec.open_to(tenant_id)


def replica_available(replica_id: str) -> bool:
    """Whether this process thinks the replica healthy."""
    return directory().health.available(replica_id)


def replicas_mark() -> tuple[int, int, int]:
    """Another one whenever a replica may have come into service or gone out of it, as this process knows."""
    return directory().mark()


def health_of(replica_id: str) -> ReplicaHealth | None:
    """What this process knows of the replica's health; None when it was never heard of."""
    return directory().health.read(replica_id)


def vital_of(replica_id: str) -> Vital:
    """What this process has seen of the replica's work."""
    return directory().vitals.of(replica_id)


def vitals_of(replicas: Sequence[ReplicaSpec]) -> list[Vital]:
    """What this process has seen of the work of each."""
    of = directory().vitals.of
    return [of(replica.id) for replica in replicas]


def trial_costs(replicas: Sequence[ReplicaSpec]) -> list[float] | None:
    """What a call on each is said to cost more because it was left alone just now, in seconds; None when none was."""
    book = directory().health
    return [book.trial_cost(replica.id) for replica in replicas] if book.suspects else None


def price(spec: ModelSpec, usage: TokenUsage) -> int:
    """What a call of the model cost, in nano-units."""
    return cost(usage, input_price_nano=spec.input_price_nano, output_price_nano=spec.output_price_nano)


def price_kept(spec: ModelSpec, usage: TokenUsage) -> int:
    """What an answer of the model costs that was given before, in nano-units."""
    return part_of(price(spec, usage), spec.cached_price_percent)


def embedder_fingerprint(model_id: str) -> str:
    """A name for the vectors that the model makes: equal names, comparable vectors. Raises ModelNotFound.

    The built-in model's depends on whether its weights are installed.
    """
    spec = get_model(model_id)
    if spec.built_in and spec.kind is ModelKind.EMBEDDING:
        return f"{model_id}:{local_embedder()}"
    return model_id


def lexical_models() -> frozenset[str]:
    """Embedding models of this installation whose near vectors share words and nothing else."""
    return frozenset({EMBEDDING_MODEL}) if local_embedder() == HASHING else frozenset()


def local_fingerprints() -> frozenset[str]:
    """The fingerprints that built-in embedding models of this very installation have."""
    return frozenset({f"{EMBEDDING_MODEL}:{local_embedder()}"})
