"""Runs: accepted once, followed and stopped from anywhere, ended exactly once whatever happens."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from factories.tenants import make_principal
from fakes.desk import Desk
from fakes.engines import Act

from assistants import selectors
from assistants.adapters.memory_run_log import MemoryRunLog
from assistants.models import Message
from assistants.ownership import owner_of
from assistants.services import (
    create_assistant,
    create_conversation,
    delete_conversation,
    find_message,
    follow_run,
    start_run,
    stop_run,
    sweep_runs,
)
from assistants.services.runner import Runner
from assistants.services.transcripts import NewRun, open_run, running_messages
from assistants.types import MessageState, MessageView, StartedRun
from kernel.backends import backends
from kernel.errors import (
    BadInput,
    EngineUnavailable,
    ModelNotFound,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    UpstreamFailed,
)
from kernel.ids import uuid7
from knowledge.models import KnowledgeBase
from knowledge.services import create_knowledge_base
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.types import Principal, Role, UsageState


async def ask(desk: Desk, content: str = "How long is the notice period?", **given: Any) -> StartedRun:
    """Start a Run with the model `tiny` (or what is given)."""
    values: dict[str, Any] = {"principal": desk.principal, "request_id": uuid.uuid4().hex, "model": "tiny"}
    return await start_run(content=content, **{**values, **given})


async def events_of(desk: Desk, run: StartedRun, last_seq: int = 0) -> list[dict[str, Any]]:
    """The events of a Run to its end, with `seq`."""
    followed = follow_run(principal=desk.principal, message_id=run.message_id, last_seq=last_seq)
    async with asyncio.timeout(15):
        return [{**event.body, "seq": event.seq} async for event in followed]


async def message_of(desk: Desk, run: StartedRun) -> MessageView:
    """The stored answer."""
    return await find_message(principal=desk.principal, message_id=run.message_id)


async def until_running(desk: Desk, count: int = 1) -> None:
    """Wait until the engine has been asked `count` times."""
    async with asyncio.timeout(5):
        while len(desk.engine.calls) < count:  # noqa: ASYNC110 - the fake has no event to wait for
            await asyncio.sleep(0.01)


async def test_a_run_tells_its_events_in_order(desk: Desk) -> None:
    """Started at acceptance, routed, text, one end; the stored message says the same."""
    run = await ask(desk)
    events = await events_of(desk, run)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message.started", "message.routed"]
    assert set(kinds[2:-1]) == {"message.delta"}
    assert events[0]["request_id"] == run.request_id
    assert events[0]["conversation_id"] == str(run.conversation_id)
    assert {event["message_id"] for event in events} == {str(run.message_id)}
    assert events[-1] == {
        "type": "message.completed",
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        "finish_reason": "stop",
        "message_id": str(run.message_id),
        "seq": len(events),
    }
    stored = await message_of(desk, run)
    assert (stored.state, stored.content, stored.model) == (MessageState.COMPLETED, "w w w ", "tiny")
    assert stored.usage["total_tokens"] == 10
    assert [entry.origin for entry in desk.spool.entries] == ["ws"]


async def test_started_is_in_the_log_when_start_returns(desk: Desk) -> None:
    """Whoever follows at once sees the acceptance, however slow the engine is."""
    desk.engine.usual = Act(first_s=5)
    run = await ask(desk)
    followed = follow_run(principal=desk.principal, message_id=run.message_id, last_seq=0)
    async with asyncio.timeout(0.5):
        first = await anext(followed)
    assert first.body["type"] == "message.started"
    await stop_run(principal=desk.principal, message_id=run.message_id)


async def test_the_same_request_is_the_same_run(desk: Desk) -> None:
    """Repeated or at once from many sockets: one question, one answer, one call of the engine."""
    request_id = uuid.uuid4().hex
    runs = await asyncio.gather(*(ask(desk, request_id=request_id) for _ in range(6)))
    assert len({run.message_id for run in runs}) == 1
    assert [run.repeated for run in runs].count(False) == 1
    await events_of(desk, runs[0])
    again = await ask(desk, request_id=request_id)
    assert again.repeated
    assert again.message_id == runs[0].message_id
    assert len(desk.engine.calls) == 1
    other = await run_unit(make_principal, desk.tenant)
    theirs = await ask(desk, request_id=request_id, principal=other)
    assert theirs.message_id != runs[0].message_id


async def test_history_goes_along_without_the_question_twice(desk: Desk) -> None:
    """The second turn has the first one's messages; failed answers are left out."""
    first = await ask(desk, "first question")
    await events_of(desk, first)
    desk.engine.script("r1", Act(error=UpstreamFailed("dead")))
    broken = await ask(desk, "second question", conversation_id=first.conversation_id)
    await events_of(desk, broken)
    third = await ask(desk, "third question", conversation_id=str(first.conversation_id))
    await events_of(desk, third)
    assert [(m["role"], m["content"]) for m in desk.last_messages()] == [
        ("user", "first question"),
        ("assistant", "w w w "),
        ("user", "second question"),
        ("user", "third question"),
    ]


