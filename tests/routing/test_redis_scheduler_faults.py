"""The scheduler over Redis when a process dies, and when Redis does."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from fakes.redis_server import REDIS, RedisServer

from kernel.errors import ServerOverloaded
from routing.adapters.redis_scheduler import LEASE_MS, TIMEOUT_S, RedisScheduler
from routing.types import ReplicaSlots, Ticket
from tenants.types import PriorityClass

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(REDIS is None, reason="no redis-server on this machine"),
]

PREFIX = "atrium:sched:{pool}:"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def scheduler(server: RedisServer) -> AsyncIterator[RedisScheduler]:
    made = RedisScheduler(url=server.url, queue_limit=10)
    yield made
    await made.close()


def ticket(slots: int = 1, wait_s: float = 30.0, *, tokens: int = 0) -> Ticket:
    replicas = (ReplicaSlots("a", slots, uncached_tokens=tokens, token_budget=1000),)
    return Ticket(uuid.uuid4().hex, "pool", "t", PriorityClass.STANDARD, replicas, 1, 1, wait_s)


async def all_is_read(scheduler: RedisScheduler) -> bool:
    """Whether within some seconds no prompt counts as unread any more."""
    for _ in range(100):
        if not (await scheduler.snapshot("pool")).in_flight:
            return True
        await asyncio.sleep(0.05)
    return False


async def used(admin: "redis.asyncio.Redis") -> int:
    """The counter of the tenant."""
    return int(await admin.hget(f"{PREFIX}c2", "t"))


async def test_two_processes_share_the_slots(server: RedisServer, scheduler: RedisScheduler) -> None:
    other = RedisScheduler(url=server.url, queue_limit=10)
    held = await other.acquire(ticket())
    waiting = asyncio.create_task(scheduler.acquire(ticket()))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    began = time.monotonic()
    await other.release(held)
    lease = await waiting
    assert time.monotonic() - began < 0.5
    assert lease.waited_ms > 50
    await other.close()


DOOMED = """
import asyncio, sys
from routing.adapters.redis_scheduler import RedisScheduler
from routing.types import ReplicaSlots, Ticket
from tenants.types import PriorityClass

async def main():
    scheduler = RedisScheduler(url=sys.argv[1], queue_limit=10)
    def ticket(id):
        return Ticket(id, "pool", "t", PriorityClass.STANDARD, (ReplicaSlots("a", 1),), 1, 1, 60)
    await scheduler.acquire(ticket("held"))
    waiting = asyncio.ensure_future(scheduler.acquire(ticket("waits")))
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    await waiting

