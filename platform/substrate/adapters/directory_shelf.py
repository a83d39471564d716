"""A shelf in a directory: of one machine, or of a file system that all machines share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from kernel.errors import NotFound, Unavailable
from substrate.ports import ShelvedFile

PIECE = 1024 * 1024
PARTIAL = ".partial-"


class DirectoryShelf:
    """One file per name under `root`, which is made at first use, readable by the owner alone."""

    def __init__(self, *, root: str) -> None:
        """`root` is an absolute folder."""
        self._root = Path(root)

    def files(self) -> list[ShelvedFile]:
        """All files, by name. Raises Unavailable."""
        try:
            found = [
                (path.name, path.stat()) for path in self._root.iterdir() if not path.name.startswith(".")
            ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"The backups in {self._root} cannot be read.") from error
        return [
            ShelvedFile(name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
            for name, stat in sorted(found)
        ]

    def put(self, name: str, path: Path) -> None:
        """Keep the content of `path` under `name`, whole or not at all; `path` is moved. Raises Unavailable."""
        target = self._path(name)
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.stat().st_dev == self._root.stat().st_dev:
                path.replace(target)
                return
            descriptor, partial = tempfile.mkstemp(dir=self._root, prefix=PARTIAL)
            try:
                with os.fdopen(descriptor, "wb") as file, path.open("rb") as source:
                    shutil.copyfileobj(source, file, PIECE)
                    os.fsync(file.fileno())
                Path(partial).replace(target)
            finally:
                Path(partial).unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or "it failed"
            raise Unavailable(f"{self._root} cannot be written: {reason}.") from error

    def read(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """`length` bytes from `start`, piece by piece. Raises NotFound, Unavailable."""
        left = length
        try:
            with self._path(name).open("rb") as file:
                file.seek(start)
                while piece := file.read(PIECE if left is None else min(PIECE, left)):
                    yield piece
                    if left is not None:
                        left -= len(piece)
        except FileNotFoundError as error:
            raise NotFound("There is no such backup.") from error
        except OSError as error:
            raise Unavailable(f"The backups in {self._root} cannot be read.") from error

    def fetch(self, name: str, folder: Path) -> Path:
        """The shelf's own file: nothing is copied. Raises NotFound."""
        path = self._path(name)
        if not path.is_file():
            raise NotFound("There is no such backup.")
        return path

    def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when there is none. Raises Unavailable."""
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._root} cannot be written: {error.strerror}.") from error

    def _path(self, name: str) -> Path:
        if "/" in name or name.startswith(".") or not name:
            raise NotFound("There is no such backup.")
        return self._root / name
