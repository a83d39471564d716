"""The console's keeper: a catalogue over the shelf, and processes of their own that take and restore.

A backup ends with the process that began it; a restore goes on by itself, for half of one is no use to anybody (one
that is killed changes nothing).
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings
from django.db import transaction

from config.keeping.archive import Reader
from config.keeping.failures import KeepingBusy, WrongVersion
from config.keeping.keyrings import fingerprints, is_ours_to_write, spelled
from config.keeping.manifest import Head, read_head
from config.keeping.notes import (
    RESTORATION,
    Note,
    all_notes,
    backup_name,
    check_id,
    find_note,
    new_id,
    note_name,
    read_note,
    shelf,
    write_note,
)
from config.keeping.plan import count_rows, make_plan
from config.keeping.workplace import disk_told, is_busy, work_folder
from config.keeping.wrapped import unwrap, wrap
from console.keeping import BackupView, GivenKeyring, KeyringView, RestorationView, RestorePlan
from kernel.errors import Conflict, NotFound
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.models import PlatformAct

log = structlog.get_logger(__name__)
_BUSY = "A backup is being taken or restored; wait until that has ended."
LAST_WORDS = 300
REASON = "when the keyring was last taken away"


class ShelfCatalogue:
    """The backups on the shelf."""

    def backups(self) -> list[BackupView]:
        """All of them, the newest first. Raises Unavailable."""
        return [_view(note) for note in all_notes()]

    def find(self, backup_id: str) -> BackupView:
        """One of them. Raises NotFound, Unavailable."""
        return _view(find_note(backup_id))

    def adopt(self, pieces: Iterable[bytes], by: str) -> BackupView:
        """Put an uploaded file among them, once it is known to be whole. Raises BadInput, Conflict, Unavailable."""
        now = datetime.now(UTC)
        backup_id = new_id(now)
        with disk_told():
            descriptor, name = tempfile.mkstemp(dir=work_folder(), prefix="upload-")
            path = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                reader = Reader(path)
                try:
                    reader.verify(lambda count: None)
                    head = reader.head
                finally:
                    reader.close()
                size = path.stat().st_size
                shelf().put(backup_name(backup_id), path)
            finally:
                path.unlink(missing_ok=True)
        moment = now.isoformat()
        note = Note(
            id=backup_id,
            state="done",
            origin="uploaded",
            by=by,
            created_at=moment,
            finished_at=moment,
            size=size,
            head=asdict(head),
        )
        write_note(note_name(backup_id), note)
        _record("uploaded", backup_id)
        return _view(note)

    def read(self, backup_id: str, start: int, length: int | None) -> Iterator[bytes]:
        """The bytes of a finished one; the act is on record before they are given. Raises NotFound, Unavailable."""
        _record("downloaded", backup_id)
        return shelf().read(backup_name(check_id(backup_id)), start, length)

    def delete(self, backup_id: str) -> None:
        """Remove it. Raises NotFound, Conflict while it is being taken or restored, Unavailable."""
        note = find_note(backup_id)
        restoring = read_note(RESTORATION)
        if note.at_work or (restoring is not None and restoring.at_work and restoring.id == backup_id):
            raise Conflict(_BUSY)
        _remove(backup_id)
        _record("deleted", backup_id)


class ProcessKeeper:
    """Takes and restores in child processes."""

    def take(self, by: str, *, origin: str = "taken") -> BackupView:
        """Begin to take one. Raises Conflict when one is taken or restored already, Unavailable."""
        _refuse_when_busy()
        now = datetime.now(UTC)
        note = Note(id=new_id(now), origin=origin, by=by, created_at=now.isoformat())
        write_note(note_name(note.id), note)
        _record("created", note.id)
        _spawn("take", note.id, note_name(note.id))
        return _view(note)

    def plan(self, backup_id: str, given: GivenKeyring | None = None) -> RestorePlan:
        """What restoring it would do. Raises NotFound, BadInput, Unavailable."""
        ring = _opened(given)
        note = _finished(backup_id)
        head = read_head(note.head) if note.head else _head_of(backup_id)
        try:
            plan = make_plan(head, ring=ring)
        except WrongVersion as error:
            return RestorePlan(error.message, "", (), (), count_rows())
        return RestorePlan("", plan.keyring, plan.losses, plan.remarks, plan.replaces)

    def restore(self, backup_id: str, by: str, given: GivenKeyring | None = None) -> RestorationView:
        """Begin to restore it. Raises NotFound, BadInput, Conflict, Unavailable."""
        ring = _opened(given)
        _finished(backup_id)
        _refuse_when_busy()
        note = Note(id=backup_id, by=by, origin="restore", created_at=datetime.now(UTC).isoformat())
        write_note(RESTORATION, note)
        _spawn("restore", backup_id, RESTORATION, ring=ring)
        return _restoration(note)

    def restoration(self) -> RestorationView:
        """How the last restore stands. Raises Unavailable."""
        note = read_note(RESTORATION)
        return RestorationView("none") if note is None else _restoration(note)


class KeyringCase:
    """The keyring of this installation, given away under a passphrase."""

    def state(self) -> KeyringView:
        """What there is to know of it. Raises Unavailable."""
        with system_scope(REASON, read_only=True):
            last = (
                PlatformAct.objects.filter(kind="keyring", act="exported", object_id=_ring_mark())
                .order_by("-created_at")
                .first()
            )
        return KeyringView(
            fingerprints=fingerprints(),
            origin="file" if is_ours_to_write() else "environment",
            saved_at=last.created_at if last else None,
            saved_by=last.actor if last else "",
        )

    def save(self, passphrase: str) -> Mapping[str, object]:
        """The file's content; the act is on record before it is given. Raises Unavailable."""
        document = wrap(keyring().secrets, passphrase)
        with transaction.atomic():
            record_act(act="exported", kind="keyring", object_id=_ring_mark(), label=_ring_mark())
            record_change(kind="keyring", object_id=_ring_mark())
        return document


