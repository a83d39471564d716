"""Where a tenant's content must stay: engines of another region, or of none, never see it."""

import uuid
from collections.abc import AsyncIterator

import pytest
from fakes.engines import Act, RememberingSpool, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.services import get_model, list_models
from inference.types import Surface, Tier
from kernel.backends import backends
from kernel.errors import EngineUnavailable, NoReplica, PermissionDenied
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.services import dispatch
from routing.types import ModelCall
from tenants.types import Principal, Role


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """`both` in two regions and one that names none, `far` elsewhere alone, `dear` near but dearer."""
    made, directory = ScriptedEngine(), ModelDirectory()
    backends.replace("engine.scripted", made)
    backends.replace("usage_spool", RememberingSpool())
    backends.replace("scheduler", MemoryScheduler(queue_limit=5))
    backends.replace("model_directory", directory)
    directory.show(
        (
            model_spec(
                "both",
                replica_spec("far-1", model="both", pool="p1", region="us"),
                replica_spec("near-1", model="both", pool="p2", region="eu"),
                replica_spec("nowhere-1", model="both", pool="p3"),
                tier=Tier.HEAVY,
            ),
            model_spec("far", replica_spec("far-2", model="far", region="us")),
        )
    )
    yield made
    await backends.close()


def call(region: str, model: str) -> ModelCall:
    return ModelCall(
        principal=Principal(uuid.UUID(int=1), "t", Role.MEMBER, region=region),
        surface=Surface.CHAT,
        model=model,
        body={"messages": []},
        prompt_chars=10,
        request_id="r",
        origin="v1",
    )


async def ask(region: str, model: str) -> str:
    async with dispatch(call(region, model)) as flow:
        return flow.decision.replica


async def test_only_replicas_of_the_region_are_asked(engine: ScriptedEngine) -> None:
    for _ in range(6):
        assert await ask("eu", "both") == "near-1"
        assert await ask("eu", "auto") == "near-1"
    assert {replica for replica, _ in engine.calls} == {"near-1"}


async def test_a_model_that_is_elsewhere_is_refused_before_anything_is_sent(engine: ScriptedEngine) -> None:
    with pytest.raises(PermissionDenied, match="region eu"):
        await ask("eu", "far")
    assert engine.calls == []


async def test_when_the_near_one_fails_no_other_region_steps_in(engine: ScriptedEngine) -> None:
    engine.script("near-1", Act(error=EngineUnavailable("gone")))
    with pytest.raises(NoReplica):
        await ask("eu", "both")
    assert {replica for replica, _ in engine.calls} == {"near-1"}


async def test_without_a_region_everything_may_answer(engine: ScriptedEngine) -> None:
    assert await ask("", "far") == "far-2"
    assert {replica.id for replica in get_model("both").replicas} == {"far-1", "near-1", "nowhere-1"}


async def test_lists_hold_what_can_be_used(engine: ScriptedEngine) -> None:
    assert [spec.id for spec in list_models(region="eu")] == ["both"]
    assert [spec.id for spec in list_models(region="us")] == ["both", "far"]
    assert list_models(region="asia") == ()


async def test_built_in_engines_are_in_the_house() -> None:
    spec = model_spec("quotes", replica_spec("here", model="quotes"), built_in=True)
    assert spec.within("eu") is spec
