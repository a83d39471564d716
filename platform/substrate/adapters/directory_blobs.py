"""Blobs as files in a directory."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from kernel.errors import NotFound, Unavailable

PIECE = 1024 * 1024


class DirectoryBlobStore:
    """One file per blob under `root`. A blob appears under its name only when it is whole (write, then rename)."""

    def __init__(self, *, root: str) -> None:
        """`root` is made at first use, readable by the owner alone."""
        self._root = Path(root)

    async def put(self, key: str, content: AsyncIterator[bytes]) -> int:
        """Store `content` under `key`, whole or not at all; returns its size in bytes. Raises Unavailable."""
        path = self._path(key)
        size = 0
        try:
            descriptor, name = await asyncio.to_thread(_open_temporary, path.parent)
        except OSError as error:
            raise Unavailable("The file store cannot be written.") from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for piece in content:
                    size += len(piece)
                    await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(os.replace, name, path)
        except OSError as error:
            raise Unavailable("The file store cannot be written.") from error
        finally:
            await asyncio.to_thread(Path(name).unlink, missing_ok=True)
        return size

    async def read(self, key: str) -> bytes:
        """The content of `key`. Raises NotFound, Unavailable."""
        try:
            return await asyncio.to_thread(self._path(key).read_bytes)
        except FileNotFoundError as error:
            raise NotFound("The stored file is gone.") from error
        except OSError as error:
            raise Unavailable("The file store cannot be read.") from error

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The content of `key`, piece by piece. Raises NotFound, Unavailable."""
        try:
            file = await asyncio.to_thread(self._path(key).open, "rb")
        except FileNotFoundError as error:
            raise NotFound("The stored file is gone.") from error
        except OSError as error:
            raise Unavailable("The file store cannot be read.") from error
        with file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield piece

    async def keys(self, tenant_id: uuid.UUID) -> AsyncIterator[str]:
        """The keys of all blobs of the tenant. Raises Unavailable."""
        for key in await asyncio.to_thread(_keys_below, self._root, str(tenant_id)):
            yield key

    async def delete(self, key: str) -> None:
        """Remove `key`; nothing happens when there is none. Raises Unavailable."""
        try:
            await asyncio.to_thread(self._path(key).unlink, missing_ok=True)
        except OSError as error:
            raise Unavailable("The file store cannot be written.") from error

    async def delete_tenant(self, tenant_id: uuid.UUID) -> int:
        """Remove every blob of the tenant; returns how many. Raises Unavailable."""
        return await asyncio.to_thread(_remove_tree, self._root / str(tenant_id))

    def _path(self, key: str) -> Path:
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise NotFound("The stored file is gone.")
        return path


def _open_temporary(folder: Path) -> tuple[int, str]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.mkstemp(dir=folder, prefix=".partial-")


def _keys_below(root: Path, folder: str) -> list[str]:
    try:
        return [str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()]
    except OSError as error:
        raise Unavailable("The file store cannot be read.") from error


def _remove_tree(folder: Path) -> int:
    try:
        count = sum(1 for path in folder.rglob("*") if path.is_file())
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise Unavailable("The file store cannot be written.") from error
    return count
