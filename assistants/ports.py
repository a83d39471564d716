"""Ports of assistants."""

import uuid
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from assistants.types import RunEvent


class RunLog(Protocol):
    """The events of Runs, for every process to read. Bounded per run; kept for ten minutes after the end."""

    async def append(self, run_id: uuid.UUID, body: Mapping[str, Any]) -> int:
        """Add an event; returns its `seq`.

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
