"""Ports of routing."""

from typing import Protocol

from routing.types import Lease, PoolSnapshot, Ticket


class Scheduler(Protocol):
    """Hands out the slots of a pool's replicas, across all processes of the installation."""

    async def acquire(self, ticket: Ticket) -> Lease:
        """Wait for a slot, first come first served; the replica gets the call that `balancing.cheapest` names.

        Raises ServerOverloaded when the queue is full or `ticket.wait_s` ran out, NoReplica when every replica of
        the ticket is to be avoided. Cancelling gives up the place in the queue.
        """
        ...

    async def charge(self, lease: Lease, tokens: int) -> None:
        """Count `tokens` that the call has produced since the last charge (for fairness).

        The first charge says that the first byte is there (it may be of 0 tokens): the prompt has been read, and is
        no longer in flight.
        """
        ...

    async def renew(self, lease: Lease) -> bool:
        """Hold the slot longer; False when it was lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give the slot back; the next one waiting gets it. Releasing twice does nothing."""
        ...

    async def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is now."""
        ...
