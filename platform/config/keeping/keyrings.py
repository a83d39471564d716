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

from django.conf import settings

from config.keeping.failures import KeepingFailed, NotABackup
from config.settings.environment import EMBEDDED


def fingerprints(ring: Mapping[int, bytes] | None = None) -> dict[str, str]:
    """Fingerprint by version; of this installation's keyring when none is given."""
    ring = settings.KEYRING if ring is None else ring
    return {
        str(version): hashlib.sha256(b"atrium keyring\0" + secret).hexdigest()[:24]
        for version, secret in sorted(ring.items())
    }


def covers(mine: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether every secret of `theirs` is in `mine` under the same version."""
    return all(mine.get(version) == mark for version, mark in theirs.items())


def write_keyring(path: Path) -> None:
    """Write this installation's keyring to `path`, readable by the owner alone. Raises KeepingFailed."""
    ring = _spelled(settings.KEYRING)
    text = json.dumps({"atrium_keyring": 1, "keyring": ring, "fingerprints": fingerprints()}, indent=2)
    _write_private(path, text + "\n")


def read_keyring(path: Path) -> dict[int, bytes]:
    """The keyring of a file that `write_keyring` wrote, or of a bare `ATRIUM_KEYRING` value. Raises NotABackup."""
    try:
        text = path.read_text().strip()
        spelled = str(json.loads(text)["keyring"]) if text.startswith("{") else text
        pairs: list[Any] = [entry.split(":", 1) for entry in spelled.split(",")]
        ring = {int(version): base64.b64decode(secret, validate=True) for version, secret in pairs}
    except OSError as error:
        raise KeepingFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotABackup(f"{path} is no keyring of Atrium.") from error
    if not ring or any(version < 1 or len(secret) != 32 for version, secret in ring.items()):
        raise NotABackup(f"{path} is no keyring of Atrium.")
    return ring


def is_ours_to_write() -> bool:
    """Whether this installation keeps its keyring in a file of its own, which a restore may replace."""
    path: Path = settings.ATRIUM.home / "keyring"
    return bool(
        settings.ATRIUM.profile == EMBEDDED and path.exists() and read_keyring(path) == settings.KEYRING
    )


def install(ring: Mapping[int, bytes]) -> Path:
    """Replace the installation's keyring file; the old one stays beside it. Raises KeepingFailed."""
    path: Path = settings.ATRIUM.home / "keyring"
    try:
        if path.exists():
            _write_private(path.with_name("keyring.before-restore"), path.read_text())
    except OSError as error:
        raise KeepingFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    _write_private(path, _spelled(ring))
    return path


def _spelled(ring: Mapping[int, bytes]) -> str:
    return ",".join(
        f"{version}:{base64.b64encode(secret).decode()}" for version, secret in sorted(ring.items())
    )


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
