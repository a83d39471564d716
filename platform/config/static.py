"""Static files: hashed names for everything but the web front end's own, served before Django is asked."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from whitenoise import WhiteNoise

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

WEB = "web/"
HASHED_NAME = re.compile(r"[.-][A-Za-z0-9_-]{8,12}\.\w+(\.map)?$")


class AtriumStaticStorage(ManifestStaticFilesStorage):
    """Hashes names, but leaves `web/` alone: Vite has hashed those, and renaming would load a lazy chunk twice."""

    manifest_strict = False

    def post_process(self, paths: Any, dry_run: bool = False, **options: Any) -> Any:
        """Process everything outside of `web/`."""
        return super().post_process(
            {name: path for name, path in paths.items() if not name.startswith(WEB)}, dry_run, **options
        )

    def url(self, name: str | None, force: bool = False) -> str:
        """The address of `name`; for `web/`, and for what was not collected, the name as it is."""
        if name and (name.startswith(WEB) or not (name in self.hashed_files or self.exists(name))):
            return f"{self.base_url}{name}"
        return super().url(name or "", force)


class StaticFiles:
    """Serves `/static/` from the collected files as a small ASGI application; files are read in a thread."""

    def __init__(self, root: Path) -> None:
        """`root` is where collectstatic puts the files."""
        self._root = root

    @cached_property
    def _index(self) -> WhiteNoise:
        return WhiteNoise(
            None,
            root=str(self._root) if self._root.is_dir() else None,
            prefix="/static/",
            autorefresh=False,
            max_age=3600,
            immutable_file_test=lambda path, url: bool(HASHED_NAME.search(url)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one GET or HEAD of a file; 404 for anything else."""
        file = self._index.files.get(scope["path"])
        if file is None or scope["method"] not in ("GET", "HEAD"):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = {
            name.decode().upper().replace("-", "_"): value.decode() for name, value in scope["headers"]
        }
        response = file.get_response(
            scope["method"], {f"HTTP_{name}": value for name, value in headers.items()}
        )
        body = b""
        if response.file is not None:
            body = await asyncio.to_thread(_read, response.file)
        raw = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        await send({"type": "http.response.start", "status": int(response.status), "headers": raw})
        await send({"type": "http.response.body", "body": body})


def _read(file: Any) -> bytes:
    with file:
        content: bytes = file.read()
    return content
