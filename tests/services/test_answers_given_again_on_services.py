"""An assistant's answer given again over the WebSocket: written by a real vLLM, kept and told by a real Redis."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from factories.tenants import make_principal, make_tenant
from fakes.desk import Desk
from fakes.engines import ScriptedEngine, model_spec, replica_spec
from fakes.postgresql import fresh_database
from fakes.sockets import SocketClient
from msgspec import structs

from assistants.adapters.redis_alike import RedisSemanticCache
from assistants.adapters.redis_run_log import RedisRunLog
from assistants.services import close_runs, create_assistant
from gateway.consumer import SocketDoors
from inference.adapters.openai_compatible import OpenAICompatibleEngine
from inference.services import create_model
from inference.types import Chunk, Embeddings, EngineRequest, ModelKind, ReplicaSpec, TokenUsage
from kernel.backends import backends
from knowledge.services import create_knowledge_base
from routing.services import set_policy
from substrate.models import Change
from substrate.units import run_unit
from tenants.types import Principal, Role, UsageState

URLS = [url for url in os.environ.get("ATRIUM_TEST_VLLM_URLS", "").split(",") if url]
MODEL = os.environ.get("ATRIUM_TEST_VLLM_MODEL", "tiny")
REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")
ASKED, ALIKE = "How many days of leave do I have?", "How many days of leave are there for me?"
PRICES = {"input_price_nano": 1000, "output_price_nano": 2000}

# The token of the tiny model that ends an answer, and how many come before it.
END, TOKENS = 1, 12

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not (URLS and REDIS_URL), reason="no vLLM or no Redis is named"),
]


class Brief(OpenAICompatibleEngine):
    """A real vLLM that ends soon: random weights would go on for minutes."""

    def stream(self, replica: ReplicaSpec, request: EngineRequest) -> AsyncIterator[Chunk]:
        """Some tokens, then the one that ends an answer."""
        body = {**request.body, "logit_bias": {str(END): 100}, "min_tokens": TOKENS}
        return super().stream(replica, structs.replace(request, body=body))


class Vectors(ScriptedEngine):
    """Both questions are alike."""

    async def embed(self, replica: ReplicaSpec, request: EngineRequest) -> Embeddings:
        """Nearly the same vector."""
        vectors = [[0.98, 0.199] if text == ALIKE else [1.0, 0.0] for text in request.body["input"]]
        return Embeddings(vectors, TokenUsage(4, 0))


@dataclass
class House:
    """A desk, and the base that its assistant reads."""

    desk: Desk
    base: str


@dataclass
class Door:
    """Who comes in by the key; everything behind it is real."""

    principal: Principal

    def doors(self) -> SocketDoors:
        """The consumer's own, with this caller."""
        return SocketDoors(authenticate_key=self._known, until_refused=self._never)

    async def _known(self, key: str) -> Principal:
        return self.principal

    async def _never(self, *_: object, **__: object) -> Any:
        await asyncio.Event().wait()


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    """A new database for this module."""
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture
async def house(settings: Any) -> AsyncIterator[House]:
    """An assistant `leave` over one base, answered by vLLM; the state of knowledge is calm."""
    settings.EMBEDDING_MODEL = "vectors"
    tenant = await run_unit(make_tenant, f"t-{uuid.uuid4().hex[:8]}")
    made = Desk(tenant, await run_unit(make_principal, tenant, role=Role.ADMIN))
    made.run_log = RedisRunLog(url=REDIS_URL)
    made.engine = Vectors()
    made.be_process()
    backends.replace("engine.brief", Brief())
    backends.replace("semantic_cache", RedisSemanticCache(url=REDIS_URL))
    for id, kind in (("org/tiny", ModelKind.CHAT), ("vectors", ModelKind.EMBEDDING)):
        await run_unit(create_model, model_id=id, kind=kind)
    real = replica_spec("real", model="org/tiny", engine="brief", url=URLS[0], served_name=MODEL)
    # Else it is read from the database again after some seconds.
    await backends["model_directory"].start()
    backends["model_directory"].show(
        (
            model_spec("org/tiny", real, cache_seconds=600, cached_price_percent=10, **PRICES),
            model_spec("vectors", replica_spec("v", model="vectors"), kind=ModelKind.EMBEDDING),
        )
    )
    base = await run_unit(create_knowledge_base, principal=made.principal, name="Handbook")
    fields: dict[str, Any] = {"slug": "leave", "name": "Leave", "model": "org/tiny"}
    await run_unit(
        create_assistant,
        principal=made.principal,
        **fields,
        semantic_cache_seconds=600,
        knowledge_base_ids=[base.id],
    )
    await run_unit(lambda: Change.objects.update(created_at=timezone.now() - timedelta(seconds=30)))
    yield House(made, str(base.id))
    await close_runs()
    await backends.close()


async def ask(principal: Principal, content: str) -> list[dict[str, Any]]:
    """All events of a question over a socket of its own."""
    client = SocketClient(Door(principal))  # type: ignore[arg-type]
    assert (await client.open())["type"] == "websocket.accept"
    await client.send(
        {
            "type": "message.create",
            "request_id": uuid.uuid4().hex,
            "assistant": "leave",
            "content": content,
        }
    )
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in ("message.completed", "error"):
        events.append(await client.frame(20))
    await client.leave()
    await backends["aside"].settled()
    return events


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "message.delta")


def cache_of(events: list[dict[str, Any]]) -> str:
    (routed,) = [event for event in events if event["type"] == "message.routed"]
    return str(routed.get("cache", "off"))


async def test_a_question_like_one_before_is_replayed_billed_as_said_and_only_to_who_may_read_the_same(
    house: House,
) -> None:
    desk = house.desk
    first = await ask(desk.principal, ASKED)
    assert (cache_of(first), first[-1]["finish_reason"]) == ("miss", "stop"), first[-1]
    made = desk.spool.entries[-1]
    again = await ask(desk.principal, ALIKE)
    assert cache_of(again) == "semantic"
    assert text_of(again) == text_of(first)
    assert [event["seq"] for event in again] == list(range(1, len(again) + 1))
    assert again[-1]["usage"] == first[-1]["usage"]
    # The tokens of the first answer, for a tenth of its price, rounded up; no replica made it.
    hit = desk.spool.entries[-1]
    assert (hit.cached, hit.replica, hit.state) == (True, "", UsageState.COMPLETED)
    assert (hit.prompt_tokens, hit.completion_tokens) == (made.prompt_tokens, made.completion_tokens)
    assert hit.cost_nano == -(-made.cost_nano // 10)
    # Whom the base was shut to meanwhile finds nothing of it.
    shut = replace(desk.principal, closed=frozenset({f"knowledge_base:{house.base}"}))
    assert cache_of(await ask(shut, ASKED)) == "miss"
    # And a tenant that declines it gets none, kept or not.
    document = {"caching": {"use": "never"}}
    await run_unit(set_policy, principal=desk.principal, document=document)
    await backends["choice_directory"].start()
    assert cache_of(await ask(desk.principal, ASKED)) == "off"
