"""The choice of a model: conditions of rules, their order, the dial, chains, trials; and that none of them opens a door."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from fakes.clocks import FrozenClock
from fakes.engines import Act, RememberingSpool, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.types import Surface, Tier
from kernel.backends import backends
from kernel.errors import (
    ContextTooLong,
    EngineRefused,
    EngineUnavailable,
    ModelNotFound,
    NoReplica,
    ServerOverloaded,
)
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.choice_types import Canary, Chain, Policy, Rule, Task, TenantPolicy, Use
from routing.choosing import Asked, failing, in_canary
from routing.services import dispatch, explain_call
from routing.services.memory import RoutingMemory
from routing.types import Lease, ModelCall, RoutingDecision, Ticket
from tenants.types import Principal, Role

TENANT, GROUP = uuid.UUID(int=1), uuid.UUID(int=5)
# A Saturday, 20:30 in Berlin.
NOW = datetime(2026, 11, 28, 19, 30, tzinfo=UTC)
# What an answer of the models costs, a token.
OUTPUT_NANO = 3
EASY = "Where is Lima?"
HARD = "Compare two designs step by step, prove the trade-offs and justify your recommendation."


class Policies:
    """A directory that holds one policy for one tenant."""

    def __init__(self) -> None:
        self.policy: Policy | None = None

    def has(self, tenant_id: uuid.UUID) -> bool:
        return tenant_id == TENANT and self.policy is not None

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy | None:
        assert tenant_id == TENANT
        return TenantPolicy(self.policy, "Europe/Berlin") if self.policy is not None else None


class House:
    """Models, an engine that follows a script, and what the tenant says."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.policies = Policies()
        self.spool = RememberingSpool()
        self.memory = RoutingMemory(chance=lambda: 0.5, clock=FrozenClock(NOW))

    def say(self, **fields: object) -> None:
        self.policies.policy = Policy(**fields)  # type: ignore[arg-type]

    async def ask(self, model: str = "auto", text: str = EASY, **fields: object) -> RoutingDecision:
        async with dispatch(call(model, text, **fields)) as flow:
            return flow.decision


def call(model: str, text: str, **fields: object) -> ModelCall:
    closed = fields.pop("closed", frozenset())
    values: dict[str, object] = {
        "principal": Principal(
            TENANT,
            "t",
            Role.MEMBER,
            user_id=uuid.UUID(int=9),
            group_ids=frozenset({GROUP}),
            closed=closed,  # type: ignore[arg-type]
        ),
        "surface": Surface.CHAT,
        "model": model,
        "body": {"messages": [{"role": "user", "content": text}]},
        "prompt_chars": len(text),
        "request_id": "r",
        "origin": "v1",
    }
    return ModelCall(**{**values, **fields})  # type: ignore[arg-type]


def too_long() -> EngineRefused:
    """What an engine says of a prompt that is longer than its context."""
    refused = EngineRefused("This model's maximum context length is 1000 tokens.", status=400)
    refused.code = ContextTooLong.code
    return refused


class Full(MemoryScheduler):
    """Every place is taken for as long as anybody waits; `waits` is how long each would."""

    SPENT_S = 0.05

    def __init__(self) -> None:
        super().__init__(queue_limit=5)
        self.waits: list[float] = []

    async def acquire(self, ticket: Ticket) -> Lease:
        self.waits.append(ticket.wait_s)
        await asyncio.sleep(self.SPENT_S)
        raise ServerOverloaded("Nobody leaves.")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made, directory = House(), ModelDirectory()
    backends.replace("engine.scripted", made.engine)
    backends.replace("usage_spool", made.spool)
    backends.replace("scheduler", MemoryScheduler(queue_limit=5))
    backends.replace("model_directory", directory)
    backends.replace("routing_memory", made.memory)
    backends.replace("choice_directory", made.policies)
    directory.show(
        (
            model_spec("light", replica_spec("l1", model="light"), context_length=1_000, input_price_nano=1),
            model_spec(
                "heavy",
                replica_spec("h1", model="heavy"),
                tier=Tier.HEAVY,
                context_length=8_000,
                input_price_nano=50,
            ),
            model_spec("secret", replica_spec("s1", model="secret"), tenants=frozenset({uuid.UUID(int=2)})),
        )
    )
    yield made
    await backends.close()