async def test_assistants_instruct(desk: Desk) -> None:
    """Instructions are the system message; the assistant's model answers; its name is on the usage."""
    await run_unit(
        create_assistant,
        principal=desk.principal,
        slug="legal",
        name="Legal",
        instructions="Be exact.",
        model="tiny",
    )
    run = await ask(desk, assistant="legal", model=None)
    await events_of(desk, run)
    assert desk.last_messages()[0] == {"role": "system", "content": "Be exact."}
    assert desk.spool.entries[0].assistant == "legal"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"content": "  \n "}, BadInput),
        ({"content": "a\x00b"}, BadInput),
        ({"content": "x" * 200_001}, BadInput),
        ({"request_id": ""}, BadInput),
        ({"request_id": "x" * 129}, BadInput),
        ({"assistant": "a"}, BadInput),
        ({"model": None, "assistant": "nobody"}, ModelNotFound),
        ({"model": "no-such-model"}, ModelNotFound),
        ({"conversation_id": "not-a-uuid"}, NotFound),
        ({"conversation_id": str(uuid7())}, NotFound),
    ],
)
async def test_what_is_refused_leaves_nothing(
    desk: Desk, given: dict[str, Any], error: type[Exception]
) -> None:
    """Nothing is stored, nothing is in the log, the place is free again."""
    with pytest.raises(error):
        await ask(desk, **given)
    assert await run_unit(count_messages, desk.tenant.id) == 0
    assert not desk.runner.live
    run = await ask(desk)
    assert (await events_of(desk, run))[-1]["type"] == "message.completed"


def count_messages(tenant_id: uuid.UUID) -> int:
    """How many messages the tenant has."""
    with tenant_scope(tenant_id, read_only=True):
        return Message.objects.count()


async def test_viewers_may_not_ask(desk: Desk) -> None:
    """Rights are checked before anything else."""
    viewer = await run_unit(make_principal, desk.tenant, role=Role.VIEWER)
    with pytest.raises(PermissionDenied):
        await ask(desk, principal=viewer)


async def test_runs_are_their_owners_alone(desk: Desk) -> None:
    """A colleague, and another tenant's owner, can neither follow, stop nor go on with a conversation."""
    run = await ask(desk)
    colleague = await run_unit(make_principal, desk.tenant, role=Role.OWNER)
    stranger = await run_unit(make_principal, None, role=Role.OWNER)
    for other in (colleague, stranger):
        with pytest.raises(NotFound):
            await anext(follow_run(principal=other, message_id=run.message_id))
        with pytest.raises(NotFound):
            await stop_run(principal=other, message_id=run.message_id)
        with pytest.raises(NotFound):
            await ask(desk, principal=other, conversation_id=run.conversation_id)