asyncio.run(main())
"""


async def test_slots_and_places_of_a_killed_process_are_free_again(
    server: RedisServer, scheduler: RedisScheduler
) -> None:
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DOOMED, server.url, stdout=asyncio.subprocess.PIPE
    )
    assert doomed.stdout is not None
    assert await doomed.stdout.readline() == b"ready\n"
    doomed.kill()
    await doomed.wait()
    began = time.monotonic()
    lease = await scheduler.acquire(ticket())
    # Its last heartbeat was before it was killed, and ours comes every second.
    assert time.monotonic() - began < 5
    await scheduler.release(lease)


async def test_a_long_call_keeps_its_slot_by_heartbeats(scheduler: RedisScheduler) -> None:
    held = await scheduler.acquire(ticket())
    with pytest.raises(ServerOverloaded):
        await scheduler.acquire(ticket(wait_s=LEASE_MS / 1000 + 2))
    assert await scheduler.renew(held)
    await scheduler.release(held)


async def test_without_redis_a_share_is_handed_out_and_its_return_is_noticed(
    server: RedisServer, scheduler: RedisScheduler
) -> None:
    await scheduler.release(await scheduler.acquire(ticket(slots=8)))
    server.stop()
    began = time.monotonic()
    leases = [await scheduler.acquire(ticket(slots=8, wait_s=0.2)) for _ in range(2)]
    assert time.monotonic() - began < 4
    with pytest.raises(ServerOverloaded):
        await scheduler.acquire(ticket(slots=8, wait_s=0.2))
    for lease in leases:
        await scheduler.release(lease)
    server.start()
    await asyncio.sleep(2.5)
    again = [await scheduler.acquire(ticket(slots=8, wait_s=1)) for _ in range(8)]
    assert dict((await scheduler.snapshot("pool")).running) == {"a": 8}
    for lease in again:
        await scheduler.release(lease)


async def test_a_redis_that_hangs_holds_up_the_first_calls_and_not_each(
    server: RedisServer, scheduler: RedisScheduler
) -> None:
    await scheduler.release(await scheduler.acquire(ticket(slots=8)))
    held = await scheduler.acquire(ticket(slots=8))
    server.hang()
    began = time.monotonic()
    await scheduler.release(await scheduler.acquire(ticket(slots=8, wait_s=5)))
    # One timeout, behind that of a beat.
    assert time.monotonic() - began < TIMEOUT_S * 2 + 0.5
    for _ in range(30):
        began = time.monotonic()
        await scheduler.release(await scheduler.acquire(ticket(slots=8, wait_s=5)))
        assert time.monotonic() - began < 0.3
        await asyncio.sleep(0.2)
    began = time.monotonic()
    await scheduler.release(held)
    assert time.monotonic() - began < 0.3
    server.go_on()
    await asyncio.sleep(TIMEOUT_S + 2)
    again = [await scheduler.acquire(ticket(slots=8, wait_s=2)) for _ in range(8)]
    # Of those that were asked for while it hung none has kept a slot.
    assert dict((await scheduler.snapshot("pool")).running) == {"a": 8}
    for lease in again:
        await scheduler.release(lease)


async def test_an_emptied_redis_is_used_again_without_a_restart(
    server: RedisServer, scheduler: RedisScheduler
) -> None:
    await scheduler.release(await scheduler.acquire(ticket()))
    server.stop()
    server.start()
    outcomes = []
    for _ in range(6):
        lease = await scheduler.acquire(ticket(wait_s=2))
        await scheduler.release(lease)
        outcomes.append(lease)
        await asyncio.sleep(0.5)
    assert len(outcomes) == 6


async def test_charges_while_redis_stalls_break_no_call_and_are_told_later(
    server: RedisServer, scheduler: RedisScheduler
) -> None:
    admin = redis.asyncio.Redis.from_url(server.url)
    lease = await scheduler.acquire(ticket(slots=8, tokens=700))
    await admin.execute_command("CLIENT", "PAUSE", "700", "ALL")
    for _ in range(12):
        await asyncio.sleep(0.05)
        await scheduler.charge(lease, 64)
    assert await all_is_read(scheduler)
    for _ in range(100):
        if await used(admin) == (700 + 12 * 64 * 2) * 1000:
            break
        await asyncio.sleep(0.05)
    assert await used(admin) == (700 + 12 * 64 * 2) * 1000
    # And so are those of later calls.
    later = await scheduler.acquire(ticket(slots=8, tokens=700))
    assert (await scheduler.snapshot("pool")).in_flight == {"a": 700}
    await scheduler.charge(later, 1)
    assert await all_is_read(scheduler)
    for each in (lease, later):
        await scheduler.release(each)
    await admin.aclose()


async def test_that_a_prompt_is_read_is_told_again_when_the_connection_breaks(
    server: RedisServer, scheduler: RedisScheduler
) -> None:
    admin = redis.asyncio.Redis.from_url(server.url)
    lease = await scheduler.acquire(ticket(slots=8, tokens=700))
    await admin.execute_command("CLIENT", "PAUSE", "400", "WRITE")
    await scheduler.charge(lease, 5)
    await asyncio.sleep(0.2)
    await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await all_is_read(scheduler)
    # Redis may have heard it the first time, so what was used is not told twice.
    assert await used(admin) == 700 * 1000
    assert await scheduler.renew(lease)
    await scheduler.release(lease)
    await admin.aclose()
