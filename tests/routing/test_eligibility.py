"""Which models and pools may answer, in order."""

import pytest
from fakes.engines import model_spec, replica_spec

from inference.types import ModelKind, Surface, Tier
from kernel.errors import BadInput, ContextTooLong, ModelNotFound
from routing.eligibility import NO_NEEDS, Needs, auto_candidates, in_service, named_candidates, needs_of

LIGHT = model_spec("light", replica_spec("l1"), context_length=1000, input_price_nano=9)
CHEAP = model_spec("cheap", replica_spec("c1"), context_length=1000, input_price_nano=1)
HEAVY = model_spec("heavy", replica_spec("h1"), tier=Tier.HEAVY, context_length=8000)
BUILT_IN = model_spec("atrium-extractive", replica_spec("b1"), built_in=True)
EMBEDDER = model_spec("embedder", replica_spec("e1"), kind=ModelKind.EMBEDDING)


def everything(_: str) -> bool:
    return True


def auto(
    *models: object, prompt: int = 10, answer: int = 0, out: str = "", needs: Needs = NO_NEEDS
) -> list[str]:
    found = auto_candidates(
        models,  # type: ignore[arg-type]
        Surface.CHAT,
        prompt_tokens=prompt,
        max_tokens=answer,
        available=lambda replica: replica != out,
        needs=needs,
    )
    return [candidate.model.id for candidate in found]


def test_auto_takes_the_smallest_tier_then_the_cheapest() -> None:
    assert auto(HEAVY, LIGHT, CHEAP) == ["cheap", "light", "heavy"]


def test_auto_passes_over_models_that_the_prompt_does_not_fit() -> None:
    assert auto(HEAVY, LIGHT, prompt=2000) == ["heavy"]
    assert auto(HEAVY, LIGHT, prompt=900, answer=200) == ["heavy"]
    with pytest.raises(ContextTooLong):
        auto(HEAVY, LIGHT, prompt=9000)


def test_auto_puts_models_without_a_healthy_replica_last() -> None:
    assert auto(HEAVY, LIGHT, out="l1") == ["heavy", "light"]


def test_auto_takes_built_in_models_only_when_there_is_no_other() -> None:
    assert auto(BUILT_IN, HEAVY) == ["heavy"]
    assert auto(BUILT_IN, HEAVY, out="h1") == ["heavy"]
    assert auto(BUILT_IN) == ["atrium-extractive"]
    assert auto(BUILT_IN, model_spec("gone")) == ["atrium-extractive"]
    with pytest.raises(ModelNotFound):
        auto(EMBEDDER)


def test_a_named_model_is_tried_in_all_its_pools_the_healthy_first() -> None:
    spec = model_spec("m", replica_spec("a", pool="one"), replica_spec("b", pool="two"))
    found = named_candidates(spec, Surface.CHAT, lambda replica: replica != "a")
    assert [(each.pool, [replica.id for replica in each.replicas]) for each in found] == [
        ("two", ["b"]),
        ("one", ["a"]),
    ]


def test_a_model_must_do_what_the_route_is_for() -> None:
    with pytest.raises(BadInput):
        named_candidates(EMBEDDER, Surface.CHAT, everything)
    with pytest.raises(BadInput):
        named_candidates(LIGHT, Surface.EMBEDDINGS, everything)
    assert named_candidates(EMBEDDER, Surface.EMBEDDINGS, everything)


def test_when_all_replicas_are_out_all_are_tried() -> None:
    replicas = (replica_spec("a"), replica_spec("b"))
    assert [each.id for each in in_service(replicas, lambda replica: replica == "b")] == ["b"]
    assert in_service(replicas, lambda replica: False) == replicas


def test_auto_gives_tools_and_images_to_models_that_take_them() -> None:
    plain = model_spec("plain", replica_spec("p1"), tools=False)
    seeing = model_spec("seeing", replica_spec("s1"), tier=Tier.HEAVY, images=True)
    assert auto(plain, LIGHT, seeing, needs=Needs(tools=True)) == ["light", "seeing"]
    assert auto(plain, LIGHT, seeing, needs=Needs(images=True)) == ["seeing"]
    assert auto(plain, LIGHT, seeing)[0] == "plain"
    with pytest.raises(BadInput, match="takes images"):
        auto(plain, LIGHT, needs=Needs(images=True))
    with pytest.raises(BadInput, match="takes tools"):
        auto(plain, needs=Needs(tools=True))


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, Needs()),
        ({"messages": [], "tools": []}, Needs()),
        ({"messages": [], "tools": [{"type": "function"}]}, Needs(tools=True)),
        ({"messages": [{"content": [{"type": "text"}, {"type": "image_url"}]}]}, Needs(images=True)),
        ({"messages": ["image_url", None, {"content": ["image_url"]}]}, Needs()),
        ({"prompt": "a"}, Needs()),
    ],
)
def test_what_a_call_brings(body: dict[str, object], needs: Needs) -> None:
    assert needs_of(body) == needs
