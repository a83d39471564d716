"""Ports of tenants."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tenants.types import Expiring, KeyEntry, SpoolBacklog, SpoolEntry


class KeyFinder(Protocol):
    """Finds the entry of an API key by its prefix, from memory when it can."""

    async def find(self, prefix: str) -> KeyEntry | None:
        """The entry of `prefix`, or None when no valid key has it. Raises Unavailable when it cannot be loaded."""
        ...


class UsageSpool(Protocol):
    """Keeps finished calls, and the ways of some requests, until they are in the database. What `append` took survives the death of the process."""

    async def append(self, entry: SpoolEntry) -> None:
        """Store `entry` outside of this process before returning. Raises Unavailable when no place takes it."""
        ...

    async def take(self, limit: int) -> "SpoolBatch":
        """Up to `limit` entries that are not yet confirmed, the oldest first. Only one drainer takes at a time."""
        ...

    async def confirm(self, batch: "SpoolBatch") -> None:
        """Forget the entries of `batch`: they are in the database."""
        ...

    async def backlog(self) -> SpoolBacklog:
        """What is not yet in the database. Raises Unavailable."""
        ...


class SpoolBatch(Protocol):
    """What `take` gave."""

    @property
    def entries(self) -> Sequence[SpoolEntry]:
        """The entries of the batch."""
        ...


class Retainable(Protocol):
    """Things of a tenant that grow old: higher apps implement it, settings name one per kind (`retention.<kind>`).

    Both methods run in a unit of work, in the scope of the tenant.
    """

    def count_older(self, before: datetime | None) -> Expiring:
        """How many are older than `before` (None: none is), of how many, and when the oldest of them is from."""
        ...

    def delete_older(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` of them, the oldest first, in the transaction at hand; returns how many."""
        ...
