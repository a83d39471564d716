"""A light model first, a heavy one when it is not sure: what is shown, what is booked, and what an engine is asked."""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from fakes.engine_server import Behaviour, EngineServer
from fakes.engines import RememberingSpool, model_spec, replica_spec
from fakes.limits import KnownLimits, of_tenant

from inference.directory import ModelDirectory
from inference.types import Surface, Tier
from kernel.backends import backends
from kernel.hops import Trail, on_trail
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.cascade import LEAST_LOGPROB, Measured, asking, measurable, without_logprobs
from routing.choice_types import Cascade, Policy, Rule, TenantPolicy, Use
from routing.services import cascading, dispatch, explain_call
from routing.services.memory import RoutingMemory
from routing.types import ModelCall, RoutingDecision
from tenants.adapters.memory_counters import MemoryCounters
from tenants.limit_types import Measure, Seed
from tenants.planning import line_of
from tenants.types import Principal, Role, UsageState

WHO = Principal(uuid.UUID(int=7), "acme", Role.MEMBER, api_key_id=uuid.UUID(int=8))
SURE, UNSURE = Behaviour(words=20, probability=0.9), Behaviour(words=20, probability=0.2)
HEAVY = Behaviour(text="the heavy answer", probability=0.99)
PRICES = {"input_price_nano": 100, "output_price_nano": 1000}


class Said:
    """What the tenant says."""

    def __init__(self, **fields: Any) -> None:
        self.policy = TenantPolicy(Policy(**{"cascade": Cascade(tokens=8), **fields}), "UTC")

    def has(self, tenant_id: uuid.UUID) -> bool:
        return tenant_id == WHO.tenant_id

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy:
        return self.policy


class House:
    """A light and a heavy model, each with one engine."""

    def __init__(self, light: EngineServer, heavy: EngineServer) -> None:
        self.light, self.heavy = light, heavy
        self.spool = RememberingSpool()
        self.scheduler = MemoryScheduler(queue_limit=5)
        self.directory = ModelDirectory()
        self.trail = Trail("v1", "request-1", "0" * 32)
        backends.replace("usage_spool", self.spool)
        backends.replace("scheduler", self.scheduler)
        backends.replace("model_directory", self.directory)
        backends.replace("routing_memory", RoutingMemory(chance=lambda: 0.5))
        backends.replace("choice_directory", Said())
        self.show()

    def show(self, **light: Any) -> None:
        """Both models; `light` are fields of the light one's replica."""
        self.directory.show(
            (
                model_spec("small", self._replica("small", self.light, **light), **PRICES),
                model_spec("large", self._replica("large", self.heavy), tier=Tier.HEAVY, **PRICES),
            )
        )

    def _replica(self, model: str, engine: EngineServer, **fields: Any) -> Any:
        values = {"model": model, "pool": model, "engine": "openai", "url": engine.url, "served_name": "tiny"}
        return replica_spec(f"r-{model}", **{**values, **fields})

    async def stream(self, asked: ModelCall) -> tuple[RoutingDecision, str, list[dict[str, Any]]]:
        """Where it went, its text, its events."""
        with on_trail(self.trail):
            async with dispatch(asked) as flow:
                chunks = [chunk async for chunk in flow.chunks()]
        frames = [orjson.loads(frame) for chunk in chunks for frame in chunk.frames]
        return flow.decision, "".join(chunk.text for chunk in chunks), frames

    def way(self) -> dict[str, Any]:
        """What the way says of the last cascade."""
        return dict([hop[3] for hop in self.trail.hops if hop[0] == "cascade"][-1])

    async def idle(self) -> bool:
        both = [await self.scheduler.snapshot(pool) for pool in ("small", "large")]
        return not any(each.running or each.waiting for each in both)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with EngineServer(SURE) as light, EngineServer(HEAVY) as heavy:
        yield House(light, heavy)
        await backends.close()


def call(**fields: Any) -> ModelCall:
    values: dict[str, Any] = {
        "principal": WHO,
        "surface": Surface.CHAT,
        "model": "auto",
        "body": {"messages": [{"role": "user", "content": "hi"}]},
        "prompt_chars": 40,
        "request_id": "request-1",
        "origin": "v1",
        "stream": True,
    }
    return ModelCall(**{**values, **fields})


