"""Examples of easy and hard work: what they add to a score, that no call waits for them, and how they are saved and tried."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_tenant
from fakes.engines import RememberingSpool, ScriptedEngine, model_spec, replica_spec
from hypothesis import given
from hypothesis import strategies as st

from inference.directory import ModelDirectory
from inference.services import create_model, ensure_built_in_models
from inference.types import Embeddings, EngineRequest, ModelKind, ReplicaSpec, Surface, Tier, TokenUsage
from kernel.backends import backends
from kernel.errors import EngineUnavailable
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.choice_types import Policy, Rule, TenantPolicy, Use
from routing.choosing import By
from routing.complexity import load_model
from routing.examples import (
    EVIDENCE,
    AskedVectors,
    Bank,
    Examples,
    likeness_of,
    make_bank,
    read_bank,
    write_bank,
)
from routing.selectors import load_policy
from routing.services import dispatch, embed, explain_call
from routing.services.likening import find_likeness
from routing.services.memory import RoutingMemory
from routing.types import ModelCall
from substrate.models import TenantAct
from substrate.scoping import tenant_scope
from tenants.models import Tenant
from tenants.types import Principal, Role

TENANT = uuid.UUID(int=1)
EASY, HARD = (1.0, 0.0), (0.0, 1.0)
EXAMPLES = Examples(("Where is the canteen?",), ("Which clause binds us?",))
EMBEDDER = "atrium-embedding"
PATH = "/api/v1/routing/policy"


def bank(embedder: str = EMBEDDER, examples: Examples = EXAMPLES) -> Bank:
    made = make_bank(examples, embedder, [EASY, HARD])
    assert made is not None
    return made


class TestLikeness:
    def test_it_is_the_difference_of_cosines_in_logits(self) -> None:
        found = likeness_of((0.0, 5.0), bank())
        assert found is not None
        assert found.evidence == pytest.approx(EVIDENCE)
        assert (found.easy, found.hard) == (EXAMPLES.easy[0], EXAMPLES.hard[0])
        between = likeness_of((1.0, 1.0), bank())
        assert between is not None
        assert between.evidence == pytest.approx(0.0, abs=1e-6)

    def test_only_the_nearest_of_each_kind_count(self) -> None:
        examples = Examples(tuple("abcd"), tuple("efgh"))
        made = make_bank(examples, "e", [EASY] * 4 + [HARD] * 3 + [EASY])
        assert made is not None
        found = likeness_of(HARD, made)
        assert found is not None
        # The fourth hard one, which is like an easy one, is not among the nearest three.
        assert found.evidence == pytest.approx(EVIDENCE)

    @pytest.mark.parametrize("vector", [(0.0, 0.0), (1.0, 0.0, 0.0), (float("nan"), 1.0), ()])
    def test_what_is_no_vector_of_this_space_says_nothing(self, vector: Sequence[float]) -> None:
        assert likeness_of(vector, bank()) is None

    @given(
        st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=2, max_size=2),
        st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3),
    )
    def test_evidence_is_bounded(self, vectors: list[list[float]], asked: list[float]) -> None:
        made = make_bank(EXAMPLES, "e", vectors)
        found = likeness_of(asked, made) if made is not None else None
        assert found is None or abs(found.evidence) <= 2 * EVIDENCE + 1e-3

    def test_a_score_moves_with_it_and_stays_a_score(self) -> None:
        model = load_model()
        usual = model.score("Where is Lima?")
        assert model.score("Where is Lima?", -4.0) < usual < model.score("Where is Lima?", 4.0) < 1.0


class TestStored:
    def test_a_bank_is_read_as_it_was_written(self) -> None:
        again = read_bank(write_bank(bank()), EXAMPLES)
        assert again is not None
        assert (again.embedder, again.easy.tolist(), again.hard.tolist()) == (EMBEDDER, [[1, 0]], [[0, 1]])

    @pytest.mark.parametrize(
        "change",
        [
            {"vectors": "?"},
            {"vectors": ""},
            {"dimensions": 3},
            {"dimensions": 0},
            {"dimensions": "x"},
            {"of": "others"},
            {"embedder": None},
        ],
    )
    def test_rubbish_is_no_bank(self, change: dict[str, object]) -> None:
        stored = write_bank(bank()) | change
        if change == {"embedder": None}:
            del stored["embedder"]
        assert read_bank(stored, EXAMPLES) is None

    def test_vectors_of_other_examples_are_not_taken_for_these(self) -> None:
        assert read_bank(write_bank(bank()), Examples(EXAMPLES.hard, EXAMPLES.easy)) is None
        assert read_bank(None, EXAMPLES) is None


def test_asked_vectors_are_bounded_and_each_tenant_has_its_own() -> None:
    kept = AskedVectors(most=2)
    for text in ("a", "b", "c"):
        kept.note(TENANT, "m", text, EASY)
    assert [kept.find(TENANT, "m", text) for text in ("a", "b", "c")] == [None, EASY, EASY]
    assert kept.find(uuid.UUID(int=2), "m", "c") is None


class Embedding(ScriptedEngine):
    """Embeds a text that has `binds` as hard, any other as easy; `slow_s` is how long that takes."""

    slow_s = 0.0
    error: Exception | None = None

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        self.calls.append((replica.id, request))
        await asyncio.sleep(self.slow_s)
        if self.error is not None:
            raise self.error
        return Embeddings(
            [HARD if "binds" in text else EASY for text in request.body["input"]], TokenUsage(4, 0)
        )


class Said:
    """A directory that holds one policy for everybody."""

    def __init__(self) -> None:
        self.policy = TenantPolicy(Policy(heavy_percent=50, examples=EXAMPLES), "UTC", bank=bank())

    def has(self, tenant_id: uuid.UUID) -> bool:
        return True

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy:
        return self.policy


class House:
    """A light, a heavy and an embedding model, and a tenant with examples."""

    def __init__(self) -> None:
        self.engine, self.embedding, self.said = ScriptedEngine(), Embedding(), Said()
        self.memory = RoutingMemory(chance=lambda: 0.5)

    async def ask(self, text: str, tenant: uuid.UUID = TENANT) -> str:
        async with dispatch(call(text, tenant)) as flow:
            return flow.decision.model

    @property
    def embedded(self) -> int:
        return len(self.embedding.calls)


def call(text: str, tenant: uuid.UUID = TENANT, model: str = "auto") -> ModelCall:
    return ModelCall(
        principal=Principal(tenant, "t", Role.MEMBER),
        surface=Surface.CHAT,
        model=model,
        body={"messages": [{"role": "user", "content": text}]},
        prompt_chars=len(text),
        request_id="r",
        origin="v1",
    )


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vector is waited for as long as a busy machine needs."""
    monkeypatch.setattr("routing.services.calls.find_likeness", partial(find_likeness, within_s=30.0))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made, directory = House(), ModelDirectory()
    for name, instance in (
        ("engine.scripted", made.engine),
        ("engine.embedding", made.embedding),
        ("usage_spool", RememberingSpool()),
        ("scheduler", MemoryScheduler(queue_limit=5)),
        ("model_directory", directory),
        ("routing_memory", made.memory),
        ("choice_directory", made.said),
    ):
        backends.replace(name, instance)
    directory.show(
        (
            model_spec("light", replica_spec("l1", model="light")),
            model_spec("heavy", replica_spec("h1", model="heavy"), tier=Tier.HEAVY),
            model_spec(
                EMBEDDER,
                replica_spec("e1", model=EMBEDDER, engine="embedding"),
                kind=ModelKind.EMBEDDING,
            ),
        )
    )
    yield made
    await backends.close()


