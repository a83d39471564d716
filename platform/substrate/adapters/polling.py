"""Nudges of the embedded profile: none between processes; everybody polls."""

import asyncio
import uuid


class PollingChangeNudge:
    """A change tail simply waits for its poll interval."""

    def send(self) -> None:
        """Nothing to do: every tail polls."""

    async def wait(self, timeout_s: float) -> None:
        """Sleep for `timeout_s` seconds."""
        await asyncio.sleep(timeout_s)


class PollingJobNudge:
    """The worker polls the job table."""

    def send(self, job_id: uuid.UUID) -> None:
        """Nothing to do: the worker polls."""