WHOLE = "".join(f"word{number} " for number in range(20))


async def test_a_sure_light_answer_is_shown_whole_and_without_probabilities(house: House) -> None:
    decision, text, frames = await house.stream(call())
    assert (decision.model, text) == ("small", WHOLE)
    assert "confidence 0.90 ≥ 0.50" in decision.reason
    assert all(choice["logprobs"] is None for frame in frames for choice in frame["choices"])
    assert house.light.requests[0].body["logprobs"] is True
    assert house.heavy.started == 0
    (entry,) = house.spool.entries
    assert (entry.model, entry.completion_tokens, entry.state) == ("small", 20, UsageState.COMPLETED)
    way = house.way()
    assert (way["outcome"], way["light"], way["heavy"]) == ("kept", "small", "large")
    assert (way["confidence"], way["below"]) == (0.9, 0.5)
    assert 8 <= way["tokens"] <= 20
    assert 0 <= way["added_ms"] < 1000
    assert await house.idle()


async def test_an_unsure_one_is_never_shown_and_both_are_booked(house: House) -> None:
    house.light.behaviour = replace_behaviour(UNSURE, gap_s=0.01, words=400)
    decision, text, frames = await house.stream(call())
    assert (decision.model, text) == ("large", "the heavy answer ")
    assert "confidence 0.20 < 0.50" in decision.reason
    assert "word" not in str(frames)
    assert "logprobs" not in house.heavy.requests[0].body
    # The light engine was stopped, long before its end.
    await house.light.until_idle()
    light, heavy = house.spool.entries
    assert (light.model, light.state, light.error) == ("small", UsageState.CANCELLED, "escalated")
    assert 8 <= light.completion_tokens < 60
    assert light.cost_nano == light.prompt_tokens * 100 + light.completion_tokens * 1000
    assert (heavy.model, heavy.state, heavy.completion_tokens) == ("large", UsageState.COMPLETED, 3)
    assert light.request_id == heavy.request_id
    assert light.record_id != heavy.record_id
    assert house.way()["outcome"] == "escalated"
    settled = [hop[3]["model"] for hop in house.trail.hops if hop[0] == "settle"]
    assert settled == ["small", "large"]
    assert await house.idle()


def replace_behaviour(how: Behaviour, **fields: Any) -> Behaviour:
    """The behaviour with other fields."""
    return Behaviour(**{**vars(how), **fields})


@pytest.mark.parametrize("behaviour", [SURE, UNSURE])
async def test_an_answer_that_is_not_streamed(house: House, behaviour: Behaviour) -> None:
    house.light.behaviour = behaviour
    async with dispatch(call(stream=False)) as flow:
        answer = await flow.completion()
    unsure = behaviour is UNSURE
    assert flow.decision.model == ("large" if unsure else "small")
    assert answer.text == ("the heavy answer " if unsure else WHOLE)
    assert orjson.loads(answer.body)["choices"][0]["logprobs"] is None
    # The whole light answer was made, and is paid.
    assert [(each.model, each.completion_tokens) for each in house.spool.entries] == (
        [("small", 20), ("large", 3)] if unsure else [("small", 20)]
    )
    assert await house.idle()


async def test_completions_are_measured_too(house: House) -> None:
    house.light.behaviour = UNSURE
    body = {"prompt": "Once"}
    decision, text, _ = await house.stream(call(surface=Surface.COMPLETIONS, body=body))
    assert (decision.model, text) == ("large", "the heavy answer ")
    assert house.light.requests[0].body["logprobs"] == 0


async def test_who_asks_for_probabilities_keeps_them(house: House) -> None:
    body = {**call().body, "logprobs": True}
    _, _, frames = await house.stream(call(body=body))
    told = [choice["logprobs"] for frame in frames for choice in frame["choices"] if choice["logprobs"]]
    assert len(told) == 20
    async with dispatch(call(stream=False, body=body)) as flow:
        whole = orjson.loads((await flow.completion()).body)
    assert len(whole["choices"][0]["logprobs"]["content"]) == 20


