"""Which models and pools may answer a call, in the order they are tried. Pure.

A named model is the only candidate, once for each pool that serves it. `auto` takes every chat model that the prompt
fits, the smallest tier first, then the cheapest; models without a healthy replica come after all others, and built-in
ones only when no real model is in service.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from inference.types import ModelKind, ModelSpec, ReplicaSpec, Surface, Tier
from kernel.errors import BadInput, ContextTooLong, ModelNotFound
from routing.types import NAMED

AUTO = "auto"
_KIND_OF_SURFACE = {
    Surface.CHAT: ModelKind.CHAT,
    Surface.COMPLETIONS: ModelKind.CHAT,
    Surface.EMBEDDINGS: ModelKind.EMBEDDING,
}

Available = Callable[[str], bool]


class Needs(Struct, frozen=True):
    """What a call brings beside text."""

    tools: bool = False
    images: bool = False


NO_NEEDS = Needs()
_IMAGES = frozenset({"image_url", "input_image"})


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


def named_candidates(
    spec: ModelSpec, surface: Surface, available: Available, reason: str = NAMED
) -> list[Candidate]:
    """The pools of a model that the caller named, those with a healthy replica first. Raises BadInput."""
    return [candidate(spec, pool, reason) for pool in pools_in_order(spec, surface, available)]


def pools_in_order(spec: ModelSpec, surface: Surface, available: Available) -> tuple[str, ...]:
    """The pools that serve the model, those with a healthy replica first, those that sleep last. Raises BadInput."""
    check_kind(spec, surface)
    pools = spec.pools
    if len(pools) > 1:
        pools = tuple(sorted(pools, key=lambda pool: not _healthy(spec, pool, available)))
    return (*pools, *spec.asleep) if spec.asleep else pools


def auto_candidates(
    models: Iterable[ModelSpec],
    surface: Surface,
    *,
    prompt_tokens: int,
    max_tokens: int,
    available: Available,
    needs: Needs = NO_NEEDS,
) -> list[Candidate]:
    """The candidates of `auto` where nobody says more.

    Raises as `fitting_models`.
    """
    fitting = fitting_models(models, surface, prompt_tokens=prompt_tokens, max_tokens=max_tokens, needs=needs)
    return ordered_candidates(fitting, surface, default_reason(fitting), available)


def default_reason(fitting: Sequence[ModelSpec]) -> str:
    """Why the first of `fitting` answers where nobody says more."""
    if fitting[0].built_in:
        return "auto: no real model is in service"
    return "auto: smallest tier that the prompt fits"


def fitting_models(
    models: Iterable[ModelSpec],
    surface: Surface,
    *,
    prompt_tokens: int,
    max_tokens: int,
    needs: Needs = NO_NEEDS,
) -> list[ModelSpec]:
    """Those that may answer at all: of the right kind, in service, that take what the call brings, long enough; built-in
    ones only when no other is.

    Raises ModelNotFound without any model, BadInput when none takes tools or images, ContextTooLong when the prompt fits
    none.
    """
    kind = _KIND_OF_SURFACE[surface]
    usable = [spec for spec in models if spec.kind is kind and (spec.replicas or spec.asleep)]
    real = [spec for spec in usable if not spec.built_in]
    if not usable:
        raise ModelNotFound("No model is in service that `auto` could choose.", param="model")
    taking = [spec for spec in real or usable if meets(spec, needs)]
    if not taking:
        what = "images" if needs.images else "tools"
        raise BadInput(f"No model that `auto` could choose takes {what}.", param="model")
    fitting = [spec for spec in taking if fits(spec, prompt_tokens, max_tokens)]
    if not fitting:
        raise ContextTooLong("The prompt is longer than the context of every model in service.")
    return fitting


def ordered_candidates(
    fitting: Iterable[ModelSpec],
    surface: Surface,
    reason: str,
    available: Available,
    prefer: Tier = Tier.LIGHT,
) -> list[Candidate]:
    """Those that can answer now first, then the tier to `prefer`, then the cheapest."""
    return [
        candidate(spec, pool, reason)
        for spec in sorted(fitting, key=lambda spec: _order(spec, available, prefer))
        for pool in pools_in_order(spec, surface, available)
    ]


def needs_of(body: Mapping[str, Any]) -> Needs:
    """What a call's body brings beside text."""
    tools = bool(body.get("tools") or body.get("functions"))
    messages = body.get("messages")
    images = isinstance(messages, Sequence) and any(map(_holds_image, messages))
    return Needs(tools, images) if tools or images else NO_NEEDS


def _holds_image(message: object) -> bool:
    content = message.get("content") if isinstance(message, Mapping) else None
    return isinstance(content, list) and any(
        isinstance(part, Mapping) and part.get("type") in _IMAGES for part in content
    )


def one_answer(surface: Surface, body: Mapping[str, Any]) -> bool:
    """Whether a call is answered by one text that is the model's own."""
    if surface is not Surface.CHAT and surface is not Surface.COMPLETIONS:
        return False
    if (body.get("n") or 1) != 1 or (body.get("best_of") or 1) != 1:
        return False
    return not body.get("echo") and not isinstance(body.get("prompt"), list)


def meets(spec: ModelSpec, needs: Needs) -> bool:
    """Whether the model takes what the call brings."""
    return (spec.tools or not needs.tools) and (spec.images or not needs.images)


def fits(spec: ModelSpec, prompt_tokens: int, max_tokens: int) -> bool:
    """Whether prompt and answer fit the model's context, as far as either is known."""
    return not spec.context_length or prompt_tokens + max(1, max_tokens) <= spec.context_length


def reachable(spec: ModelSpec, available: Available) -> bool:
    """Whether any replica of the model is healthy."""
    return any(available(replica.id) for replica in spec.replicas)


def _order(spec: ModelSpec, available: Available, prefer: Tier) -> tuple[bool, bool, int, int, str]:
    price = spec.input_price_nano + spec.output_price_nano
    return not reachable(spec, available), spec.tier is not prefer, price, spec.created, spec.id


def _healthy(spec: ModelSpec, pool: str, available: Available) -> bool:
    return any(replica.pool == pool and available(replica.id) for replica in spec.replicas)


def candidate(spec: ModelSpec, pool: str, reason: str) -> Candidate:
    """The replicas of the model in one pool."""
    replicas = spec.replicas
    if len(spec.pools) > 1 or pool in spec.asleep:
        replicas = tuple(replica for replica in replicas if replica.pool == pool)
    return Candidate(spec, pool, replicas, reason)


def in_service(replicas: Sequence[ReplicaSpec], available: Available) -> Sequence[ReplicaSpec]:
    """The healthy ones; all of them when none is (what is known of their health may be wrong)."""
    if len(replicas) == 1:
        return replicas
    return [replica for replica in replicas if available(replica.id)] or replicas
