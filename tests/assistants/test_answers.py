"""Answers read by their caller: prompt, history, storing, knowledge that is away."""

import asyncio
import uuid
from typing import Any

import pytest
from factories.tenants import make_principal
from fakes.desk import Desk
from fakes.engines import Act

from assistants import selectors
from assistants.ownership import owner_of
from assistants.services import answer, create_assistant, create_conversation, update_assistant
from assistants.types import ConversationView, MessageState, MessageView, TurnRequest
from kernel.backends import backends
from kernel.errors import (
    BadInput,
    EngineRefused,
    ModelNotFound,
    NotFound,
    PermissionDenied,
    Unavailable,
    UpstreamFailed,
)
from knowledge.models import KnowledgeBase
from knowledge.services import create_knowledge_base, delete_knowledge_base
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.types import Role


def turn(desk: Desk, **fields: Any) -> TurnRequest:
    """A streamed question to `tiny`."""
    values: dict[str, Any] = {
        "principal": desk.principal,
        "messages": [{"role": "user", "content": "How long?"}],
        "request_id": "request-1",
        "origin": "v1",
        "model": "tiny",
        "stream": True,
        "body": {"model": "tiny", "stream": True, "temperature": 0},
    }
    return TurnRequest(**{**values, **fields})


async def read(asked: TurnRequest) -> str:
    """The text of the answer."""
    async with answer(asked) as found:
        return "".join([chunk.text async for chunk in found.chunks()])


async def conversation_of(desk: Desk) -> ConversationView:
    """An empty conversation of the caller."""
    return await run_unit(create_conversation, principal=desk.principal)


async def stored(desk: Desk, conversation: ConversationView) -> list[MessageView]:
    """The messages of a conversation."""

    def load() -> list[MessageView]:
        with tenant_scope(desk.tenant.id, read_only=True):
            row = selectors.find_conversation(owner_of(desk.principal), conversation.id)
            return [selectors.message_view(message) for message in selectors.messages(row)]

    return await run_unit(load)


@pytest.mark.parametrize("stream", [True, False])
async def test_question_and_answer_are_stored_together(desk: Desk, stream: bool) -> None:
    """Before the last chunk has been handed on; with usage and model."""
    conversation = await conversation_of(desk)
    async with answer(turn(desk, conversation_id=str(conversation.id), stream=stream)) as found:
        assert found.conversation_id == conversation.id
        assert await stored(desk, conversation) == []
        if stream:
            async for _ in found.chunks():
                pass
        else:
            await found.completion()
        question, told = await stored(desk, conversation)
    assert (question.role, question.content) == ("user", "How long?")
    assert (told.state, told.content, told.model) == (MessageState.COMPLETED, "w w w ", "tiny")
    assert told.usage == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert len(await stored(desk, conversation)) == 2


async def test_without_a_conversation_nothing_is_stored(desk: Desk) -> None:
    """Usage alone."""
    assert await read(turn(desk)) == "w w w "
    assert len(desk.spool.entries) == 1
    assert desk.engine.calls[0][1].body["temperature"] == 0


