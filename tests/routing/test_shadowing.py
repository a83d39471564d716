"""Copies of answered calls: what they may cost the call that they copy (nothing), and what is kept of them (numbers)."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.engine_server import Behaviour, EngineServer
from fakes.engines import RememberingSpool, model_spec, replica_spec
from fakes.limits import KnownLimits, of_tenant

from inference.directory import ModelDirectory
from inference.types import Surface
from kernel.backends import backends
from kernel.errors import UpstreamFailed
from kernel.hops import Hop, Trail, on_trail
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.choice_types import Chain, Policy, Shadow, TenantPolicy
from routing.services import close_copies, copying, dispatch
from routing.services.copying import ProcessCopies, copy_of
from routing.services.memory import RoutingMemory
from routing.types import CacheWish, ModelCall
from substrate.aside import Aside
from tenants.adapters.memory_counters import MemoryCounters
from tenants.limit_types import Limit, Measure, Seed
from tenants.planning import line_of
from tenants.spooling import encode_entry
from tenants.types import PairEntry, PairState, Principal, PriorityClass, Role, UsageEntry, UsageState

WHO = Principal(
    uuid.UUID(int=7),
    "acme",
    Role.MEMBER,
    user_id=uuid.UUID(int=9),
    api_key_id=uuid.UUID(int=8),
    group_ids=frozenset({uuid.UUID(int=10)}),
)
OTHER = Principal(uuid.UUID(int=70), "other", Role.MEMBER, api_key_id=uuid.UUID(int=80))
PRICES = {"input_price_nano": 100, "output_price_nano": 1000}
SECRET = "the cat sat on the mat"


class Said:
    """What tenants say: the first one copies calls of `small` to `large`."""

    def __init__(self, percent: int = 100, **fields: Any) -> None:
        shadows = (Shadow("small", "large", percent),) if percent else ()
        self.policy = TenantPolicy(Policy(shadows=shadows, **fields), "UTC")

    def has(self, tenant_id: uuid.UUID) -> bool:
        return tenant_id == WHO.tenant_id

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy:
        return self.policy


class Metered:
    """Meters that remember."""

    def __init__(self) -> None:
        self.trails: list[Trail] = []
        self.hops: list[Hop] = []

    def finished(self, trail: Trail) -> None:
        self.trails.append(trail)
        self.hops += trail.hops

    def passed(self, hop: Hop) -> None:
        self.hops.append(hop)

    def level(self, name: str, change: int) -> None:
        """Not asked."""

    def outcomes(self) -> list[object]:
        """What became of copies."""
        return [facts["outcome"] for name, _, _, facts in self.hops if name == "shadow"]


class House:
    """A model that is asked, `small`, and one that is not yet, `large`; each with one engine."""

    def __init__(self, small: EngineServer, large: EngineServer) -> None:
        self.small, self.large = small, large
        self.spool, self.meters = RememberingSpool(), Metered()
        self.scheduler = MemoryScheduler(queue_limit=20)
        self.directory, self.copies = ModelDirectory(), ProcessCopies()
        self.memory = RoutingMemory(chance=lambda: 0.5)
        self.aside = Aside()
        for name, instance in (
            ("usage_spool", self.spool),
            ("meters", self.meters),
            ("scheduler", self.scheduler),
            ("model_directory", self.directory),
            ("copies", self.copies),
            ("aside", self.aside),
            ("routing_memory", self.memory),
            ("choice_directory", Said()),
        ):
            backends.replace(name, instance)
        self.show()

    def show(self, **large: Any) -> None:
        """Both models; `large` are fields of the one that copies go to."""
        self.directory.show(
            (
                model_spec("small", self._replica("small", self.small), **PRICES),
                model_spec("large", self._replica("large", self.large), **{**PRICES, **large}),
            )
        )

    def _replica(self, model: str, engine: EngineServer) -> Any:
        return replica_spec(
            f"r-{model}", model=model, pool=model, engine="openai", url=engine.url, served_name="tiny",
            max_concurrency=4,
        )  # fmt: skip

    async def ask(self, asked: ModelCall) -> str:
        """The text of the answer, when it is there."""
        with on_trail(Trail("v1", "request-1", "0" * 32)):
            async with dispatch(asked) as flow:
                if not asked.stream:
                    return (await flow.completion()).text
                return "".join([chunk.text async for chunk in flow.chunks()])

    async def compared(self, asked: ModelCall) -> PairEntry:
        """The comparison that a call has led to."""
        await self.ask(asked)
        await self.copies.settled()
        (pair,) = self.pairs
        return pair

    @property
    def pairs(self) -> list[PairEntry]:
        return [each for each in self.spool.entries if isinstance(each, PairEntry)]

    @property
    def usage(self) -> list[UsageEntry]:
        return [each for each in self.spool.entries if isinstance(each, UsageEntry)]

    async def idle(self) -> bool:
        both = [await self.scheduler.snapshot(pool) for pool in ("small", "large")]
        return not any(sum(each.running.values()) or each.waiting for each in both)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    first, second = Behaviour(text=SECRET), Behaviour(text="the cat sat on a rug", first_byte_s=0.05)
    async with EngineServer(first) as small, EngineServer(second) as large:
        house = House(small, large)
        yield house
        await house.copies.close()
        await backends.close()


def call(**fields: Any) -> ModelCall:
    values: dict[str, Any] = {
        "principal": WHO,
        "surface": Surface.CHAT,
        "model": "small",
        "body": {"messages": [{"role": "user", "content": "hi"}], "seed": 7},
        "prompt_chars": 40,
        "request_id": "request-1",
        "origin": "v1",
        "stream": True,
    }
    return ModelCall(**{**values, **fields})


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answered_call_is_asked_of_the_other_model_and_compared(house: House, stream: bool) -> None:
    pair = await house.compared(call(stream=stream))
    assert (pair.model, pair.shadow, pair.state, pair.error) == ("small", "large", PairState.COMPARED, "")
    assert (pair.tenant_id, pair.stream, pair.same) == (WHO.tenant_id, stream, False)
    # Four of six words: the, cat, sat, on.
    assert pair.agreement == pytest.approx(2 * 4 / 12)
    assert (pair.answered.finish_reason, pair.copied.finish_reason) == ("stop", "stop")
    mine, copied = house.usage
    assert (mine.origin, mine.model, mine.user_id) == ("v1", "small", WHO.user_id)
    assert (copied.origin, copied.model, copied.state) == ("shadow", "large", UsageState.COMPLETED)
    assert (copied.user_id, copied.api_key_id, copied.assistant) == (None, None, "")
    assert copied.tenant_id == WHO.tenant_id
    assert (pair.copied.cost_nano, pair.copied.completion_tokens) == (copied.cost_nano, 6)
    assert (pair.answered.cost_nano, pair.answered.prompt_tokens) == (mine.cost_nano, mine.prompt_tokens)
    assert pair.copied.total_ms >= 50
    assert (pair.copied.first_ms >= 50) is stream
    assert await house.idle()


async def test_the_same_question_is_asked_in_the_least_class(house: House) -> None:
    await house.compared(call(priority=PriorityClass.INTERACTIVE))
    (first,), (second,) = house.small.requests, house.large.requests
    assert second.body["messages"] == first.body["messages"]
    assert second.body["seed"] == 7
    asked = copy_of(call(assistant="guide", conversation="c"), "large", uuid.UUID(int=1))
    assert (asked.priority, asked.assistant, asked.conversation) == (PriorityClass.BATCH, "", "")
    assert (asked.principal.sharer, asked.principal.group_ids) == ("", frozenset())
    assert asked.principal.closed == WHO.closed
    assert asked.request_id == str(uuid.UUID(int=1))


async def test_no_text_is_kept_and_its_way_is_its_own(house: House) -> None:
    trail = Trail("v1", "request-1", "0" * 32)
    with on_trail(trail):
        async with dispatch(call()) as flow:
            chunks = [chunk async for chunk in flow.chunks()]
    await house.copies.settled()
    assert "".join(chunk.text for chunk in chunks).strip() == SECRET
    assert b"cat" not in b"".join(encode_entry(each) for each in house.spool.entries)
    assert {hop[3].get("model") for hop in trail.hops} <= {None, "small"}
    (own,) = house.meters.trails
    assert (own.door, own.route, own.state) == ("job", "shadow", "completed")
    assert own.request_id != "request-1"
    assert house.meters.outcomes() == ["compared"]


async def test_the_share_is_drawn_for_each_call(house: House) -> None:
    backends.replace("choice_directory", Said(percent=30))
    draws = iter([0.29, 0.30, 0.0, 0.99])
    house.memory.chance = lambda: next(draws)
    for _ in range(4):
        await house.ask(call(stream=False))
        await house.copies.settled()
    assert (len(house.pairs), house.large.started) == (2, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"body": {"messages": [], "n": 2}},
        {"surface": Surface.COMPLETIONS, "body": {"prompt": ["a", "b"]}},
        {"surface": Surface.COMPLETIONS, "body": {"prompt": "a", "echo": True}},
        {"model": "large"},
        {"principal": OTHER},
    ],
)
async def test_what_is_not_copied(house: House, fields: dict[str, Any]) -> None:
    await house.ask(call(stream=False, **fields))
    await house.copies.settled()
    assert house.pairs == []
    assert len(house.usage) == 1


async def test_calls_with_tools_are_compared_by_their_figures(house: House) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    pair = await house.compared(call(body={"messages": [], "tools": tools}))
    assert pair.state is PairState.COMPARED
    assert "tools" in house.large.requests[0].body


async def test_an_answer_that_was_given_before_is_not_copied(house: House) -> None:
    cached = {"cache_seconds": 60}
    house.directory.show(
        (
            model_spec("small", house._replica("small", house.small), **PRICES, **cached),
            model_spec("large", house._replica("large", house.large), **PRICES, **cached),
        )
    )
    for _ in range(2):
        await house.ask(call(stream=False, cache=CacheWish(age_s=60)))
        await backends["aside"].settled()
        await house.copies.settled()
    assert house.small.started == 1
    # One copy of the one answer that was made, and it was neither looked up nor kept itself.
    assert (len(house.pairs), house.large.started) == (1, 1)


class TestTheCallItCopiesIsUntouched:
    async def test_when_the_copy_hangs(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(copying, "COPY_FIRST_S", 1.5)
        house.large.behaviour = Behaviour(hang=True)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await house.ask(call())).strip() == SECRET
        assert loop.time() - began < 1.2
        await house.copies.settled()
        (pair,) = house.pairs
        assert (pair.state, pair.error) == (PairState.FAILED, "too_slow")
        assert (pair.copied.total_ms, pair.agreement) == (0, None)
        await house.large.until_idle()
        assert [each.state for each in house.usage] == [UsageState.COMPLETED, UsageState.CANCELLED]
        # Its slowness is no reason to take the replica out of service.
        assert house.directory.health.available("r-large")
        assert await house.idle()

    @pytest.mark.parametrize(
        "how", [Behaviour(status=500), Behaviour(status=400), Behaviour(die_after=0), Behaviour(die_after=2)]
    )
    async def test_when_the_copy_fails(self, house: House, how: Behaviour) -> None:
        house.large.behaviour = how
        pair = await house.compared(call())
        assert pair.state is PairState.FAILED
        assert pair.error
        # Asked once, neither tried again nor continued.
        assert house.large.started == 1
        assert house.memory.budget.spent == 0
        assert [each.origin for each in house.usage] == ["v1", "shadow"]
        assert await house.idle()

    async def test_when_no_engine_can_be_reached(self, house: House) -> None:
        backends.replace("choice_directory", Said(chains=(Chain("large", ("small",)),)))
        await house.large.stop()
        pair = await house.compared(call())
        assert (pair.state, pair.error) == (PairState.FAILED, "server_overloaded")
        # It never goes to a stand-in.
        assert house.small.started == 1

    async def test_when_the_one_who_asks_may_not_use_the_other_model(self, house: House) -> None:
        shut = Principal(WHO.tenant_id, "acme", Role.MEMBER, closed=frozenset({"model:large"}))
        pair = await house.compared(call(principal=shut))
        assert (pair.state, pair.error, house.large.started) == (PairState.DROPPED, "model_not_found", 0)

    async def test_when_the_prompt_is_too_long_for_it(self, house: House) -> None:
        house.show(context_length=8)
        pair = await house.compared(call(prompt_chars=400))
        assert (pair.state, house.large.started) == (PairState.DROPPED, 0)

    async def test_when_no_slot_is_free(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("routing.services.placing.COPY_QUEUE_S", 0.2)
        house.large.behaviour = Behaviour(endless=True, gap_s=0.02)
        busy = [asyncio.ensure_future(house.ask(call(model="large"))) for _ in range(4)]
        await house.large.until_running(4)
        pair = await house.compared(call())
        assert (pair.state, pair.error) == (PairState.DROPPED, "server_overloaded")
        for each in busy:
            each.cancel()
        await asyncio.gather(*busy, return_exceptions=True)

    async def test_when_the_process_stops(self, house: House) -> None:
        house.large.behaviour = Behaviour(endless=True, gap_s=0.02)
        await house.ask(call())
        await house.large.until_running()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await close_copies()
        assert loop.time() - began < 1.0
        await house.large.until_idle()
        assert house.pairs == []
        assert [each.state for each in house.usage] == [UsageState.COMPLETED, UsageState.CANCELLED]
        assert house.meters.outcomes() == ["stopped"]
        assert await house.idle()

    async def test_when_the_spool_refuses_the_comparison(self, house: House) -> None:
        real = house.spool.append

        async def append(entry: Any) -> None:
            if isinstance(entry, PairEntry):
                raise UpstreamFailed("full")
            await real(entry)

        house.spool.append = append  # type: ignore[method-assign]
        assert (await house.ask(call())).strip() == SECRET
        await house.copies.settled()
        assert (len(house.usage), house.pairs) == (2, [])

    async def test_when_too_many_copies_are_under_way(self, house: House) -> None:
        backends.replace("copies", ProcessCopies(limit=1))
        house.large.behaviour = Behaviour(endless=True, gap_s=0.02)
        for _ in range(3):
            assert (await house.ask(call())).strip() == SECRET
        assert house.meters.outcomes() == ["busy", "busy"]
        await house.aside.settled()
        # The tenant is told too: its comparison counts them, with why.
        assert [(pair.state, pair.error) for pair in house.pairs] == [(PairState.DROPPED, "busy")] * 2
        await close_copies()
        assert house.large.started == 1


async def test_a_call_that_was_not_answered_is_not_copied(house: House) -> None:
    house.small.behaviour = Behaviour(status=400)
    with pytest.raises(UpstreamFailed):
        await house.ask(call())
    house.small.behaviour = Behaviour(endless=True, gap_s=0.01)
    async with dispatch(call()) as flow:
        async for _ in flow.chunks():
            break
    await house.copies.settled()
    assert (house.pairs, house.large.started) == ([], 0)


class Limited:
    """Limits of the tenant, of which so much was used."""

    def __init__(self, *limits: Limit) -> None:
        self.finder, self.counters, self.limits = KnownLimits(), MemoryCounters(), limits
        self.finder.set(WHO.tenant_id, *limits)
        backends.replace("limit_directory", self.finder)
        backends.replace("counters", self.counters)
        self.lines = [line_of(each, datetime.now(UTC), "UTC") for each in limits]

    async def use(self, used: int) -> None:
        now = int(datetime.now(UTC).timestamp() * 1000)
        seeds = [Seed(line, line.start_ms, used, now) for line in self.lines]
        await self.counters.seed(str(WHO.tenant_id), seeds, replace=True)

    async def used(self) -> list[int]:
        return [each.used for each in await self.counters.read(str(WHO.tenant_id), self.lines)]


class TestLimits:
    async def test_days_and_months_count_what_copies_use(self, house: House) -> None:
        limited = Limited(
            of_tenant(Measure.TOKENS_PER_DAY, 10**9), of_tenant(Measure.MONEY_PER_MONTH, 10**12)
        )
        await limited.use(0)
        await house.compared(call(max_tokens=20))
        tokens = sum(each.prompt_tokens + each.completion_tokens for each in house.usage)
        assert await limited.used() == [tokens, sum(each.cost_nano for each in house.usage)]

    async def test_the_last_fifth_of_a_budget_is_not_for_copies(self, house: House) -> None:
        limited = Limited(of_tenant(Measure.TOKENS_PER_DAY, 1000))
        await limited.use(800)
        pair = await house.compared(call(max_tokens=20))
        assert (pair.state, pair.error) == (PairState.DROPPED, "insufficient_quota")
        assert house.large.started == 0
        (mine,) = house.usage
        assert await limited.used() == [800 + mine.prompt_tokens + mine.completion_tokens]

    async def test_rates_and_places_are_not_taken_from_who_waits(self, house: House) -> None:
        limited = Limited(of_tenant(Measure.REQUESTS_PER_MINUTE, 1), of_tenant(Measure.CONCURRENCY, 1))
        pair = await house.compared(call())
        assert pair.state is PairState.COMPARED
        assert await limited.used() == [1, 0]
