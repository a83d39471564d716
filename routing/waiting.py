"""Slots and waiting rooms of pools within one process: first come, first served, bounded, safe to cancel.

Pure asyncio. The embedded scheduler is this; the one over Redis falls back to it while Redis is away.
"""

import asyncio
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NoReplica, ServerOverloaded
from routing.balancing import cheapest, usable
from routing.types import Lease, PoolSnapshot, ReplicaSlots, Ticket

# What a caller is told to wait before it tries again.
RETRY_AFTER_S = 2.0
# Empty rooms of so many pools stay: making one anew for each call of a quiet pool costs more than keeping it.
KEPT_ROOMS = 256


@dataclass(slots=True)
class _Waiter:
    ticket: Ticket
    replicas: tuple[ReplicaSlots, ...]
    granted: "asyncio.Future[str]"


@dataclass(slots=True)
class _Room:
    """One pool: slots in use and tokens in flight per replica, and who waits in order of arrival."""

    running: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    in_flight: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: int = 0
    waiters: OrderedDict[str, _Waiter] = field(default_factory=OrderedDict)


class WaitingRooms:
    """Hands out the slots that this process may use."""

    def __init__(self, *, queue_limit: int, clock: Clock = SYSTEM_CLOCK) -> None:
        """At most `queue_limit` tickets wait per pool."""
        self._queue_limit = queue_limit
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._held: dict[str, Lease] = {}
        # Of leases whose first byte has not come: the uncached tokens of their prompts.
        self._unread: dict[str, int] = {}
        self._turn = 0

    async def acquire(self, ticket: Ticket) -> Lease:
        """A slot for `ticket`, waiting for one if need be. Raises ServerOverloaded, NoReplica."""
        replicas = usable(ticket.replicas, ticket.avoid) if ticket.avoid else ticket.replicas
        if not replicas:
            raise NoReplica(retry_after_s=RETRY_AFTER_S)
        room = self._rooms.get(ticket.pool)
        if room is None:
            room = self._rooms[ticket.pool] = _Room()
        # Nobody who waits could use a free slot: it would have been given out when it came free.
        found = cheapest(replicas, room.running.__getitem__, room.in_flight.__getitem__, turn=self._turn)
        if found is not None:
            self._turn += 1
            return self._hold(room, ticket, found)
        if len(room.waiters) >= self._queue_limit:
            raise ServerOverloaded("The queue of this model is full.", retry_after_s=RETRY_AFTER_S)
        return await self._wait(room, ticket, replicas)

    def release(self, lease: Lease) -> None:
        """Give the slot back, straight to the first who waits and can use it."""
        if self._held.pop(lease.id, None) is None:
            return
        room = self._rooms[lease.pool]
        room.in_flight[lease.replica] -= self._unread.pop(lease.id, 0)
        room.running[lease.replica] -= 1
        room.held -= 1
        if room.waiters:
            self._give_out(room)
        elif not room.held and len(self._rooms) > KEPT_ROOMS:
            del self._rooms[lease.pool]

    def note_first_byte(self, lease: Lease) -> None:
        """The prompt has been read: it is no longer in flight."""
        unread = self._unread.pop(lease.id, 0)
        if unread:
            room = self._rooms[lease.pool]
            room.in_flight[lease.replica] -= unread
            if room.waiters:
                self._give_out(room)

    def holds(self, lease: Lease) -> bool:
        """Whether the slot is still the lease's."""
        return lease.id in self._held

    def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is."""
        room = self._rooms.get(pool, _Room())
        return PoolSnapshot(
            pool, {replica: count for replica, count in room.running.items() if count}, len(room.waiters)
        )

    def _hold(self, room: _Room, ticket: Ticket, replica: ReplicaSlots) -> Lease:
        room.running[replica.id] += 1
        room.held += 1
        if replica.uncached_tokens:
            room.in_flight[replica.id] += replica.uncached_tokens
            self._unread[ticket.id] = replica.uncached_tokens
        lease = Lease(ticket.id, ticket.pool, ticket.tenant, replica.id, 0.0)
        self._held[lease.id] = lease
        return lease

    async def _wait(self, room: _Room, ticket: Ticket, replicas: tuple[ReplicaSlots, ...]) -> Lease:
        began = self._clock.monotonic()
        waiter = _Waiter(ticket, replicas, asyncio.get_running_loop().create_future())
        room.waiters[ticket.id] = waiter
        try:
            async with asyncio.timeout(ticket.wait_s):
                await asyncio.shield(waiter.granted)
        except TimeoutError as error:
            if not waiter.granted.done():
                raise ServerOverloaded("No slot came free in time.", retry_after_s=RETRY_AFTER_S) from error
        except asyncio.CancelledError:
            if waiter.granted.done():
                self.release(self._held[ticket.id])
            raise
        finally:
            room.waiters.pop(ticket.id, None)
        held = self._held[ticket.id]
        waited_ms = (self._clock.monotonic() - began) * 1000
        return Lease(held.id, held.pool, held.tenant, held.replica, waited_ms)

    def _give_out(self, room: _Room) -> None:
        for waiter in list(room.waiters.values()):
            found = cheapest(
                waiter.replicas, room.running.__getitem__, room.in_flight.__getitem__, turn=self._turn
            )
            if found is None:
                continue
            self._turn += 1
            del room.waiters[waiter.ticket.id]
            self._hold(room, waiter.ticket, found)
            waiter.granted.set_result(found.id)