# By words alone both are light of the same kind; only examples can tell them apart.
PLAIN, BINDING = "Which sentence fits us?", "Which sentence binds us?"


@pytest.mark.usefixtures("patient")
async def test_examples_decide_between_questions_that_words_do_not_tell_apart(house: House) -> None:
    model = load_model()
    assert abs(model.score(PLAIN) - model.score(BINDING)) < 0.2
    assert (await house.ask(BINDING), await house.ask(PLAIN)) == ("heavy", "light")
    assert house.embedded == 2


@pytest.mark.usefixtures("patient")
async def test_a_question_that_was_embedded_is_not_embedded_again(house: House) -> None:
    await house.ask(BINDING)
    await house.ask(BINDING)
    assert house.embedded == 1
    # What a search has embedded is known too; to its own tenant.
    await embed(
        ModelCall(
            principal=Principal(TENANT, "t", Role.MEMBER),
            surface=Surface.EMBEDDINGS,
            model=EMBEDDER,
            body={"model": EMBEDDER, "input": [PLAIN]},
            prompt_chars=10,
            request_id="s",
            origin="v1",
        )
    )
    await house.ask(PLAIN)
    assert house.embedded == 2
    await house.ask(PLAIN, uuid.UUID(int=2))
    assert house.embedded == 3


async def _slow(house: House) -> None:
    house.embedding.slow_s = 30.0


async def _broken(house: House) -> None:
    house.embedding.error = EngineUnavailable("gone")


async def _other_embedder(house: House) -> None:
    house.said.policy = TenantPolicy(house.said.policy.policy, "UTC", bank=bank("another"))


