"""Backups for tests: taken, looked into, tampered with; and an installation's state as something to compare."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config.keeping.contents import kept_models
from config.keeping.plan import Plan
from config.keeping.progress import Progress
from config.keeping.restoring import Restored, restore_backup
from config.keeping.rows import lines_of
from config.keeping.taking import take_backup
from substrate.crossing import system_scope

# What a restore itself writes.
WRITTEN_BY_RESTORE = {"substrate.PlatformAct", "substrate.PlatformChain"}


def quiet() -> Progress:
    """Progress that nobody hears."""
    return Progress(lambda step: None)


def take(path: Path) -> Path:
    """Take a backup to `path`."""
    take_backup(path, quiet())
    return path


def restore(path: Path, **options: Any) -> Restored:
    """Restore the backup at `path`."""
    return restore_backup(path, quiet(), tell=options.pop("tell", told_nobody), **options)


def told_nobody(plan: Plan) -> None:
    """A plan that nobody reads."""


def state() -> dict[str, list[str]]:
    """Every kept row of the installation, as text, by model."""
    with system_scope("tests", read_only=True):
        return {
            model._meta.label: sorted(line.decode() for line in lines_of(model, lambda count: None))
            for model in kept_models()
            if model._meta.label not in WRITTEN_BY_RESTORE
        }


def tampered(
    path: Path,
    target: Path,
    change: Callable[[dict[str, bytes], dict[str, Any]], object],
    *,
    honest: bool = True,
) -> Path:
    """A copy of the backup, changed by `change(members, manifest)`; `honest`: the manifest fits again afterwards."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist() if name != "manifest.json"}
        manifest = json.loads(source.read("manifest.json"))
    change(members, manifest)
    if honest:
        known = {member["name"]: member for member in manifest["members"]}
        manifest["members"] = [
            {
                **known.get(name, {"count": 0}),
                "name": name,
                "size": len(raw),
                "sha256": hashlib.sha256(raw).hexdigest(),
            }
            for name, raw in members.items()
        ]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as copy:
        for name, raw in members.items():
            copy.writestr(name, raw)
        copy.writestr("manifest.json", json.dumps(manifest))
    return target
