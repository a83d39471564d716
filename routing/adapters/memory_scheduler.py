"""The scheduler of the embedded and small profiles: all slots are this process's own."""

from kernel.clock import SYSTEM_CLOCK, Clock
from routing.types import Lease, PoolSnapshot, Ticket
from routing.waiting import WaitingRooms


class MemoryScheduler:
    """Slots and queues in this process; leases need no heartbeat, for they end with it."""

    def __init__(self, *, queue_limit: int, clock: Clock = SYSTEM_CLOCK) -> None:
        """At most `queue_limit` tickets wait per pool; classes and tenants have their parts of it."""
        self._rooms = WaitingRooms(queue_limit=queue_limit, clock=clock)

    async def acquire(self, ticket: Ticket) -> Lease:
        """Wait for a slot. Raises ServerOverloaded, QueueShareFull, NoReplica."""
        return await self._rooms.acquire(ticket)

    async def charge(self, lease: Lease, written: int, read: int = 0) -> None:
        """Book tokens; the first time says that the prompt has been read."""
        self._rooms.charge(lease, written, read)

    async def renew(self, lease: Lease) -> bool:
        """True while the slot is held: it needs no heartbeat."""
        return self._rooms.holds(lease)

    async def release(self, lease: Lease, *, unused: bool = False) -> None:
        """Give the slot back; `unused`, its prompt costs nothing."""
        self._rooms.release(lease, unused=unused)

    async def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is now."""
        return self._rooms.snapshot(pool)
