"""The manifest: what a backup says of itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from config.keeping.failures import NotABackup, WrongVersion

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the file: its bytes before compression and their SHA-256, and how many things are in it."""

    name: str
    sha256: str
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup says of itself before its members: enough to tell what restoring it would do.

    `schema` names the applied migrations as `app.name`. `keyring` maps versions of secrets to fingerprints that tell
    whether two are equal and nothing else. `counts` are rows by model; `api_keys` are valid keys by version of their
    pepper, `sealed` names the engines whose key is stored; `other_secrets` counts, by model, rows that need the keyring
    too (of second factors, people; older backups tell none). `missing_files` are blobs that were deleted while the
    backup was taken. `incomplete` counts documents whose points were being replaced then.
    """

    format: int
    atrium: str
    profile: str
    taken_at: str
    consistent_at: str
    schema: tuple[str, ...]
    keyring: Mapping[str, str]
    counts: Mapping[str, int]
    files: int
    file_bytes: int
    points: int
    embedders: tuple[str, ...]
    api_keys: Mapping[str, int]
    sealed: tuple[str, ...]
    missing_files: tuple[str, ...] = ()
    incomplete: int = 0
    seconds: float = 0.0
    other_secrets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The head and every member."""

    head: Head
    members: tuple[Member, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """For `manifest.json`."""
        return {**asdict(self.head), "members": [asdict(member) for member in self.members]}


def read_manifest(raw: object) -> Manifest:
    """The manifest of parsed JSON. Raises NotABackup, WrongVersion for another format."""
    if not isinstance(raw, dict) or not isinstance(raw.get("format"), int):
        raise NotABackup("This file is no backup of Atrium: its manifest cannot be read.")
    if raw["format"] != FORMAT:
        raise WrongVersion(
            f"The backup has format {raw['format']}, this version of Atrium reads format {FORMAT}: "
            f"use the version that made it ({str(raw.get('atrium'))[:20]})."
        )
    return Manifest(read_head(raw), tuple(_members(raw.get("members"))))


def read_head(raw: Mapping[str, Any]) -> Head:
    """The head of parsed JSON. Raises NotABackup."""
    try:
        return Head(
            format=int(raw["format"]),
            atrium=str(raw["atrium"])[:40],
            profile=str(raw["profile"])[:20],
            taken_at=str(raw["taken_at"])[:40],
            consistent_at=str(raw["consistent_at"])[:40],
            schema=tuple(str(name) for name in raw["schema"]),
            keyring={str(k): str(v) for k, v in raw["keyring"].items()},
            counts={str(k): int(v) for k, v in raw["counts"].items()},
            files=int(raw["files"]),
            file_bytes=int(raw["file_bytes"]),
            points=int(raw["points"]),
            embedders=tuple(str(name) for name in raw["embedders"]),
            api_keys={str(k): int(v) for k, v in raw["api_keys"].items()},
            sealed=tuple(str(name) for name in raw["sealed"]),
            missing_files=tuple(str(name) for name in raw["missing_files"]),
            incomplete=int(raw["incomplete"]),
            seconds=float(raw["seconds"]),
            other_secrets={str(k): int(v) for k, v in raw.get("other_secrets", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotABackup("This file is no backup of Atrium: its manifest is not whole.") from error


def _members(raw: object) -> list[Member]:
    try:
        found = [Member(str(m["name"]), str(m["sha256"]), int(m["size"]), int(m["count"])) for m in raw]  # type: ignore[attr-defined]  # checked by the except
    except (KeyError, TypeError, ValueError) as error:
        raise NotABackup("This file is no backup of Atrium: its manifest is not whole.") from error
    return found
