"""Engines are registered when they answer, drained before they are stopped, replaced when they have died."""

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from fakes.clocks import FrozenClock
from fakes.fleets import PaperScaler

from inference.models import Replica
from inference.services import create_pool, register_engine
from routing.models import StartedReplica
from routing.scaling_reads import ScaledPool
from routing.scaling_types import ScalingPolicy
from routing.services.fleets import DRAIN_S, follow, take_stock
from substrate.units import close_units

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def house() -> AsyncIterator["House"]:
    made = await sync_to_async(create_pool)(name="gpu")
    yield House(ScaledPool(made.id, "gpu", ScalingPolicy()))
    close_units()


class House:
    """A pool, its scaler, and looks at both."""

    def __init__(self, pool: ScaledPool) -> None:
        self.pool, self.scaler, self.clock = pool, PaperScaler("gpu"), FrozenClock()

    async def look(self, wanted: int, **running: int) -> None:
        fleet = await self.scaler.observe("gpu")
        assert fleet is not None
        stock = await take_stock(self.pool, fleet)
        calls = {f"http://127.0.0.1:{name.removeprefix('p')}/v1": count for name, count in running.items()}
        await follow(self.scaler, self.pool, stock, wanted, calls, clock=self.clock)
        self.clock.advance(5.0)

    async def rows(self) -> dict[str, bool]:
        """Ports of registered replicas, and whether they drain."""
        found = await sync_to_async(
            lambda: list(Replica.objects.order_by("url").values_list("url", "draining"))
        )()
        return {url.split(":")[2].removesuffix("/v1"): draining for url, draining in found}


async def test_engines_are_registered_when_they_answer(house: House) -> None:
    await house.look(2)
    assert house.scaler.asked == [("gpu", 2, ())]
    assert await house.rows() == {}
    await house.look(2)
    assert len(house.scaler.asked) == 1, "nothing changes while they start"
    house.scaler.wake("gpu")
    await house.look(2)
    assert await house.rows() == {"9001": False, "9002": False}
    replica = await sync_to_async(lambda: Replica.objects.select_related("model").first())()
    assert replica is not None
    assert (replica.model.model_id, replica.max_concurrency) == ("org/tiny", 4)


async def test_the_least_busy_is_drained_and_stopped_when_its_last_call_has_ended(house: House) -> None:
    await house.look(2)
    house.scaler.wake("gpu")
    await house.look(2)
    await house.look(1, p9001=3, p9002=1)
    assert await house.rows() == {"9001": False, "9002": True}
    assert len(house.scaler.asked) == 1
    await house.look(1, p9001=3, p9002=1)
    assert len(house.scaler.asked) == 1, "it has a call still"
    await house.look(1, p9001=3)
    assert house.scaler.asked[1:] == [("gpu", 1, ("http://127.0.0.1:9002/v1",))]
    assert await house.rows() == {"9001": False}
    assert await sync_to_async(StartedReplica.objects.count)() == 1


async def test_one_that_never_gets_rid_of_its_calls_is_stopped_in_the_end(house: House) -> None:
    await house.look(2)
    house.scaler.wake("gpu")
    await house.look(2)
    await house.look(1, p9001=3, p9002=1)
    house.clock.advance(DRAIN_S)
    await house.look(1, p9001=3, p9002=1)
    assert house.scaler.asked[-1] == ("gpu", 1, ("http://127.0.0.1:9002/v1",))


async def test_one_that_drains_is_brought_back_before_another_is_started(house: House) -> None:
    await house.look(2)
    house.scaler.wake("gpu")
    await house.look(2)
    await house.look(1, p9002=5, p9001=2)
    assert await house.rows() == {"9001": True, "9002": False}
    await house.look(2, p9002=5, p9001=2)
    assert await house.rows() == {"9001": False, "9002": False}
    assert len(house.scaler.asked) == 1
    await house.look(3, p9002=5, p9001=2)
    assert house.scaler.asked[-1] == ("gpu", 3, ())


async def test_one_that_has_died_is_forgotten_and_replaced(house: House) -> None:
    await house.look(2)
    house.scaler.wake("gpu")
    await house.look(2)
    del house.scaler.engines["gpu"][0]
    await house.look(2)
    assert await house.rows() == {"9002": False}
    assert house.scaler.asked[-1] == ("gpu", 2, ())


async def test_one_that_has_never_answered_goes_first_and_at_once(house: House) -> None:
    await house.look(1)
    house.scaler.wake("gpu")
    await house.look(2)
    await house.look(1)
    assert house.scaler.asked[-1] == ("gpu", 1, ("http://127.0.0.1:9002/v1",))
    assert await house.rows() == {"9001": False}


async def test_replicas_that_people_registered_are_left_alone(house: House) -> None:
    await sync_to_async(register_engine)(pool="gpu", model="org/tiny", url="http://10.0.0.1:8000/v1")
    await house.look(1)
    house.scaler.wake("gpu")
    await house.look(1)
    house.scaler.engines["gpu"].clear()
    await house.look(0)
    assert await house.rows() == {"8000": False}
