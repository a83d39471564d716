"""Limits around a call: reserved before it waits, settled to what was used, nothing kept of what was refused."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.clocks import FrozenClock
from fakes.engines import Act, RememberingSpool, ScriptedEngine, model_spec, replica_spec
from fakes.limits import KnownLimits, of_tenant

from inference.directory import ModelDirectory
from inference.types import ModelKind, PlannedPrice, Surface
from kernel.backends import backends
from kernel.errors import (
    EngineUnavailable,
    ModelNotFound,
    NoReplica,
    QuotaExhausted,
    RateLimited,
    ServerOverloaded,
    UpstreamFailed,
)
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.limits import estimate_answer
from routing.services import dispatch, embed
from routing.types import ModelCall
from tenants.adapters.memory_counters import MemoryCounters
from tenants.limit_types import Claim, Level, Limit, Measure, Seed, Standing, Verdict
from tenants.planning import line_of
from tenants.types import Principal, Role

TENANT, KEY, USER = uuid.UUID(int=7), uuid.UUID(int=8), uuid.UUID(int=9)


@dataclass
class CountingCounters(MemoryCounters):
    """Counters that remember how often they were asked."""

    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        MemoryCounters.__init__(self)

    async def reserve(self, claim: Claim) -> Verdict:
        self.asked.append("reserve")
        return await super().reserve(claim)


@dataclass
class House:
    """The fakes that a limited call stands on."""

    engine: ScriptedEngine
    spool: RememberingSpool
    scheduler: MemoryScheduler
    directory: ModelDirectory
    limits: KnownLimits
    counters: CountingCounters

    async def limit(self, *limits: Limit, used: int = 0) -> None:
        """Put limits in force; days and months have used `used` before."""
        self.limits.set(TENANT, *limits)
        now = datetime.now(UTC)
        lines = [line_of(each, now, "UTC") for each in limits]
        at_ms = int(now.timestamp() * 1000)
        seeds = [Seed(line, line.start_ms, used, at_ms) for line in lines if line.end_ms]
        await self.counters.seed(str(TENANT), seeds, replace=True)

    async def standing(self, limit: Limit) -> Standing:
        line = line_of(limit, datetime.now(UTC), "UTC")
        return (await self.counters.read(str(TENANT), [line]))[0]

    async def used(self, limit: Limit) -> int:
        return (await self.standing(limit)).used


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House(
        ScriptedEngine(), RememberingSpool(), MemoryScheduler(queue_limit=5), ModelDirectory(), KnownLimits(),
        CountingCounters(),
    )  # fmt: skip
    backends.replace("engine.scripted", made.engine)
    backends.replace("usage_spool", made.spool)
    backends.replace("scheduler", made.scheduler)
    backends.replace("model_directory", made.directory)
    backends.replace("limit_directory", made.limits)
    backends.replace("counters", made.counters)
    made.directory.show((model_spec("tiny", replica_spec("r1"), replica_spec("r2")),))
    yield made
    await backends.close()


def call(**fields: Any) -> ModelCall:
    values: dict[str, Any] = {
        "principal": Principal(TENANT, "acme", Role.MEMBER, user_id=USER, api_key_id=KEY),
        "surface": Surface.CHAT,
        "model": "tiny",
        "body": {"messages": [{"role": "user", "content": "hi"}]},
        "prompt_chars": 40,
        "request_id": "request-1",
        "origin": "v1",
        "stream": True,
        "max_tokens": 20,
    }
    return ModelCall(**{**values, **fields})


async def read(asked: ModelCall) -> int:
    async with dispatch(asked) as flow:
        return len([chunk async for chunk in flow.chunks()])


REQUESTS = of_tenant(Measure.REQUESTS_PER_MINUTE, 2)
TOKENS = of_tenant(Measure.TOKENS_PER_MINUTE, 60)
MONEY = of_tenant(Measure.MONEY_PER_MONTH, 1000)
AT_ONCE = of_tenant(Measure.CONCURRENCY, 1)
DAILY = of_tenant(Measure.TOKENS_PER_DAY, 100)


async def test_a_call_without_any_limit_asks_the_counters_nothing(house: House) -> None:
    await read(call())
    house.limits.set(TENANT, Limit(Level.USER, str(uuid.uuid4()), Measure.REQUESTS_PER_MINUTE, 1))
    for _ in range(3):
        await read(call())
    assert house.counters.asked == []


async def test_requests_over_the_limit_are_refused_with_the_exact_wait(house: House) -> None:
    await house.limit(REQUESTS)
    for left in (1, 0):
        async with dispatch(call()) as flow:
            told = flow.decision.allowance
            assert told is not None
            assert told.requests is not None
            assert (told.requests.limit, told.requests.remaining) == (2, left)
            assert told.tokens is None
            assert [chunk async for chunk in flow.chunks()]
    with pytest.raises(RateLimited) as caught:
        await read(call())
    assert 28 < (caught.value.retry_after_s or 0) <= 30
    assert caught.value.allowance is not None
    assert len(house.engine.calls) == 2
    assert len(house.spool.entries) == 2


async def test_the_reservation_is_the_estimate_and_the_settlement_what_was_used(house: House) -> None:
    await house.limit(TOKENS, MONEY, DAILY)
    async with dispatch(call()) as flow:
        # 10 of the prompt and 20 asked for, at 2 and 3 nano-units.
        assert [await house.used(each) for each in (TOKENS, MONEY, DAILY)] == [30, 80, 30]
        assert [chunk async for chunk in flow.chunks()]
    assert [await house.used(each) for each in (TOKENS, MONEY, DAILY)] == [10, 23, 10]


async def test_an_exhausted_budget_refuses_before_the_engine_hears_of_it(house: House) -> None:
    await house.limit(REQUESTS, MONEY, used=950)
    with pytest.raises(QuotaExhausted) as caught:
        await read(call())
    assert caught.value.retry_after_s is not None
    assert await house.used(REQUESTS) == 0
    assert await house.used(MONEY) == 950
    assert house.engine.calls == []
    assert house.spool.entries == []


async def test_a_refusal_by_the_queue_gives_everything_back(house: House) -> None:
    await house.limit(REQUESTS, TOKENS, DAILY, AT_ONCE)
    house.directory.show(())
    with pytest.raises(ModelNotFound):
        await read(call())
    assert house.counters.asked == []
    house.directory.show((model_spec("tiny", replica_spec("r1", max_concurrency=1)),))
    backends.replace("scheduler", MemoryScheduler(queue_limit=0))
    house.engine.usual = Act(words=2, gap_s=0.05)
    house.limits.set(TENANT, REQUESTS, TOKENS, DAILY)
    running = asyncio.ensure_future(read(call()))
    await asyncio.sleep(0.02)
    with pytest.raises(ServerOverloaded):
        await read(call())
    assert await house.used(REQUESTS) == 1
    await running
    assert [await house.used(each) for each in (REQUESTS, TOKENS, DAILY)] == [1, 9, 9]


async def test_when_no_replica_could_answer_the_request_is_not_counted(house: House) -> None:
    await house.limit(REQUESTS, DAILY)
    house.engine.usual = Act(error=EngineUnavailable("gone"))
    with pytest.raises(NoReplica):
        await read(call())
    assert [await house.used(each) for each in (REQUESTS, DAILY)] == [0, 0]


@pytest.mark.parametrize("ending", ["leaves", "dies"])
async def test_half_an_answer_is_settled_by_what_was_counted(house: House, ending: str) -> None:
    await house.limit(REQUESTS, DAILY, AT_ONCE)
    house.engine.usual = Act(words=50, dies_after=2 if ending == "dies" else None)
    if ending == "dies":
        with pytest.raises(UpstreamFailed):
            await read(call())
    else:
        async with dispatch(call()) as flow:
            chunks = flow.chunks()
            await anext(chunks)
            await anext(chunks)
    # The prompt by its length, and two words.
    assert [await house.used(each) for each in (REQUESTS, DAILY, AT_ONCE)] == [1, 12, 0]
    (entry,) = house.spool.entries
    assert entry.prompt_tokens + entry.completion_tokens == 12


async def test_all_levels_hold_together_and_own_rules_stand_before_general_ones(house: House) -> None:
    everyone = Limit(Level.USER, "", Measure.REQUESTS_PER_MINUTE, 1)
    this_one = Limit(Level.USER, str(USER), Measure.REQUESTS_PER_MINUTE, 3)
    of_key = Limit(Level.KEY, str(KEY), Measure.REQUESTS_PER_MINUTE, 2)
    await house.limit(of_tenant(Measure.REQUESTS_PER_MINUTE, 10), everyone, this_one, of_key)
    for _ in range(2):
        await read(call())
    with pytest.raises(RateLimited, match="this key"):
        await read(call())
    assert await house.used(this_one) == 2
    other = Principal(TENANT, "acme", Role.MEMBER, user_id=uuid.UUID(int=77))
    await read(call(principal=other))
    with pytest.raises(RateLimited, match="this user"):
        await read(call(principal=other))


async def test_a_candidate_whose_own_limit_is_used_up_is_left_out(house: House) -> None:
    house.directory.show(
        (
            model_spec("cheap", replica_spec("r1", model="cheap"), input_price_nano=1),
            model_spec("dear", replica_spec("r2", model="dear"), input_price_nano=900),
        )
    )
    cheap = Limit(Level.MODEL, "cheap", Measure.REQUESTS_PER_MINUTE, 1)
    dear = Limit(Level.MODEL, "dear", Measure.REQUESTS_PER_MINUTE, 5)
    await house.limit(cheap, dear)
    chosen = []
    for _ in range(2):
        async with dispatch(call(model="auto")) as flow:
            chosen.append(flow.decision.model)
            assert [chunk async for chunk in flow.chunks()]
    assert chosen == ["cheap", "dear"]
    # What was reserved of the model that did not answer was given back.
    assert [await house.used(each) for each in (cheap, dear)] == [1, 1]
    with pytest.raises(RateLimited, match="this model"):
        await read(call(model="cheap"))


async def test_a_budget_that_holds_the_first_is_not_refused_for_a_dearer_one_that_may_stand_in(
    house: House,
) -> None:
    house.directory.show(
        (
            model_spec("cheap", replica_spec("r1", model="cheap"), input_price_nano=1, output_price_nano=1),
            model_spec("dear", replica_spec("r2", model="dear"), input_price_nano=900, output_price_nano=900),
        )
    )
    await house.limit(MONEY)
    async with dispatch(call(model="auto")) as flow:
        assert [chunk async for chunk in flow.chunks()]
        assert flow.decision.model == "cheap"
    # What the dear one might have cost is not held, and it cannot stand in.
    house.engine.script("r1", *[Act(error=EngineUnavailable("away"))] * 3)
    with pytest.raises(NoReplica):
        await read(call(model="auto"))
    with pytest.raises(QuotaExhausted):
        await read(call(model="dear"))


async def test_a_call_over_a_change_of_price_costs_what_it_did_when_it_was_accepted(house: House) -> None:
    clock = FrozenClock()
    at = clock.now() + timedelta(seconds=1)
    house.directory = ModelDirectory(clock=clock)
    backends.replace("model_directory", house.directory)
    dearer = (PlannedPrice(at, 200, 300),)
    house.directory.show((model_spec("tiny", replica_spec("r1"), planned=dearer),))
    await house.limit(MONEY)
    async with dispatch(call()) as flow:
        assert await house.used(MONEY) == 80
        chunks = flow.chunks()
        await anext(chunks)
        clock.advance(1)
        assert [chunk async for chunk in chunks]
    assert [entry.cost_nano for entry in house.spool.entries] == [23]
    assert await house.used(MONEY) == 23
    # The next one is held by the new price, which the budget does not bear.
    with pytest.raises(QuotaExhausted):
        await read(call())
    house.limits.set(TENANT)
    await read(call())
    assert [entry.cost_nano for entry in house.spool.entries] == [23, 2300]


async def test_over_the_concurrency_limit_calls_wait_in_line(house: House) -> None:
    await house.limit(AT_ONCE)
    house.engine.usual = Act(words=2, gap_s=0.01)
    order: list[int] = []

    async def one(number: int) -> None:
        await read(call())
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(6)))
    assert sum(house.engine.most_running.values()) <= 2
    assert max(house.engine.most_running.values()) == 1
    assert order == sorted(order)
    assert await house.used(AT_ONCE) == 0


async def test_a_call_that_waits_for_its_engine_does_not_count_as_running(house: House) -> None:
    """Two places; the first model's only slot is taken by another tenant, the second model is free."""
    house.directory.show(
        (
            model_spec("busy", replica_spec("b1", pool="b", model="busy", max_concurrency=1)),
            model_spec("free", replica_spec("f1", pool="f", model="free")),
        )
    )
    house.engine.script("b1", Act(words=1, first_s=0.4))
    stranger = Principal(uuid.UUID(int=99), "other", Role.MEMBER)
    blocker = asyncio.ensure_future(read(call(model="busy", principal=stranger)))
    await asyncio.sleep(0)
    await house.limit(AT_ONCE)
    waiting = asyncio.ensure_future(read(call(model="busy")))
    await asyncio.sleep(0.15)
    assert await house.used(AT_ONCE) == 0
    async with asyncio.timeout(0.2):
        await read(call(model="free"))
    assert not waiting.done()
    await asyncio.gather(blocker, waiting)
    assert await house.used(AT_ONCE) == 0


