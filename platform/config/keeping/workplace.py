"""Where backups and restores work: one at a time over the whole installation, in a folder that is gone afterwards."""

import asyncio
import errno
import fcntl
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from config.keeping.failures import KeepingBusy, KeepingFailed
from kernel.backends import backends

T = TypeVar("T")
# Any number will do, as long as every process takes the same one.
KEEPING_LOCK = 7_301_944_612
_BUSY = "Another backup or restore is under way; wait until it has ended."
FOLDER = "keeping"
OLD_S = 3600.0


def atrium_version() -> str:
    """The version of this code."""
    try:
        return version("atrium")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Be the only backup or restore of this installation, over all its machines. Raises KeepingBusy, KeepingFailed."""
    with _locked_file(work_folder() / "lock"), _locked_database():
        yield


def is_busy() -> bool:
    """Whether a backup or restore runs on this machine now."""
    try:
        with _locked_file(work_folder() / "lock"):
            return False
    except KeepingBusy:
        return True


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KeepingBusy(_BUSY) from error
        yield


@contextmanager
def _locked_database() -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEEPING_LOCK])
            if not cursor.fetchone()[0]:
                raise KeepingBusy(_BUSY)
        try:
            yield
        finally:
            with own.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [KEEPING_LOCK])
    finally:
        own.close()


def work_folder() -> Path:
    """The folder of this machine's backups and restores at work. Raises KeepingFailed."""
    folder: Path = settings.ATRIUM.home / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise KeepingFailed(f"{folder} cannot be written: {error.strerror or error}.") from error
    return folder


@contextmanager
def workplace() -> Iterator[Path]:
    """A private folder that is removed at the end. What the disk refuses meanwhile comes out as KeepingFailed."""
    with disk_told():
        _sweep(work_folder())
        folder = Path(tempfile.mkdtemp(dir=work_folder(), prefix="work-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """What killed processes left; the lock is ours, so none of them is at work. Uploads of an hour ago are nobody's."""
    for path in folder.glob("work-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in [*folder.glob("upload-*"), *folder.glob(".atrium-*.partial-*"), *folder.glob("copies/*")]:
        if time.time() - path.stat().st_mtime > OLD_S:
            path.unlink(missing_ok=True)


@contextmanager
def disk_told() -> Iterator[None]:
    """Errors of the disk as one line for a person."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise KeepingFailed("There is no space left on the disk.") from error
        if error.filename is None:
            raise
        raise KeepingFailed(f"{error.filename}: {error.strerror or error}.") from error
    except DatabaseError as error:
        lines = str(error).strip().splitlines()
        raise KeepingFailed(f"The database refused: {lines[0] if lines else type(error).__name__}") from error
    except sqlite3.Error as error:
        raise KeepingFailed(f"The work folder cannot be used: {error}.") from error


class Loop:
    """An event loop of our own for asynchronous ports, in work that is otherwise synchronous."""

    def __init__(self) -> None:
        """Nothing is started before the first call."""
        self._runner = asyncio.Runner()

    def __enter__(self) -> "Loop":
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close what the loop's backends hold, and those of this process that have none."""
        self._runner.run(backends.close())
        self._runner.close()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of `work()`; raises what it raises."""

        async def waited() -> T:
            return await work()

        return self._runner.run(waited())


def close_archive() -> None:
    """Close the connections of this thread's vector archive, which belongs to no loop."""
    close = getattr(backends["vector_archive"], "close", None)
    if close is not None:
        close()
