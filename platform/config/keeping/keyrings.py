"""The keyring, kept apart from the backups: written to a file of its own, compared, and put in place again.

A fingerprint tells whether two secrets are equal. It is a hash of 32 random bytes, from which nobody finds them.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from config.keeping.failures import KeepingFailed, NotABackup
from config.settings.environment import EMBEDDED
from substrate.changes import EVERYTHING
from substrate.keyring import keyring
from substrate.ports import ChangeEvent

log = structlog.get_logger(__name__)
# A keyring that waits for the restore to be committed, beside the one in use.
PREPARED = "keyring.restored"


def fingerprints(ring: Mapping[int, bytes] | None = None) -> dict[str, str]:
    """Fingerprint by version; of this installation's keyring when none is given."""
    ring = keyring().secrets if ring is None else ring
    return {
        str(version): hashlib.sha256(b"atrium keyring\0" + secret).hexdigest()[:24]
        for version, secret in sorted(ring.items())
    }


def covers(mine: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether every secret of `theirs` is in `mine` under the same version."""
    return all(mine.get(version) == mark for version, mark in theirs.items())


def write_keyring(path: Path) -> None:
    """Write this installation's keyring to `path`, readable by the owner alone. Raises KeepingFailed."""
    ring = spelled(keyring().secrets)
    text = json.dumps({"atrium_keyring": 1, "keyring": ring, "fingerprints": fingerprints()}, indent=2)
    _write_private(path, text + "\n")


def read_keyring(path: Path) -> dict[int, bytes]:
    """The keyring of a file that `write_keyring` wrote, or of a bare `ATRIUM_KEYRING` value. Raises NotABackup."""
    try:
        text = path.read_text().strip()
        bare = str(json.loads(text)["keyring"]) if text.startswith("{") else text
    except OSError as error:
        raise KeepingFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotABackup(f"{path} is no keyring of Atrium.") from error
    return parsed(bare, name=str(path))


def parsed(text: str, *, name: str) -> dict[int, bytes]:
    """The keyring that is spelled so; `name` is what errors call it. Raises NotABackup."""
    try:
        pairs: list[Any] = [entry.split(":", 1) for entry in text.split(",")]
        ring = {int(version): base64.b64decode(secret, validate=True) for version, secret in pairs}
    except ValueError as error:
        raise NotABackup(f"{name} is no keyring of Atrium.") from error
    if not ring or any(version < 1 or len(secret) != 32 for version, secret in ring.items()):
        raise NotABackup(f"{name} is no keyring of Atrium.")
    return ring


def is_ours_to_write() -> bool:
    """Whether this installation keeps its keyring in a file of its own, which a restore may replace."""
    path: Path = settings.ATRIUM.home / "keyring"
    return bool(
        settings.ATRIUM.profile == EMBEDDED and path.exists() and read_keyring(path) == keyring().secrets
    )


def prepare(ring: Mapping[int, bytes]) -> Path:
    """Write another keyring beside the installation's own, of which a copy is kept; nothing is in place yet.

    Returns the file for `put_in_place`. Raises KeepingFailed.
    """
    path: Path = settings.ATRIUM.home / "keyring"
    try:
        if path.exists():
            _write_private(path.with_name("keyring.before-restore"), path.read_text())
    except OSError as error:
        raise KeepingFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    prepared = path.with_name(PREPARED)
    _write_private(prepared, spelled(ring))
    return prepared


def put_in_place(prepared: Path) -> None:
    """Make what `prepare` wrote the installation's keyring; once more does nothing. Raises OSError."""
    if prepared.exists():
        prepared.replace(settings.ATRIUM.home / "keyring")


def spelled(ring: Mapping[int, bytes]) -> str:
    """As `ATRIUM_KEYRING` has it."""
    return ",".join(
        f"{version}:{base64.b64encode(secret).decode()}" for version, secret in sorted(ring.items())
    )


class KeyringWatch:
    """Lets a running process use the keyring that a restore put in place, where a file of the installation holds it."""

    def __init__(self) -> None:
        """Nothing is watched before `start`."""
        self._ours = False

    async def start(self) -> None:
        """The settings have read it; from another place nobody but an administrator can give another one."""
        self._ours = is_ours_to_write()

    def on_change(self, event: ChangeEvent) -> None:
        """After a restore the file may be another one."""
        if event.kind != EVERYTHING or not self._ours:
            return
        try:
            ring = read_keyring(settings.ATRIUM.home / "keyring")
        except (NotABackup, KeepingFailed) as error:
            log.error("keyring_not_read", error=error.message)
            return
        if ring != keyring().secrets:
            keyring().replace(ring)
            log.info("keyring_replaced", fingerprints=fingerprints())


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o600)
        partial.replace(path)
    except OSError as error:
        raise KeepingFailed(f"{path} cannot be written: {error.strerror or error}.") from error
