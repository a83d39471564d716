"""The nightly look at counters: what differs is told, what is only under way is not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from factories.tenants import make_tenant
from factories.usage import make_entry

from kernel.backends import backends
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.units import close_units, run_unit
from tenants.ledger import book_usage
from tenants.limit_types import Line, Measure, Standing
from tenants.models import Tenant
from tenants.services import set_tenant_limits
from tenants.services.drift import compare_counters, drifted_lines


@dataclass
class ToldCounters:
    """Counters that say one number after the other, the last one for ever."""

    says: list[int]
    seeded: bool = True
    asked: int = field(default=0)

    async def read(self, tenant: str, lines: list[Line]) -> tuple[Standing, ...]:
        used = self.says[min(self.asked, len(self.says) - 1)]
        self.asked += 1
        return tuple(Standing(used, 0, 0, seeded=self.seeded) for _ in lines)


@pytest.fixture
async def house(transactional_db: None) -> AsyncIterator[None]:
    yield
    await backends.close()
    close_units()


def furnish() -> Tenant:
    """A tenant that has used seven tokens of this month."""
    tenant = make_tenant()
    set_tenant_limits(tenant_id=tenant.id, limits={Measure.TOKENS_PER_MONTH: 100})
    entry = make_entry(tenant.id, prompt_tokens=4, completion_tokens=3, started_at=datetime.now(UTC))
    with system_scope("tests"):
        book_usage([entry])
    return tenant


async def compared(*says: int, seeded: bool = True) -> int:
    backends.replace("counters", ToldCounters(list(says), seeded))
    return await compare_counters(pause_s=0)


def use_elsewhere() -> None:
    """A tenant without limits that has used nine tokens."""
    entry = make_entry(make_tenant().id, prompt_tokens=5, completion_tokens=4, started_at=datetime.now(UTC))
    with system_scope("tests"):
        book_usage([entry])


async def test_what_another_tenant_used_is_not_counted(house: None) -> None:
    await run_unit(furnish)
    await run_unit(use_elsewhere)
    assert await compared(7) == 0


async def test_counters_that_agree_are_written_down_as_such(house: None) -> None:
    await run_unit(furnish)
    assert await compared(7) == 0
    assert await run_unit(drifted_lines) == 0


@pytest.mark.parametrize("counted", [5, 9])
async def test_what_differs_is_told(house: None, counted: int) -> None:
    tenant = await run_unit(furnish)
    assert await compared(counted) == 1
    act = (await run_unit(acts_of_tenant, tenant_id=tenant.id, limit=1))[0]
    assert act.act == "drifted"
    assert dict(act.before) == {"counted": ["tenant::tokens_per_month 7"]}
    assert dict(act.after) == {"counted": [f"tenant::tokens_per_month {counted}"]}
    assert await run_unit(drifted_lines) == 1


async def test_a_call_under_way_is_no_drift(house: None) -> None:
    await run_unit(furnish)
    assert await compared(50, 50, 7) == 0
    assert await compared(9, 5, 9) == 0


async def test_what_no_call_has_begun_yet_is_not_compared(house: None) -> None:
    await run_unit(furnish)
    assert await compared(0, seeded=False) == 0
