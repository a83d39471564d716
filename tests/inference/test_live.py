"""Pools and replicas as they stand now: health of this process, slots of the scheduler, load of the engines."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from fakes.clocks import FrozenClock
from fakes.engines import ScriptedEngine, replica_spec

from config.settings.adapters import background_work
from config.settings.environment import read_environment
from inference.directory import ModelDirectory
from inference.health import HealthBook
from inference.ports import PoolLoad
from inference.services import live
from inference.types import (
    LiveReplica,
    ModelKind,
    PoolState,
    ReplicaLoad,
    ReplicaSpec,
    ReplicaState,
    ReplicaView,
)
from kernel.backends import backends
from kernel.errors import EngineUnavailable, Unavailable
from kernel.ids import uuid7
from tenants.types import PriorityClass

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass
class Load:
    """What a pool holds."""

    running: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    in_flight: Mapping[str, int] = field(default_factory=dict)
    waiting_by_class: Mapping[PriorityClass, int] = field(default_factory=dict)


@dataclass
class Book:
    """The scheduler's telling side; `away` it says nothing, `slow_s` it takes its time."""

    load: Load
    away: bool = False
    slow_s: float = 0.0

    async def snapshot(self, pool: str) -> PoolLoad:
        await asyncio.sleep(self.slow_s)
        if self.away:
            raise Unavailable
        return self.load


class Talking(ScriptedEngine):
    """Says how busy it is; counts how often it was asked."""

    asked = 0
    sick = False

    async def load(self, replica: ReplicaSpec) -> ReplicaLoad:
        self.asked += 1
        if self.sick:
            raise EngineUnavailable
        return ReplicaLoad(3, 2, 0.5)


def view(**fields: object) -> ReplicaView:
    made = ReplicaView(
        id=uuid7(),
        pool_id=uuid7(),
        pool="gpu",
        model="tiny",
        kind=ModelKind.CHAT,
        url="http://one.invalid/v1",
        served_name="tiny",
        max_concurrency=4,
        region="",
        draining=False,
        vllm=True,
        built_in=False,
        has_api_key=False,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def engine() -> AsyncIterator[Talking]:
    made = Talking()
    backends.replace("engine.scripted", made)
    backends.replace("model_directory", ModelDirectory())
    backends.replace("scheduler", Book(Load()))
    yield made
    await backends.close()


def health() -> HealthBook:
    directory: ModelDirectory = backends["model_directory"]
    return directory.health


async def look(*views: ReplicaView) -> list[LiveReplica]:
    return await live._look(views, {each.id: replica_spec(str(each.id), url=each.url) for each in views})


async def test_a_replica_shows_what_is_known_of_it(engine: Talking) -> None:
    well, out, resting, new = view(), view(), view(draining=True), view()
    health().probe_succeeded(str(well.id), 4.2)
    for _ in range(2):
        health().probe_failed(str(out.id), "gone")
    health().probe_succeeded(str(resting.id), 1.0)
    directory: ModelDirectory = backends["model_directory"]
    directory.vitals.of(str(well.id)).note_first(time.perf_counter(), 0.25)
    load = Load(
        {str(well.id): 3}, 9, {str(well.id): 700}, {PriorityClass.BATCH: 9, PriorityClass.STANDARD: 0}
    )
    backends.replace("scheduler", Book(load))
    shown = await look(well, out, resting, new)
    assert [each.tokens_in_flight for each in shown] == [700, 0, 0, 0]
    assert (shown[0].vitals is not None and shown[0].vitals.ttft_ms) == 250.0
    assert [each.state for each in shown] == [
        ReplicaState.HEALTHY,
        ReplicaState.UNHEALTHY,
        ReplicaState.DRAINING,
        ReplicaState.UNKNOWN,
    ]
    assert [each.running for each in shown] == [3, 0, 0, 0]
    assert (shown[0].health is not None and shown[0].health.latency_ms) == 4.2
    assert (shown[1].health is not None and shown[1].health.error) == "gone"
    # Only engines that answer are asked for their load; one that serves two models is asked once.
    assert [each.load for each in shown] == [ReplicaLoad(3, 2, 0.5), None, ReplicaLoad(3, 2, 0.5), None]
    assert engine.asked == 1


async def test_what_is_away_or_slow_is_left_out(engine: Talking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SCHEDULER_S", 0.05)
    one = view()
    health().probe_succeeded(str(one.id), 1.0)
    engine.sick = True
    for book in (Book(Load({str(one.id): 3}), away=True), Book(Load({str(one.id): 3}), slow_s=5)):
        backends.replace("scheduler", book)
        shown = (await look(one))[0]
        assert (shown.state, shown.running, shown.load) == (ReplicaState.HEALTHY, 0, None)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], PoolState.EMPTY),
        (["well"], PoolState.OK),
        (["well", "resting"], PoolState.OK),
        (["well", "out"], PoolState.DEGRADED),
        (["out", "out"], PoolState.DOWN),
        (["out", "resting"], PoolState.DOWN),
        (["resting"], PoolState.DRAINING),
        (["new"], PoolState.UNKNOWN),
        (["well", "new"], PoolState.UNKNOWN),
    ],
)
async def test_how_a_pool_stands(engine: Talking, states: list[str], expected: PoolState) -> None:
    views = [view(draining=state == "resting") for state in states]
    for state, each in zip(states, views, strict=True):
        if state == "well":
            health().probe_succeeded(str(each.id), 1.0)
        for _ in range(2 if state == "out" else 0):
            health().probe_failed(str(each.id))
    load = Load({str(each.id): 1 for each in views}, waiting=2)
    status = live._status(views, load, health().read)
    assert status.state is expected
    assert (status.running, status.waiting) == (len(states), 2)
    assert status.slots == 4 * sum(state != "resting" for state in states)


def test_health_remembers_since_when() -> None:
    clock = FrozenClock()
    book = HealthBook(clock=clock)
    began = clock.now()
    book.probe_succeeded("r", 1.0)
    clock.advance(60)
    book.probe_failed("r", "first")
    assert (found := book.read("r")) is not None
    assert (found.since, found.error, found.available) == (began, "first", True)
    clock.advance(60)
    book.probe_failed("r", "second")
    assert (found := book.read("r")) is not None
    assert (found.since, found.error, found.available) == (clock.now(), "second", False)
    assert found.latency_ms is None
    clock.advance(60)
    book.probe_succeeded("r", 2.0)
    assert (found := book.read("r")) is not None
    # Back since now; why it was out can still be read.
    assert (found.since, found.error, found.latency_ms) == (clock.now(), "second", 2.0)
    book.keep_only([])
    assert book.read("r") is None


def test_who_shows_replicas_probes_them() -> None:
    probe = "inference.services.probe_replicas_forever"
    full = {
        "ATRIUM_DATABASE_URL": "postgresql://u:p@127.0.0.1/x",
        "ATRIUM_REDIS_URL": "redis://127.0.0.1/0",
        "ATRIUM_WEAVIATE_URL": "http://127.0.0.1:8080",
        "ATRIUM_SECRET_KEY": "s" * 50,
        "ATRIUM_KEYRING": "1:" + base64.b64encode(b"k" * 32).decode(),
        "ATRIUM_STORAGE_URL": "s3://k:s@127.0.0.1/bucket",
    }
    for role, planes in (("gateway", ["gateway"]), ("control", ["gateway", "control"]), ("all", ["gateway"])):
        environment = read_environment({**full, "ATRIUM_ROLE": role})
        found = background_work(environment)
        assert [plane for plane, work in found.items() if probe in work] == planes
