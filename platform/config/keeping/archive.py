"""The file: a zip with members of three kinds and a manifest, written and read as streams.

`rows/<model>.jsonl` and `vectors/<number>.jsonl` hold JSON lines, `files/<number>.tar` uploaded files under their keys;
`manifest.json` comes last. Nothing is ever unpacked to a path that the file names. Every tool opens it:
`unzip -l`, `unzip -p backup rows/tenants.tenant.jsonl`.
"""

import hashlib
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import orjson

from config.keeping.failures import KeepingFailed, NotABackup
from config.keeping.manifest import NAME, Head, Manifest, Member, read_manifest

LEVEL = 4
PIECE = 1024 * 1024
MAX_LINE = 128 * 1024 * 1024
MAX_MANIFEST = 256 * 1024 * 1024
MAX_MEMBERS = 1_000_000
_NAME = re.compile(
    r"(?:rows/[a-z_]+\.[a-z_]+\.jsonl|vectors/\d{6,8}\.jsonl|files/\d{6,8}\.tar|manifest\.json)\Z"
)
# A blob's key: the tenant's id, then plain names.
KEY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){1,4}\Z")


class Writer:
    """Writes a backup to a file that is open for writing; the manifest makes it whole."""

    def __init__(self, file: IO[bytes]) -> None:
        """Nothing is written before the first member."""
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=LEVEL)
        self.members: list[Member] = []

    def add_lines(self, name: str, lines: Iterable[bytes], *, header: bool = False) -> Member:
        """A member of lines (without their newlines). With `header` the first one is not counted."""
        count = -1 if header else 0
        with self._member(name) as sink:
            for line in lines:
                sink.write(line)
                sink.write(b"\n")
                count += 1
        return self._added(sink, count)

    @contextmanager
    def files(self, name: str) -> Iterator["FileSink"]:
        """A member that takes files."""
        # To a stream of tar a sink that can be written is file enough.
        with (
            self._member(name) as sink,
            tarfile.open(fileobj=cast(Any, sink), mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            files = FileSink(tar)
            yield files
        self._added(sink, files.count)

    def finish(self, head: Head) -> Manifest:
        """Write the manifest and close the zip."""
        manifest = Manifest(head, tuple(self.members))
        with self._zip.open(NAME, "w", force_zip64=True) as file:
            file.write(orjson.dumps(manifest.as_json(), option=orjson.OPT_INDENT_2))
        self._zip.close()
        return manifest

    def abandon(self) -> None:
        """Leave the file as it is, which is no backup: a zip that is thrown away would try to end itself well."""
        self._zip.fp = None

    @contextmanager
    def _member(self, name: str) -> Iterator["_Hashed"]:
        with self._zip.open(name, "w", force_zip64=True) as file:
            yield _Hashed(name, file)

    def _added(self, sink: "_Hashed", count: int) -> Member:
        member = Member(sink.name, sink.digest.hexdigest(), sink.size, count)
        self.members.append(member)
        return member


class FileSink:
    """Takes uploaded files into one member."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        """`tar` is open for streaming."""
        self._tar = tar
        self.count = 0
        self.size = 0

    def add(self, key: str, content: IO[bytes], size: int) -> None:
        """`size` bytes of `content` under `key`."""
        entry = tarfile.TarInfo(key)
        entry.size = size
        entry.mode = 0o600
        self._tar.addfile(entry, content)
        # The list of members grows with every file and is for reading back, which nobody does here.
        self._tar.members.clear()  # type: ignore[attr-defined]  # the standard library's own list
        self.count += 1
        self.size += size


class _Hashed:
    """A sink that counts and hashes what it passes on."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> int:
        self.digest.update(piece)
        self.size += len(piece)
        return self._file.write(piece)


class Reader:
    """Reads a backup. What it gives is checked against the manifest while it is read."""

    def __init__(self, path: Path) -> None:
        """Opens the file and reads its manifest. Raises NotABackup, WrongVersion, KeepingFailed."""
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise KeepingFailed(f"{path} cannot be read: {error.strerror or error}.") from error
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._read_manifest()
        except zipfile.BadZipFile as error:
            self._file.close()
            raise NotABackup("This file is cut short, or no backup of Atrium.") from error
        except BaseException:
            self._file.close()
            raise

    def _read_manifest(self) -> None:
        entries = self._zip.infolist()
        _check_entries(entries)
        if NAME not in self._zip.NameToInfo:
            raise NotABackup("This file is no backup of Atrium: it has no manifest.")
        self.manifest = read_manifest(_parse(self._whole(NAME, MAX_MANIFEST)))
        self._members = {member.name: member for member in self.manifest.members}
        there = {entry.filename for entry in entries} - {NAME}
        if there != set(self._members):
            odd = min(there ^ set(self._members))
            raise NotABackup(f"The backup and its manifest do not fit: {odd[:80]}.")
        for entry in entries:
            if entry.filename != NAME and entry.file_size != self._members[entry.filename].size:
                raise NotABackup(
                    f"The backup and its manifest do not fit: {entry.filename} has another size."
                )

    @property
    def head(self) -> Head:
        """What the backup says of itself."""
        return self.manifest.head

    def close(self) -> None:
        """Close the file, also under a member that was not read to its end."""
        self._zip.close()
        self._file.close()

    def names(self, kind: str) -> list[str]:
        """Members of a kind: `rows`, `vectors` or `files`, in order."""
        return sorted(name for name in self._members if name.startswith(f"{kind}/"))

    def member(self, name: str) -> Member | None:
        """What the manifest says of a member."""
        return self._members.get(name)

    def lines(self, name: str) -> Generator[bytes, None, None]:
        """The lines of a member, without their newlines. Raises NotABackup at the end when its checksum is wrong."""
        with self._checked(name) as source:
            rest = b""
            while piece := source.read(PIECE):
                whole = rest + piece
                lines = whole.split(b"\n")
                rest = lines.pop()
                if len(rest) > MAX_LINE:
                    raise NotABackup(f"The backup is damaged: {name} has a line without an end.")
                yield from lines
            if rest:
                raise NotABackup(f"The backup is damaged: {name} is cut short.")

    def files(self, name: str) -> Iterator[tuple[str, int, IO[bytes]]]:
        """(key, size, content) of each file of a member; content is to be read at once. Raises NotABackup."""
        with self._checked(name) as source:
            try:
                with tarfile.open(fileobj=cast(Any, source), mode="r|") as tar:
                    for entry in tar:
                        content = tar.extractfile(entry) if entry.isreg() else None
                        if content is None or not KEY.match(entry.name):
                            raise NotABackup(f"The backup holds a file of an odd name: {entry.name[:80]!r}.")
                        yield entry.name, entry.size, content
                        tar.members.clear()  # type: ignore[attr-defined]  # bounded memory; see FileSink
            except tarfile.TarError as error:
                raise NotABackup(f"The backup is damaged: {name} cannot be read.") from error
            while source.read(PIECE):
                pass

    def verify(self, seen: Callable[[int], object]) -> None:
        """Read every member and compare its checksum; `seen` hears of bytes read. Raises NotABackup."""
        for name in sorted(self._members):
            with self._checked(name) as source:
                while piece := source.read(PIECE):
                    seen(len(piece))

    def _whole(self, name: str, limit: int) -> bytes:
        with _damage_told(name), self._zip.open(name) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise NotABackup(f"The backup is damaged: {name} is far too long.")
        return content

    @contextmanager
    def _checked(self, name: str) -> Iterator["_Source"]:
        member = self._members[name]
        with _damage_told(name), self._zip.open(name) as file:
            source = _Source(file, member)
            yield source
            source.finish()


class _Source:
    """A member being read; never more than the manifest says."""

    def __init__(self, file: IO[bytes], member: Member) -> None:
        self._file = file
        self._member = member
        self._digest = hashlib.sha256()
        self._size = 0

    def read(self, size: int = PIECE) -> bytes:
        piece = self._file.read(size if size and size > 0 else PIECE)
        self._size += len(piece)
        if self._size > self._member.size:
            raise NotABackup(f"The backup is damaged: {self._member.name} is longer than its manifest says.")
        self._digest.update(piece)
        return piece

    def finish(self) -> None:
        if self._size != self._member.size or self._digest.hexdigest() != self._member.sha256:
            raise NotABackup(f"The backup is damaged: the checksum of {self._member.name} is wrong.")


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise NotABackup(f"The backup is damaged: {name} cannot be read.") from error


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    """Names of ours alone, each once, no two over the same bytes (a zip bomb's way to be small)."""
    if len(entries) > MAX_MEMBERS:
        raise NotABackup("This file has too many members to be a backup of Atrium.")
    end = 0
    seen: set[str] = set()
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if not _NAME.match(entry.filename) or entry.filename in seen:
            raise NotABackup(f"This file is no backup of Atrium: it holds {entry.filename[:80]!r}.")
        if entry.header_offset < end:
            raise NotABackup("This file is no backup of Atrium: its members overlap.")
        seen.add(entry.filename)
        end = entry.header_offset + entry.compress_size


def _parse(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotABackup("This file is no backup of Atrium: its manifest cannot be read.") from error
