"""Ports of assistants, and the bounds that each adapter keeps."""

import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from assistants.types import RunEvent, Shelf

# Of the semantic cache: entries of a shelf, shelves of an assistant and of a tenant.
MOST_QUESTIONS = 128
MOST_SHELVES = 16
MOST_TENANT_SHELVES = 64


class RunLog(Protocol):
    """The events of Runs, for every process to read. Bounded per run; kept for ten minutes after the end."""

    async def append(self, run_id: uuid.UUID, body: Mapping[str, Any], *, mark: str = "") -> int:
        """Add an event; returns its `seq`. With the `mark` of the last event that had one, nothing is added again.

        So who does not know whether a write has arrived repeats it with its mark before writing anything else.
        Raises RunFinished, RunTooLong, NotFound when the run was never claimed or its log is gone, Unavailable.
        """
        ...

    def read_from(self, run_id: uuid.UUID, last_seq: int) -> AsyncGenerator[RunEvent, None]:
        """The events after `last_seq`, then those to come, until the run is finished. Raises NotFound when gone.

        It also ends, without a last event, when nobody has held the run for a while: its owner died.
        """
        ...

    async def stop(self, run_id: uuid.UUID) -> None:
        """Ask the owner, wherever it is, to stop. Raises NotFound when there is no such run."""
        ...

    async def claim(self, run_id: uuid.UUID, owner: str) -> "RunClaim":
        """Own the run under a heartbeat lease of 3.5 seconds; the claim tells when a stop was asked.

        Opens the log of a new run. Raises RunTaken when another owner lives, RunFinished, Unavailable.
        """
        ...

    async def finish(self, run_id: uuid.UUID, body: Mapping[str, Any]) -> int:
        """Add the one last event and close the log; returns its `seq`. A finished run stays as it is."""
        ...


class RunClaim(Protocol):
    """The owner's hold on a run."""

    async def stop_asked(self) -> None:
        """Return once a stop was asked. It may be cancelled and called again."""
        ...

    async def renew(self) -> bool:
        """Hold the run for 3.5 more seconds; False when it was taken away."""
        ...

    async def release(self) -> None:
        """Let the run go. A run without any event is forgotten."""
        ...

    async def events_so_far(self) -> tuple[RunEvent, ...]:
        """All events that the log holds now."""
        ...


class SemanticCache(Protocol):
    """Keeps answers by their questions for a while. It may lose any of them at any time, and never raises: what it cannot do
    is a miss.

    A shelf holds `MOST_QUESTIONS` at most, an assistant `MOST_SHELVES`, a tenant `MOST_TENANT_SHELVES`: what would end
    first, or was last written to, leaves.
    """

    async def questions(self, shelf: Shelf) -> Mapping[str, bytes]:
        """The questions on the shelf by their names; nothing of other shelves."""
        ...

    async def answer(self, shelf: Shelf, name: str) -> bytes | None:
        """The answer to the question of this name, None when there is none (any more)."""
        ...

    async def put(self, shelf: Shelf, name: str, question: bytes, answer: bytes, seconds: int) -> None:
        """Keep both for so long, in place of what was there under the name."""
        ...

    async def forget(self, tenant: str) -> None:
        """Drop what is kept for the tenant."""
        ...
