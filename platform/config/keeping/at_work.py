"""The process that takes or restores a backup for the console: keeps its note fresh, and ends with a last word."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import structlog
from django.db import connection, transaction

from config.keeping.keeper import prune
from config.keeping.notes import (
    RESTORATION,
    Note,
    backup_name,
    find_note,
    note_name,
    read_note,
    shelf,
    write_note,
)
from config.keeping.plan import Plan
from config.keeping.progress import Progress, Step
from config.keeping.restoring import restore_backup
from config.keeping.taking import take_backup
from config.keeping.workplace import work_folder
from kernel.actors import Actor, acting
from kernel.errors import AtriumError
from substrate.changes import record_change

log = structlog.get_logger(__name__)
FRESH_EVERY_S = 1.0


class Stopped(BaseException):
    """The process was told to end; passes every `except Exception`."""


class _Desk:
    """Writes the note from a thread of its own, so that it is fresh while one statement takes minutes."""

    def __init__(self, name: str, note: Note, *, parent: int) -> None:
        self._name = name
        self._note = note
        self._parent = parent
        self._over = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="note", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def progress(self) -> Progress:
        return Progress(self._step)

    def finish(self, **values: Any) -> None:
        """The last word."""
        self._over.set()
        self._news.set()
        self._thread.join()
        write_note(self._name, replace(self._note, finished_at=datetime.now(UTC).isoformat(), **values))

    def _step(self, step: Step) -> None:
        fresh = step.name != self._note.step
        self._note = replace(self._note, state="running", step=step.name, done=step.done, total=step.total)
        if fresh:
            self._news.set()

    def _keep_fresh(self) -> None:
        """Write at once, when another step begins, and else every second."""
        while not self._over.is_set():
            with suppress(AtriumError):
                write_note(self._name, self._note)
            if self._parent and os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._news.wait(FRESH_EVERY_S)
            self._news.clear()


def take(backup_id: str, *, parent: int) -> None:
    """Take the backup that the console announced. Raises nothing: the note says how it went."""
    note = find_note(backup_id)

    def work(progress: Progress) -> dict[str, Any]:
        path = work_folder() / backup_name(backup_id)
        try:
            manifest = take_backup(path, progress)
            progress.begin("store")
            size = path.stat().st_size
            shelf().put(backup_name(backup_id), path)
        finally:
            path.unlink(missing_ok=True)
        return {"head": asdict(manifest.head), "size": size}

    _work(note_name(backup_id), note, work, parent=parent)
    prune()


def restore(backup_id: str, *, ring: Mapping[int, bytes] | None = None) -> None:
    """Restore the backup that the console chose, with its keyring. Raises nothing: the note says how it went."""
    note = read_note(RESTORATION) or Note(id=backup_id)

    def work(progress: Progress) -> dict[str, Any]:
        copies = work_folder() / "copies"
        copies.mkdir(exist_ok=True, mode=0o700)
        progress.begin("fetch")
        path = shelf().fetch(backup_name(backup_id), copies)
        try:
            with acting(Actor("user", note.by)):
                outcome = restore_backup(path, progress, ring=ring, tell=_note_plan, name=backup_id)
        finally:
            if path.parent == copies:
                path.unlink(missing_ok=True)
        return {"outcome": asdict(outcome)}

    _work(RESTORATION, note, work, parent=0)


def _note_plan(plan: Plan) -> None:
    log.info("restore_planned", keyring=plan.keyring, losses=plan.losses, replaces=dict(plan.replaces))


def _work(name: str, note: Note, work: Callable[[Progress], dict[str, Any]], *, parent: int) -> None:
    desk = _Desk(name, replace(note, state="running"), parent=parent)
    desk.start()
    try:
        with _signals_raise():
            values = work(desk.progress())
    except AtriumError as error:
        log.warning("keeping_failed", work=name, error=error.message)
        desk.finish(state="failed", error=error.message)
    except Stopped:
        desk.finish(state="failed", error="It was stopped before it was done; nothing was changed.")
    except Exception as error:
        # The edge of this process: a bug must not leave a note that says it is still at work.
        log.exception("keeping_crashed", work=name)
        desk.finish(
            state="failed", error=f"Something went wrong ({type(error).__name__}); the log has the cause."
        )
    else:
        desk.finish(state="done", step="", **values)
        log.info("keeping_done", work=name)
    with suppress(Exception), transaction.atomic():
        # Pages that show it look again; without a database they look by themselves.
        record_change(kind="backup", object_id=note.id)
    connection.close()


@contextmanager
def _signals_raise() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    usual = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