def asked(**fields: object) -> Asked:
    values: dict[str, object] = {"prompt_tokens": 10, "minute": 600, "weekday": 2, "task": Task.OTHER}
    return Asked(**{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conditions", "fields", "why"),
    [
        ({}, {}, ""),
        ({"enabled": False}, {}, "off"),
        ({"assistants": ("help",)}, {"assistant": "help"}, ""),
        ({"assistants": ("help",)}, {"assistant": "other"}, "assistant"),
        ({"groups": ("g",)}, {"groups": frozenset({"g", "h"})}, ""),
        ({"groups": ("g",)}, {}, "group"),
        ({"tasks": (Task.CODE,)}, {"task": Task.CODE}, ""),
        ({"tasks": (Task.CODE,)}, {}, "task"),
        ({"min_tokens": 10, "max_tokens": 10}, {}, ""),
        ({"min_tokens": 11}, {}, "prompt_length"),
        ({"max_tokens": 9}, {}, "prompt_length"),
        ({"from_time": "10:00", "until_time": "10:01"}, {}, ""),
        ({"from_time": "10:01"}, {}, "time"),
        ({"until_time": "10:00"}, {}, "time"),
        ({"days": (2,)}, {}, ""),
        ({"days": (3,)}, {}, "time"),
        # From Wednesday's evening into Thursday's morning.
        ({"from_time": "22:00", "until_time": "06:00", "days": (2,)}, {"minute": 1400}, ""),
        ({"from_time": "22:00", "until_time": "06:00", "days": (2,)}, {"minute": 60, "weekday": 3}, ""),
        ({"from_time": "22:00", "until_time": "06:00", "days": (2,)}, {"minute": 60}, "time"),
    ],
)
def test_a_rule_holds_when_all_of_its_conditions_do(
    conditions: dict[str, object], fields: dict[str, object], why: str
) -> None:
    rule = Rule(name="r", use=Use.HEAVY, **conditions)  # type: ignore[arg-type]
    assert failing(rule, asked(**fields)) == why


async def test_the_first_rule_that_holds_decides(house: House) -> None:
    house.say(
        rules=(
            Rule(name="code", use=Use.LIGHT, tasks=(Task.CODE,)),
            Rule(name="evening", use=Use.HEAVY, from_time="20:00", until_time="21:00", days=(5,)),
            Rule(name="never", use=Use.LIGHT),
        )
    )
    decision = await house.ask()
    assert (decision.model, decision.reason) == ("heavy", "rule: evening")
    explained = await explain_call(call("auto", EASY))
    assert (explained.choice.by.value, explained.choice.rule) == ("rule", "evening")
    assert [(each.rule, each.why) for each in explained.choice.passed] == [("code", "task")]
    at_noon = await explain_call(call("auto", EASY), at=datetime(2026, 11, 28, 11, tzinfo=UTC))
    assert at_noon.choice.rule == "never"


async def test_a_tenant_without_a_policy_has_the_light_tier_first(house: House) -> None:
    assert (await house.ask(text=HARD)).model == "light"


async def test_rules_by_assistant_and_group(house: House) -> None:
    house.say(rules=(Rule(name="ours", use=Use.HEAVY, assistants=("law",), groups=(str(GROUP),)),))
    assert (await house.ask(assistant="law")).model == "heavy"
    assert (await house.ask(assistant="tax")).model == "light"


async def test_what_is_the_most_complex_is_heavy(house: House) -> None:
    house.say(heavy_percent=50)
    hard, easy = await house.ask(text=HARD), await house.ask(text=EASY)
    assert (hard.model, easy.model) == ("heavy", "light")
    assert hard.reason.startswith("auto: complexity")
    house.say(heavy_percent=0)
    assert (await house.ask(text=HARD)).model == "light"
    house.say(heavy_percent=100)
    assert (await house.ask(text=EASY)).model == "heavy"


async def test_to_ask_is_not_remembered(house: House) -> None:
    house.say(heavy_percent=30)
    before = len(house.memory.shares.of(TENANT))
    await explain_call(call("auto", HARD))
    assert len(house.memory.shares.of(TENANT)) == before
    await house.ask(text=HARD)
    assert len(house.memory.shares.of(TENANT)) == before + 1


class TestNothingOpensADoor:
    """What the caller may not use, no rule, list, chain or trial reaches."""

    async def test_a_rule_of_a_shut_model_is_passed_over(self, house: House) -> None:
        house.say(
            rules=(
                Rule(name="foreign", use=Use.MODELS, models=("secret",), strict=True),
                Rule(name="shut", use=Use.MODELS, models=("heavy",), strict=True),
            )
        )
        decision = await house.ask(closed=frozenset({"model:heavy"}))
        assert (decision.model, house.engine.calls[-1][0]) == ("light", "l1")
        explained = await explain_call(call("auto", EASY, closed=frozenset({"model:heavy"})))
        assert {each.why for each in explained.choice.passed} == {"no_model"}

    async def test_the_dial_does_not_reach_a_shut_model(self, house: House) -> None:
        house.say(heavy_percent=100)
        assert (await house.ask(text=HARD, closed=frozenset({"model:heavy"}))).model == "light"

    async def test_a_chain_does_not_reach_one(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("secret", "heavy")),))
        house.engine.usual = Act(error=EngineUnavailable("away"))
        with pytest.raises(NoReplica):
            await house.ask("light", closed=frozenset({"model:heavy"}))
        assert {replica for replica, _ in house.engine.calls} == {"l1"}

    async def test_a_trial_does_not_reach_one(self, house: House) -> None:
        house.say(canaries=(Canary(model="light", to="secret", percent=99),))
        for number in range(20):
            assert (await house.ask("light", conversation=str(number))).model == "light"

    async def test_a_list_without_a_usable_model_refuses(self, house: House) -> None:
        house.say(auto_models=("heavy",))
        assert (await house.ask()).model == "heavy"
        with pytest.raises(ModelNotFound):
            await house.ask(closed=frozenset({"model:heavy"}))
        assert [replica for replica, _ in house.engine.calls] == ["h1"]

    async def test_a_strict_rule_has_no_fallback(self, house: House) -> None:
        house.say(rules=(Rule(name="only", use=Use.MODELS, models=("heavy",), strict=True),))
        house.engine.script("h1", *[Act(error=EngineUnavailable("away"))] * 3)
        with pytest.raises(NoReplica):
            await house.ask()
        assert {replica for replica, _ in house.engine.calls} == {"h1"}