def _ring_mark() -> str:
    """One mark for all secrets of the keyring: another one when any is added or changed."""
    return ",".join(f"{version}:{mark[:12]}" for version, mark in fingerprints().items())[:128]


def _opened(given: GivenKeyring | None) -> dict[int, bytes] | None:
    return None if given is None else unwrap(given.document, given.passphrase)


def prune() -> list[str]:
    """Delete what is beyond `ATRIUM_BACKUPS_KEEP`, the oldest first; uploaded ones stay. Returns their ids."""
    keep = settings.ATRIUM.backups_keep
    if not keep:
        return []
    mine = [note for note in all_notes() if note.origin != "uploaded" and note.state == "done"]
    gone = [note.id for note in mine[keep:]]
    for backup_id in gone:
        _remove(backup_id)
    return gone


def _remove(backup_id: str) -> None:
    shelf().delete(backup_name(backup_id))
    shelf().delete(note_name(backup_id))


def _record(act: str, backup_id: str) -> None:
    with transaction.atomic():
        record_act(act=act, kind="backup", object_id=backup_id, label=backup_id)
        record_change(kind="backup", object_id=backup_id)


def _refuse_when_busy() -> None:
    restoring = read_note(RESTORATION)
    at_work = any(note.at_work for note in all_notes()) or (restoring is not None and restoring.at_work)
    if at_work or is_busy():
        raise KeepingBusy(_BUSY)


def _finished(backup_id: str) -> Note:
    note = find_note(backup_id)
    if note.state != "done" or not note.size:
        raise NotFound("This backup is not whole.")
    return note


def _head_of(backup_id: str) -> Head:
    with disk_told(), tempfile.TemporaryDirectory(dir=work_folder()) as folder:
        reader = Reader(shelf().fetch(backup_name(backup_id), Path(folder)))
        try:
            return reader.head
        finally:
            reader.close()


def _spawn(what: str, backup_id: str, name: str, *, ring: Mapping[int, bytes] | None = None) -> None:
    """Start the process; a thread waits for it, so that one that dies without a word has its last line noted.

    A keyring goes to it by its standard input: other processes see neither that nor what it leaves on the disk.
    """
    program = os.path.realpath(sys.argv[0])
    if not program.endswith("manage.py"):
        # gunicorn's or a test's: the commands are the same by Django's own door.
        command = [sys.executable, "-m", "django"]
    else:
        command = [sys.executable, program]
    log_path = work_folder() / f"{what}.log"
    with log_path.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command, names that were checked
            [
                *command,
                "keep",
                what,
                backup_id,
                "--parent",
                str(os.getpid()),
                *(() if ring is None else ("--with-keyring",)),
            ],
            env={**os.environ, "ATRIUM_ROLE": "control" if settings.ATRIUM.redis_url else "all"},
            stdin=subprocess.DEVNULL if ring is None else subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    if ring is not None and process.stdin is not None:
        # One that died already has its say by its note.
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(spelled(ring).encode())
    threading.Thread(target=_watch, args=(process, log_path, name), name=f"keep-{what}", daemon=True).start()


def _watch(process: "subprocess.Popen[bytes]", log_path: Path, name: str) -> None:
    code = process.wait()
    note = read_note(name)
    if note is None or not note.at_work:
        return
    lines = log_path.read_text(errors="replace").strip().splitlines()
    said = lines[-1][:LAST_WORDS] if lines else "without a word"
    log.error("keeping_died", work=name, code=code, said=said)
    error = f"The process ended with code {code}: {said}"
    write_note(name, replace(note, state="failed", error=error, finished_at=datetime.now(UTC).isoformat()))


def _view(note: Note) -> BackupView:
    head = note.head
    return BackupView(
        id=note.id,
        state=note.state,
        origin=note.origin,
        created_at=datetime.fromisoformat(note.created_at),
        finished_at=datetime.fromisoformat(note.finished_at) if note.finished_at else None,
        size_bytes=note.size,
        by=note.by,
        step=note.step,
        done=note.done,
        total=note.total,
        error=note.error or None,
        version=head.get("atrium", ""),
        profile=head.get("profile", ""),
        consistent_at=head.get("consistent_at", ""),
        seconds=head.get("seconds", 0.0),
        files=head.get("files", 0),
        file_bytes=head.get("file_bytes", 0),
        points=head.get("points", 0),
        missing_files=len(head.get("missing_files", ())),
        counts=head.get("counts", {}),
    )


def _restoration(note: Note) -> RestorationView:
    return RestorationView(
        state=note.state,
        backup_id=note.id,
        by=note.by,
        started_at=datetime.fromisoformat(note.created_at),
        finished_at=datetime.fromisoformat(note.finished_at) if note.finished_at else None,
        step=note.step,
        done=note.done,
        total=note.total,
        error=note.error or None,
        outcome=note.outcome,
    )