async def test_exactly_as_many_come_in_as_the_budget_admits(house: House) -> None:
    house.directory.show((model_spec("tiny", replica_spec("r1", max_concurrency=2000)),))
    budget = of_tenant(Measure.TOKENS_PER_MONTH, 30 * 40 + 29)
    await house.limit(budget)
    house.engine.usual = Act(first_s=0.3)
    outcomes = await asyncio.gather(*(read(call()) for _ in range(1000)), return_exceptions=True)
    assert sum(isinstance(each, QuotaExhausted) for each in outcomes) == 960
    assert sum(isinstance(each, int) for each in outcomes) == 40
    assert await house.used(budget) == 40 * 10


async def test_embeddings_are_limited_and_settled(house: House) -> None:
    house.directory.show((model_spec("tiny", replica_spec("r1"), kind=ModelKind.EMBEDDING),))
    await house.limit(DAILY)
    asked = call(surface=Surface.EMBEDDINGS, body={"input": ["hi"]}, max_tokens=0, stream=False)
    await embed(asked)
    assert await house.used(DAILY) == 4
    with pytest.raises(QuotaExhausted):
        await embed(call(surface=Surface.EMBEDDINGS, body={"input": ["hi"]}, prompt_chars=4000, stream=False))


async def test_soft_limits_only_warn(house: House) -> None:
    soft = of_tenant(Measure.TOKENS_PER_DAY, None, 35)
    await house.limit(soft)
    warnings = []
    for _ in range(3):
        async with dispatch(call()) as flow:
            assert flow.decision.allowance is not None
            warnings.append(flow.decision.allowance.warning)
            assert [chunk async for chunk in flow.chunks()]
    # 30 reserved; 10 used and 30 reserved; 20 and 30.
    assert warnings == ["", "tenant/tokens_per_day", "tenant/tokens_per_day"]