async def test_a_caller_that_leaves_stores_what_it_heard(desk: Desk) -> None:
    """The answer is stopped, the engine too."""
    conversation = await conversation_of(desk)
    desk.engine.usual = Act(words=1000, gap_s=0.01)

    async def leave_early() -> None:
        async with answer(turn(desk, conversation_id=conversation.id)) as found:
            async for _ in found.chunks():
                pass

    task = asyncio.ensure_future(leave_early())
    await asyncio.sleep(0.4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    told = (await stored(desk, conversation))[1]
    assert told.state is MessageState.STOPPED
    assert told.content.startswith("w w")
    assert desk.engine.cancelled == 1


async def test_an_engine_that_dies_leaves_a_failed_message(desk: Desk) -> None:
    """After the first byte: both are stored; before it: nothing."""
    conversation = await conversation_of(desk)
    desk.engine.script("r1", Act(words=5, dies_after=2))
    with pytest.raises(UpstreamFailed):
        await read(turn(desk, conversation_id=conversation.id))
    told = (await stored(desk, conversation))[1]
    assert (told.state, told.content, told.error_code) == (MessageState.FAILED, "w w ", "engine_failed")
    desk.engine.script("r1", Act(error=UpstreamFailed()))
    with pytest.raises(UpstreamFailed):
        await read(turn(desk, conversation_id=conversation.id))
    assert len(await stored(desk, conversation)) == 2


async def test_refusals(desk: Desk) -> None:
    """Unknown names, foreign conversations, too many messages, roles that may not."""
    with pytest.raises(ModelNotFound):
        await read(turn(desk, assistant="nobody", model=None))
    with pytest.raises(ModelNotFound):
        await read(turn(desk, model="nothing"))
    conversation = await conversation_of(desk)
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    with pytest.raises(BadInput):
        await read(turn(desk, conversation_id=conversation.id, messages=two))
    other = await run_unit(make_principal, desk.tenant, role=Role.OWNER)
    with pytest.raises(NotFound):
        await read(turn(desk, conversation_id=conversation.id, principal=other))
    with pytest.raises(NotFound):
        await read(turn(desk, knowledge_base_ids=[str(uuid.uuid4())]))
    viewer = await run_unit(make_principal, desk.tenant, role=Role.VIEWER)
    with pytest.raises(PermissionDenied):
        await read(turn(desk, principal=viewer))
    assert not desk.engine.calls


async def test_the_callers_own_system_message_joins(desk: Desk) -> None:
    """One system message only: some templates refuse two."""
    await run_unit(
        create_assistant,
        principal=desk.principal,
        slug="legal",
        name="L",
        instructions="Be exact.",
        model="tiny",
    )
    messages = [{"role": "system", "content": "Answer in German."}, {"role": "user", "content": "How long?"}]
    await read(turn(desk, assistant="legal", model=None, messages=messages))
    assert desk.last_messages() == [
        {"role": "system", "content": "Be exact.\n\nAnswer in German."},
        {"role": "user", "content": "How long?"},
    ]


async def test_an_edited_assistant_answers_anew(desk: Desk) -> None:
    """The directory drops the entry when the change log says so."""
    make = {"principal": desk.principal, "slug": "legal", "model": "tiny"}
    await run_unit(create_assistant, **make, name="L", instructions="one")  # type: ignore[arg-type]
    tail = backends["change_tail"]
    tail.listen(backends["assistant_directory"].on_change)
    await tail.start()
    await read(turn(desk, assistant="legal", model=None))
    await run_unit(update_assistant, principal=desk.principal, slug="legal", instructions="two")
    await read(turn(desk, assistant="legal", model=None))
    assert desk.last_messages()[0]["content"] == "one"
    await tail.catch_up()
    await read(turn(desk, assistant="legal", model=None))
    assert desk.last_messages()[0]["content"] == "two"


class AwayStore:
    """A vector store that cannot be reached."""

    async def search(self, collection: Any, query: Any) -> list[Any]:
        """Refused."""
        raise Unavailable


async def test_an_answer_goes_on_without_knowledge_that_is_away(desk: Desk) -> None:
    """The model is told, the caller can see it; knowledge that found nothing is another thing."""
    base = await run_unit(create_knowledge_base, principal=desk.principal, name="Handbook")
    async with answer(turn(desk, knowledge_base_ids=[str(base.id)])) as found:
        assert not found.knowledge_away
    assert "No passage" in desk.last_messages()[0]["content"]

    def embed() -> None:
        with tenant_scope(desk.tenant.id):
            KnowledgeBase.objects.update(embedder="other", embedding_model="tiny", dimensions=2)

    await run_unit(embed)
    backends.replace("vector_store", AwayStore())
    async with answer(turn(desk, knowledge_base_ids=[str(base.id)])) as found:
        assert found.knowledge_away
        assert found.citations == ()
    assert "cannot be reached" in desk.last_messages()[0]["content"]


async def test_a_prompt_that_is_too_long_is_tried_with_half_of_it(desk: Desk) -> None:
    """The estimate was too low: the oldest history goes, the question stays. Without history there is no second try."""
    conversation = await conversation_of(desk)
    for _ in range(12):
        long = [{"role": "user", "content": "word " * 300}]
        await read(turn(desk, conversation_id=conversation.id, messages=long))
    full = len(desk.last_messages())
    refused = EngineRefused("too long")
    refused.code = "context_length_exceeded"
    desk.engine.script("r1", Act(error=refused))
    await read(turn(desk, conversation_id=conversation.id))
    assert 1 < len(desk.last_messages()) < full
    assert desk.last_messages()[-1]["content"] == "How long?"
    desk.engine.script("r1", Act(error=refused))
    with pytest.raises(EngineRefused):
        await read(turn(desk))


async def test_an_assistants_deleted_base_is_left_out(desk: Desk) -> None:
    """A base that the assistant names and that is gone is no error; one the caller names is."""
    base = await run_unit(create_knowledge_base, principal=desk.principal, name="Handbook")
    await run_unit(
        create_assistant,
        principal=desk.principal,
        slug="legal",
        name="L",
        model="tiny",
        knowledge_base_ids=[base.id],
    )
    await run_unit(delete_knowledge_base, principal=desk.principal, knowledge_base_id=base.id)
    assert await read(turn(desk, assistant="legal", model=None)) == "w w w "
    with pytest.raises(BadInput):
        await run_unit(update_assistant, principal=desk.principal, slug="legal", knowledge_base_ids=[base.id])