class TestChains:
    """Another model where the first cannot."""

    async def test_a_dead_model_is_replaced_and_billed_as_what_served(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        house.engine.script("l1", Act(error=EngineUnavailable("away")))
        async with dispatch(call("light", EASY)) as flow:
            await flow.completion()
            decision = flow.decision
        assert (decision.model, decision.replica, decision.attempts) == ("heavy", "h1", 2)
        assert decision.reason == "fallback of light"
        (entry,) = house.spool.entries
        assert entry.model == "heavy"
        assert entry.cost_nano == entry.prompt_tokens * 50 + entry.completion_tokens * OUTPUT_NANO

    async def test_one_that_is_known_to_be_away_is_not_waited_for(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        directory: ModelDirectory = backends["model_directory"]
        directory.health.leave_alone("l1", "away")
        decision = await house.ask("light")
        assert (decision.model, decision.attempts) == ("heavy", 1)

    async def test_a_prompt_that_is_too_long_goes_to_a_longer_context(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        decision = await house.ask("light", text="word " * 1_200)
        assert (decision.model, decision.reason) == ("heavy", "longer context than light")
        assert [replica for replica, _ in house.engine.calls] == ["h1"]

    async def test_an_engine_that_finds_it_too_long_is_followed_by_a_longer_one(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        house.engine.script("l1", Act(error=too_long()))
        assert (await house.ask("light")).model == "heavy"

    async def test_one_that_is_no_longer_is_not_asked_as_well(self, house: House) -> None:
        directory: ModelDirectory = backends["model_directory"]
        twin = model_spec("twin", replica_spec("t1", model="twin"), context_length=1_000)
        directory.show((*directory.snapshot.models.values(), twin))
        house.say(chains=(Chain(model="light", then=("twin", "heavy")),))
        house.engine.script("l1", Act(error=too_long()))
        assert (await house.ask("light")).model == "heavy"
        assert [replica for replica, _ in house.engine.calls] == ["l1", "h1"]

    async def test_a_longer_one_is_asked_within_the_budget_of_retries(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        while house.memory.budget.take():
            pass
        house.engine.script("l1", Act(error=too_long()))
        with pytest.raises(EngineRefused):
            await house.ask("light")
        assert [replica for replica, _ in house.engine.calls] == ["l1"]

    async def test_what_was_waited_in_vain_is_not_waited_again(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        scheduler = Full()
        backends.replace("scheduler", scheduler)
        with pytest.raises(ServerOverloaded):
            await house.ask("light")
        first, second = scheduler.waits
        assert second <= first - Full.SPENT_S

    async def test_other_refusals_are_final(self, house: House) -> None:
        house.say(chains=(Chain(model="light", then=("heavy",)),))
        house.engine.script("l1", Act(error=EngineRefused("temperature is no number", status=400)))
        with pytest.raises(EngineRefused):
            await house.ask("light")
        assert [replica for replica, _ in house.engine.calls] == ["l1"]

    async def test_without_a_chain_nobody_else_answers(self, house: House) -> None:
        house.say(heavy_percent=10)
        house.engine.script("l1", *[Act(error=EngineUnavailable("away"))] * 3)
        with pytest.raises(NoReplica):
            await house.ask("light")


class TestTrials:
    """So many percent, and a conversation stays where it is."""

    def test_the_share_is_what_was_asked(self) -> None:
        canary = Canary(model="a", to="b", percent=20)
        found = sum(in_canary(canary, str(number)) for number in range(10_000))
        assert 1_850 < found < 2_150
        more = Canary(model="a", to="b", percent=40)
        # Who was in a smaller trial is in the larger one.
        assert all(in_canary(more, str(each)) for each in range(1_000) if in_canary(canary, str(each)))

    async def test_a_conversation_stays(self, house: House) -> None:
        house.say(canaries=(Canary(model="light", to="heavy", percent=50),))
        first = {str(each): (await house.ask("light", conversation=str(each))).model for each in range(20)}
        again = {str(each): (await house.ask("light", conversation=str(each))).model for each in range(20)}
        assert first == again
        assert set(first.values()) == {"light", "heavy"}

    async def test_a_trial_that_is_away_falls_back(self, house: House) -> None:
        house.say(canaries=(Canary(model="light", to="heavy", percent=99),))
        house.engine.script("h1", Act(error=EngineUnavailable("away")))
        assert (await house.ask("light")).model == "light"

    async def test_a_trial_that_is_known_to_be_away_spends_no_retry(self, house: House) -> None:
        house.say(canaries=(Canary(model="light", to="heavy", percent=99),))
        directory: ModelDirectory = backends["model_directory"]
        directory.health.leave_alone("h1", "away")
        decision = await house.ask("light")
        assert (decision.model, decision.attempts, house.memory.budget.spent) == ("light", 1, 0)


async def test_a_model_without_any_engine_is_away_for_a_tenant_with_a_policy_too(house: House) -> None:
    house.say(heavy_percent=50)
    backends["model_directory"].show((model_spec("bare"),))
    with pytest.raises(NoReplica):
        await house.ask("bare")
