"""Answers that were given before: who gets one, who never does, and how it is booked."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from fakes.engines import Act, RememberingSpool, ScriptedEngine, model_spec, replica_spec
from msgspec import structs

from inference.directory import ModelDirectory
from inference.types import Chunk, Completion, Surface, TokenUsage
from kernel.backends import backends
from kernel.errors import ModelNotFound, UpstreamFailed
from kernel.hops import Trail, on_trail
from routing.adapters.memory_answers import MemoryResponseCache
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.caching import MOST_ANSWER_BYTES, StreamRecord, worth_keeping
from routing.choice_types import CacheUse, Caching, KeyCaching, Policy, TenantPolicy
from routing.services import dispatch, remembering
from routing.services.memory import RoutingMemory
from routing.types import CacheWish, ModelCall, RoutingDecision
from substrate.aside import Aside
from tenants.types import Principal, Role, UsageState

ACME = Principal(uuid.UUID(int=7), "acme", Role.MEMBER, api_key_id=uuid.UUID(int=8))
BODY = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0}
PRICES = {"input_price_nano": 1000, "output_price_nano": 2000}
# Of 7 tokens read and 3 written.
FULL_PRICE = 13_000


@dataclass
class House:
    """The fakes that dispatch stands on."""

    engine: ScriptedEngine
    spool: RememberingSpool
    cache: MemoryResponseCache
    directory: ModelDirectory

    def show(self, **fields: Any) -> None:
        """The models that there are: `tiny`, whose answers may be kept, and `other`."""
        values = {"cache_seconds": 600, "cached_price_percent": 10, **PRICES, **fields}
        self.directory.show(
            (
                model_spec("tiny", replica_spec("r1"), **values),
                model_spec("other", replica_spec("r3", model="other"), **values),
            )
        )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House(ScriptedEngine(), RememberingSpool(), MemoryResponseCache(), ModelDirectory())
    backends.replace("engine.scripted", made.engine)
    backends.replace("usage_spool", made.spool)
    backends.replace("scheduler", MemoryScheduler(queue_limit=5))
    backends.replace("response_cache", made.cache)
    backends.replace("model_directory", made.directory)
    made.show()
    yield made
    await backends.close()


def call(**fields: Any) -> ModelCall:
    values: dict[str, Any] = {
        "principal": ACME,
        "surface": Surface.CHAT,
        "model": "tiny",
        "body": BODY,
        "prompt_chars": 40,
        "request_id": "request-1",
        "origin": "v1",
        "cache": CacheWish(),
    }
    return ModelCall(**{**values, **fields})


async def ask(asked: ModelCall, *, until_kept: bool = True) -> tuple[RoutingDecision, Completion]:
    async with dispatch(asked) as flow:
        told = flow.decision, await flow.completion()
    if until_kept:
        await backends["aside"].settled()
    return told


async def read(asked: ModelCall, *, until_kept: bool = True) -> tuple[RoutingDecision, list[Chunk]]:
    async with dispatch(asked) as flow:
        told = flow.decision, [chunk async for chunk in flow.chunks()]
    if until_kept:
        await backends["aside"].settled()
    return told


async def test_the_second_of_two_equal_calls_is_answered_without_an_engine(house: House) -> None:
    first, answer = await ask(call())
    second, again = await ask(call(request_id="request-2"))
    assert (first.cache, second.cache) == ("miss", "hit")
    assert (second.model, second.pool, second.replica) == (first.model, first.pool, first.replica)
    assert again == answer
    assert len(house.engine.calls) == 1


async def test_a_stream_is_given_again_with_the_same_events_and_its_usage(house: House) -> None:
    _, chunks = await read(call(stream=True))
    decision, again = await read(call(stream=True))
    assert decision.cache == "hit"
    assert [frame for chunk in again for frame in chunk.frames] == [
        frame for chunk in chunks for frame in chunk.frames
    ]
    assert "".join(chunk.text for chunk in again) == "w w w "
    assert again[-1].usage == TokenUsage(7, 3)
    assert again[-1].finish_reason == "stop"
    assert len(house.engine.calls) == 1


async def test_a_kept_answer_is_booked_once_as_such_for_its_part_of_the_price(house: House) -> None:
    await ask(call())
    await ask(call(request_id="request-2"))
    made, again = house.spool.entries
    assert (made.cached, made.cost_nano, made.replica) == (False, FULL_PRICE, "r1")
    assert (again.cached, again.cost_nano, again.replica) == (True, FULL_PRICE // 10, "")
    assert (again.request_id, again.state) == ("request-2", UsageState.COMPLETED)
    assert (again.prompt_tokens, again.completion_tokens) == (7, 3)


async def test_the_way_of_a_request_tells_what_was_saved(house: House) -> None:
    await ask(call())
    trail = Trail("v1", "request-2", "0" * 32)
    with on_trail(trail):
        await ask(call())
    (hop,) = [each for each in trail.hops if each[0] == "cache"]
    assert hop[3] == {
        "outcome": "hit",
        "model": "tiny",
        "saved_tokens": 10,
        "saved_nano": FULL_PRICE - FULL_PRICE // 10,
    }
    (settled,) = [each for each in trail.hops if each[0] == "settle"]
    assert settled[3]["prompt_tokens"] == 0


def schema(*names: str) -> dict[str, Any]:
    """The body of a call that asks for an object with these fields, in this order."""
    fields = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    return {
        **BODY,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": fields}},
    }


async def test_the_order_of_a_schemas_fields_matters(house: House) -> None:
    await ask(call(body=schema("reasoning", "answer")))
    decision, _ = await ask(call(body=schema("answer", "reasoning")))
    assert decision.cache == "miss"


@pytest.mark.parametrize("several", [{"n": 2}, {"best_of": 3}])
async def test_of_several_answers_at_once_none_is_kept(house: House, several: dict[str, int]) -> None:
    asked = call(body={**BODY, **several})
    await ask(asked)
    decision, _ = await ask(asked)
    assert decision.cache == "off"


async def test_a_shorter_time_holds_for_what_is_kept_already(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(call())
    later = remembering._now() + 120
    monkeypatch.setattr(remembering, "_now", lambda: later)
    assert (await ask(call()))[0].cache == "hit"
    house.show(cache_seconds=60)
    assert (await ask(call()))[0].cache == "miss"


async def test_what_one_caller_takes_at_most_does_not_shorten_it_for_others(house: House) -> None:
    await ask(call(cache=CacheWish(age_s=1)))
    ((_, until),) = house.cache._kept.values()
    assert until > house.cache._clock.monotonic() + 60


async def test_a_kept_answer_earns_no_retry(house: House) -> None:
    await ask(call())
    memory: RoutingMemory = backends["routing_memory"]
    assert memory.budget.take()
    left = memory.budget._left
    await ask(call())
    assert memory.budget._left == left


OTHERS: dict[str, dict[str, Any]] = {
    "another tenant": {"principal": Principal(uuid.UUID(int=9), "evil", Role.MEMBER)},
    "another model": {"model": "other"},
    "another question": {"body": {**BODY, "messages": [{"role": "user", "content": "ho"}]}},
    "another role": {"body": {**BODY, "messages": [{"role": "system", "content": "hi"}]}},
    "another length": {"body": {**BODY, "max_tokens": 5}},
    "a field that we do not know": {"body": {**BODY, "top_k": 1}},
    "another surface": {"surface": Surface.COMPLETIONS, "body": {"prompt": "hi", "temperature": 0}},
    "a caller that wants a fresh one": {"cache": CacheWish(read=False)},
    "a caller that wants a fresher one": {"cache": CacheWish(age_s=0)},
    "a caller that wants none kept": {"cache": CacheWish(read=False, keep=False)},
    "an assistant": {"cache": None},
}


@pytest.mark.parametrize("name", OTHERS)
async def test_nobody_gets_what_was_said_to_another_call(house: House, name: str) -> None:
    await ask(call())
    decision, _ = await ask(call(**OTHERS[name]))
    assert decision.cache != "hit"
    assert len(house.engine.calls) == 2


async def test_the_order_of_fields_does_not_matter(house: House) -> None:
    await ask(call())
    decision, _ = await ask(call(body=dict(reversed(BODY.items()))))
    assert decision.cache == "hit"


async def test_who_may_no_longer_use_the_model_gets_none_of_its_answers(house: House) -> None:
    await ask(call())
    house.show(tenants=frozenset({uuid.UUID(int=1)}))
    with pytest.raises(ModelNotFound):
        await ask(call())


async def test_engines_of_another_name_are_asked_anew(house: House) -> None:
    await ask(call())
    house.directory.show(
        (model_spec("tiny", replica_spec("r1", served_name="tiny-v2"), cache_seconds=600, **PRICES),)
    )
    decision, _ = await ask(call())
    assert decision.cache == "miss"


@pytest.mark.parametrize(
    ("body", "wish", "kept"),
    [
        ({"temperature": 0}, CacheWish(), True),
        ({"temperature": 0.0}, CacheWish(), True),
        ({"temperature": 1, "seed": 5}, CacheWish(), True),
        ({}, CacheWish(), False),
        ({"temperature": 0.7}, CacheWish(), False),
        ({"temperature": 0.7}, CacheWish(age_s=60), True),
    ],
)
async def test_what_may_come_out_differently_is_kept_only_when_the_caller_says_so(
    house: House, body: dict[str, Any], wish: CacheWish, kept: bool
) -> None:
    asked = call(body={"messages": BODY["messages"], **body}, cache=wish)
    await ask(asked)
    decision, _ = await ask(asked)
    assert decision.cache == ("hit" if kept else "off")


async def test_nothing_is_kept_of_a_model_whose_operators_did_not_allow_it(house: House) -> None:
    house.show(cache_seconds=0)
    await ask(call(cache=CacheWish(age_s=60)))
    decision, _ = await ask(call(cache=CacheWish(age_s=60)))
    assert decision.cache == "off"


async def test_a_stream_that_was_left_or_died_is_not_kept(house: House) -> None:
    async with dispatch(call(stream=True)) as flow:
        async for _ in flow.chunks():
            break
    house.engine.script("r1", Act(words=3, dies_after=2))
    with pytest.raises(UpstreamFailed):
        await read(call(stream=True))
    decision, _ = await read(call(stream=True))
    assert decision.cache == "miss"
    assert len(house.engine.calls) == 3


async def test_a_stream_without_known_usage_is_not_kept(house: House) -> None:
    house.engine.script("r1", Act(usage=False))
    await read(call(stream=True))
    decision, _ = await read(call(stream=True))
    assert decision.cache == "miss"


async def test_a_damaged_entry_is_a_miss(house: House) -> None:
    await ask(call())
    for name, (_, until) in list(house.cache._kept.items()):
        house.cache._kept[name] = b"\x93rubbish", until
    decision, _ = await ask(call())
    assert decision.cache == "miss"


def test_a_stream_that_is_too_long_is_let_go() -> None:
    record = StreamRecord()
    record.take(Chunk([b"x" * 100], text="x"))
    record.take(Chunk([b"x" * MOST_ANSWER_BYTES], text="x", finish_reason="stop"))
    assert not record.whole
    assert record.frames == []


def test_only_what_ended_by_itself_is_worth_keeping() -> None:
    usage = TokenUsage(1, 1)
    assert worth_keeping("stop", usage)
    assert not worth_keeping("content_filter", usage)
    assert not worth_keeping(None, usage)
    assert not worth_keeping("stop", TokenUsage(1, 1, estimated=True))
    assert not worth_keeping("stop", None)


async def test_an_answer_does_not_wait_until_it_is_kept(house: House) -> None:
    """Neither a cache that hangs nor one that breaks is seen by who asks; what is too much at once is dropped."""

    class Slow(MemoryResponseCache):
        begun = 0

        async def put(self, tenant: str, key: str, value: bytes, seconds: int) -> None:
            self.begun += 1
            await asyncio.Event().wait()

    slow = Slow()
    backends.replace("response_cache", slow)
    backends.replace("aside", Aside(limit=2))
    async with asyncio.timeout(5):
        for number in range(4):
            await read(call(stream=True, body={**BODY, "seed": number}), until_kept=False)
            await ask(call(body={**BODY, "seed": number}), until_kept=False)
    assert slow.begun == 2
    assert backends["aside"].dropped == 6


async def test_work_aside_that_fails_is_told_and_ended_work_is_waited_for_a_moment() -> None:
    aside, done = Aside(), []

    async def fail() -> None:
        raise ValueError("broken")

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(1)

    assert aside.do("fail", fail())
    assert aside.do("work", work())
    await aside.close()
    assert done == [1]


class Said:
    """The policies of tenants, in memory."""

    def __init__(self, caching: Caching) -> None:
        self.policy = TenantPolicy(Policy(caching=caching), "UTC")

    def has(self, tenant_id: uuid.UUID) -> bool:
        return tenant_id == ACME.tenant_id

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy:
        return self.policy


def say(use: CacheUse, **keys: CacheUse) -> None:
    """The tenant's word, and that of keys `k8`, …: their numbers."""
    named = tuple(KeyCaching(str(uuid.UUID(int=int(name[1:]))), each) for name, each in keys.items())
    backends.replace("choice_directory", Said(Caching(use, named)))


