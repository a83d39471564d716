"""Which models and pools may answer a call, in the order they are tried. Pure.

A named model is the only candidate, once for each pool that serves it. `auto` takes every chat model that the prompt
fits, the smallest tier first, then the cheapest; models without a healthy replica come after all others, and built-in
ones only when no real model is in service.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from inference.types import ModelKind, ModelSpec, ReplicaSpec, Surface, Tier
from kernel.errors import BadInput, ContextTooLong, ModelNotFound

AUTO = "auto"
_TIER_RANK = {Tier.LIGHT: 0, Tier.HEAVY: 1}
_KIND_OF_SURFACE = {
    Surface.CHAT: ModelKind.CHAT,
    Surface.COMPLETIONS: ModelKind.CHAT,
    Surface.EMBEDDINGS: ModelKind.EMBEDDING,
}

Available = Callable[[str], bool]


class Candidate(Struct, frozen=True):
    """One pool's replicas of one model, and why it may answer."""

    model: ModelSpec
    pool: str
    replicas: tuple[ReplicaSpec, ...]
    reason: str


def check_kind(spec: ModelSpec, surface: Surface) -> None:
    """Return when the model does what the route is for. Raises BadInput."""
    if spec.kind is not _KIND_OF_SURFACE[surface]:
        raise BadInput(f"The model `{spec.id}` is of kind {spec.kind.value}.", param="model")


def named_candidates(spec: ModelSpec, surface: Surface, available: Available) -> list[Candidate]:
    """The pools of a model that the caller named, those with a healthy replica first. Raises BadInput."""
    check_kind(spec, surface)
    pools = spec.pools
    if len(pools) > 1:
        pools = tuple(sorted(pools, key=lambda pool: not _healthy(spec, pool, available)))
    return [_candidate(spec, pool, "named") for pool in pools]


def auto_candidates(
    models: Iterable[ModelSpec],
    surface: Surface,
    *,
    prompt_tokens: int,
    max_tokens: int,
    available: Available,
) -> list[Candidate]:
    """The candidates of `auto`. Raises ModelNotFound without any model, ContextTooLong when the prompt fits none."""
    kind = _KIND_OF_SURFACE[surface]
    usable = [spec for spec in models if spec.kind is kind and spec.replicas]
    real = [spec for spec in usable if not spec.built_in]
    if not usable:
        raise ModelNotFound("No model is in service that `auto` could choose.", param="model")
    fitting = [spec for spec in real or usable if fits(spec, prompt_tokens, max_tokens)]
    if not fitting:
        raise ContextTooLong("The prompt is longer than the context of every model in service.")
    fitting.sort(key=lambda spec: _order(spec, available))
    reason = "auto: smallest tier that the prompt fits" if real else "auto: no real model is in service"
    return [
        _candidate(candidate.model, candidate.pool, reason)
        for spec in fitting
        for candidate in named_candidates(spec, surface, available)
    ]


def fits(spec: ModelSpec, prompt_tokens: int, max_tokens: int) -> bool:
    """Whether prompt and answer fit the model's context, as far as either is known."""
    return not spec.context_length or prompt_tokens + max(1, max_tokens) <= spec.context_length


def _order(spec: ModelSpec, available: Available) -> tuple[bool, int, int, int, str]:
    healthy = any(available(replica.id) for replica in spec.replicas)
    price = spec.input_price_nano + spec.output_price_nano
    return not healthy, _TIER_RANK[spec.tier], price, spec.created, spec.id


def _healthy(spec: ModelSpec, pool: str, available: Available) -> bool:
    return any(replica.pool == pool and available(replica.id) for replica in spec.replicas)


def _candidate(spec: ModelSpec, pool: str, reason: str) -> Candidate:
    replicas = spec.replicas
    if len(spec.pools) > 1:
        replicas = tuple(replica for replica in replicas if replica.pool == pool)
    return Candidate(spec, pool, replicas, reason)


def in_service(replicas: Sequence[ReplicaSpec], available: Available) -> Sequence[ReplicaSpec]:
    """The healthy ones; all of them when none is (what is known of their health may be wrong)."""
    if len(replicas) == 1:
        return replicas
    return [replica for replica in replicas if available(replica.id)] or replicas
