"""Notes on the shelf beside the backups: what each holds, how far one is that is being taken, how a restore stands.

A note is a small JSON file that one process writes and everybody reads. It outlives the database.
"""

import json
import os
import re
import secrets
import tempfile
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from config.keeping.workplace import disk_told, work_folder
from kernel.backends import backends
from kernel.errors import NotFound
from substrate.ports import Shelf

# A process at work writes its note at least this often, times several.
SILENT = timedelta(seconds=30)
RESTORATION = "restore.json"
ID = re.compile(r"atrium-\d{8}T\d{6}Z-[0-9a-f]{4}\Z")
AT_WORK = ("queued", "running")
_DIED = "The process that did this ended without a word; see the log of the control plane."


@dataclass(frozen=True, slots=True)
class Note:
    """One backup, or the restore. `head` is the manifest's without its members, `outcome` a restore's figures."""

    id: str
    state: str = "queued"
    origin: str = "taken"
    by: str = ""
    created_at: str = ""
    updated_at: str = ""
    finished_at: str = ""
    size: int = 0
    step: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    head: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def at_work(self) -> bool:
        """Whether something works on it now."""
        return self.state in AT_WORK


def shelf() -> Shelf:
    """Where backups lie."""
    found: Shelf = backends["shelf"]
    return found


def new_id(now: datetime | None = None) -> str:
    """A name for a backup that sorts by time."""
    return f"atrium-{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def check_id(backup_id: str) -> str:
    """The id, when it is one. Raises NotFound."""
    if not ID.match(backup_id):
        raise NotFound("There is no such backup.")
    return backup_id


def backup_name(backup_id: str) -> str:
    """The name of its file on the shelf."""
    return f"{backup_id}.zip"


def note_name(backup_id: str) -> str:
    """The name of its note on the shelf."""
    return f"{backup_id}.json"


def write_note(name: str, note: Note) -> None:
    """Put the note on the shelf. Raises Unavailable."""
    with disk_told():
        descriptor, path = tempfile.mkstemp(dir=work_folder(), prefix="note-")
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(replace(note, updated_at=_now())), file)
        try:
            shelf().put(name, Path(path))
        finally:
            Path(path).unlink(missing_ok=True)


def read_note(name: str) -> Note | None:
    """The note, or None when there is none. One of a process that fell silent says so. Raises Unavailable."""
    try:
        raw = json.loads(b"".join(shelf().read(name)))
        note = Note(**raw)
    except NotFound:
        return None
    except (ValueError, TypeError):
        return None
    if note.at_work and datetime.now(UTC) - datetime.fromisoformat(note.updated_at) > SILENT:
        return replace(note, state="failed", error=note.error or _DIED, finished_at=note.updated_at)
    return note


def all_notes() -> list[Note]:
    """Notes of all backups, the newest first; a backup without a note gets an empty one. Raises Unavailable."""
    files = {file.name: file for file in shelf().files()}
    ids = {name.rpartition(".")[0] for name in files if ID.match(name.rpartition(".")[0])}
    found = []
    for backup_id in sorted(ids, reverse=True):
        note = read_note(note_name(backup_id)) if note_name(backup_id) in files else None
        file = files.get(backup_name(backup_id))
        if note is None and file is not None:
            made = file.changed_at.isoformat()
            note = Note(id=backup_id, state="done", created_at=made, finished_at=made)
        if note is None:
            continue
        found.append(note if file is None else replace(note, size=file.size))
    return found


def find_note(backup_id: str) -> Note:
    """The note of one backup. Raises NotFound, Unavailable."""
    for note in all_notes():
        if note.id == check_id(backup_id):
            return note
    raise NotFound("There is no such backup.")


def _now() -> str:
    return datetime.now(UTC).isoformat()