@pytest.mark.parametrize(
    ("asked", "prompt", "context", "expected"),
    [(0, 10, 0, 1024), (50, 10, 0, 50), (5000, 10, 100, 90), (10**9, 10, 0, 16_384), (0, 500, 100, 0)],
)
def test_an_answer_is_reckoned_with_the_least_of_what_is_asked_possible_and_the_cap(
    asked: int, prompt: int, context: int, expected: int
) -> None:
    assert estimate_answer(asked, prompt, context) == expected


async def test_a_call_that_passes_a_limit_of_every_user_leaves_a_note(house: House) -> None:
    every = Limit(Level.USER, "", Measure.TOKENS_PER_DAY, 1_000, soft=500)
    await house.limit(every)
    own = Limit(Level.USER, str(USER), Measure.TOKENS_PER_DAY, 1_000, soft=500, inherited=True)
    line = line_of(own, datetime.now(UTC), "UTC")
    noted = []
    for used in (400, 500, 1_000):
        seed = Seed(line, line.start_ms, used, int(datetime.now(UTC).timestamp() * 1000))
        await house.counters.seed(str(TENANT), [seed], replace=True)
        try:
            async with dispatch(call()) as flow:
                assert [chunk async for chunk in flow.chunks()]
        except QuotaExhausted:
            # Refused calls have seen it too.
            assert used == 1_000
        noted.append(dict(backends["limit_sightings"].take()))
    assert noted == [{}, {TENANT: {(Level.USER, str(USER))}}, {TENANT: {(Level.USER, str(USER))}}]
