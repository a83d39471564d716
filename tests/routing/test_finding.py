"""Who follows the sources of pools: one process of all; what it does with what they say, and when they do not."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from fakes.clocks import FrozenClock
from fakes.discovery import PaperDiscovery

from inference.models import PoolSource, Replica
from inference.rosters import HEARD_S
from inference.services import ask_source_again, create_model, create_pool, ensure_models, set_source
from kernel.backends import backends
from kernel.errors import Unavailable
from routing.services import ReplicaFinder, find_replicas_forever, finding
from routing.services.finding import TELL_EVERY_S, Sighting
from routing.types import ReplicaSlots, Ticket
from substrate.ports import ChangeEvent
from substrate.units import close_units
from tenants.types import PriorityClass

pytestmark = pytest.mark.django_db(transaction=True)
DOCUMENT = {"kind": "dns", "model": "org/tiny", "name": "vllm.test", "port": 8000}


class House:
    """A pool that is found by a source on paper, and whoever follows it."""

    def __init__(self, pool_id: uuid.UUID) -> None:
        self.pool_id, self.clock = pool_id, FrozenClock()
        self.source = PaperDiscovery(1, 2)
        self.finder = ReplicaFinder(clock=self.clock)
        backends.replace("discovery.dns", self.source)

    async def look(self, finder: ReplicaFinder | None = None) -> bool:
        """A look, with time before and after it for the task that follows."""
        mine = await (finder or self.finder).look()
        for _ in range(20):
            await asyncio.sleep(0)
        await (finder or self.finder).look()
        return mine

    async def ports(self) -> dict[int, bool]:
        """Ports of replicas, and whether they drain."""
        found = await sync_to_async(lambda: list(Replica.objects.values_list("url", "draining")))()
        return {int(url.split(":")[2].removesuffix("/v1")): draining for url, draining in sorted(found)}

    async def row(self) -> PoolSource:
        return await sync_to_async(PoolSource.objects.get)()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    def furnish() -> uuid.UUID:
        create_model(model_id="org/tiny")
        pool = create_pool(name="gpu").id
        set_source(pool_id=pool, document=DOCUMENT)
        return pool

    made = House(await sync_to_async(furnish)())
    yield made
    await made.finder.leave()
    await backends.close()
    close_units()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def test_what_a_source_says_is_done_and_written_down(house: House) -> None:
    assert await house.look()
    assert await house.ports() == {1: False, 2: False}
    row = await house.row()
    assert (row.found, row.problem, row.discovered_at) == (2, "", house.clock.now())
    assert house.finder.sightings == {"gpu": Sighting(2, failing=False)}
    house.source.tell(2, 3)
    await house.look()
    assert await house.ports() == {1: True, 2: False, 3: False}
    house.clock.advance(HEARD_S)
    await house.look()
    assert await house.ports() == {2: False, 3: False}
    assert house.source.begun == 1, "it is followed, and not asked anew each time"


async def test_only_one_follows_and_another_when_it_leaves(house: House) -> None:
    other = ReplicaFinder(clock=house.clock)
    assert await house.look()
    assert not await house.look(other)
    assert (house.source.begun, other.sightings) == (1, {})
    await house.finder.leave()
    assert (house.source.ended, house.finder.sightings) == (1, {})
    assert await house.look(other)
    assert house.source.begun == 2
    assert not await house.look()
    await other.leave()


async def test_a_source_that_fails_is_told_and_takes_nobody_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FIRST_PAUSE_S", 0.01)
    await house.look()
    seen_at = house.clock.now()
    house.clock.advance(10)
    house.source.tell(1, fails=Unavailable("The DNS does not say where vllm.test is: LifetimeTimeout."))
    await house.look()
    row = await house.row()
    assert (row.found, row.discovered_at) == (2, seen_at)
    assert row.problem.startswith("The DNS does not say")
    assert await house.ports() == {1: False, 2: False}
    assert house.finder.sightings == {"gpu": Sighting(2, failing=True)}
    house.source.tell(1, 2)

    async def well() -> bool:
        await house.look()
        return (await house.row()).problem == ""

    await until(well)
    assert house.finder.sightings == {"gpu": Sighting(2, failing=False)}


async def test_a_source_that_names_nobody_is_told_and_takes_nobody_away(house: House) -> None:
    await house.look()
    house.source.tell()
    await house.look()
    assert "names nobody" in (await house.row()).problem
    assert await house.ports() == {1: False, 2: False}
    assert house.finder.sightings["gpu"].failing


async def test_one_that_has_calls_is_kept_until_they_end(house: House) -> None:
    await house.look()
    await ensure_models()
    leaving = str((await sync_to_async(Replica.objects.get)(url="http://10.0.0.1:2/v1")).id)
    scheduler = backends["scheduler"]
    slots = (ReplicaSlots(leaving, 4, uncached_tokens=10),)
    lease = await scheduler.acquire(
        Ticket("call", "gpu", "t", PriorityClass.STANDARD, slots, 10, 10, wait_s=1.0)
    )
    house.source.tell(1)
    await house.look()
    house.clock.advance(HEARD_S)
    await house.look()
    assert await house.ports() == {1: False, 2: True}
    await scheduler.release(lease)
    await house.look()
    assert await house.ports() == {1: False}


async def test_nothing_is_written_while_nothing_happens_but_now_and_then(house: House) -> None:
    await house.look()
    first = (await house.row()).discovered_at
    house.clock.advance(TELL_EVERY_S - 1)
    await house.look()
    assert (await house.row()).discovered_at == first
    house.clock.advance(1)
    await house.look()
    assert (await house.row()).discovered_at == house.clock.now()


async def test_another_source_is_followed_from_then_on_and_one_by_hand_is_not(house: House) -> None:
    await house.look()
    await sync_to_async(set_source)(pool_id=house.pool_id, document={**DOCUMENT, "port": 9000})
    await house.look()
    assert (house.source.begun, house.source.ended) == (2, 1)
    await sync_to_async(set_source)(pool_id=house.pool_id, document={"kind": "static"})
    await house.look()
    assert (house.source.ended, house.finder.sightings) == (2, {})
    assert await house.ports() == {1: False, 2: False}


async def test_it_is_asked_again_at_once_when_somebody_wants_that(house: House) -> None:
    await house.look()
    house.finder.on_change(ChangeEvent(seq=1, kind="pool", tenant_id=None, object_id="x"))
    house.finder.on_change(ChangeEvent(seq=1, kind="pool_source", tenant_id=None, object_id="not an id"))
    house.finder.on_change(
        ChangeEvent(seq=1, kind="pool_source", tenant_id=None, object_id=str(house.pool_id))
    )
    async with asyncio.timeout(1):
        await house.finder.rest()
    await house.look()
    assert house.source.begun == 2


async def test_a_running_process_hears_of_a_new_source_and_gives_its_turn_back(house: House) -> None:
    tail = backends["change_tail"]
    await tail.start()
    running = [asyncio.create_task(find_replicas_forever()), asyncio.create_task(tail.run())]

    async def found() -> bool:
        return len(await house.ports()) == 2

    await until(found)
    await sync_to_async(ask_source_again)(pool_id=house.pool_id)

    async def asked_again() -> bool:
        return house.source.begun == 2

    await until(asked_again)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await house.look(), "the turn is nobody's at once"
