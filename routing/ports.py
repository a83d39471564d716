"""Ports of routing."""

from typing import Protocol

from routing.types import Answered, Lease, ModelCall, PoolSnapshot, Ticket


class ResponseCache(Protocol):
    """Keeps answers for a while. It may lose any of them at any time, and never raises: what it cannot do is a miss."""

    async def get(self, tenant: str, key: str) -> bytes | None:
        """What is kept under `key` for the tenant, None when there is nothing (any more)."""
        ...

    async def put(self, tenant: str, key: str, value: bytes, seconds: int) -> None:
        """Keep `value` for so long, in place of what was there."""
        ...

    async def forget(self, tenant: str) -> None:
        """Drop what is kept for the tenant."""
        ...


class Copies(Protocol):
    """Asks calls that were answered of another model too, and has both compared. Nothing of it is waited for."""

    def begin(self, call: ModelCall, to: str, answered: Answered) -> None:
        """Ask `to` what `call` asked, beside what goes on; left out where too many are under way. Returns at once, never
        raises.
        """
        ...

    async def settled(self) -> None:
        """Return when none is under way."""
        ...

    async def close(self) -> None:
        """End those under way, at once."""
        ...


class Scheduler(Protocol):
    """Hands out the slots of a pool's replicas, across all processes of the installation."""

    async def acquire(self, ticket: Ticket) -> Lease:
        """Wait for a slot; `routing.bands` and `routing.fairness` say who goes first, `balancing.cheapest` where to.

        Raises ServerOverloaded when the queue is full, a slot would not come free within `ticket.wait_s` or did not, or
        a more urgent ticket took the place; QueueShareFull when the tenant's part of the queue is full; NoReplica when
        every replica of the ticket is to be avoided. Cancelling gives up the place in the queue.
        """
        ...

    async def charge(self, lease: Lease, written: int, read: int = 0) -> None:
        """Count tokens `written` since the last charge (for fairness); `read` corrects what the prompt was reckoned with.

        The first charge says that the first byte is there (it may be of 0 tokens): the prompt has been read, and is
        no longer in flight.
        """
        ...

    async def renew(self, lease: Lease) -> bool:
        """Hold the slot longer; False when it was lost."""
        ...

    async def release(self, lease: Lease, *, unused: bool = False) -> None:
        """Give the slot back; the next one waiting gets it. Releasing twice does nothing.

        `unused`: the replica did nothing for the call, so its prompt costs nothing.
        """
        ...

    async def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is now."""
        ...
