"""A migrated, empty SQLite database, made once and copied: migrating takes ten seconds of a processor each time.

It is kept under `.pytest_cache`, named by everything that migrations are made of; another schema is another file.
"""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / ".pytest_cache" / "schema"
BUILD_S = 180.0


def place_schema(target: Path) -> None:
    """Put the migrated, empty database at `target`, which must not exist yet. Raises RuntimeError where it cannot be made."""
    SHELF.mkdir(parents=True, exist_ok=True)
    kept = SHELF / f"{schema_fingerprint()}.sqlite3"
    with (SHELF / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for older in SHELF.glob("*.sqlite3"):
                older.unlink()
            _build(kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, target)


def schema_fingerprint() -> str:
    """Of the migrations, of what they call, and of the versions of everybody else's."""
    digest = hashlib.sha256()
    apps = (path for part in ("", "platform/") for path in ROOT.glob(f"{part}*/migrations/*.py"))
    for path in sorted([*apps, *ROOT.glob("platform/substrate/*.py"), ROOT / "uv.lock"]):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:32]


def _build(kept: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="atrium-schema-") as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=ROOT,
            env={**environment, "ATRIUM_HOME": home},
            capture_output=True,
            text=True,
            timeout=BUILD_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"migrate failed: {done.stdout}{done.stderr}")
        copy = kept.with_suffix(".part")
        copy.unlink(missing_ok=True)
        source, whole = sqlite3.connect(Path(home) / "atrium.sqlite3"), sqlite3.connect(copy)
        with source, whole:
            source.backup(whole)
        source.close()
        whole.close()
        copy.rename(kept)