async def _other_space(house: House) -> None:
    wide = make_bank(EXAMPLES, EMBEDDER, [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
    house.said.policy = TenantPolicy(house.said.policy.policy, "UTC", bank=wide)


@pytest.mark.parametrize("hurt", [_slow, _broken, _other_embedder, _other_space])
async def test_without_a_vector_the_words_decide(house: House, hurt: Callable[[House], Any]) -> None:
    await hurt(house)
    async with asyncio.timeout(5.0):
        for text in (BINDING, PLAIN):
            assert await house.ask(text) in ("light", "heavy")
    explained = await explain_call(call(BINDING))
    assert explained.choice.by is By.COMPLEXITY
    assert explained.choice.likeness is None
    assert explained.choice.complexity == pytest.approx(load_model().score(BINDING))


async def test_nothing_is_embedded_where_something_else_decides(house: House) -> None:
    async with dispatch(call(BINDING, model="light")) as flow:
        assert flow.decision.model == "light"
    rule = Rule(name="all", use=Use.LIGHT)
    for policy in (
        Policy(heavy_percent=50, examples=EXAMPLES, rules=(rule,)),
        Policy(examples=EXAMPLES),
    ):
        house.said.policy = TenantPolicy(policy, "UTC", bank=bank())
        assert await house.ask(BINDING) == "light"
    house.said.policy = TenantPolicy(Policy(heavy_percent=50), "UTC")
    await house.ask(BINDING)
    assert house.embedded == 0


async def test_explaining_tells_what_examples_said(house: House) -> None:
    found = (await explain_call(call(BINDING))).choice
    assert found.likeness is not None
    assert found.likeness.evidence == pytest.approx(EVIDENCE)
    assert found.likeness.hard == EXAMPLES.hard[0]
    assert found.complexity > load_model().score(BINDING)
    assert found.said_by == "tenant"


@pytest.fixture
def tenant(db: None) -> Tenant:
    ensure_built_in_models()
    create_model(model_id="one")
    return make_tenant()


def put(client: Client, body: dict[str, object]) -> tuple[int, dict[str, Any]]:
    answer = client.put(PATH, body, content_type="application/json")
    return answer.status_code, answer.json()


GIVEN = {"easy": ["Where is the canteen?", "Wann öffnet das Lager?"], "hard": ["Compare both contracts."]}


@pytest.mark.django_db(transaction=True)
class TestOverRest:
    def test_they_are_embedded_when_they_are_saved(self, tenant: Tenant) -> None:
        admin = key_client(tenant, role=Role.ADMIN)
        status, shown = put(admin, {"heavy_percent": 30, "examples": GIVEN})
        assert status == 200, shown
        assert (shown["examples"], shown["examples_in_use"]) == (GIVEN, True)
        found = load_policy(tenant.id)
        assert found is not None
        assert found.bank is not None
        assert (found.bank.easy.shape, found.bank.hard.shape) == ((2, 384), (1, 384))
        with tenant_scope(tenant.id):
            (act,) = TenantAct.objects.filter(kind="choice_policy")
        assert "canteen" in act.after
        # What else is said later leaves them as they are; without them there are no vectors.
        assert put(admin, {"heavy_percent": 40, "examples": GIVEN})[1]["examples_in_use"] is True
        status, shown = put(admin, {"heavy_percent": 40})
        assert (status, shown["examples_in_use"]) == (200, False)
        found = load_policy(tenant.id)
        assert found is not None
        assert found.bank is None

    def test_a_draft_is_tried_with_its_examples(self, tenant: Tenant) -> None:
        admin = key_client(tenant, role=Role.ADMIN)
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": "Compare both contracts."}],
            "policy": {"heavy_percent": 30, "examples": GIVEN},
        }
        answer = admin.post("/api/v1/routing/explain", body, content_type="application/json")
        assert answer.status_code == 200, answer.json()
        # One tier is in service: nothing is to be weighed.
        assert answer.json()["choice"]["likeness"] is None
        assert load_policy(tenant.id) is None

    @pytest.mark.parametrize(
        ("examples", "words"),
        [
            ({"easy": ["a"]}, "both kinds"),
            ({"easy": ["a"], "hard": ["a"]}, "twice: a"),
            ({"easy": ["a"] * 41, "hard": ["b"]}, ""),
            ({"easy": ["x" * 301], "hard": ["b"]}, ""),
            ({"easy": ["a\nb"], "hard": ["b"]}, ""),
            ({"easy": [""], "hard": ["b"]}, ""),
            ({"simple": ["a"], "hard": ["b"]}, "Unknown field"),
        ],
    )
    def test_what_is_refused(self, tenant: Tenant, examples: dict[str, object], words: str) -> None:
        status, shown = put(key_client(tenant, role=Role.ADMIN), {"examples": examples})
        assert status == 400
        assert words in str(shown)
