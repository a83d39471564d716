"""Ports of tenants."""

from collections.abc import Sequence
from typing import Protocol

from tenants.types import KeyEntry, SpoolBacklog, SpoolEntry


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
