"""What crosses the doors about a tenant's end and its archives."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

REGION_LENGTH = 64
REASON_LENGTH = 500
# An archive can be downloaded for so long, then its file is removed.
ARCHIVE_KEPT = timedelta(days=3)
# What an owner may still think better of; operators may set another one.
GRACE = timedelta(days=7)
MOST_GRACE_HOURS = 90 * 24


class DeletionState(StrEnum):
    """Where the deletion of a tenant stands. `incomplete`: everything was deleted, and yet the proof found a trace."""

    WAITING = "waiting"
    ERASING = "erasing"
    DONE = "done"
    INCOMPLETE = "incomplete"
    WITHDRAWN = "withdrawn"


class ExportState(StrEnum):
    """Where an archive stands."""

    QUEUED = "queued"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class DeletionView:
    """The deletion of a tenant. While it runs, `step` says at what it is; `report` is the proof at its end."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    slug: str
    name: str
    state: DeletionState
    asked_by: str
    reason: str
    asked_at: datetime
    due_at: datetime
    finished_at: datetime | None
    step: str
    deleted: int
    error: str
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportView:
    """An archive of a tenant. `rows_done` of `rows_total` while it is made; `size` and `sha256` once it is there."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    state: ExportState
    asked_by: str
    reason: str
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    rows_done: int
    rows_total: int
    files: int
    size: int
    sha256: str
    error: str
