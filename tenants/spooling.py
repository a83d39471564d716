"""Usage entries as lines of text, and a directory of such lines that many processes write and one drains.

Pure of Django: the spool adapters stand on it.

Each writer appends to files of its own (`usage-<pid>-<random>-<n>.jsonl`) and holds a lock on the one it writes; a
file whose lock is free belongs to nobody any more. A line is written by one `write` to a file opened for appending,
so a killed process leaves whole lines and at most one torn one at the end. The drainer holds `drain.lock`, reads all
files, and keeps in `drained.json` how far each is confirmed; what is confirmed twice counts once in the ledger.
"""

import fcntl
import os
import secrets
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson
import structlog

from kernel.errors import Unavailable
from tenants.types import (
    PairEntry,
    SpoolBacklog,
    SpoolEntry,
    TraceEntry,
    TraceHop,
    TraceState,
    UsageEntry,
    UsageState,
)

log = structlog.get_logger(__name__)

ROTATE_BYTES = 8 * 1024 * 1024
# One read of the drainer; a line is far shorter.
READ_BYTES = 4 * 1024 * 1024
REJECTED = "rejected.log"

_encoder = msgspec.json.Encoder()
_USAGE_FIELDS = frozenset(UsageEntry.__struct_fields__)
_TRACE_FIELDS = frozenset(field.name for field in fields(TraceEntry))


def encode_entry(entry: SpoolEntry) -> bytes:
    """`entry` as one line of JSON without its newline."""
    return _encoder.encode(entry)


def decode_entry(line: bytes) -> SpoolEntry:
    """The entry of a line: usage, the way of a request, or a comparison. Raises ValueError when it is none of them.

    Fields that a later version has added are left out, so that versions may run side by side.
    """
    try:
        raw: dict[str, Any] = orjson.loads(line)
        if raw.get("kind") == "pair":
            return msgspec.convert(raw, PairEntry)
        raw["record_id"] = uuid.UUID(raw["record_id"])
        raw["tenant_id"] = uuid.UUID(raw["tenant_id"])
        for name in ("user_id", "api_key_id"):
            raw[name] = uuid.UUID(raw[name]) if raw[name] else None
        raw["started_at"] = _moment(raw["started_at"])
        if raw.get("kind") == "trace":
            raw["state"] = TraceState(raw["state"])
            raw["hops"] = tuple(TraceHop(**each) for each in raw["hops"])
            return TraceEntry(**_known(raw, _TRACE_FIELDS))
        raw["state"] = UsageState(raw["state"])
        return UsageEntry(**_known(raw, _USAGE_FIELDS))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, OSError) as error:
        raise ValueError(f"not a usage entry: {error}") from error


