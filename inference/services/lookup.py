"""What models there are, from memory."""

from inference.directory import ModelDirectory
from inference.embedders import local_embedder
from inference.pricing import cost
from inference.types import ModelKind, ModelSpec, TokenUsage
from kernel.backends import backends
from kernel.errors import ModelNotFound


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


def get_model(model_id: str) -> ModelSpec:
    """The model of this id; it may have no replica in service. Raises ModelNotFound."""
    spec = directory().snapshot.models.get(model_id)
    if spec is None:
        raise ModelNotFound(f"The model `{model_id[:200]}` does not exist.", param="model")
    return spec


def list_models() -> tuple[ModelSpec, ...]:
    """Every model that can be called: those with a replica in service."""
    return tuple(spec for spec in directory().snapshot.models.values() if spec.replicas)


def replica_available(replica_id: str) -> bool:
    """Whether this process thinks the replica healthy."""
    return directory().health.available(replica_id)


def price(spec: ModelSpec, usage: TokenUsage) -> int:
    """What a call of the model cost, in nano-units."""
    return cost(usage, input_price_nano=spec.input_price_nano, output_price_nano=spec.output_price_nano)


def embedder_fingerprint(model_id: str) -> str:
    """A name for the vectors that the model makes: equal names, comparable vectors. Raises ModelNotFound.

    The built-in model's depends on whether its weights are installed.
    """
    spec = get_model(model_id)
    if spec.built_in and spec.kind is ModelKind.EMBEDDING:
        return f"{model_id}:{local_embedder()}"
    return model_id
