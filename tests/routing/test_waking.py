"""A pool without replicas wakes at the first call, which is held until one is there; without calls it sleeps again."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from fakes.clocks import FrozenClock
from fakes.engines import Act, RememberingSpool, ScriptedEngine
from fakes.fleets import PaperScaler

from inference.services import create_pool, register_engine
from inference.types import Surface
from kernel.backends import BackendSpec, backends
from kernel.errors import EngineUnavailable, ModelNotFound, NoReplica, ServerOverloaded
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.models import PoolScaling
from routing.services import dispatch, set_scaling, usable_models
from routing.services.evaluating import PoolEvaluator, scale_pools_forever
from routing.services.waking import note_wanted
from routing.types import ModelCall, QueuePlace, RoutingDecision
from substrate.models import Change
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db(transaction=True)
POLICY = {"mode": "on", "minimum": 0, "maximum": 2, "idle_s": 30, "down_after_s": 30}


@pytest.fixture
def scaler() -> Iterator[PaperScaler]:
    """Engines on paper for the pool `gpu`."""
    found = PaperScaler("gpu")
    before = dict(backends.specs)
    backends.configure(
        {**before, "scaler": BackendSpec("inference.ports.Scaler", "fakes.fleets.PaperScaler")}
    )
    yield found
    backends.configure(before)


@pytest.fixture
async def house(scaler: PaperScaler) -> AsyncIterator[PaperScaler]:
    """A pool that sleeps, decided about in the background, whose changes this process hears of."""
    backends.replace("scaler", scaler)
    backends.replace("engine.openai", ScriptedEngine())
    backends.replace("usage_spool", RememberingSpool())
    backends.replace("scheduler", MemoryScheduler(queue_limit=50))
    await sync_to_async(furnish)()
    await hear()
    await backends["pool_evaluator"].look()
    await hear()
    tasks = [asyncio.create_task(scale_pools_forever()), asyncio.create_task(hear_forever())]
    yield scaler
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await backends.close()


def furnish(**policy: object) -> None:
    pool = create_pool(name="gpu").id
    set_scaling(pool_id=pool, document={**POLICY, **policy})


async def hear() -> None:
    await backends["model_directory"].start()
    await backends["sleepers"].start()


async def hear_forever() -> None:
    while True:
        await hear()
        await asyncio.sleep(0.1)


async def learn(**fields: object) -> None:
    """What was seen of the pool before."""
    await sync_to_async(PoolScaling.objects.update)(**fields)
    await hear()


async def ask(model: str = "org/tiny", **fields: Any) -> RoutingDecision:
    call = ModelCall(
        **{
            "principal": Principal(uuid.UUID(int=7), "acme", Role.MEMBER),
            "surface": Surface.CHAT,
            "model": model,
            "body": {"messages": [{"role": "user", "content": "hello"}]},
            "prompt_chars": 5,
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


async def until(seen: Callable[[], object], within_s: float = 5.0) -> None:
    for _ in range(round(within_s / 0.02)):
        if seen():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


async def test_the_first_call_wakes_the_pool_at_once_and_is_answered(house: PaperScaler) -> None:
    assert [spec.id for spec in usable_models() if not spec.built_in] == ["org/tiny"], (
        "it is there to be asked for"
    )
    assert house.asked == []
    began = time.monotonic()
    calls = [asyncio.create_task(ask()) for _ in range(3)]
    await until(lambda: house.asked)
    assert time.monotonic() - began < 2, "not at the next look, which is five seconds away"
    assert (await backends["scheduler"].snapshot("gpu")).waiting == 3
    house.wake("gpu")
    decisions = await asyncio.wait_for(asyncio.gather(*calls), 8)
    assert {each.pool for each in decisions} == {"gpu"}
    assert min(each.queue_ms for each in decisions) > 50
    assert house.asked == [("gpu", 1, ())], "once"
    for _ in range(80):
        row = await sync_to_async(PoolScaling.objects.get)()
        if row.waking_at is None:
            break
        await asyncio.sleep(0.1)
    assert row.waking_at is None
    assert row.starts_in_s == pytest.approx(time.monotonic() - began, abs=3)


async def test_who_waits_hears_in_how_many_seconds_the_model_should_be_there(house: PaperScaler) -> None:
    await learn(starts_in_s=40.0)
    told: list[QueuePlace] = []
    call = asyncio.create_task(ask(tell=told.append))
    await until(lambda: told)
    assert told[0].position == 1
    assert told[0].expected_wait_s == pytest.approx(40, abs=1)
    await until(lambda: told[-1].expected_wait_s is not None and told[-1].expected_wait_s < 39.5)
    house.wake("gpu")
    await asyncio.wait_for(call, 8)


async def test_who_could_not_wait_so_long_is_told_when_to_come_and_wakes_it_all_the_same(
    house: PaperScaler,
) -> None:
    await learn(starts_in_s=200.0)
    with pytest.raises(ServerOverloaded) as refused:
        await ask()
    assert refused.value.retry_after_s == pytest.approx(200, abs=1)
    await until(lambda: house.asked)
    house.wake("gpu")
    async with asyncio.timeout(8):
        while True:
            with suppress(ServerOverloaded):
                assert (await ask()).pool == "gpu"
                return
            await asyncio.sleep(0.2)


async def test_auto_wakes_where_no_real_model_is_there(house: PaperScaler) -> None:
    call = asyncio.create_task(ask("auto"))
    await until(lambda: house.asked)
    house.wake("gpu")
    assert (await asyncio.wait_for(call, 8)).model == "org/tiny"


async def test_who_gives_up_is_held_no_longer(house: PaperScaler) -> None:
    call = asyncio.create_task(ask())
    await until(lambda: house.asked)
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    assert (await backends["scheduler"].snapshot("gpu")).waiting == 0


async def test_without_a_policy_a_model_without_replicas_is_refused_as_ever(house: PaperScaler) -> None:
    row = await sync_to_async(PoolScaling.objects.get)()
    await sync_to_async(set_scaling)(pool_id=row.pool_id, document={**POLICY, "mode": "dry_run"})
    await hear()
    with pytest.raises(NoReplica):
        await ask()
    assert house.asked == []
    with pytest.raises(ModelNotFound):
        await ask("org/other")


async def test_a_call_that_finds_the_only_replica_dead_is_answered_by_the_next(house: PaperScaler) -> None:
    first = asyncio.create_task(ask())
    await until(lambda: house.asked)
    house.wake("gpu")
    dead = (await asyncio.wait_for(first, 8)).replica
    engine: ScriptedEngine = backends["engine.openai"]
    engine.script(dead, *[Act(error=EngineUnavailable()) for _ in range(3)])
    house.engines["gpu"].clear()
    call = asyncio.create_task(ask())
    await until(lambda: len(house.asked) > 1, within_s=10)
    house.wake("gpu")
    decision = await asyncio.wait_for(call, 12)
    assert decision.replica != dead
    assert decision.attempts == 2


@pytest.mark.usefixtures("scaler")
def test_many_gateways_wake_a_pool_once() -> None:
    furnish()
    told = Change.objects.filter(kind="pool_wake")
    assert [note_wanted(pool="gpu") for _ in range(3)] == [True, False, False]
    assert told.count() == 1


async def test_it_sleeps_after_a_quiet_time_and_never_while_calls_are_held(scaler: PaperScaler) -> None:
    backends.replace("scaler", scaler)
    backends.replace("engine.openai", ScriptedEngine())
    backends.replace("usage_spool", RememberingSpool())
    backends.replace("scheduler", MemoryScheduler(queue_limit=50))
    await sync_to_async(furnish)()
    clock = FrozenClock()
    evaluator = PoolEvaluator(clock=clock)

    async def looks(seconds: float) -> int:
        for _ in range(round(seconds / 5)):
            await evaluator.look()
            await hear()
            clock.advance(5.0)
        return evaluator.decisions["gpu"].desired

    assert await looks(60) == 0
    call = asyncio.create_task(ask())
    await asyncio.sleep(0.2)
    assert await looks(200) == 1, "a call is held, and the start takes longer than the quiet time"
    scaler.wake("gpu")
    await looks(10)
    await asyncio.wait_for(call, 5)
    assert await looks(20) == 1
    assert await looks(120) == 0
    assert scaler.engines["gpu"] == []
    assert [count for _, count, _ in scaler.asked] == [1, 0]
    await sync_to_async(PoolScaling.objects.update)(waking_at=clock.now() + timedelta(seconds=1))
    assert await looks(5) == 1, "who was refused wakes it too"
    await backends.close()


async def test_people_s_replicas_keep_a_pool_awake(house: PaperScaler) -> None:
    await sync_to_async(register_engine)(pool="gpu", model="org/tiny", url="http://127.0.0.1:9101/v1")
    await hear()
    assert (await asyncio.wait_for(ask(), 5)).pool == "gpu"
    assert house.asked == []