async def test_an_engine_that_tells_none_is_not_waited_for(house: House) -> None:
    house.light.behaviour = replace_behaviour(SURE, probability=None, gap_s=0.01)
    decision, text, _ = await house.stream(call())
    assert (decision.model, text) == ("small", WHOLE)
    assert house.way()["outcome"] == "unknown"
    assert house.way()["tokens"] <= 2


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"guided_choice": ["a", "b"]},
        {"structured_outputs": {"regex": "a+"}},
    ],
)
async def test_calls_that_are_answered_in_one_step(house: House, fields: dict[str, Any]) -> None:
    house.light.behaviour = UNSURE
    decision, _, _ = await house.stream(call(body={**call().body, **fields}))
    assert decision.model == "small"
    assert "logprobs" not in house.light.requests[0].body
    assert house.heavy.started == 0


async def test_who_named_a_model_or_has_a_rule_has_decided(house: House) -> None:
    house.light.behaviour = UNSURE
    assert (await house.stream(call(model="small")))[0].model == "small"
    backends.replace("choice_directory", Said(rules=(Rule("all", Use.LIGHT),)))
    assert (await house.stream(call()))[0].model == "small"
    # Other endpoints may refuse to be asked.
    backends.replace("choice_directory", Said())
    house.show(vllm=False)
    assert (await house.stream(call()))[0].model == "small"
    assert all("logprobs" not in each.body for each in house.light.requests)


async def test_while_no_heavy_model_is_there_the_light_one_answers(house: House) -> None:
    house.light.behaviour = UNSURE
    await house.heavy.stop()
    decision, text, _ = await house.stream(call())
    # It was not known that it is away: the light one was asked again.
    assert (decision.model, text) == ("small", WHOLE)
    assert [each.error for each in house.spool.entries] == ["escalated", ""]
    assert await house.idle()


async def test_a_light_model_that_dies_meanwhile_is_followed_by_the_heavy_one(house: House) -> None:
    house.light.behaviour = replace_behaviour(SURE, die_after=3, gap_s=0.01)
    decision, text, frames = await house.stream(call())
    assert (decision.model, text) == ("large", "the heavy answer ")
    assert "word" not in str(frames)
    assert house.way()["outcome"] == "failed"
    assert house.spool.entries[0].completion_tokens == 3
    assert await house.idle()


async def test_a_light_model_that_cannot_be_reached_is_passed_over(house: House) -> None:
    await house.light.stop()
    decision, text, _ = await house.stream(call())
    assert (decision.model, text) == ("large", "the heavy answer ")
    assert [each.model for each in house.spool.entries] == ["large"]


async def test_tokens_are_held_for_a_time_at_most(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascading, "HOLD_S", 0.2)
    house.light.behaviour = Behaviour(words=6, probability=0.9, gap_s=0.15)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with dispatch(call()) as flow:
        assert loop.time() - began < 0.6
        chunks = [chunk async for chunk in flow.chunks()]
    # The one that was waited for when the time was over is not lost.
    assert "".join(chunk.text for chunk in chunks) == "".join(f"word{number} " for number in range(6))
    assert house.spool.entries[0].completion_tokens == 6


@pytest.mark.parametrize("entered", [False, True])
async def test_who_leaves_pays_for_what_was_made_and_stops_the_engine(
    house: House, monkeypatch: pytest.MonkeyPatch, entered: bool
) -> None:
    monkeypatch.setattr(cascading, "HOLD_S", 0.1 if entered else 5.0)
    house.light.behaviour = Behaviour(endless=True, gap_s=0.2, probability=0.9)
    reached = asyncio.Event()

    async def ask() -> None:
        async with dispatch(call()):
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(ask())
    await asyncio.wait_for(reached.wait(), 5) if entered else await asyncio.sleep(0.5)
    assert reached.is_set() is entered
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await house.light.until_idle()
    (entry,) = house.spool.entries
    assert (entry.model, entry.state) == ("small", UsageState.CANCELLED)
    assert entry.prompt_tokens > 0
    assert await house.idle()


