"""Ports of the substrate."""

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One edit: what kind of thing, of which tenant (None for the platform's), which one."""

    seq: int
    kind: str
    tenant_id: uuid.UUID | None
    object_id: str


class BlobStore(Protocol):
    """Keeps uploaded files. A blob's key is made by the caller and starts with the tenant's id."""

    async def put(self, key: str, content: AsyncIterator[bytes]) -> int:
        """Store `content` under `key`, whole or not at all; returns its size in bytes. Raises Unavailable."""
        ...

    async def read(self, key: str) -> bytes:
        """The content of `key`. Raises NotFound, Unavailable."""
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """The content of `key`, piece by piece. Raises NotFound, Unavailable."""
        ...

    def keys(self, tenant_id: uuid.UUID) -> AsyncIterator[str]:
        """The keys of all blobs of the tenant, in any order. Raises Unavailable."""
        ...

    async def delete(self, key: str) -> None:
        """Remove `key`; nothing happens when there is none. Raises Unavailable."""
        ...

    async def delete_tenant(self, tenant_id: uuid.UUID) -> int:
        """Remove every blob of the tenant; returns how many. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class ExportedPiece:
    """A part of one file of a tenant's archive; the parts of a file follow each other. `rows` are the lines in it."""

    path: str
    content: bytes
    rows: int = 0


class TenantParticipant(Protocol):
    """What an app holds of tenants: settings name one for each (`participant.<app>`), those that refer before those
    that are referred to.

    Between them they answer for every row that belongs to a tenant, and for all that is kept of it elsewhere.
    """

    def owns(self) -> Sequence[str]:
        """Labels of the models whose rows it answers for."""
        ...

    def export(self, tenant_id: uuid.UUID) -> AsyncIterator[ExportedPiece]:
        """All of the tenant's that may leave the house, never a secret. Raises Unavailable."""
        ...

    async def delete(self, tenant_id: uuid.UUID, limit: int) -> int:
        """Delete up to `limit` rows; once none is left, what is kept outside of the database. Returns how many rows
        went: 0 when nothing is left. May be stopped and called again at any moment. Raises Unavailable.
        """
        ...

    async def count(self, tenant_id: uuid.UUID) -> Mapping[str, int]:
        """How much is there of the tenant: rows by model, and by name what is kept elsewhere. Raises Unavailable."""
        ...

    async def find_canary(self, canaries: Sequence[str]) -> Mapping[str, int]:
        """In how many rows, of whichever tenant, any of these texts or ids stands, by model. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class ShelvedFile:
    """A file on the shelf. `size` is bytes."""

    name: str
    size: int
    changed_at: datetime


class Shelf(Protocol):
    """Keeps a few big files (backups) under plain names; every process of the installation sees the same ones.

    Synchronous: it is used by processes of its own and by threads, never by an event loop.
    """

    def files(self) -> list[ShelvedFile]:
        """All files, by name. Raises Unavailable."""
        ...

    def put(self, name: str, path: Path) -> None:
        """Keep the content of `path` under `name`, whole or not at all; `path` may be moved. Raises Unavailable."""
        ...

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """`length` bytes from `start` (to the end when None), piece by piece. Raises NotFound, Unavailable."""
        ...

    def fetch(self, name: str, folder: Path) -> Path:
        """A local file of this content: the shelf's own, or a copy in `folder`. Raises NotFound, Unavailable."""
        ...

    def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when there is none. Raises Unavailable."""
        ...


class AuditForward(Protocol):
    """Takes each act, once it is committed, out of the installation. What cannot be written is logged, never raised."""

    def send(self, line: str) -> None:
        """Pass on one line of JSON."""
        ...


class ChangeNudge(Protocol):
    """Wakes the change tails of other processes. Losing a nudge only costs the poll interval."""

    def send(self) -> None:
        """Wake the tails. Never raises and never blocks longer than its timeout."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return at the next nudge, at the latest after `timeout_s`."""
        ...


class JobNudge(Protocol):
    """Tells workers that a job was queued. The job table is the truth; a lost nudge costs one sweep interval."""

    def send(self, job_id: uuid.UUID) -> None:
        """Tell a worker. Never raises."""
        ...


class Directory(Protocol):
    """Entries that a process keeps in memory, fed by the change log. Settings list the directories of each role."""

    async def start(self) -> None:
        """Load what must be there before the first request."""
        ...

    def on_change(self, event: "ChangeEvent") -> None:
        """Drop or reload the entry that changed. Quick, never raises."""
        ...


class ServiceVersions(Protocol):
    """Asks the services beside Atrium for their versions: for the system page, never on a request's way."""

    def ask(self) -> Mapping[str, str]:
        """What each calls itself, by the service's name; empty for one that does not answer within two seconds."""
        ...
