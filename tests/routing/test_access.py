"""Restricted and disabled models in routing: by name, by `auto`, in lists, over every door that dispatches."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fakes.engines import RememberingSpool, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.services import get_model, list_models
from inference.types import Surface, Tier
from kernel.backends import backends
from kernel.errors import ModelNotFound
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.services import dispatch
from routing.types import ModelCall
from tenants.types import Principal, Role

MINE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    """`secret` for one tenant alone, `off` for nobody, `open` for all but dearer."""
    made, directory = ScriptedEngine(), ModelDirectory()
    backends.replace("engine.scripted", made)
    backends.replace("usage_spool", RememberingSpool())
    backends.replace("scheduler", MemoryScheduler(queue_limit=5))
    backends.replace("model_directory", directory)
    directory.show(
        (
            model_spec("secret", replica_spec("r1", model="secret"), tenants=frozenset({MINE})),
            model_spec("off", replica_spec("r2", model="off"), enabled=False),
            model_spec("open", replica_spec("r3", model="open"), tier=Tier.HEAVY),
        )
    )
    yield made
    await backends.close()


def call(tenant: uuid.UUID, model: str) -> ModelCall:
    return ModelCall(
        principal=Principal(tenant, "t", Role.MEMBER),
        surface=Surface.CHAT,
        model=model,
        body={"messages": []},
        prompt_chars=10,
        request_id="r",
        origin="v1",
    )


async def answered_by(tenant: uuid.UUID, model: str) -> str:
    async with dispatch(call(tenant, model)) as flow:
        return flow.decision.model


async def test_a_restricted_model_answers_its_tenants_alone(engine: ScriptedEngine) -> None:
    assert await answered_by(MINE, "secret") == "secret"
    with pytest.raises(ModelNotFound) as refused:
        await answered_by(OTHER, "secret")
    with pytest.raises(ModelNotFound) as unknown:
        await answered_by(OTHER, "nothing")
    # The two look alike.
    assert refused.value.message.replace("secret", "nothing") == unknown.value.message
    assert [replica for replica, _ in engine.calls] == ["r1"]


async def test_auto_chooses_among_what_the_tenant_may_use(engine: ScriptedEngine) -> None:
    assert await answered_by(MINE, "auto") == "secret"
    assert await answered_by(OTHER, "auto") == "open"


async def test_a_disabled_model_answers_nobody(engine: ScriptedEngine) -> None:
    for tenant in (MINE, OTHER):
        with pytest.raises(ModelNotFound):
            await answered_by(tenant, "off")


async def test_lists_are_the_tenants(engine: ScriptedEngine) -> None:
    assert [spec.id for spec in list_models(tenant_id=MINE)] == ["secret", "open"]
    assert [spec.id for spec in list_models(tenant_id=OTHER)] == ["open"]
    assert [spec.id for spec in list_models()] == ["secret", "open"]
    with pytest.raises(ModelNotFound):
        get_model("secret", tenant_id=OTHER)
    assert get_model("secret").open_to(MINE)
    assert not replace(get_model("secret"), tenants=frozenset()).open_to(MINE)
