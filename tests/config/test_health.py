"""Health: live while the process is sane, ready when a model call can be served, degraded without what it can do without."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes.asgi import AsgiClient

from config import health as health_module
from config.health import health
from inference.types import ModelKind, ModelSpec, ReplicaSpec, Tier
from kernel.backends import backends
from kernel.errors import Unavailable
from substrate.units import close_units

REPLICA = ReplicaSpec("r1", "pool", "tiny", "openai", "http://127.0.0.1:1/v1", "tiny", 4)


def model(*replicas: ReplicaSpec) -> ModelSpec:
    return ModelSpec("tiny", ModelKind.CHAT, Tier.LIGHT, 1024, 0, 0, False, 1, replicas)


class Scheduler:
    """A scheduler that answers, fails or hangs."""

    def __init__(self, *, error: Exception | None = None, hangs: bool = False) -> None:
        self._error, self._hangs = error, hangs

    async def snapshot(self, pool: str) -> None:
        if self._error is not None:
            raise self._error
        if self._hangs:
            await asyncio.Event().wait()


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[ModelSpec]:
    known = [model(REPLICA)]
    monkeypatch.setattr(health_module, "usable_models", lambda: tuple(known))
    # Long enough for a thread and its first connection on a busy machine.
    monkeypatch.setattr(health_module, "PATIENCE_S", 1.0)
    return known


@pytest.fixture
async def client() -> AsgiClient:
    backends.replace("scheduler", Scheduler())
    return AsgiClient(health, key="")


@pytest.fixture(autouse=True)
def own_units() -> Iterator[None]:
    yield
    close_units()


@pytest.mark.django_db(transaction=True)
async def test_a_model_that_wakes_for_a_call_counts(client: AsgiClient, models: list[ModelSpec]) -> None:
    models[:] = [replace(model(), asleep=("gpu",))]
    assert (await client.get("/health/ready")).status == 200


async def test_live_asks_nobody(client: AsgiClient) -> None:
    answered = await client.get("/health/live")
    assert (answered.status, answered.json()) == (200, {"status": "ok"})
    assert answered.headers["cache-control"] == "no-store"


@pytest.mark.django_db(transaction=True)
async def test_ready_when_a_model_call_can_be_served(client: AsgiClient, models: list[ModelSpec]) -> None:
    for path in ("/health/ready", "/health/ready/"):
        answered = await client.get(path)
        assert (answered.status, answered.json()) == (200, {"status": "ok", "degraded": []})


@pytest.mark.django_db(transaction=True)
async def test_not_ready_without_a_replica(client: AsgiClient, models: list[ModelSpec]) -> None:
    models[:] = [model()]
    answered = await client.get("/health/ready")
    assert answered.status == 503
    assert answered.json()["reasons"] == ["no model has a replica in service"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "scheduler",
    [Scheduler(error=Unavailable("away")), Scheduler(error=OSError("refused")), Scheduler(hangs=True)],
    ids=["away", "refused", "hangs"],
)
async def test_a_part_that_is_away_is_listed_and_does_not_hold_the_answer(
    client: AsgiClient, models: list[ModelSpec], scheduler: Scheduler
) -> None:
    backends.replace("scheduler", scheduler)
    async with asyncio.timeout(20):
        answered = await client.get("/health/ready")
    assert (answered.status, answered.json()) == (200, {"status": "degraded", "degraded": ["scheduler"]})


async def test_without_the_database_known_keys_are_still_served(
    client: AsgiClient, models: list[ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*work: Any) -> None:
        raise Unavailable("The database is not available.")

    monkeypatch.setattr(health_module, "run_unit", away)
    answered = await client.get("/health/ready")
    assert (answered.status, answered.json()) == (200, {"status": "degraded", "degraded": ["database"]})


async def test_there_is_nothing_else_below_health(client: AsgiClient) -> None:
    assert (await client.get("/health/secrets")).status == 404
