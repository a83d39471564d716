"""That usage grows is told once in five seconds, to the tenants it is of."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from fakes.clocks import FrozenClock

from substrate.models import Change
from substrate.units import close_units, run_unit
from tenants.services.ticks import MOST_TENANTS, UsageTicks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def units() -> Iterator[None]:
    yield
    close_units()


def told() -> list[uuid.UUID | None]:
    return list(Change.objects.filter(kind="usage").order_by("seq").values_list("tenant_id", flat=True))


def test_growth_is_told_at_once_then_gathered() -> None:
    clock, first, second = FrozenClock(), uuid.uuid4(), uuid.uuid4()
    ticks = UsageTicks(clock=clock)

    async def work() -> None:
        await ticks.tell()
        ticks.note([first, first])
        await ticks.tell()
        ticks.note([first, second])
        await ticks.tell()
        assert await run_unit(told) == [first]
        clock.advance(5.0)
        await ticks.tell()
        clock.advance(5.0)
        await ticks.tell()

    asyncio.run(work())
    assert told()[0] == first
    assert set(told()[1:]) == {first, second}
    assert len(told()) == 3


def test_many_tenants_are_told_as_one() -> None:
    ticks = UsageTicks(clock=FrozenClock())
    ticks.note(uuid.uuid4() for _ in range(MOST_TENANTS + 1))
    asyncio.run(ticks.tell())
    assert told() == [None]
