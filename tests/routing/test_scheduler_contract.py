"""What every scheduler promises, in process and over Redis."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kernel.errors import NoReplica, QueueShareFull, ServerOverloaded
from routing.adapters.memory_scheduler import MemoryScheduler
from routing.adapters.redis_scheduler import RedisScheduler
from routing.ports import Scheduler
from routing.types import Lease, QueuePlace, ReplicaSlots, Ticket
from tenants.types import PriorityClass

REDIS_URL = os.environ.get("ATRIUM_TEST_REDIS_URL", "")
QUEUE_LIMIT = 120

redis_only = pytest.param(
    "redis",
    marks=[
        pytest.mark.services,
        pytest.mark.skipif(not REDIS_URL, reason="ATRIUM_TEST_REDIS_URL names no Redis"),
    ],
)


def ticket(
    pool: str, *slots: tuple[str, int], wait_s: float = 5.0, avoid: frozenset[str] = frozenset(), id: str = ""
) -> Ticket:
    return Ticket(
        id=id or uuid.uuid4().hex,
        pool=pool,
        tenant="t",
        priority=PriorityClass.STANDARD,
        replicas=tuple(ReplicaSlots(replica, count) for replica, count in slots),
        prompt_tokens=10,
        max_tokens=10,
        wait_s=wait_s,
        avoid=avoid,
    )


@pytest.fixture(params=["memory", redis_only])
async def scheduler(request: pytest.FixtureRequest) -> AsyncIterator[Scheduler]:
    if request.param == "memory":
        yield MemoryScheduler(queue_limit=QUEUE_LIMIT)
        return
    made = RedisScheduler(url=REDIS_URL, queue_limit=QUEUE_LIMIT)
    yield made
    await made.close()


@pytest.fixture
def pool() -> str:
    return f"pool-{uuid.uuid4().hex}"


async def settled() -> None:
    """Let waiting tasks reach their queue."""
    await asyncio.sleep(0.05)


async def test_calls_spread_over_replicas_by_their_size(scheduler: Scheduler, pool: str) -> None:
    leases = [await scheduler.acquire(ticket(pool, ("small", 2), ("large", 6))) for _ in range(4)]
    replicas = [lease.replica for lease in leases]
    assert replicas.count("small") == 1
    assert replicas.count("large") == 3
    snapshot = await scheduler.snapshot(pool)
    assert dict(snapshot.running) == {"small": 1, "large": 3}
    assert snapshot.waiting == 0


async def test_equals_take_turns(scheduler: Scheduler, pool: str) -> None:
    chosen = set()
    for _ in range(8):
        lease = await scheduler.acquire(ticket(pool, ("a", 4), ("b", 4)))
        chosen.add(lease.replica)
        await scheduler.release(lease)
    assert chosen == {"a", "b"}


async def test_a_prompt_is_in_flight_until_its_first_byte_or_its_end(scheduler: Scheduler, pool: str) -> None:
    def asked(tokens: int) -> Ticket:
        replicas = tuple(ReplicaSlots(id, 4, uncached_tokens=tokens) for id in ("a", "b"))
        return replace(ticket(pool), replicas=replicas)

    long = await scheduler.acquire(asked(9000))
    other = "b" if long.replica == "a" else "a"
    short = [await scheduler.acquire(asked(100)) for _ in range(3)]
    assert {lease.replica for lease in short} == {other}
    await scheduler.charge(long, 0)
    for lease in short:
        await scheduler.release(lease)
    # Charges of a tenth of a second go together.
    await asyncio.sleep(0.3)
    # Nothing is in flight, and the call that is being answered takes a slot.
    last = await scheduler.acquire(asked(100))
    assert last.replica == other
    await scheduler.release(last)
    await scheduler.release(long)


async def test_a_spent_token_budget_makes_calls_wait_until_a_prompt_is_read(
    scheduler: Scheduler, pool: str
) -> None:
    asked = replace(ticket(pool), replicas=(ReplicaSlots("a", 8, uncached_tokens=600, token_budget=1000),))
    first, second = [await scheduler.acquire(replace(asked, id=uuid.uuid4().hex)) for _ in range(2)]
    waiting = asyncio.create_task(scheduler.acquire(asked))
    await settled()
    assert (await scheduler.snapshot(pool)).waiting == 1
    await scheduler.charge(first, 0)
    third = await asyncio.wait_for(waiting, 2)
    assert (await scheduler.snapshot(pool)).running == {"a": 3}
    for lease in (first, second, third):
        await scheduler.release(lease)


async def test_the_queue_is_first_come_first_served(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    order: list[int] = []

    async def wait(number: int) -> None:
        lease = await scheduler.acquire(ticket(pool, ("a", 1)))
        order.append(number)
        assert lease.waited_ms > 0
        await scheduler.release(lease)

    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(wait(number)))
        await settled()
    assert (await scheduler.snapshot(pool)).waiting == 5
    await scheduler.release(held)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def served(scheduler: Scheduler, held: Lease, asked: list[Ticket]) -> list[str]:
    """The ids of `asked` in the order in which they get the slot of `held`, each giving it back at once."""
    order: list[str] = []

    async def wait(one: Ticket) -> None:
        lease = await scheduler.acquire(one)
        order.append(one.id.split("-")[0])
        await scheduler.release(lease)

    tasks = []
    for one in asked:
        tasks.append(asyncio.create_task(wait(one)))
        await asyncio.sleep(0.01)
    await settled()
    await scheduler.release(held)
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    return order


async def test_the_most_urgent_class_goes_first(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    classes = [PriorityClass.BATCH, PriorityClass.STANDARD, PriorityClass.CRITICAL, PriorityClass.INTERACTIVE]
    asked = [
        replace(ticket(pool, ("a", 1), id=f"{each}-{uuid.uuid4().hex}"), priority=each) for each in classes
    ]
    assert await served(scheduler, held, asked) == ["critical", "interactive", "standard", "batch"]
    assert sum((await scheduler.snapshot(pool)).waiting_by_class.values()) == 0


async def test_a_loud_tenant_does_not_delay_a_quiet_one(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(replace(ticket(pool, ("a", 1)), tenant="somebody"))
    slots = (ReplicaSlots("a", 1, uncached_tokens=100),)
    asked = [
        replace(ticket(pool, id=f"{tenant}-{uuid.uuid4().hex}"), tenant=tenant, replicas=slots)
        for tenant in ["loud"] * 8 + ["quiet"] * 2
    ]
    order = await served(scheduler, held, asked)
    assert order[:4].count("quiet") == 2


async def test_who_waits_is_told_its_place(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    places: list[QueuePlace] = []
    first = asyncio.create_task(scheduler.acquire(ticket(pool, ("a", 1))))
    await settled()
    second = asyncio.create_task(scheduler.acquire(replace(ticket(pool, ("a", 1)), tell=places.append)))
    await settled()
    assert [place.position for place in places] == [2]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.sleep(2.2)
    assert places[-1].position == 1
    assert len(places) <= 4
    await scheduler.release(held)
    await scheduler.release(await second)


async def test_a_full_queue_sheds_batch_for_a_critical_call_and_a_tenant_has_its_part(
    scheduler: Scheduler, pool: str
) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    part, waiting = QUEUE_LIMIT // 4, []
    for number in range(QUEUE_LIMIT):
        priority = PriorityClass.BATCH if number < part else PriorityClass.STANDARD
        # The classes' own bounds are wide enough for these.
        one = replace(ticket(pool, ("a", 1), wait_s=20), tenant=f"t{number // part}", priority=priority)
        waiting.append(asyncio.create_task(scheduler.acquire(one)))
    await asyncio.sleep(0.3)
    with pytest.raises(QueueShareFull):
        await scheduler.acquire(replace(ticket(pool, ("a", 1)), tenant="t1"))
    with pytest.raises(ServerOverloaded):
        await scheduler.acquire(replace(ticket(pool, ("a", 1)), tenant="new", priority=PriorityClass.BATCH))
    urgent = replace(ticket(pool, ("a", 1)), tenant="new", priority=PriorityClass.CRITICAL)
    taken = asyncio.create_task(scheduler.acquire(urgent))
    with pytest.raises(ServerOverloaded) as refused:
        await asyncio.wait_for(waiting[part - 1], 2)
    assert refused.value.retry_after_s
    await scheduler.release(held)
    await scheduler.release(await asyncio.wait_for(taken, 2))
    for task in waiting:
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Lease):
            await scheduler.release(outcome)


async def test_a_wait_that_is_too_long_ends(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    with pytest.raises(ServerOverloaded) as refused:
        await scheduler.acquire(ticket(pool, ("a", 1), wait_s=0.2))
    assert refused.value.retry_after_s
    assert (await scheduler.snapshot(pool)).waiting == 0
    await scheduler.release(held)


async def test_a_full_queue_refuses(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    asked = [replace(ticket(pool, ("a", 1)), tenant=f"t{number % 5}") for number in range(QUEUE_LIMIT)]
    waiting = [asyncio.create_task(scheduler.acquire(each)) for each in asked]
    await asyncio.sleep(0.3)
    with pytest.raises(ServerOverloaded):
        await scheduler.acquire(ticket(pool, ("a", 1)))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await scheduler.release(held)
    assert (await scheduler.snapshot(pool)).waiting == 0


async def test_avoided_replicas_are_not_chosen(scheduler: Scheduler, pool: str) -> None:
    lease = await scheduler.acquire(ticket(pool, ("a", 1), ("b", 1), avoid=frozenset({"a"})))
    assert lease.replica == "b"
    with pytest.raises(NoReplica):
        await scheduler.acquire(ticket(pool, ("a", 1), avoid=frozenset({"a"})))


async def test_one_who_waits_for_another_replica_blocks_nobody(scheduler: Scheduler, pool: str) -> None:
    """Two models may share a pool: the head of the queue wants a replica that the free slot is not of."""
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    blocked = asyncio.create_task(scheduler.acquire(ticket(pool, ("a", 1))))
    await settled()
    other = await asyncio.wait_for(scheduler.acquire(ticket(pool, ("b", 1))), 1)
    assert other.replica == "b"
    await scheduler.release(held)
    assert (await blocked).replica == "a"


async def test_a_cancelled_wait_gives_up_its_place(scheduler: Scheduler, pool: str) -> None:
    held = await scheduler.acquire(ticket(pool, ("a", 1)))
    first = asyncio.create_task(scheduler.acquire(ticket(pool, ("a", 1))))
    await settled()
    second = asyncio.create_task(scheduler.acquire(ticket(pool, ("a", 1))))
    await settled()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await scheduler.release(held)
    lease = await asyncio.wait_for(second, 2)
    await scheduler.release(lease)
    assert (await scheduler.snapshot(pool)).running == {}


async def test_a_slot_given_to_one_who_is_cancelled_is_not_lost(scheduler: Scheduler, pool: str) -> None:
    for _ in range(20):
        held = await scheduler.acquire(ticket(pool, ("a", 1)))
        waiting = asyncio.create_task(scheduler.acquire(ticket(pool, ("a", 1))))
        await asyncio.sleep(0.01)
        release = asyncio.create_task(scheduler.release(held))
        await asyncio.sleep(0)
        waiting.cancel()
        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        await release
        if isinstance(outcome, Lease):
            await scheduler.release(outcome)
    again = await asyncio.wait_for(scheduler.acquire(ticket(pool, ("a", 1))), 2)
    await scheduler.release(again)


async def test_releasing_twice_frees_one_slot(scheduler: Scheduler, pool: str) -> None:
    one = await scheduler.acquire(ticket(pool, ("a", 2)))
    await scheduler.acquire(ticket(pool, ("a", 2)))
    await scheduler.release(one)
    await scheduler.release(one)
    assert dict((await scheduler.snapshot(pool)).running) == {"a": 1}


async def test_a_lease_can_be_renewed_until_it_is_released(scheduler: Scheduler, pool: str) -> None:
    lease = await scheduler.acquire(ticket(pool, ("a", 1)))
    await scheduler.charge(lease, 64)
    assert await scheduler.renew(lease)
    await scheduler.release(lease)
    assert not await scheduler.renew(lease)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    works=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=25),
)
async def test_never_more_than_a_replica_takes_and_everybody_ends(
    scheduler: Scheduler, sizes: list[int], works: list[tuple[int, bool]]
) -> None:
    pool = f"pool-{uuid.uuid4().hex}"
    slots = [(f"r{number}", size) for number, size in enumerate(sizes)]
    limits = dict(slots)
    running: dict[str, int] = dict.fromkeys(limits, 0)

    async def work(turns: int, cancelled: bool) -> str:
        lease = await scheduler.acquire(replace(ticket(pool, *slots), tenant=f"t{turns}"))
        running[lease.replica] += 1
        try:
            assert running[lease.replica] <= limits[lease.replica]
            for _ in range(turns):
                await asyncio.sleep(0.001)
        finally:
            running[lease.replica] -= 1
            await scheduler.release(lease)
        return lease.replica

    tasks = [asyncio.create_task(work(*each)) for each in works]
    await asyncio.sleep(0.002)
    for task, (_, cancelled) in zip(tasks, works, strict=True):
        if cancelled:
            task.cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
    assert all(isinstance(each, str | asyncio.CancelledError) for each in outcomes), outcomes
    after = await scheduler.snapshot(pool)
    assert (dict(after.running), after.waiting) == ({}, 0)


async def test_the_work_of_a_pool_is_counted_in_tokens(scheduler: Scheduler, pool: str) -> None:
    def call(uncached: int, *, wait_s: float = 5.0, max_tokens: int = 44) -> Ticket:
        slots = (ReplicaSlots("a", 1, uncached_tokens=uncached),)
        return replace(ticket(pool, wait_s=wait_s), replicas=slots, max_tokens=max_tokens)

    first = await scheduler.acquire(call(100))
    waits = asyncio.create_task(scheduler.acquire(call(200, max_tokens=0)))
    await settled()
    work = (await scheduler.snapshot(pool)).work
    # An answer of 44 tokens was asked for; of the other one's length nothing is known.
    assert (work.running, work.waiting, work.done, work.refused) == (144, 456, 0, 0)
    await scheduler.release(first)
    second = await asyncio.wait_for(waits, 3)
    work = (await scheduler.snapshot(pool)).work
    assert (work.running, work.waiting, work.done, work.refused) == (456, 0, 144, 0)
    await scheduler.release(second, unused=True)
    held = await scheduler.acquire(call(7))
    with pytest.raises(ServerOverloaded):
        await scheduler.acquire(call(8, wait_s=0.05))
    work = (await scheduler.snapshot(pool)).work
    assert (work.running, work.waiting, work.done) == (51, 0, 144)
    await scheduler.release(held)


class Replicas:
    """What a ticket is told of the replicas that there are; it says so once, as whoever decides about them does."""

    def __init__(self, *slots: tuple[str, int]) -> None:
        self._told: dict[str, bool] = {}
        self._now = tuple(ReplicaSlots(replica, count) for replica, count in slots)

    def become(self, *slots: tuple[str, int]) -> None:
        self._now = tuple(ReplicaSlots(replica, count) for replica, count in slots)
        self._told = dict.fromkeys(self._told, False)

    def ticket(self, pool: str, *, held: bool = False, wait_s: float = 5.0) -> Ticket:
        id = uuid.uuid4().hex
        self._told[id] = True

        def look() -> tuple[ReplicaSlots, ...] | None:
            if self._told[id]:
                return None
            self._told[id] = True
            return self._now

        return replace(ticket(pool, wait_s=wait_s, id=id), replicas=self._now, look=look, held=held)


async def test_who_waits_goes_to_a_replica_that_joined_later(scheduler: Scheduler, pool: str) -> None:
    replicas = Replicas(("a", 1))
    first = await scheduler.acquire(replicas.ticket(pool))
    waiting = [asyncio.create_task(scheduler.acquire(replicas.ticket(pool))) for _ in range(3)]
    await settled()
    assert (await scheduler.snapshot(pool)).waiting == 3
    replicas.become(("a", 1), ("b", 2))
    async with asyncio.timeout(3):
        leases = [await each for each in waiting[:2]]
    assert [lease.replica for lease in leases] == ["b", "b"], "the two that came first"
    assert not waiting[2].done()
    await scheduler.release(first)
    leases.append(await waiting[2])
    assert leases[2].replica == "a"
    for lease in leases:
        await scheduler.release(lease)
    assert (await scheduler.snapshot(pool)).waiting == 0


async def test_who_moves_keeps_its_place_before_those_that_came_for_the_new_one(
    scheduler: Scheduler, pool: str
) -> None:
    old, new = Replicas(("a", 1)), Replicas(("b", 1))
    held = [await scheduler.acquire(old.ticket(pool)), await scheduler.acquire(new.ticket(pool))]
    first = asyncio.create_task(scheduler.acquire(old.ticket(pool)))
    await settled()
    second = asyncio.create_task(scheduler.acquire(new.ticket(pool)))
    await settled()
    old.become(("b", 1))
    await asyncio.sleep(1.0)
    await scheduler.release(held[1])
    lease = await asyncio.wait_for(first, 2)
    assert lease.replica == "b"
    assert not second.done()
    await scheduler.release(lease)
    await scheduler.release(await asyncio.wait_for(second, 2))
    await scheduler.release(held[0])


async def test_nobody_who_waits_is_given_a_replica_that_has_left(scheduler: Scheduler, pool: str) -> None:
    replicas = Replicas(("a", 1))
    first = await scheduler.acquire(replicas.ticket(pool))
    waiting = asyncio.create_task(scheduler.acquire(replicas.ticket(pool)))
    await settled()
    replicas.become(("b", 1))
    lease = await asyncio.wait_for(waiting, 3)
    assert lease.replica == "b"
    await scheduler.release(first)
    await scheduler.release(lease)


async def test_who_waits_for_the_only_one_is_told_when_it_has_left(scheduler: Scheduler, pool: str) -> None:
    replicas = Replicas(("a", 1))
    first = await scheduler.acquire(replicas.ticket(pool))
    waiting = asyncio.create_task(scheduler.acquire(replicas.ticket(pool)))
    await settled()
    replicas.become()
    with pytest.raises(NoReplica):
        await asyncio.wait_for(waiting, 3)
    snapshot = await scheduler.snapshot(pool)
    assert (snapshot.waiting, dict(snapshot.running)) == (0, {"a": 1})
    await scheduler.release(first)


async def test_a_held_ticket_waits_without_any_replica(scheduler: Scheduler, pool: str) -> None:
    replicas = Replicas()
    waiting = [asyncio.create_task(scheduler.acquire(replicas.ticket(pool, held=True))) for _ in range(2)]
    late = asyncio.create_task(scheduler.acquire(replicas.ticket(pool, held=True, wait_s=0.3)))
    await settled()
    snapshot = await scheduler.snapshot(pool)
    assert snapshot.waiting == 3
    assert snapshot.work.waiting > 0
    with pytest.raises(ServerOverloaded):
        await late
    replicas.become(("a", 2))
    leases = [await asyncio.wait_for(each, 3) for each in waiting]
    assert {lease.replica for lease in leases} == {"a"}
    for lease in leases:
        await scheduler.release(lease)
    with pytest.raises(NoReplica):
        await scheduler.acquire(ticket(pool))
