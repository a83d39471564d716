"""What is shut to a principal does not exist for them on the data plane: no model, no assistant, no knowledge."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.desk import Desk

from assistants.services import answer, create_assistant, find_assistants, list_assistants, start_run
from assistants.services.turns import prepare_turn
from assistants.types import TurnRequest
from inference.services import list_models
from kernel.errors import ModelNotFound, NotFound
from knowledge.models import KnowledgeBase
from knowledge.services import retrieve
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.types import Principal


def shut(desk: Desk, *things: str) -> Principal:
    """The desk's principal, with these things restricted to others."""
    return replace(desk.principal, closed=frozenset(things))


def turn(principal: Principal, **fields: Any) -> TurnRequest:
    """A question."""
    values: dict[str, Any] = {
        "principal": principal,
        "messages": [{"role": "user", "content": "When does the vault open?"}],
        "request_id": "request-1",
        "origin": "v1",
        "stream": False,
        "body": {},
    }
    return TurnRequest(**{**values, **fields})


def furnish(desk: Desk) -> tuple[KnowledgeBase, str]:
    """A knowledge base, and the id of an assistant `guide` over it."""
    with tenant_scope(desk.tenant.id):
        base = KnowledgeBase.objects.create(name="Vault")
        made = create_assistant(
            principal=desk.principal,
            slug="guide",
            name="Guide",
            model="tiny",
            knowledge_base_ids=[base.id],
        )
    return base, str(made.id)


async def refused(asked: TurnRequest) -> str:
    """The message of a model that is not found."""
    with pytest.raises(ModelNotFound) as error:
        async with answer(asked):
            raise AssertionError("it was answered")
    return error.value.message


async def test_a_shut_assistant_is_not_found_by_any_way(desk: Desk) -> None:
    _, guide = await run_unit(furnish, desk)
    outside = shut(desk, f"assistant:{guide}")
    told = await refused(turn(outside, assistant="guide"))
    # It looks like one that never was.
    assert told.replace("guide", "nobody") == await refused(turn(outside, assistant="nobody"))
    with pytest.raises(ModelNotFound):
        await start_run(principal=outside, request_id="request-2", content="?", assistant="guide")
    assert await run_unit(list_assistants, principal=outside) == ()
    assert await run_unit(find_assistants, principal=outside, text="gui", limit=5) == ()
    assert desk.engine.calls == []
    async with answer(turn(desk.principal, assistant="guide")) as found:
        assert (await found.completion()).text


async def test_a_shut_model_answers_neither_by_name_nor_by_auto_nor_through_an_assistant(desk: Desk) -> None:
    await run_unit(furnish, desk)
    outside = shut(desk, "model:tiny")
    told = await refused(turn(outside, model="tiny"))
    assert told.replace("tiny", "none") == await refused(turn(outside, model="none"))
    for asked in (turn(outside, model="auto"), turn(outside, assistant="guide")):
        await refused(asked)
    with pytest.raises(ModelNotFound):
        await start_run(principal=outside, request_id="request-3", content="?", model="tiny")
    assert list_models(tenant_id=desk.tenant.id, closed=outside.closed) == ()
    assert [each.id for each in list_models(tenant_id=desk.tenant.id)] == ["tiny"]
    assert desk.engine.calls == []


async def test_what_is_searched_is_the_persons_and_the_assistants(desk: Desk) -> None:
    """Named by the caller, a shut base is not found; of an assistant, it is left out of the answer."""
    base, _ = await run_unit(furnish, desk)
    outside = shut(desk, f"knowledge_base:{base.id}")
    with pytest.raises(NotFound):
        await retrieve(principal=outside, knowledge_base_ids=[base.id], query="vault")
    with pytest.raises(NotFound):
        await prepare_turn(turn(outside, model="tiny", knowledge_base_ids=[str(base.id)]))
    prepared = await prepare_turn(turn(outside, assistant="guide"))
    assert prepared.offered == ()
    both = await prepare_turn(turn(desk.principal, assistant="guide"))
    assert both.call.assistant == prepared.call.assistant == "guide"


async def test_a_model_shut_to_one_is_open_to_another(desk: Desk) -> None:
    outside = shut(desk, "model:another", "assistant:tiny", "knowledge_base:tiny")
    async with answer(turn(outside, model="tiny")) as found:
        assert (await found.completion()).text