async def test_a_share_of_the_tenants_own_calls_escalates(house: House) -> None:
    """Whatever the model's confidence means: 30 % means 30 %, once the tenant's calls are known."""
    backends.replace("choice_directory", Said(cascade=Cascade(tokens=4, escalate_percent=30)))
    step, escalated = 0.0, 0
    for number in range(400):
        # Between 0.90 and 0.99, in an order that is none.
        step = (step + 0.618034) % 1
        house.light.behaviour = Behaviour(words=4, probability=0.9 + 0.09 * step)
        async with dispatch(call(stream=False)) as flow:
            await flow.completion()
        escalated += number >= 200 and flow.decision.model == "large"
    assert 50 <= escalated <= 70, escalated


async def test_it_is_explained_without_being_done(house: House) -> None:
    told = (await explain_call(call())).cascade
    assert told is not None
    assert (told.light, told.heavy, told.tokens, told.below) == ("small", "large", 8, 0.5)
    assert (await explain_call(call(model="small"))).cascade is None
    assert house.light.started == 0


class TestThePureRule:
    def test_the_mean_is_geometric_and_of_the_first_tokens(self) -> None:
        measured = Measured(3)
        frame = {"choices": [{"logprobs": {"content": [{"logprob": math.log(p)} for p in (0.5, 0.125)]}}]}
        measured.take([orjson.dumps(frame)] * 2)
        assert measured.full
        assert measured.confidence == pytest.approx((0.5 * 0.125 * 0.5) ** (1 / 3))

    def test_what_is_impossible_does_not_decide_for_all(self) -> None:
        measured = Measured(8)
        values = [-9999.0, *[0.0] * 7]
        measured.take([orjson.dumps({"choices": [{"logprobs": {"token_logprobs": values}}]})])
        assert measured.confidence == pytest.approx(math.exp(LEAST_LOGPROB / 8))

    @pytest.mark.parametrize(
        "raw", [b"", b"{", b"[]", b'{"choices":[]}', b'{"choices":[{"logprobs":3}]}', b'{"choices":[null]}',
                b'{"choices":[{"logprobs":{"content":[{}]}}]}', b'{"choices":[{"logprobs":{"content":[{"logprob":"x"}]}}]}']
    )  # fmt: skip
    def test_rubbish_tells_nothing(self, raw: bytes) -> None:
        measured = Measured(4)
        measured.take([raw])
        assert measured.confidence is None
        without_logprobs(raw)

    def test_a_text_that_speaks_of_them_stays_as_it_is(self) -> None:
        raw = orjson.dumps({"choices": [{"delta": {"content": '"logprobs": 3'}, "logprobs": None}]})
        assert without_logprobs(raw) is raw

    def test_what_the_caller_asked_for_is_not_changed(self) -> None:
        body = {"prompt": "x", "logprobs": 3}
        assert asking(Surface.COMPLETIONS, body) is body
        assert asking(Surface.CHAT, {"messages": [], "logprobs": False})["logprobs"] is True
        assert not measurable(Surface.COMPLETIONS, {"prompt": ["a", "b"]})
        assert not measurable(Surface.EMBEDDINGS, {})
        assert measurable(Surface.CHAT, {"messages": [], "response_format": {"type": "text"}})


async def test_limits_count_both_attempts(house: House) -> None:
    limits, counters = KnownLimits(), MemoryCounters()
    backends.replace("limit_directory", limits)
    backends.replace("counters", counters)
    measures = (Measure.TOKENS_PER_DAY, Measure.MONEY_PER_MONTH)
    limits.set(WHO.tenant_id, *(of_tenant(each, 10**12) for each in measures))
    now = datetime.now(UTC)
    lines = [line_of(of_tenant(each, 10**12), now, "UTC") for each in measures]
    seeds = [Seed(line, line.start_ms, 0, int(now.timestamp() * 1000)) for line in lines]
    await counters.seed(str(WHO.tenant_id), seeds, replace=True)
    house.light.behaviour = UNSURE
    await house.stream(call(max_tokens=20))
    light, heavy = house.spool.entries
    used = [each.used for each in await counters.read(str(WHO.tenant_id), lines)]
    tokens = sum(each.prompt_tokens + each.completion_tokens for each in (light, heavy))
    assert used == [tokens, light.cost_nano + heavy.cost_nano]
