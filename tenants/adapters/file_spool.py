"""The usage spool in files, for one machine: what was appended survives the death of the process."""

import asyncio
from pathlib import Path

from kernel.errors import Unavailable
from tenants.spooling import FileBatch, SpoolReader, SpoolWriter, encode_entry
from tenants.types import SpoolBacklog, SpoolEntry


class FileUsageSpool:
    """Append-only files in one directory, shared by all processes of the machine.

    A line is in the kernel's hands when `append` returns: it outlives the process, not a power cut.
    """

    def __init__(self, *, directory: str) -> None:
        """`directory` is made at the first append, readable by the owner alone."""
        self._writer = SpoolWriter(Path(directory))
        self._reader = SpoolReader(Path(directory))

    async def append(self, entry: SpoolEntry) -> None:
        """Write one line; some microseconds, no thread. Raises Unavailable."""
        self._writer.write(encode_entry(entry))

    async def take(self, limit: int) -> FileBatch:
        """Up to `limit` entries of all processes' files, the dead ones' too. Raises Unavailable."""
        try:
            return await asyncio.to_thread(self._reader.take, limit)
        except OSError as error:
            raise Unavailable("The usage spool cannot be read.") from error

    async def confirm(self, batch: FileBatch) -> None:
        """Remember how far the files are drained, and delete those that are finished. Raises Unavailable."""
        try:
            await asyncio.to_thread(self._reader.confirm, batch)
        except OSError as error:
            raise Unavailable("The usage spool cannot be written.") from error

    async def backlog(self) -> SpoolBacklog:
        """What no drainer has confirmed. Raises Unavailable."""
        try:
            return await asyncio.to_thread(self._reader.backlog)
        except OSError as error:
            raise Unavailable("The usage spool cannot be read.") from error

    async def waiting(self) -> list[SpoolEntry]:
        """The entries of all processes' files that no drainer has confirmed. Raises Unavailable."""
        try:
            return await asyncio.to_thread(self._reader.waiting)
        except OSError as error:
            raise Unavailable("The usage spool cannot be read.") from error

    def close(self) -> None:
        """Let go of the files; what is in them stays for the next drainer."""
        self._writer.close()
        self._reader.close()
