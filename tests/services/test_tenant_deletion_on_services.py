"""The end of a tenant over PostgreSQL, Weaviate and Redis: canaries in every table and store, and none of them left."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from factories.tenants import make_principal
from fakes.clocks import FrozenClock
from fakes.postgresql import fresh_database
from fakes.whole_tenant import counts_of, furnish_rows, furnish_stores, tables_with

from kernel.backends import BackendSpec, backends
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.limit_types import Claim, Line, LineKind, LineSet, Seed
from tenants.models import Tenant, TenantDeletion
from tenants.services.deleting import ask_deletion, carry_out_deletions

pytestmark = pytest.mark.services
LATER = FrozenClock(datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


class Silent:
    """A nudge that reaches nobody: the stack's own workers know nothing of this database."""

    def send(self, job_id: uuid.UUID | None = None) -> None:
        """Nothing."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Path]:
    usual = backends.specs
    files = BackendSpec(
        "substrate.ports.BlobStore",
        "substrate.adapters.directory_blobs.DirectoryBlobStore",
        {"root": str(tmp_path)},
    )
    backends.configure({**settings.BACKENDS, "blob_store": files})
    for name in ("job_nudge", "change_nudge"):
        backends.replace(name, Silent())
    yield tmp_path
    await backends.close()
    backends.configure(usual)


def ask(tenant: Tenant) -> None:
    operator = make_principal(is_operator=True)
    ask_deletion(principal=operator, tenant_id=tenant.id, confirm=tenant.slug, grace_hours=0)


def all_rows_with(text: str) -> dict[str, int]:
    """As the system, for forced row-level security hides tenants' rows from everybody else."""
    with system_scope("tests", read_only=True):
        return tables_with(text)


async def furnished(canary: str) -> Tenant:
    tenant = await run_unit(furnish_rows, canary, f"t{uuid.uuid4().hex[:12]}")
    await furnish_stores(tenant.id, canary)
    await _count_something(str(tenant.id))
    return tenant


async def _count_something(tenant: str) -> None:
    """A line that the counters' Redis knows."""
    line = Line(LineKind.RATE, "tenant::requests_per_minute", 10)
    await backends["counters"].reserve(Claim(uuid.uuid4().hex, tenant, LineSet((line,)), (1,)))
    month = Line(LineKind.MONTH, "tenant::tokens_per_month", 10, 0, 1 << 45, 1 << 46)
    await backends["counters"].seed(tenant, [Seed(month, 0, 5, 1)])


async def test_nothing_is_left_in_any_table_or_store(house: Path) -> None:
    tenant, other = await furnished("canary-gone"), await furnished("canary-stays")
    before, stays = await counts_of(tenant.id), await counts_of(other.id)
    assert [name for name, count in before.items() if not count] == []
    assert before["vectors"] == 2
    assert before["counters"] >= 2
    assert len(await run_unit(all_rows_with, "canary-gone")) > 20
    await run_unit(ask, tenant)

    assert await carry_out_deletions(clock=LATER, settling_s=0) == 1

    assert await run_unit(all_rows_with, "canary-gone") == {}
    assert not any((await counts_of(tenant.id)).values())
    assert await counts_of(other.id) == stays
    files = await asyncio.to_thread(lambda: [str(path) for path in house.rglob("*") if path.is_file()])
    assert not [path for path in files if "canary-gone" in path]
    row = await run_unit(TenantDeletion.objects.get)
    assert (row.state, row.report["left"], row.report["traces"]) == ("done", {}, {})
    assert not await run_unit(Tenant.objects.filter(id=tenant.id).exists)
