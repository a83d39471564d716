"""Slots and queues of the pools within one process: `PoolQueue` for each pool, and tasks that wait for their turn.

The embedded scheduler is this; the one over Redis falls back to it while Redis is away.
"""

import asyncio
from collections.abc import Iterable

from msgspec.structs import replace

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NoReplica, QueueShareFull, ServerOverloaded
from routing.balancing import usable
from routing.queueing import PoolQueue
from routing.reckoning import QueueBounds, Refusal, Refused, retry_ms
from routing.types import Lease, PoolSnapshot, QueuePlace, ReplicaSlots, Ticket

# What a caller is told to wait before it tries again, where nothing better is known.
RETRY_AFTER_S = 2.0
# Who waits is told of its place this often.
TELL_EVERY_S = 1.0
# Whether who waits may go elsewhere by now is looked at this often; so many are moved in one go, and the rest after a
# pause: each has to be weighed anew, and nothing else runs meanwhile.
LOOK_EVERY_S = 0.5
MOST_MOVES = 100
PAUSE_S = 0.01
# Empty queues of so many pools stay: making one anew for each call of a quiet pool costs more than keeping it.
KEPT_QUEUES = 256


class WaitingRooms:
    """Hands out the slots that this process may use."""

    def __init__(self, *, queue_limit: int, clock: Clock = SYSTEM_CLOCK) -> None:
        """At most `queue_limit` tickets wait per pool; classes and tenants have their parts of it."""
        self._bounds = QueueBounds.of(queue_limit)
        self._clock = clock
        self._queues: dict[str, PoolQueue] = {}
        self._turns: dict[str, asyncio.Future[Lease]] = {}
        self._looking: dict[str, tuple[PoolQueue, Ticket]] = {}
        self._next_look: asyncio.TimerHandle | None = None

    async def acquire(self, ticket: Ticket) -> Lease:
        """A slot for `ticket`, waiting for one if need be. Raises ServerOverloaded, QueueShareFull, NoReplica."""
        ticket = without_avoided(ticket)
        queue = self._queues.get(ticket.pool)
        if queue is None:
            queue = self._queues[ticket.pool] = PoolQueue(self._bounds)
        now_ms = self._clock.monotonic() * 1000
        replica = queue.take(ticket, now_ms)
        if replica is not None:
            return Lease(ticket.id, ticket.pool, ticket.tenant, replica, 0.0)
        outcome = queue.enqueue(ticket, now_ms)
        if isinstance(outcome, Refused):
            raise refusal(outcome.why, outcome.retry_ms)
        if outcome is not None:
            self._turns[outcome.id].set_exception(shed(outcome.retry_ms))
        return await self._wait(queue, ticket)

    def charge(self, lease: Lease, written: int, read: int = 0) -> None:
        """Book tokens; the first time says that the prompt has been read."""
        queue = self._queues.get(lease.pool)
        if queue is not None:
            queue.charge(lease.id, written, read)
            if queue.waiting:
                self._give_out(queue)

    def release(self, lease: Lease, *, unused: bool = False) -> None:
        """Give the slot back; whoever goes next gets it. `unused`, its prompt costs nothing."""
        queue = self._queues.get(lease.pool)
        if queue is None or not queue.release(lease.id, self._clock.monotonic() * 1000, unused=unused):
            return
        if queue.waiting:
            self._give_out(queue)
        elif len(self._queues) > KEPT_QUEUES and queue.idle:
            del self._queues[lease.pool]

    def holds(self, lease: Lease) -> bool:
        """Whether the slot is still the lease's."""
        queue = self._queues.get(lease.pool)
        return queue is not None and queue.holds(lease.id)

    def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is."""
        queue = self._queues.get(pool)
        return queue.snapshot(pool) if queue is not None else PoolSnapshot(pool, {}, 0)

    async def _wait(self, queue: PoolQueue, ticket: Ticket) -> Lease:
        turn: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._turns[ticket.id] = turn
        if ticket.look is not None:
            self._looking[ticket.id] = (queue, ticket)
            if self._next_look is None:
                self._next_look = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_again)
        try:
            async with asyncio.timeout(ticket.wait_s):
                while not turn.done():
                    self._tell(queue, ticket)
                    await asyncio.wait({turn}, timeout=TELL_EVERY_S if ticket.tell else None)
                return turn.result()
        except TimeoutError as error:
            if turn.done():
                return turn.result()
            raise out_of_time(queue.place(ticket.id, self._clock.monotonic() * 1000)) from error
        except asyncio.CancelledError:
            if turn.done() and turn.exception() is None:
                self.release(turn.result(), unused=True)
            raise
        finally:
            del self._turns[ticket.id]
            self._looking.pop(ticket.id, None)
            queue.cancel(ticket.id)

    def _look_again(self) -> None:
        """Let those who wait go to replicas that have come, and to none that have gone."""
        self._next_look = None
        moves, more = moves_of([ticket for _, ticket in self._looking.values()])
        queues: list[PoolQueue] = []
        for ticket, replicas in moves:
            queue = self._looking[ticket.id][0]
            if replicas or ticket.held:
                queue.move(ticket.id, replicas)
                if queue not in queues:
                    queues.append(queue)
            elif queue.cancel(ticket.id):
                self._turns[ticket.id].set_exception(NoReplica(retry_after_s=RETRY_AFTER_S))
        for queue in queues:
            self._give_out(queue)
        if self._looking:
            pause = PAUSE_S if more else LOOK_EVERY_S
            self._next_look = asyncio.get_running_loop().call_later(pause, self._look_again)

    def _tell(self, queue: PoolQueue, ticket: Ticket) -> None:
        if ticket.tell is not None:
            place = queue.place(ticket.id, self._clock.monotonic() * 1000)
            if place is not None:
                ticket.tell(place)

    def _give_out(self, queue: PoolQueue) -> None:
        for grant in queue.grant(self._clock.monotonic() * 1000):
            ticket = grant.ticket
            lease = Lease(ticket.id, ticket.pool, ticket.tenant, grant.replica, grant.waited_ms)
            self._turns[ticket.id].set_result(lease)


def without_avoided(ticket: Ticket) -> Ticket:
    """The ticket with the replicas that it may go to. Raises NoReplica."""
    replicas = usable(ticket.replicas, ticket.avoid) if ticket.avoid else ticket.replicas
    if not replicas and not ticket.held:
        raise NoReplica(retry_after_s=RETRY_AFTER_S)
    return replace(ticket, replicas=replicas) if ticket.avoid else ticket


def moves_of(waiting: Iterable[Ticket]) -> tuple[list[tuple[Ticket, tuple[ReplicaSlots, ...]]], bool]:
    """Who of those that wait may go elsewhere by now, the more urgent first; and whether there may be more of them."""
    moves = []
    for ticket in sorted(waiting, key=lambda each: each.priority.rank):
        replicas = ticket.look() if ticket.look is not None else None
        if replicas is None:
            continue
        moves.append((ticket, usable(replicas, ticket.avoid) if ticket.avoid else replicas))
        if len(moves) == MOST_MOVES:
            return moves, True
    return moves, False


def refusal(why: Refusal, retry_ms: float) -> ServerOverloaded | QueueShareFull:
    """What a caller is told who may not wait."""
    retry_s = retry_ms / 1000
    if why is Refusal.SHARE:
        return QueueShareFull(retry_after_s=retry_s)
    if why is Refusal.LATE:
        return ServerOverloaded("No slot would come free in time.", retry_after_s=retry_s)
    return ServerOverloaded("The queue of this model is full.", retry_after_s=retry_s)


def shed(retry_ms: float) -> ServerOverloaded:
    """What a waiting caller is told who must make room for a more urgent one."""
    return ServerOverloaded(
        "A more urgent request took this place in the queue.", retry_after_s=retry_ms / 1000
    )


def out_of_time(place: QueuePlace | None) -> ServerOverloaded:
    """What a caller is told whose longest wait is over."""
    expected = place.expected_wait_s if place is not None else None
    return ServerOverloaded(
        "No slot came free in time.", retry_after_s=retry_ms(expected and expected * 1000) / 1000
    )
