"""A Redis of the counters that goes away, comes back, or is emptied: shares meanwhile, and exact again within seconds."""

import asyncio
import shutil
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from fakes.redis_server import RedisServer

from tenants.adapters.redis_counters import RedisCounters
from tenants.limit_types import (
    Claim,
    CountersState,
    Line,
    LineKind,
    LineSet,
    Outcome,
    Seed,
    Settlement,
    Verdict,
)

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server"),
]
EXACT_AGAIN_S = 5.0
BUDGET = Line(LineKind.MONTH, "tenant::tokens_per_month", 1000, 0, 1 << 50, (1 << 50) + 1)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def counters(own_redis: RedisServer) -> AsyncIterator[RedisCounters]:
    made = RedisCounters(url=own_redis.url)
    yield made
    await made.close()


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


def now_ms() -> int:
    return int(time.time() * 1000)


def claim(tenant: str, value: int, line: Line = BUDGET) -> Claim:
    return Claim(uuid.uuid4().hex, tenant, LineSet((line,)), (value,))


async def used(counters: RedisCounters, tenant: str, value: int) -> None:
    """A call from its reservation to its settlement."""
    asked = claim(tenant, value)
    assert (await counters.reserve(asked)).outcome is Outcome.ADMITTED
    counters.settle(Settlement(asked, (value,), now_ms()))


async def admitted(counters: RedisCounters, tenant: str, value: int, attempts: int) -> list[Claim]:
    found = []
    for _ in range(attempts):
        asked = claim(tenant, value)
        if (await counters.reserve(asked)).outcome is Outcome.ADMITTED:
            found.append(asked)
    return found


async def until_exact(counters: RedisCounters, tenant: str) -> Verdict:
    """Ask as calls do, until an answer is no longer this process's own."""
    async with asyncio.timeout(EXACT_AGAIN_S):
        while (verdict := await counters.reserve(claim(tenant, 1))).local:  # noqa: ASYNC110 - calls ask, nobody tells
            await asyncio.sleep(0.1)
    return verdict