async def test_stop_ends_within_a_second(desk: Desk) -> None:
    """The engine is cancelled, the partial text stays, usage is settled as cancelled."""
    desk.engine.usual = Act(words=10_000, gap_s=0.01)
    run = await ask(desk)
    await until_running(desk)
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await stop_run(principal=desk.principal, message_id=run.message_id)
    events = await events_of(desk, run)
    assert time.monotonic() - began < 1.0
    assert events[-1]["type"] == "message.stopped"
    stored = await message_of(desk, run)
    told = "".join(event["text"] for event in events if event["type"] == "message.delta")
    assert stored.state is MessageState.STOPPED
    assert stored.content == told
    assert told
    assert desk.engine.cancelled == 1
    assert [entry.state for entry in desk.spool.entries] == [UsageState.CANCELLED]
    await stop_run(principal=desk.principal, message_id=run.message_id)


async def test_text_is_gathered(desk: Desk) -> None:
    """Many quick tokens become few events, and none is lost."""
    desk.engine.usual = Act(words=400, gap_s=0.001)
    run = await ask(desk)
    events = await events_of(desk, run)
    deltas = [event["text"] for event in events if event["type"] == "message.delta"]
    assert "".join(deltas) == "w " * 400
    assert len(deltas) < 100


@pytest.mark.parametrize(
    ("act", "code", "text"),
    [
        (Act(error=EngineUnavailable()), "engine_unavailable", ""),
        (Act(words=5, dies_after=2), "engine_failed", "w w "),
        (Act(error=RuntimeError("a bug")), "internal_error", ""),
    ],
)
async def test_failures_end_with_an_error(desk: Desk, act: Act, code: str, text: str) -> None:
    """The error event is last, the row is failed and keeps what was said."""
    desk.engine.usual = act
    run = await ask(desk)
    events = await events_of(desk, run)
    assert events[-1]["type"] == "error"
    stored = await message_of(desk, run)
    assert (stored.state, stored.content) == (MessageState.FAILED, text)
    if not isinstance(act.error, EngineUnavailable):
        assert events[-1]["code"] == stored.error_code == code


async def test_resume_replays_and_goes_on(desk: Desk) -> None:
    """A second reader from the middle sees exactly what the first saw after that point."""
    desk.engine.usual = Act(words=60, gap_s=0.01)
    run = await ask(desk)
    first = asyncio.ensure_future(events_of(desk, run))
    await asyncio.sleep(0.3)
    second = await events_of(desk, run, last_seq=3)
    assert second == (await first)[3:]
    assert await events_of(desk, run, last_seq=second[-2]["seq"]) == second[-1:]


async def test_a_lost_log_is_told_from_the_row(desk: Desk) -> None:
    """A finished message whose log is gone: snapshot and end."""
    run = await ask(desk)
    await events_of(desk, run)
    backends.replace("run_log", MemoryRunLog())
    events = await events_of(desk, run, last_seq=2)
    assert [event["type"] for event in events] == ["message.snapshot", "message.completed"]
    assert events[0]["text"] == "w w w "
    assert events[1]["usage"]["total_tokens"] == 10
    assert [event["seq"] for event in events] == [3, 4]


async def test_the_sweep_ends_what_nobody_holds(desk: Desk) -> None:
    """A row whose process died is failed with its partial text; one that is held is left alone."""
    desk.engine.usual = Act(words=1000, gap_s=0.01)
    held = await ask(desk)
    dead = await run_unit(open_run, dead_run(desk.principal))
    await run_unit(save_partial, desk.tenant.id, dead.message_id)
    desk.runner.live.clear()
    assert await sweep_runs() == 1
    assert await sweep_runs() == 0
    events = await events_of(desk, dead)
    assert [event["type"] for event in events] == ["message.started", "error"]
    assert events[-1]["code"] == "interrupted"
    stored = await message_of(desk, dead)
    assert (stored.state, stored.content) == (MessageState.FAILED, "half an ans")
    assert (await message_of(desk, held)).state is MessageState.RUNNING
    await stop_run(principal=desk.principal, message_id=held.message_id)
    assert (await events_of(desk, held))[-1]["type"] == "message.stopped"


