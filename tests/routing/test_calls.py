"""dispatch and embed: retried before the first byte, settled exactly once in every ending, the slot free again."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from fakes.engines import Act, RememberingSpool, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.services import replica_available, vital_of
from inference.types import Chunk, ModelKind, ModelSpec, Surface
from kernel.backends import backends
from kernel.errors import (
    BadInput,
    EngineRefused,
    EngineUnavailable,
    ModelNotFound,
    NoReplica,
    ServerOverloaded,
    Unavailable,
    UpstreamFailed,
)
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.services import dispatch, embed
from routing.types import Lease, ModelCall, Ticket
from tenants.types import Principal, PriorityClass, Role, UsageState

TENANT = uuid.UUID(int=7)
KEY = uuid.UUID(int=8)


@dataclass
class House:
    """The fakes that dispatch stands on."""

    engine: ScriptedEngine
    spool: RememberingSpool
    scheduler: MemoryScheduler
    directory: ModelDirectory

    async def idle(self, pool: str = "gpu") -> bool:
        snapshot = await self.scheduler.snapshot(pool)
        return not snapshot.running and not snapshot.waiting


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House(ScriptedEngine(), RememberingSpool(), MemoryScheduler(queue_limit=5), ModelDirectory())
    backends.replace("engine.scripted", made.engine)
    backends.replace("usage_spool", made.spool)
    backends.replace("scheduler", made.scheduler)
    backends.replace("model_directory", made.directory)
    made.directory.show((model_spec("tiny", replica_spec("r1"), replica_spec("r2")),))
    yield made
    await backends.close()


def call(**fields: Any) -> ModelCall:
    values: dict[str, Any] = {
        "principal": Principal(TENANT, "acme", Role.MEMBER, api_key_id=KEY),
        "surface": Surface.CHAT,
        "model": "tiny",
        "body": {"messages": [{"role": "user", "content": "hi"}]},
        "prompt_chars": 41,
        "request_id": "request-1",
        "origin": "v1",
        "stream": True,
    }
    return ModelCall(**{**values, **fields})


async def read(asked: ModelCall) -> list[Chunk]:
    async with dispatch(asked) as flow:
        return [chunk async for chunk in flow.chunks()]


async def test_a_stream_is_settled_before_it_ends(house: House) -> None:
    async with dispatch(call()) as flow:
        assert flow.settled is None
        seen = []
        chunks = flow.chunks()
        async for chunk in chunks:
            seen.append(chunk.text)
        assert "".join(seen) == "w w w "
        (entry,) = house.spool.entries
        assert (entry.state, entry.prompt_tokens, entry.completion_tokens) == (UsageState.COMPLETED, 7, 3)
        assert entry.cost_nano == 7 * 2 + 3 * 3
        assert (entry.tenant_id, entry.api_key_id, entry.request_id) == (TENANT, KEY, "request-1")
        assert (entry.model, entry.pool, entry.origin) == ("tiny", "gpu", "v1")
        assert entry.replica == flow.decision.replica
        assert flow.settled is not None
        assert flow.settled.cost_nano == entry.cost_nano
        assert await house.idle()
    assert len(house.spool.entries) == 1


async def test_a_whole_answer_is_settled_when_the_flow_is_entered(house: House) -> None:
    async with dispatch(call(stream=False)) as flow:
        completion = await flow.completion()
        assert completion.usage.completion_tokens == 3
        assert [entry.state for entry in house.spool.entries] == [UsageState.COMPLETED]
        assert await house.idle()
    assert len(house.spool.entries) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_replica_that_fails_before_the_first_byte_costs_no_request(
    house: House, stream: bool
) -> None:
    house.engine.script("r1", Act(error=EngineUnavailable("gone")))
    house.engine.script("r2", Act(error=EngineUnavailable("gone")))
    house.directory.show((model_spec("tiny", *[replica_spec(f"r{number}") for number in (1, 2, 3)]),))
    async with dispatch(call(stream=stream)) as flow:
        if stream:
            assert [chunk async for chunk in flow.chunks()]
        attempts = [replica for replica, _ in house.engine.calls]
        assert len(set(attempts)) == len(attempts) == flow.decision.attempts
    assert [entry.state for entry in house.spool.entries] == [UsageState.COMPLETED]
    assert await house.idle()


async def test_attempts_are_bounded(house: House) -> None:
    house.engine.usual = Act(error=EngineUnavailable("gone"))
    house.directory.show((model_spec("tiny", *[replica_spec(f"r{number}") for number in range(9)]),))
    with pytest.raises(NoReplica) as caught:
        await read(call())
    assert caught.value.retry_after_s
    assert len(house.engine.calls) == 3
    (entry,) = house.spool.entries
    assert (entry.state, entry.prompt_tokens, entry.completion_tokens, entry.cost_nano) == (
        UsageState.FAILED,
        0,
        0,
        0,
    )
    assert await house.idle()


async def test_another_pool_of_the_model_takes_over(house: House) -> None:
    house.directory.show((model_spec("tiny", replica_spec("r1"), replica_spec("r2", pool="other")),))
    house.engine.script("r1", Act(error=EngineUnavailable("gone")))
    async with dispatch(call(stream=False)) as flow:
        assert (flow.decision.pool, flow.decision.attempts) == ("other", 2)


async def test_the_time_of_engines_that_failed_is_theirs(house: House) -> None:
    house.engine.script("r1", Act(error=EngineUnavailable("down"), first_s=0.1))
    async with dispatch(call(stream=False)) as flow:
        assert flow.decision.attempts == 2
        assert flow.decision.engine_ms >= 100


async def test_a_refusal_is_not_retried(house: House) -> None:
    house.engine.usual = Act(error=EngineRefused("too hot", status=422))
    with pytest.raises(EngineRefused, match="too hot"):
        await read(call())
    assert len(house.engine.calls) == 1
    assert [(entry.state, entry.error) for entry in house.spool.entries] == [
        (UsageState.FAILED, "invalid_request_error")
    ]
    assert await house.idle()


async def test_death_in_the_middle_is_a_failure_with_what_was_counted(house: House) -> None:
    house.directory.show((model_spec("tiny", replica_spec("r1", vllm=False), replica_spec("r2")),))
    house.engine.script("r1", Act(words=5, dies_after=2))
    house.engine.script("r2", Act(error=EngineUnavailable("gone")))
    seen: list[str] = []

    async def read_on() -> None:
        async with dispatch(call()) as flow:
            async for chunk in flow.chunks():
                seen.append(chunk.text)

    with pytest.raises(UpstreamFailed):
        await read_on()
    assert seen == ["w ", "w "]
    assert len(house.engine.calls) == 1
    (entry,) = house.spool.entries
    assert (entry.state, entry.prompt_tokens, entry.completion_tokens) == (UsageState.FAILED, 11, 2)
    assert entry.estimated
    assert entry.error == "engine_failed"
    assert await house.idle()


async def test_leaving_early_stops_the_engine_and_settles_as_cancelled(house: House) -> None:
    house.engine.usual = Act(words=100)
    async with dispatch(call()) as flow:
        chunks = flow.chunks()
        await anext(chunks)
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
    (entry,) = house.spool.entries
    assert (entry.state, entry.prompt_tokens, entry.completion_tokens) == (UsageState.CANCELLED, 11, 2)
    assert entry.estimated
    assert house.engine.cancelled == 1
    assert await house.idle()


async def test_leaving_without_reading_anything(house: House) -> None:
    async with dispatch(call()):
        pass
    assert [entry.state for entry in house.spool.entries] == [UsageState.CANCELLED]
    assert house.engine.cancelled == 1
    assert await house.idle()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("slow_spool", [0.0, 0.05])
async def test_cancelling_at_any_time_settles_exactly_once(
    house: House, stream: bool, slow_spool: float
) -> None:
    house.engine.usual = Act(words=4, gap_s=0.004, first_s=0.01)
    house.spool.slow_s = slow_spool
    for step in range(24):
        before = len(house.engine.calls), len(house.spool.entries)
        task = asyncio.ensure_future(read(call(stream=True)) if stream else _whole(call(stream=False)))
        await asyncio.sleep(0.001 + step * 0.003)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        reached = len(house.engine.calls) - before[0]
        assert len(house.spool.entries) - before[1] == reached
        assert await house.idle()
    assert sum(house.engine.running.values()) == 0
    states = {entry.state for entry in house.spool.entries}
    assert UsageState.CANCELLED in states
    assert UsageState.FAILED not in states


async def _whole(asked: ModelCall) -> None:
    async with dispatch(asked) as flow:
        await flow.completion()


async def test_an_error_of_the_reader_cancels(house: House) -> None:
    async def read_badly() -> None:
        async with dispatch(call()) as flow:
            async for _ in flow.chunks():
                raise LookupError

    with pytest.raises(LookupError):
        await read_badly()
    assert [entry.state for entry in house.spool.entries] == [UsageState.CANCELLED]
    assert await house.idle()


async def test_an_engine_that_says_no_usage_is_counted(house: House) -> None:
    house.engine.usual = Act(usage=False)
    await read(call())
    (entry,) = house.spool.entries
    assert (entry.prompt_tokens, entry.completion_tokens, entry.estimated) == (11, 3, True)


async def test_usage_that_can_be_stored_nowhere_fails_the_answer(house: House) -> None:
    house.spool.failing = True
    with pytest.raises(Unavailable):
        await read(call())
    assert await house.idle()


async def test_calls_that_reach_no_engine_leave_no_entry(house: House) -> None:
    with pytest.raises(ModelNotFound):
        await read(call(model="unknown"))
    with pytest.raises(BadInput, match="kind"):
        await embed(call(surface=Surface.EMBEDDINGS, body={"input": ["a"]}))
    house.directory.show((model_spec("tiny"),))
    with pytest.raises(NoReplica):
        await read(call())
    assert house.spool.entries == []
    assert house.engine.calls == []


async def test_slots_bound_what_runs_and_the_queue_is_bounded(house: House) -> None:
    house.directory.show((model_spec("tiny", replica_spec("r1", max_concurrency=2)),))
    house.engine.usual = Act(words=2, gap_s=0.01)
    outcomes = await asyncio.gather(*(read(call()) for _ in range(12)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ServerOverloaded)]
    assert len(refused) == 12 - 2 - 5
    assert house.engine.most_running == {"r1": 2}
    assert len(house.spool.entries) == 7
    assert max(entry.queue_ms for entry in house.spool.entries) > 0
    assert await house.idle()


async def test_replicas_that_are_out_are_not_asked_until_all_are(house: House) -> None:
    for _ in range(3):
        house.directory.health.attempt_failed("r1")
    assert not replica_available("r1")
    for _ in range(6):
        await read(call())
    assert {replica for replica, _ in house.engine.calls} == {"r2"}
    for _ in range(3):
        house.directory.health.attempt_failed("r2")
    house.engine.calls.clear()
    await read(call())
    assert len(house.engine.calls) == 1


async def test_failed_attempts_put_a_replica_out(house: House) -> None:
    house.engine.script("r1", *[Act(error=EngineUnavailable("gone"))] * 10)
    for _ in range(12):
        await read(call())
    assert not replica_available("r1")
    assert [replica for replica, _ in house.engine.calls].count("r1") == 3


async def test_a_replica_that_is_full_is_no_broken_one(house: House) -> None:
    house.engine.script("r1", *[Act(error=EngineUnavailable("full", code="engine_full"))] * 10)
    for _ in range(12):
        await read(call())
    assert replica_available("r1")


async def test_load_spreads_by_free_share(house: House) -> None:
    house.directory.show(
        (
            model_spec(
                "tiny", replica_spec("small", max_concurrency=2), replica_spec("large", max_concurrency=6)
            ),
        )
    )
    house.engine.usual = Act(words=1, gap_s=0.05)
    await asyncio.gather(*(read(call()) for _ in range(8)))
    assert house.engine.most_running == {"small": 2, "large": 6}


async def test_the_engine_hears_who_asks_and_how_urgently(house: House) -> None:
    await read(call(priority=PriorityClass.BATCH, traceparent="00-trace", question="why?"))
    (_, request), *_ = house.engine.calls
    assert request.tenant_id == TENANT
    assert request.priority > 0
    assert (request.request_id, request.traceparent, request.question) == ("request-1", "00-trace", "why?")


async def test_vectors_go_the_same_way(house: House) -> None:
    embedder = model_spec("tiny-embed", replica_spec("e1"), replica_spec("e2"), kind=ModelKind.EMBEDDING)
    house.directory.show((embedder,))
    house.engine.script("e1", Act(error=EngineUnavailable("gone")))
    house.engine.script("e2", Act(error=EngineRefused("too long")))
    asked = call(model="tiny-embed", surface=Surface.EMBEDDINGS, body={"input": ["a", "b"]}, stream=False)
    with pytest.raises(EngineRefused):
        await embed(asked)
    embeddings, decision = await embed(asked)
    assert len(embeddings.vectors) == 2
    assert decision.model == "tiny-embed"
    assert [entry.state for entry in house.spool.entries] == [UsageState.FAILED, UsageState.COMPLETED]
    assert house.spool.entries[1].prompt_tokens == 4
    # No first token: latencies of answers are told without them.
    assert house.spool.entries[1].first_token_ms == 0
    assert await house.idle()


async def test_auto_is_the_named_call_of_what_it_chose(house: House) -> None:
    specs: tuple[ModelSpec, ...] = (
        model_spec("atrium-extractive", replica_spec("b", pool="b"), built_in=True),
        model_spec("tiny", replica_spec("r1")),
    )
    house.directory.show(specs)
    async with dispatch(call(model="auto", stream=False)) as flow:
        assert flow.decision.model == "tiny"
    house.directory.show(specs[:1])
    async with dispatch(call(model="auto", stream=False)) as flow:
        assert flow.decision.model == "atrium-extractive"


async def test_a_chunk_costs_microseconds(house: House) -> None:
    house.engine.usual = Act(words=20_000)
    began = time.perf_counter()
    async with dispatch(call()) as flow:
        count = sum([1 async for _ in flow.chunks()])
    rate = count / (time.perf_counter() - began)
    # The aim is 100,000 on a quiet machine; half of that leaves room for a busy one.
    assert rate > 50_000


class ListeningScheduler(MemoryScheduler):
    """Remembers what it was asked and told."""

    def __init__(self) -> None:
        super().__init__(queue_limit=5)
        self.tickets: list[Ticket] = []
        self.charges: list[tuple[int, int]] = []
        self.unused: list[bool] = []

    async def acquire(self, ticket: Ticket) -> Lease:
        self.tickets.append(ticket)
        return await super().acquire(ticket)

    async def charge(self, lease: Lease, written: int, read: int = 0) -> None:
        self.charges.append((written, read))
        await super().charge(lease, written, read)

    async def release(self, lease: Lease, *, unused: bool = False) -> None:
        self.unused.append(unused)
        await super().release(lease, unused=unused)


async def test_the_ticket_says_whose_call_it_is_and_is_told_what_it_used(house: House) -> None:
    scheduler = ListeningScheduler()
    backends.replace("scheduler", scheduler)
    user = uuid.UUID(int=9)
    principal = Principal(TENANT, "acme", Role.MEMBER, user_id=user, api_key_id=KEY, weight=7)
    house.engine.usual = Act(words=3)
    chunks = await read(call(principal=principal, priority=PriorityClass.BATCH))
    asked = scheduler.tickets[0]
    assert (asked.tenant, asked.user, asked.weight) == (str(TENANT), str(user), 7)
    assert asked.priority is PriorityClass.BATCH
    usage = next(chunk.usage for chunk in chunks if chunk.usage is not None)
    assert sum(written for written, _ in scheduler.charges) == usage.completion_tokens
    assert sum(tokens for _, tokens in scheduler.charges) == usage.prompt_tokens - asked.prompt_tokens
    assert scheduler.unused == [False]
    await read(call())
    assert scheduler.tickets[1].user == str(KEY)


async def test_a_replica_that_did_nothing_costs_the_tenant_nothing(house: House) -> None:
    scheduler = ListeningScheduler()
    backends.replace("scheduler", scheduler)
    house.engine.script("r1", Act(error=EngineUnavailable("away")))
    house.engine.script("r2", Act(error=EngineUnavailable("away")))
    with pytest.raises(NoReplica):
        await read(call())
    assert scheduler.unused == [True, True]


async def test_a_prompt_that_is_not_streamed_is_read_when_it_should_be(house: House) -> None:
    """Else one long prompt would keep all others from the replica until its whole answer is there."""
    house.directory.show((model_spec("tiny", replica_spec("alone")),))
    vital = vital_of("alone")
    vital.prefill_tps = vital.speed = 40_000.0
    house.engine.usual = Act(first_s=60.0)
    asked = call(stream=False, prompt_chars=4 * 20_000)
    running = [asyncio.ensure_future(_whole(asked)) for _ in range(3)]
    async with asyncio.timeout(5.0):
        while house.engine.running.get("alone", 0) < 3:  # noqa: ASYNC110 - the engine counts and tells nobody
            await asyncio.sleep(0.01)
    snapshot = await house.scheduler.snapshot("gpu")
    assert snapshot.running["alone"] == 3
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await house.idle()