async def until_used(counters: RedisCounters, tenant: str, amount: int) -> None:
    """Wait until Redis was told of so much."""
    async with asyncio.timeout(EXACT_AGAIN_S):
        while (await counters.read(tenant, (BUDGET,)))[0].used != amount:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_away_a_share_and_back_exact_with_what_was_used_meanwhile(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    assert await counters.check() == CountersState()
    await counters.seed(tenant, [Seed(BUDGET, 0, 200, 1)])
    await used(counters, tenant, 100)
    await counters.read(tenant, (BUDGET,))
    assert own_redis.process is not None
    # Stopped and not ended: it keeps what it knows.
    own_redis.process.send_signal(signal.SIGSTOP)
    taken = await admitted(counters, tenant, 25, 12)
    # 700 were left when it was last seen: a quarter of that, and no more.
    assert len(taken) == 7
    assert await counters.check() == CountersState(exact=False, reachable=False)
    for each in taken:
        counters.settle(Settlement(each, (20,), now_ms()))
    own_redis.process.send_signal(signal.SIGCONT)
    verdict = await until_exact(counters, tenant)
    assert verdict.outcome is Outcome.ADMITTED
    assert await counters.check() == CountersState()
    # 300 before, 140 meanwhile, 1 that asked.
    await until_used(counters, tenant, 441)
    assert len(await admitted(counters, tenant, 43, 20)) == 559 // 43


async def test_a_second_absence_begins_with_a_new_share(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    await counters.seed(tenant, [Seed(BUDGET, 0, 0, 1)])
    await used(counters, tenant, 200)
    assert own_redis.process is not None
    # At the second time also what asked whether it is back is held.
    for share, total in ((20, 401), (14, 542)):
        own_redis.process.send_signal(signal.SIGSTOP)
        taken = await admitted(counters, tenant, 10, 40)
        assert len(taken) == share
        for each in taken:
            counters.settle(Settlement(each, (10,), now_ms()))
        own_redis.process.send_signal(signal.SIGCONT)
        await until_exact(counters, tenant)
        await until_used(counters, tenant, total)
        # Only a call tells this process what remains now.
        await used(counters, tenant, 0)


async def test_a_redis_that_comes_and_goes_gives_no_new_share_of_a_rate_each_time(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    line = Line(LineKind.RATE, "tenant::requests_per_minute", 40)
    assert own_redis.process is not None
    taken = 0
    for _ in range(3):
        own_redis.process.send_signal(signal.SIGSTOP)
        for _ in range(30):
            asked = claim(tenant, 1, line)
            if (await counters.reserve(asked)).outcome is Outcome.ADMITTED:
                taken += 1
                counters.settle(Settlement(asked, (1,), now_ms()))
        own_redis.process.send_signal(signal.SIGCONT)
        await until_exact(counters, tenant)
        await asyncio.sleep(1.0)
    # One share of ten at once, and what refills of it within the seconds that this takes.
    assert 10 <= taken <= 14


async def test_an_emptied_redis_is_noticed_and_admits_nothing_before_it_is_seeded(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    await counters.check()
    await counters.seed(tenant, [Seed(BUDGET, 0, 0, 1)])
    await used(counters, tenant, 600)
    client = redis.asyncio.Redis.from_url(own_redis.url)
    await client.flushall()
    await client.aclose()
    began = time.monotonic()
    taken = await admitted(counters, tenant, 10, 100)
    # 400 were left when it was last seen.
    assert len(taken) == 10
    assert await counters.check() == CountersState(exact=False, reachable=True, emptied=1)
    for each in taken:
        counters.refund(each)
    verdict = await until_exact(counters, tenant)
    assert verdict.outcome is Outcome.UNSEEDED
    assert 2.0 < time.monotonic() - began < EXACT_AGAIN_S
    await counters.seed(tenant, [Seed(BUDGET, 0, 600, now_ms())])
    assert len(await admitted(counters, tenant, 10, 100)) == 40
    assert await counters.check() == CountersState(emptied=1)


async def test_a_process_in_which_nobody_watches_notices_it_as_well(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    """A worker that began when all lines were seeded, and has never been told to look."""
    gateway = RedisCounters(url=own_redis.url)
    await gateway.check()
    await gateway.seed(tenant, [Seed(BUDGET, 0, 0, 1)])
    await gateway.close()
    await used(counters, tenant, 600)
    client = redis.asyncio.Redis.from_url(own_redis.url)
    await client.flushall()
    await client.aclose()
    verdicts = [await counters.reserve(claim(tenant, 10)) for _ in range(100)]
    assert all(each.local for each in verdicts)
    assert sum(each.outcome is Outcome.ADMITTED for each in verdicts) == 10


async def test_rates_too_stay_within_a_share_once_somebody_has_looked(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    line = Line(LineKind.RATE, "tenant::requests_per_minute", 40)
    await counters.check()
    for _ in range(40):
        assert (await counters.reserve(claim(tenant, 1, line))).outcome is Outcome.ADMITTED
    client = redis.asyncio.Redis.from_url(own_redis.url)
    await client.flushall()
    await client.aclose()
    await counters.check()
    verdicts = [await counters.reserve(claim(tenant, 1, line)) for _ in range(40)]
    assert sum(each.outcome is Outcome.ADMITTED for each in verdicts) == 10
    assert all(each.local for each in verdicts)


async def test_a_new_installation_counts_exactly_at_once(counters: RedisCounters, tenant: str) -> None:
    assert (await counters.reserve(claim(tenant, 1))).outcome is Outcome.UNSEEDED
    await counters.seed(tenant, [Seed(BUDGET, 0, 0, 1)])
    verdict = await counters.reserve(claim(tenant, 1000))
    assert (verdict.outcome, verdict.local) == (Outcome.ADMITTED, False)


async def test_a_process_that_comes_after_it_was_emptied_knows_nothing_else(
    own_redis: RedisServer, counters: RedisCounters, tenant: str
) -> None:
    await counters.check()
    late = RedisCounters(url=own_redis.url)
    try:
        assert await late.check() == CountersState()
        assert (await late.reserve(claim(tenant, 1))).outcome is Outcome.UNSEEDED
    finally:
        await late.close()


async def test_without_any_redis_every_check_says_so() -> None:
    counters = RedisCounters(url="redis://127.0.0.1:1/0")
    try:
        for _ in range(3):
            assert await counters.check() == CountersState(exact=False, reachable=False)
    finally:
        await counters.close()
