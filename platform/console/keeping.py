"""What the console asks of keeping: a catalogue of backups, and one backup or restore at work. Settings name what
stands behind it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BackupView:
    """A backup as its page shows it.

    `state` is queued, running, done or failed; `step`, `done` and `total` say how far it is. `origin` is taken,
    scheduled or uploaded. `counts` are rows by model; `profile`, `version` and `consistent_at` come from its manifest.
    """

    id: str
    state: str
    origin: str
    created_at: datetime
    finished_at: datetime | None
    size_bytes: int
    by: str = ""
    step: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    version: str = ""
    profile: str = ""
    consistent_at: str = ""
    seconds: float = 0.0
    files: int = 0
    file_bytes: int = 0
    points: int = 0
    missing_files: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What restoring a backup would do here. `refusal` says why it cannot be restored, and is empty when it can.

    `losses` are what will not work afterwards, `remarks` what else there is to know. `replaces` counts rows here now.
    """

    refusal: str
    keyring: str
    losses: tuple[str, ...]
    remarks: tuple[str, ...]
    replaces: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RestorationView:
    """The last restore: `state` is none, queued, running, done or failed. `outcome` holds its figures once done."""

    state: str
    backup_id: str = ""
    by: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    step: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    outcome: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyringView:
    """The keyring as its card shows it, never its secrets.

    `fingerprints` by version. `origin` is file (of this installation's folder, which a restore may replace) or
    environment. `saved_at` and `saved_by` say when these very secrets were last taken away; None and "" for never.
    """

    fingerprints: Mapping[str, str]
    origin: str
    saved_at: datetime | None
    saved_by: str


@dataclass(frozen=True, slots=True)
class GivenKeyring:
    """A keyring file that is given with a backup, and the passphrase that opens it."""

    document: str = field(repr=False)
    passphrase: str = field(repr=False)


class KeyringSafe(Protocol):
    """Gives the keyring away, under a passphrase. Synchronous."""

    def state(self) -> KeyringView:
        """What there is to know of it. Raises Unavailable."""
        ...

    def save(self, passphrase: str) -> Mapping[str, object]:
        """The file's content, as JSON; the act is on record before it is given. Raises Unavailable."""
        ...


class BackupCatalogue(Protocol):
    """The backups of this installation, the same from every control process. Synchronous."""

    def backups(self) -> list[BackupView]:
        """All of them, the newest first. Raises Unavailable."""
        ...

    def find(self, backup_id: str) -> BackupView:
        """One of them. Raises NotFound, Unavailable."""
        ...

    def adopt(self, pieces: Iterable[bytes], by: str) -> BackupView:
        """Put an uploaded file among them, once it is known to be a backup. Raises BadInput, Conflict, Unavailable."""
        ...

    def read(self, backup_id: str, start: int, length: int | None) -> Iterator[bytes]:
        """The bytes of a finished one; the act is on record before they are given. Raises NotFound, Unavailable."""
        ...

    def delete(self, backup_id: str) -> None:
        """Remove it. Raises NotFound, Conflict while it is being taken or restored, Unavailable."""
        ...


class Keeper(Protocol):
    """Takes backups and restores them, each in a process of its own that outlives the request. Synchronous."""

    def take(self, by: str) -> BackupView:
        """Begin to take one. Raises Conflict when one is taken or restored already, Unavailable."""
        ...

    def plan(self, backup_id: str, given: GivenKeyring | None = None) -> RestorePlan:
        """What restoring it would do. Raises NotFound, BadInput for a keyring that cannot be opened, Unavailable."""
        ...

    def restore(self, backup_id: str, by: str, given: GivenKeyring | None = None) -> RestorationView:
        """Begin to restore it. Raises NotFound, BadInput for a keyring that cannot be opened, Conflict, Unavailable."""
        ...

    def restoration(self) -> RestorationView:
        """How the last restore stands. Raises Unavailable."""
        ...
