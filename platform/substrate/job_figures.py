"""How background work stands, at first sight: whether somebody does it, and what was given up."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from substrate.models import Job
from substrate.scoping import tenant_scope

# Counting goes no further.
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that was given up, and why."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    kind: str
    error: str
    failed_at: datetime


def oldest_due_job_age(*, clock: Clock = SYSTEM_CLOCK) -> float | None:
    """For how many seconds the oldest job that is due has waited, or None when none waits."""
    now = clock.now()
    with system_scope("look for late jobs", read_only=True):
        due = Job.objects.filter(state=Job.State.QUEUED, run_after__lte=now).order_by("run_after")
        oldest: datetime | None = due.values_list("run_after", flat=True).first()
    return None if oldest is None else (now - oldest).total_seconds()


def failed_jobs(*, tenant_id: uuid.UUID | None, limit: int) -> tuple[int, list[FailedJob]]:
    """How many jobs were given up (1,000 at most), and the newest of them; of all tenants for None.

    The caller has checked that it may.
    """
    with _scope(tenant_id):
        rows = Job.objects.filter(state=Job.State.FAILED)
        count = rows.order_by()[:MOST_COUNTED].count()
        columns = ("id", "tenant_id", "kind", "error", "updated_at")
        newest = rows.order_by("-run_after", "-id").values_list(*columns)[:limit]
        return count, [FailedJob(*row) for row in newest]


@contextmanager
def _scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    if tenant_id is None:
        with system_scope("operators see failed jobs", read_only=True):
            yield
    else:
        with tenant_scope(tenant_id, read_only=True):
            yield
