"""The contract of every usage spool, on each adapter. The Redis one runs when ATRIUM_TEST_REDIS_URL names one."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from factories.tenants import make_tenant
from factories.usage import make_entry

from kernel.backends import backends
from kernel.errors import Unavailable
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.adapters.file_spool import FileUsageSpool
from tenants.adapters.redis_spool import STREAM, RedisUsageSpool
from tenants.models import UsageRecord
from tenants.services import drain_usage_once, record_usage
from tenants.types import UsageEntry

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")
Spool = FileUsageSpool | RedisUsageSpool


@pytest.fixture(
    params=[
        "file",
        pytest.param(
            "redis",
            marks=[
                pytest.mark.services,
                pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis"),
            ],
        ),
    ]
)
async def make_spool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Spool]]:
    """Makes processes' views of one spool; all are closed at the end."""
    made: list[Spool] = []

    def make() -> Spool:
        if request.param == "file":
            made.append(FileUsageSpool(directory=str(tmp_path / "spool")))
        else:
            made.append(RedisUsageSpool(url=REDIS_URL, fallback_directory=str(tmp_path / "spool")))
        return made[-1]

    if request.param == "redis":
        client = redis.asyncio.Redis.from_url(REDIS_URL)
        await client.delete(STREAM)
        await client.aclose()
    yield make
    for spool in made:
        closing = spool.close()
        if closing is not None:
            await closing


async def drained(spool: Any, limit: int = 1000) -> list[UsageEntry]:
    """Everything in the spool, confirmed."""
    entries: list[UsageEntry] = []
    while (batch := await spool.take(limit)).entries:
        entries += batch.entries
        await spool.confirm(batch)
    return entries


async def test_an_entry_comes_back_as_it_was(make_spool: Callable[[], Spool]) -> None:
    entry = make_entry()
    await make_spool().append(entry)
    assert await drained(make_spool()) == [entry]


async def test_entries_of_all_processes_come_once_and_those_of_each_in_order(
    make_spool: Callable[[], Spool],
) -> None:
    """Of two that were written in the same tick of the machine's clock nobody knows which was first."""
    first, second, drainer = make_spool(), make_spool(), make_spool()
    entries = [make_entry() for _ in range(20)]
    for number, entry in enumerate(entries):
        await (first if number < 10 else second).append(entry)
    found = [each.record_id for each in await drained(drainer, limit=7)]
    for own in (entries[:10], entries[10:]):
        written = [each.record_id for each in own]
        assert [each for each in found if each in written] == written
    assert len(found) == 20
    assert await drained(make_spool()) == []


async def test_what_is_not_confirmed_is_taken_again(make_spool: Callable[[], Spool]) -> None:
    spool = make_spool()
    for _ in range(5):
        await spool.append(make_entry())
    first = await spool.take(3)
    again = await spool.take(3)
    assert len(first.entries) == 3
    assert [each.record_id for each in again.entries] == [each.record_id for each in first.entries]
    await spool.confirm(again)  # type: ignore[arg-type]
    assert len(await drained(spool)) == 2


async def test_only_one_drainer_takes_an_entry(make_spool: Callable[[], Spool]) -> None:
    first, second = make_spool(), make_spool()
    await first.append(make_entry())
    held = await first.take(10)
    assert len(held.entries) == 1
    assert (await second.take(10)).entries == ()
    await first.confirm(held)  # type: ignore[arg-type]
    assert (await second.take(10)).entries == ()


async def test_a_thousand_appends_at_once(make_spool: Callable[[], Spool]) -> None:
    spool = make_spool()
    entries = [make_entry() for _ in range(1000)]
    await asyncio.gather(*(spool.append(each) for each in entries))
    found = await drained(spool, limit=300)
    assert {each.record_id for each in found} == {each.record_id for each in entries}
    assert len(found) == 1000


async def test_an_append_whose_caller_leaves_is_kept(make_spool: Callable[[], Spool]) -> None:
    spool = make_spool()
    task = asyncio.ensure_future(spool.append(make_entry()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert len(await drained(spool)) == 1


@pytest.mark.django_db(transaction=True)
async def test_the_ledger_counts_each_entry_once(make_spool: Callable[[], Spool]) -> None:
    """Replays, a deleted tenant and a drainer that dies before it confirms do not change the sum."""
    spool = make_spool()
    backends.replace("usage_spool", spool)
    tenant = await run_unit(make_tenant)
    entries = [make_entry(tenant.id) for _ in range(30)]
    for entry in entries:
        await record_usage(entry)
        await record_usage(entry)
    await record_usage(make_entry())
    original = spool.confirm
    failures = iter([True, False, True])

    async def confirm(batch: Any) -> None:
        if next(failures, False):
            raise Unavailable
        await original(batch)

    spool.confirm = confirm  # type: ignore[method-assign, assignment]
    for _ in range(3):
        try:
            await drain_usage_once()
        except Unavailable:
            continue
    spool.confirm = original  # type: ignore[method-assign]
    while await drain_usage_once():
        pass
    rows = await run_unit(_ledger)
    assert sorted(rows) == sorted((each.record_id, 12_345_678_901, "größer\nmodel") for each in entries)


def _ledger() -> list[tuple[Any, int, str]]:
    with system_scope("tests"):
        return list(UsageRecord.objects.values_list("record_id", "cost_nano", "model"))
