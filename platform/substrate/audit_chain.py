"""The chain of acts, without a framework: what a row says as canonical JSON, how it is linked, what is masked.

Each link is SHA-256(previous link ‖ canonical JSON of the row), as 64 hexadecimal characters; the first row's previous
link is GENESIS. Canonical JSON has its keys sorted, no spaces, and ASCII alone; moments are UTC with microseconds.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Protocol

GENESIS = "0" * 64
MASK = "•••"
LONGEST_VALUE = 500
# A name that has one of these in it names a secret, whatever is in it.
_SECRETS = ("password", "secret", "token", "api_key", "apikey", "fingerprint", "credential", "private_key")


class ChainedRow(Protocol):
    """What is linked: one act, with its place in its chain."""

    id: uuid.UUID
    seq: int | None
    created_at: datetime
    act: str
    kind: str
    object_id: str
    label: str
    actor_kind: str
    actor: str
    actor_id: uuid.UUID | None
    request_id: str
    address: str
    before: str
    after: str


def canonical(row: ChainedRow, chain: uuid.UUID) -> bytes:
    """The row as canonical JSON: every column that says something, and whose chain it is in (a tenant's id, or that
    of a chain of the platform)."""
    said = {
        "act": row.act,
        "actor": row.actor,
        "actor_id": str(row.actor_id) if row.actor_id else None,
        "actor_kind": row.actor_kind,
        "address": row.address,
        "after": row.after,
        "at": row.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "before": row.before,
        "chain": str(chain),
        "id": str(row.id),
        "kind": row.kind,
        "label": row.label,
        "object_id": row.object_id,
        "request_id": row.request_id,
        "seq": row.seq,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def link(previous: str, row: ChainedRow, chain: uuid.UUID) -> str:
    """The link of `row` in the chain `chain`, behind the link `previous`."""
    return hashlib.sha256(previous.encode() + canonical(row, chain)).hexdigest()


def differing(
    before: Mapping[str, object] | None, after: Mapping[str, object] | None
) -> tuple[dict[str, object], dict[str, object]]:
    """The values that differ, made fit for a record: secrets masked, long texts told by length and digest.

    With one side alone, all of it.
    """
    old, new = dict(before or {}), dict(after or {})
    if before is not None and after is not None:
        same = {name for name in old if name in new and old[name] == new[name]}
        old = {name: value for name, value in old.items() if name not in same}
        new = {name: value for name, value in new.items() if name not in same}
    return {name: _fit(name, value) for name, value in old.items()}, {
        name: _fit(name, value) for name, value in new.items()
    }


def digest_of(text: str) -> str:
    """What a record says of a text that it must not hold: how long it is, and whether it is the same."""
    if not text:
        return ""
    return f"{len(text)} characters, SHA-256 {hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"


def written(values: Mapping[str, object]) -> str:
    """Values as the text that a row keeps: "" for none."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True) if values else ""


def _fit(name: str, value: object) -> object:
    if any(word in name.lower() for word in _SECRETS):
        return MASK if value else value if value is None else ""
    if isinstance(value, bool | int | None) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _fit(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        found = [
            _fit(name, each)
            for each in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
        return found if len(found) <= 50 else [*found[:50], f"… {len(found) - 50} more"]
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text if len(text) <= LONGEST_VALUE else digest_of(text)