def dead_run(principal: Principal) -> NewRun:
    """A Run as a process that then died would have stored it."""
    return NewRun(principal.tenant_id, owner_of(principal), uuid7(), uuid.uuid4().hex, "hello?", "", None)


def save_partial(tenant_id: uuid.UUID, message_id: uuid.UUID) -> None:
    """The partial text that was kept."""
    with tenant_scope(tenant_id):
        Message.objects.filter(id=message_id).update(content="half an ans")


async def test_a_log_that_tells_the_end_closes_the_row(desk: Desk) -> None:
    """The end was told, but the database was away when it should have been written."""
    dead = await run_unit(open_run, dead_run(desk.principal))
    claim = await desk.run_log.claim(dead.message_id, "gone")
    await desk.run_log.append(dead.message_id, {"type": "message.started"})
    await desk.run_log.append(dead.message_id, {"type": "message.routed", "model": "tiny"})
    await desk.run_log.append(dead.message_id, {"type": "message.delta", "text": "all "})
    await desk.run_log.append(dead.message_id, {"type": "message.delta", "text": "of it"})
    usage = {"total_tokens": 4}
    await desk.run_log.finish(
        dead.message_id, {"type": "message.completed", "usage": usage, "finish_reason": "stop"}
    )
    assert await claim.renew() is False
    assert await sweep_runs() == 1
    stored = await message_of(desk, dead)
    assert (stored.state, stored.content, stored.model) == (MessageState.COMPLETED, "all of it", "tiny")
    assert stored.usage == usage
    assert await run_unit(running_messages) == []


async def test_shutdown_ends_runs(desk: Desk) -> None:
    """Running answers are failed with their text and say that the server restarts; new ones are refused."""
    desk.engine.usual = Act(words=1000, gap_s=0.01)
    run = await ask(desk)
    await until_running(desk)
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await desk.runner.close()
    assert time.monotonic() - began < 2
    stored = await message_of(desk, run)
    assert stored.state is MessageState.FAILED
    assert "restarting" in stored.error
    assert stored.content
    assert (await events_of(desk, run))[-1]["type"] == "error"
    with pytest.raises(Unavailable):
        await ask(desk)


async def test_a_run_has_a_time_limit(desk: Desk) -> None:
    """An answer that nobody stops ends by itself."""
    backends.replace("runner", Runner(time_limit_s=0.2))
    desk.engine.usual = Act(words=100_000, gap_s=0.01)
    run = await ask(desk)
    events = await events_of(desk, run)
    assert events[-1]["code"] == "time_limit"
    assert desk.engine.cancelled == 1


async def test_a_tenant_cannot_take_all_places(desk: Desk) -> None:
    """Past its bound a tenant is told so; others still find a place."""
    runner = Runner(limit=4, tenant_limit=2)
    backends.replace("runner", runner)
    desk.engine.usual = Act(words=100_000, gap_s=0.01)
    await ask(desk)
    await ask(desk)
    with pytest.raises(RateLimited):
        await ask(desk)
    stranger = await run_unit(make_principal, None, role=Role.OWNER)
    await ask(desk, principal=stranger)
    await ask(desk, principal=stranger)
    with pytest.raises(Unavailable):
        await ask(desk, principal=await run_unit(make_principal, None))
    await runner.close()
    assert not runner.live


async def test_a_deleted_conversation_ends_its_run(desk: Desk) -> None:
    """The answer has nowhere to go: its engine is told to stop, its readers hear of an end, and nothing crashes."""
    desk.engine.usual = Act(words=3000, gap_s=0.01)
    run = await ask(desk)
    reader = asyncio.ensure_future(events_of(desk, run))
    await until_running(desk)
    began = time.monotonic()
    # As a view does it: in a thread that knows the server's loop.
    delete = sync_to_async(delete_conversation)
    await delete(principal=desk.principal, conversation_id=run.conversation_id)
    assert (await reader)[-1]["type"] in ("error", "message.stopped")
    assert time.monotonic() - began < 5


