"""Which replica real calls go to, through dispatch: their cache, their load, engines that hang."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakes.engines import Act, RememberingSpool, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.outliers import NO_PROGRESS_S
from inference.services.watching import look_at_replicas
from inference.types import Surface
from kernel.backends import backends
from kernel.errors import NoReplica
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.services import dispatch
from routing.services.memory import RoutingMemory
from routing.types import ModelCall, ReplicaSlots, RoutingDecision, Ticket
from tenants.types import Principal, PriorityClass, Role

LONG = "What was said before. " * 100


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    made = ScriptedEngine()
    backends.replace("engine.scripted", made)
    backends.replace("usage_spool", RememberingSpool())
    backends.replace("scheduler", MemoryScheduler(queue_limit=50))
    directory = ModelDirectory()
    backends.replace("model_directory", directory)
    backends.replace("routing_memory", RoutingMemory(chance=lambda: 0.5))
    directory.show((model_spec("tiny", *[replica_spec(f"r{number}") for number in range(4)]),))
    yield made
    await backends.close()


async def ask(*texts: str, tenant: int = 7, **fields: Any) -> RoutingDecision:
    """Answer one call; where it went."""
    messages = [{"role": "user", "content": text} for text in texts]
    call = ModelCall(
        **{
            "principal": Principal(uuid.UUID(int=tenant), "acme", Role.MEMBER),
            "surface": Surface.CHAT,
            "model": "tiny",
            "body": {"messages": messages},
            "prompt_chars": sum(map(len, texts)),
            "request_id": "request-1",
            "origin": "v1",
            "stream": True,
            **fields,
        }
    )
    async with dispatch(call) as flow:
        async for _ in flow.chunks():
            pass
        return flow.decision


async def test_a_conversation_stays_where_its_cache_is(engine: ScriptedEngine) -> None:
    first = await ask(LONG)
    for _ in range(8):
        await ask("another matter")
    turns = [await ask(LONG, f"turn {number} {LONG}") for number in range(4)]
    assert {decision.replica for decision in turns} == {first.replica}
    assert first.terms is not None
    assert first.terms.cached_tokens == 0
    assert turns[0].terms is not None
    assert turns[0].terms.cached_tokens >= 512


async def test_another_tenant_does_not_follow(engine: ScriptedEngine) -> None:
    await ask(LONG)
    other = await ask(LONG, tenant=8)
    assert other.terms is not None
    assert other.terms.cached_tokens == 0


async def test_many_with_one_beginning_do_not_crowd_one_replica(engine: ScriptedEngine) -> None:
    engine.usual = Act(words=3, gap_s=0.02)
    await ask(LONG)
    decisions = await asyncio.gather(*(ask(LONG, f"question {number}") for number in range(16)))
    counts = Counter(decision.replica for decision in decisions)
    assert max(counts.values()) <= 4
    assert len(counts) == 4


async def test_a_new_beginning_is_read_once_however_many_come_with_it(engine: ScriptedEngine) -> None:
    engine.usual = Act(words=3, gap_s=0.02)
    others = [asyncio.ensure_future(ask(f"{number} {LONG}")) for number in range(16)]
    await asyncio.sleep(0)
    decisions = await asyncio.gather(*(ask(LONG * 3, f"question {number}") for number in range(6)))
    await asyncio.gather(*others)
    unread = [each.terms.cached_tokens == 0 for each in decisions if each.terms is not None]
    assert unread.count(True) == 1
    directory: ModelDirectory = backends["model_directory"]
    assert [directory.vitals.of(f"r{number}").queued_s for number in range(4)] == pytest.approx([0.0] * 4)


async def test_small_calls_at_once_are_spread(engine: ScriptedEngine) -> None:
    engine.usual = Act(words=3, gap_s=0.02)
    decisions = await asyncio.gather(*(ask("hi") for _ in range(8)))
    assert set(Counter(decision.replica for decision in decisions).values()) == {2}


async def test_what_runs_is_counted_back(engine: ScriptedEngine) -> None:
    engine.script("r0", Act(words=3, dies_after=1))
    for _ in range(6):
        await ask("hi")
    task = asyncio.ensure_future(ask("hi"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    directory: ModelDirectory = backends["model_directory"]
    for number in range(4):
        vital = directory.vitals.of(f"r{number}")
        assert (vital.running, vital.streams, vital.load_s) == (0, 0, 0.0)
        assert not vital.waiting


async def test_calls_on_an_engine_that_hangs_go_elsewhere(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    engine.scripts.clear()
    for number in range(4):
        engine.script(f"r{number}", Act(first_s=60.0) if number == 0 else Act(), *[Act()] * 8)
    tasks = [asyncio.ensure_future(ask("hi")) for _ in range(8)]
    await asyncio.sleep(0.05)
    assert sum(task.done() for task in tasks) == 7
    look_at_replicas(time.perf_counter() + NO_PROGRESS_S + 1)
    decisions = await asyncio.wait_for(asyncio.gather(*tasks), 2.0)
    assert sorted(decision.attempts for decision in decisions) == [1] * 7 + [2]
    assert not directory.health.available("r0")
    health = directory.health.read("r0")
    assert health is not None
    assert health.left_alone.startswith("no token for")
    assert "r0" not in {(await ask("hi")).replica for _ in range(8)}


async def test_a_call_that_was_cancelled_stays_cancelled_when_its_engine_hangs(
    engine: ScriptedEngine,
) -> None:
    engine.usual = Act(first_s=60.0)
    task = asyncio.ensure_future(ask("hi"))
    await asyncio.sleep(0.02)
    task.cancel()
    look_at_replicas(time.perf_counter() + NO_PROGRESS_S + 1)
    await asyncio.wait([task], timeout=2.0)
    assert task.cancelled()


async def test_the_speed_of_reading_is_learned(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    directory.show((model_spec("tiny", replica_spec("r0")),))
    engine.usual = Act(words=2, first_s=0.02)
    await ask("hi")
    # The scripted engine tells seven tokens: too few to learn from.
    assert directory.vitals.of("r0").prefill_tps == 0.0
    assert 15 < directory.vitals.of("r0").ttft_s * 1000 < 500
    assert directory.vitals.of("r0").calls == 1


async def test_a_call_that_waits_goes_to_a_replica_that_joins(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    directory.show((model_spec("tiny", replica_spec("r0", max_concurrency=1)),))
    scheduler: MemoryScheduler = backends["scheduler"]
    taken = await scheduler.acquire(ticket_of("r0"))
    waiting = asyncio.create_task(ask("hello"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    directory.show((model_spec("tiny", replica_spec("r0", max_concurrency=1), replica_spec("r1")),))
    decision = await asyncio.wait_for(waiting, 3)
    assert (decision.replica, decision.attempts) == ("r1", 1)
    assert decision.terms is not None
    await scheduler.release(taken)


async def test_a_call_that_waits_for_one_that_goes_out_finds_the_other(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    both = [replica_spec(name, max_concurrency=1) for name in ("r0", "r1")]
    directory.show((model_spec("tiny", *both),))
    for _ in range(2):
        directory.health.probe_failed("r1", "down")
    scheduler: MemoryScheduler = backends["scheduler"]
    taken = await scheduler.acquire(ticket_of("r0"))
    waiting = asyncio.create_task(ask("hello"))
    await asyncio.sleep(0.05)
    # The one that it waits for is taken out of service, and the other comes back.
    directory.show((model_spec("tiny", both[1]),))
    directory.health.probe_succeeded("r1")
    decision = await asyncio.wait_for(waiting, 3)
    assert decision.replica == "r1"
    await scheduler.release(taken)


async def test_a_call_that_waits_for_a_model_that_has_lost_all_is_told(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    directory.show((model_spec("tiny", replica_spec("r0", max_concurrency=1)),))
    scheduler: MemoryScheduler = backends["scheduler"]
    taken = await scheduler.acquire(ticket_of("r0"))
    waiting = asyncio.create_task(ask("hello"))
    await asyncio.sleep(0.05)
    directory.show(())
    with pytest.raises(NoReplica):
        await asyncio.wait_for(waiting, 3)
    await scheduler.release(taken)


def ticket_of(replica: str) -> Ticket:
    """A call of somebody else that takes the only slot of the replica."""
    slots = (ReplicaSlots(replica, 1),)
    return Ticket(replica, "gpu", "other", PriorityClass.STANDARD, slots, 10, 10, 5.0)