def _known(raw: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """`raw` without what has none of these names."""
    return raw if raw.keys() <= names else {name: raw[name] for name in raw.keys() & names}


def _moment(told: str | float) -> datetime:
    """A moment as text of ISO 8601, or as seconds since the epoch."""
    return datetime.fromisoformat(told) if isinstance(told, str) else datetime.fromtimestamp(told, UTC)


class SpoolWriter:
    """Appends lines to files of its own in `directory`. Not safe across threads; one per event loop."""

    def __init__(self, directory: Path, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        """Nothing is opened before the first line."""
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        self._token = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._number = 0
        self._descriptor: int | None = None
        self._size = 0

    def write(self, line: bytes) -> None:
        """Append `line` and a newline. Raises Unavailable when the disk refuses; then nothing counts as written."""
        try:
            if self._descriptor is None or self._size >= self._rotate_bytes:
                self._rotate()
            written = os.write(self._open_descriptor, line + b"\n")
        except OSError as error:
            self.close()
            raise Unavailable("The usage spool cannot be written.") from error
        self._size += written
        if written != len(line) + 1:
            # A full disk took a part: the torn line stays alone at the end of this file.
            self.close()
            raise Unavailable("The usage spool cannot be written.")

    def close(self) -> None:
        """Let go of the file; the drainer may then delete it once it is confirmed."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise Unavailable("The usage spool is closed.")
        return self._descriptor

    def _rotate(self) -> None:
        self.close()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._number += 1
        name = f"{self._token}-{self._number}.jsonl"
        new = self._directory / f".new-{name}"
        descriptor = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        # Locked before it has its name: the drainer never takes a file at birth for an abandoned one.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        new.rename(self._directory / f"usage-{name}")
        self._descriptor = descriptor
        self._size = 0


@dataclass(frozen=True, slots=True)
class FileBatch:
    """What `SpoolReader.take` gave: entries, and how far each file is read. `busy`: another process drains."""

    entries: tuple[SpoolEntry, ...]
    offsets: dict[str, int] = field(default_factory=dict)
    busy: bool = False


def _moment_of(lines: bytes) -> float:
    """When the first of `lines` was written, from what it says; now when it does not say."""
    try:
        first = orjson.loads(lines[: lines.index(b"\n")])
        return _moment(first["started_at"]).timestamp() + float(first["total_ms"]) / 1000
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return time.time()


class SpoolReader:
    """Drains a directory of lines. One process at a time: who has the lock keeps it until all it took is confirmed."""

    def __init__(self, directory: Path) -> None:
        """Nothing is opened before the first take."""
        self._directory = directory
        self._lock: int | None = None
        self._closed = False
        # Take and confirm run in threads, which may outlive the task that waits for them.
        self._turn = threading.Lock()

    def take(self, limit: int) -> FileBatch:
        """Up to `limit` unconfirmed entries, file by file, the oldest file first; none while another one drains."""
        with self._turn:
            if self._closed or not self._directory.is_dir():
                return FileBatch(())
            return self._take(limit) if self._acquire() else FileBatch((), busy=True)

    def _take(self, limit: int) -> FileBatch:
        offsets = self._offsets()
        entries: list[SpoolEntry] = []
        read: dict[str, int] = {}
        for path in self._files():
            start = offsets.get(path.name, 0)
            lines = list(self._lines(path, start, limit - len(entries)))
            end = lines[-1][0] if lines else start
            entries += [entry for _, entry in lines if entry is not None]
            if end == start:
                self._tidy(path, start)
            else:
                read[path.name] = end
            if len(entries) >= limit:
                break
        if not read:
            self._release()
        return FileBatch(tuple(entries), read)

    def confirm(self, batch: FileBatch) -> None:
        """Remember that the entries of `batch` are safe elsewhere."""
        with self._turn:
            if batch.offsets and not self._closed:
                self._confirm(batch.offsets)

    def backlog(self) -> SpoolBacklog:
        """What is written and not confirmed, all processes' files together; looks, and takes nothing."""
        offsets = self._offsets()
        count, oldest = 0, 0.0
        now = time.time()
        for path in self._files():
            # Confirmed and deleted between the listing and the look: then it holds nothing back.
            with suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(offsets.get(path.name, 0))
                rest = file.read(READ_BYTES)
                if waiting := rest.count(b"\n"):
                    count += waiting
                    oldest = max(oldest, now - _moment_of(rest))
        return SpoolBacklog(count, oldest)

    def waiting(self) -> list[SpoolEntry]:
        """What is written and not confirmed, all processes' files together; takes nothing.

        An entry that is confirmed meanwhile may be among them.
        """
        offsets = self._offsets()
        found: list[SpoolEntry] = []
        for path in self._files():
            position = offsets.get(path.name, 0)
            # Confirmed and deleted between the listing and the look: then it holds nothing back.
            with suppress(FileNotFoundError):
                while lines := list(self._lines(path, position, READ_BYTES)):
                    position = lines[-1][0]
                    found += [entry for _, entry in lines if entry is not None]
        return found

    def close(self) -> None:
        """Let another process drain. What was not confirmed is drained again."""
        with self._turn:
            self._closed = True
            self._release()

    def _confirm(self, confirmed: dict[str, int]) -> None:
        files = self._files()
        there = {path.name for path in files}
        offsets = self._offsets() | confirmed
        self._store({name: offset for name, offset in offsets.items() if name in there})
        for path in files:
            if path.name in confirmed:
                self._tidy(path, confirmed[path.name])
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _acquire(self) -> bool:
        if self._lock is not None:
            return True
        descriptor = os.open(self._directory / "drain.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _files(self) -> list[Path]:
        found = []
        for path in self._directory.glob("usage-*.jsonl"):
            # Another drainer may delete a file between the listing and the look at it.
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found)]

    def _lines(self, path: Path, start: int, limit: int) -> Iterator[tuple[int, SpoolEntry | None]]:
        """(end of the line, its entry or None) of at most `limit` whole lines from `start` on."""
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(READ_BYTES)
        position = 0
        for _ in range(limit):
            newline = content.find(b"\n", position)
            if newline < 0:
                return
            line = content[position:newline]
            position = newline + 1
            yield start + position, self._decoded(path, line)

    def _decoded(self, path: Path, line: bytes) -> SpoolEntry | None:
        try:
            return decode_entry(line)
        except ValueError as error:
            self._reject(path, line, str(error))
            return None

    def _tidy(self, path: Path, confirmed: int) -> None:
        """Delete a file that nobody writes and that is confirmed to its end, but for a torn last line."""
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            file.seek(confirmed)
            rest = file.read(READ_BYTES)
            if b"\n" in rest:
                return
            if rest:
                self._reject(path, rest, "torn line")
            path.unlink()

    def _reject(self, path: Path, line: bytes, reason: str) -> None:
        log.error("usage_line_rejected", file=path.name, reason=reason, length=len(line))
        with (self._directory / REJECTED).open("ab") as file:
            file.write(line + b"\n")

    def _offsets(self) -> dict[str, int]:
        try:
            stored = orjson.loads((self._directory / "drained.json").read_bytes())
        except (FileNotFoundError, ValueError):
            # Forgetting only means that entries are drained again, and count once all the same.
            return {}
        return {str(name): int(offset) for name, offset in stored.items()}

    def _store(self, offsets: dict[str, int]) -> None:
        temporary = self._directory / f".drained-{os.getpid()}.json"
        temporary.write_bytes(orjson.dumps(offsets))
        temporary.replace(self._directory / "drained.json")