class FlakyLog(MemoryRunLog):
    """A run log that is away for some acts."""

    def __init__(self) -> None:
        """There at first."""
        super().__init__()
        self.away = False

    async def append(self, run_id: uuid.UUID, body: Any, *, mark: str = "") -> int:
        """Refused while away."""
        if self.away:
            raise Unavailable
        return await super().append(run_id, body, mark=mark)


@pytest.fixture
async def flaky(desk: Desk) -> AsyncIterator[FlakyLog]:
    """A log that tests take away."""
    log = FlakyLog()
    backends.replace("run_log", log)
    desk.run_log = log
    yield log
    log.away = False


async def test_an_answer_survives_a_log_that_is_away(desk: Desk, flaky: FlakyLog) -> None:
    """Text waits for the log and comes in one piece; the row has it all."""
    desk.engine.usual = Act(words=80, gap_s=0.01)
    run = await ask(desk)
    await until_running(desk)
    flaky.away = True
    await asyncio.sleep(0.4)
    flaky.away = False
    events = await events_of(desk, run)
    assert "".join(e["text"] for e in events if e["type"] == "message.delta") == "w " * 80
    assert (await message_of(desk, run)).content == "w " * 80


async def test_a_run_that_cannot_be_told_is_given_up(desk: Desk, flaky: FlakyLog) -> None:
    """The log is away at acceptance: the caller hears it, and no row stays running."""
    flaky.away = True
    with pytest.raises(Unavailable):
        await ask(desk)
    assert await run_unit(running_messages) == []
    assert not desk.engine.calls


async def test_partial_text_is_kept_where_the_log_dies(desk: Desk) -> None:
    """With `save_every_s` the row follows the answer."""
    backends.replace("runner", Runner(save_every_s=0.5))
    desk.engine.usual = Act(words=1000, gap_s=0.01)
    run = await ask(desk)
    await asyncio.sleep(2.3)
    running = await message_of(desk, run)
    assert running.state is MessageState.RUNNING
    assert running.content.startswith("w w w")
    await stop_run(principal=desk.principal, message_id=run.message_id)
    await events_of(desk, run)


class AwayStore:
    """A vector store that cannot be reached."""

    async def search(self, collection: Any, query: Any) -> list[Any]:
        """Refused."""
        raise Unavailable


async def test_knowledge_that_is_away_is_said(desk: Desk) -> None:
    """The answer goes on without it; the event that names the model says so."""
    base = await run_unit(create_knowledge_base, principal=desk.principal, name="Handbook")

    def embed() -> None:
        with tenant_scope(desk.tenant.id):
            KnowledgeBase.objects.update(embedder="other", embedding_model="tiny", dimensions=2)

    await run_unit(embed)
    backends.replace("vector_store", AwayStore())
    events = await events_of(desk, await ask(desk, knowledge_base_ids=[str(base.id)]))
    assert events[1]["notice"] == "knowledge_unavailable"
    assert events[-1]["type"] == "message.completed"
    events = await events_of(desk, await ask(desk))
    assert "notice" not in events[1]


async def test_titles_and_positions(desk: Desk) -> None:
    """A conversation takes its title from the first question, and numbers its messages without a gap."""
    empty = await run_unit(create_conversation, principal=desk.principal)
    runs = [await ask(desk, f"question {n}", conversation_id=empty.id) for n in range(3)]
    await asyncio.gather(*(events_of(desk, run) for run in runs))

    def read() -> tuple[str, list[int]]:
        with tenant_scope(desk.tenant.id, read_only=True):
            row = selectors.find_conversation(owner_of(desk.principal), empty.id)
            return row.title, [message.position for message in selectors.messages(row)]

    assert await run_unit(read) == ("question 0", [1, 2, 3, 4, 5, 6])
