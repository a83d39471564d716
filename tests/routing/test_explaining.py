"""Where a call would go and why: told over REST, nothing executed."""

import uuid
from collections.abc import AsyncIterator

import pytest
from django.test import Client
from factories.tenants import key_client, make_tenant
from fakes.engines import RememberingSpool, ScriptedEngine, model_spec, replica_spec

from inference.directory import ModelDirectory
from inference.services import ensure_built_in_models
from inference.types import ModelKind, Surface
from kernel.backends import backends
from kernel.errors import ModelNotFound
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.explanations import Explained, ReplicaStanding
from routing.services import explain_call
from routing.services.memory import RoutingMemory
from routing.types import Lease, ModelCall, ReplicaSlots, Ticket
from tenants.types import Principal, PriorityClass, Role

LONG = "What was said before. " * 100


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    made = ScriptedEngine()
    backends.replace("engine.scripted", made)
    backends.replace("usage_spool", RememberingSpool())
    backends.replace("scheduler", MemoryScheduler(queue_limit=50))
    backends.replace("model_directory", ModelDirectory())
    backends.replace("routing_memory", RoutingMemory(chance=lambda: 0.5))
    replicas = [replica_spec(f"r{number}", max_concurrency=1) for number in range(3)]
    directory: ModelDirectory = backends["model_directory"]
    directory.show((model_spec("tiny", *replicas),))
    yield made
    await backends.close()


async def explain(text: str = "hi", model: str = "tiny", max_tokens: int = 0) -> Explained:
    principal = Principal(make_id(7), "acme", Role.MEMBER)
    return await explain_call(
        ModelCall(
            principal=principal,
            surface=Surface.CHAT,
            model=model,
            body={"messages": [{"role": "user", "content": text}]},
            prompt_chars=len(text),
            request_id="explain",
            origin="rest",
            max_tokens=max_tokens,
        )
    )


async def take(replica: str) -> Lease:
    scheduler: MemoryScheduler = backends["scheduler"]
    slots = (ReplicaSlots(replica, 1, uncached_tokens=4000),)
    return await scheduler.acquire(
        Ticket(f"t-{replica}", "gpu", "other", PriorityClass.STANDARD, slots, 4000, 0, 1.0)
    )


async def test_every_replica_is_told_with_its_terms(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    memory: RoutingMemory = backends["routing_memory"]
    await take("r0")
    directory.health.leave_alone("r1", "no token for 20 s")
    explained = await explain(LONG)
    (candidate,) = explained.candidates
    shown = {replica.id: replica for replica in candidate.replicas}
    assert shown["r0"].standing is ReplicaStanding.FULL
    assert (shown["r0"].running, shown["r0"].tokens_in_flight) == (1, 4000)
    assert shown["r0"].ahead_s == pytest.approx(2.0)
    assert (shown["r1"].standing, shown["r1"].why) == (ReplicaStanding.LEFT_ALONE, "no token for 20 s")
    assert shown["r1"].terms.trial_s > 0
    assert shown["r2"].standing is ReplicaStanding.CHOSEN
    assert (explained.chosen, explained.expected_wait_s) == ("r2", 0.0)
    for replica in candidate.replicas:
        assert replica.cost_s == pytest.approx(replica.ahead_s + replica.terms.own_s)
        assert not replica.speed_learned
    # Nothing was done: no engine asked, nothing remembered, no slot held.
    assert engine.calls == []
    assert memory.prefixes.size("r2") == 0
    scheduler: MemoryScheduler = backends["scheduler"]
    assert (await scheduler.snapshot("gpu")).running == {"r0": 1}


async def test_a_full_pool_is_told_as_waiting(engine: ScriptedEngine) -> None:
    for number in range(3):
        await take(f"r{number}")
    explained = await explain()
    assert explained.chosen == ""
    assert {replica.standing for replica in explained.candidates[0].replicas} == {ReplicaStanding.FULL}
    assert explained.longest_wait_s > 0


async def test_auto_tells_what_it_left_out(engine: ScriptedEngine) -> None:
    directory: ModelDirectory = backends["model_directory"]
    directory.show(
        (
            model_spec("tiny", replica_spec("r0")),
            model_spec("small", replica_spec("r1", model="small"), context_length=10),
            model_spec("vectors", replica_spec("r2", model="vectors"), kind=ModelKind.EMBEDDING),
            model_spec("quotes", replica_spec("r3", model="quotes"), built_in=True),
        )
    )
    explained = await explain(LONG, model="auto")
    assert [candidate.model for candidate in explained.candidates] == ["tiny"]
    assert dict(explained.left_out) == {"small": "context", "vectors": "kind", "quotes": "built_in"}
    with pytest.raises(ModelNotFound):
        await explain(model="nobody")


def make_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number)


BODY = {"model": "atrium-extractive", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.django_db(transaction=True)
class TestRest:
    """`POST /api/v1/routing/explain`."""

    def ask(self, client: Client, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        answer = client.post("/api/v1/routing/explain", body, content_type="application/json")
        return answer.status_code, answer.json()

    def test_an_admin_may_ask(self) -> None:
        ensure_built_in_models()
        client = key_client(make_tenant(), role=Role.ADMIN)
        status, shown = self.ask(client, BODY)
        assert status == 200, shown
        assert shown["chosen"]
        assert shown["priority"] == "standard"
        candidates = shown["candidates"]
        assert isinstance(candidates, list)
        assert candidates[0]["replicas"][0]["terms"]["uncached_tokens"] == 1

    def test_a_member_may_not(self) -> None:
        assert self.ask(key_client(make_tenant(), role=Role.MEMBER), BODY)[0] == 403

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"model": "nobody"}, 404),
            ({"priority": "urgent"}, 400),
            ({"messages": []}, 400),
            ({"messages": [{"role": "user"}]}, 400),
            ({"max_tokens": -1}, 400),
            ({"unknown": 1}, 400),
        ],
    )
    def test_bad_questions(self, change: dict[str, object], status: int) -> None:
        assert self.ask(key_client(make_tenant(), role=Role.ADMIN), BODY | change)[0] == status