async def test_what_the_tenant_declines_is_neither_kept_nor_given(house: House) -> None:
    await ask(call())
    say(CacheUse.NEVER)
    trail = Trail("v1", "request-1", "0" * 32)
    with on_trail(trail):
        decision, _ = await ask(call(cache=CacheWish(age_s=600)))
    assert decision.cache == "off"
    assert {"outcome": "declined", "said_by": "tenant"} in [hop[3] for hop in trail.hops if hop[0] == "cache"]
    # Another tenant's word is its own.
    other = Principal(uuid.UUID(int=9), "other", Role.MEMBER)
    assert [(await ask(call(principal=other)))[0].cache for _ in range(2)] == ["miss", "hit"]
    # What was said again, and nothing that was asked meanwhile, is kept.
    say(CacheUse.ASKED)
    assert (await ask(call()))[0].cache == "hit"
    assert len(house.engine.calls) == 3


async def test_what_is_said_of_a_key_stands_before_what_is_said_of_all(house: House) -> None:
    say(CacheUse.NEVER, k8=CacheUse.ASKED)
    assert [(await ask(call()))[0].cache for _ in range(2)] == ["miss", "hit"]
    say(CacheUse.ASKED, k8=CacheUse.NEVER)
    assert (await ask(call()))[0].cache == "off"
    person = Principal(ACME.tenant_id, "acme", Role.MEMBER, user_id=uuid.UUID(int=8))
    assert (await ask(call(principal=person)))[0].cache == "hit"


async def test_always_is_for_every_call_whose_model_allows_it(house: House) -> None:
    warm = call(body={"messages": BODY["messages"], "temperature": 0.7})
    assert [(await ask(warm))[0].cache for _ in range(2)] == ["off", "off"]
    say(CacheUse.ALWAYS)
    assert [(await ask(warm))[0].cache for _ in range(2)] == ["miss", "hit"]
    # A caller who wants a fresh one gets it, and an age that it names holds.
    assert (await ask(structs.replace(warm, cache=CacheWish(read=False))))[0].cache == "miss"
    house.show(cache_seconds=0)
    assert (await ask(warm))[0].cache == "off"
