"""The queue as people see it: which jobs there are, trying failed ones again, cancelling queued ones.

A job's payload is never shown: it may name what only its app may show. Who asks has been checked by the caller.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from kernel.backends import import_object
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Conflict, NotFound
from substrate.audit import record_act
from substrate.bridge import wait_for
from substrate.crossing import system_scope
from substrate.jobs import FOR_LATER, ClaimedJob, nudge_job, tell_job
from substrate.models import Job
from substrate.scoping import tenant_scope

CANCELLED = "Cancelled before it began."
STATES = tuple(state.value for state in Job.State)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the outside sees it. `references` are ids its payload names, by what they are ids of.

    `progress_done` of `progress_total` is how far the attempt at hand has come; None where nobody said. `scheduled`:
    queued, but not to be done before `run_after`.
    """

    id: uuid.UUID
    tenant_id: uuid.UUID
    kind: str
    state: str
    scheduled: bool
    attempts: int
    max_attempts: int
    error: str
    run_after: datetime
    created_at: datetime
    updated_at: datetime
    request_id: str
    progress_done: int | None
    progress_total: int | None
    progress_message: str
    references: dict[str, str]


@contextmanager
def board_scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    """See the jobs of a tenant, or (None) of all: for operators."""
    if tenant_id is None:
        with system_scope("operators see jobs", read_only=True):
            yield
    else:
        with tenant_scope(tenant_id, read_only=True):
            yield


def job_rows() -> QuerySet[Job]:
    """The jobs of the scope at hand."""
    return Job.objects.all()


def job_view(row: Job, *, clock: Clock = SYSTEM_CLOCK) -> JobView:
    """The row, as it may be shown."""
    return JobView(
        id=row.id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        state=row.state,
        scheduled=row.state == Job.State.QUEUED and row.run_after > clock.now() + FOR_LATER,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        error=row.error,
        run_after=row.run_after,
        created_at=row.created_at,
        updated_at=row.updated_at,
        request_id=row.request_id,
        progress_done=row.progress_done,
        progress_total=row.progress_total,
        progress_message=row.progress_message,
        references=_references(row.payload),
    )


def _references(payload: dict[str, Any]) -> dict[str, str]:
    """What a payload names by id; nothing else of it leaves this module."""
    found = {}
    for name, value in payload.items():
        if name.endswith("_id") and isinstance(value, str):
            try:
                found[name.removesuffix("_id")] = str(uuid.UUID(value))
            except ValueError:
                continue
    return found


def find_job(*, tenant_id: uuid.UUID | None, job_id: uuid.UUID) -> JobView:
    """One job of the tenant, or (None) of any. Raises NotFound."""
    with board_scope(tenant_id):
        row = Job.objects.filter(id=job_id).first()
        if row is None:
            raise NotFound(_NO_JOB)
        return job_view(row)


def retry_job(*, tenant_id: uuid.UUID, job_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> JobView:
    """Queue a job that failed or was cancelled again, with all its attempts. Raises NotFound, Conflict in other states."""
    with tenant_scope(tenant_id):
        row = _locked(job_id)
        if row.state not in (Job.State.FAILED, Job.State.CANCELLED):
            raise Conflict("Only a job that failed or was cancelled can be tried again.")
        row.state, row.attempts, row.error = Job.State.QUEUED, 0, ""
        row.run_after, row.lease_until, row.lease_owner = clock.now(), None, ""
        row.progress_done = row.progress_total = None
        row.save()
        record_act(act="retried", kind="job", object_id=row.id, label=row.kind, tenant_id=tenant_id)
        tell_job(tenant_id)
        nudge_job(row.id)
        return job_view(row)


def cancel_job(*, tenant_id: uuid.UUID, job_id: uuid.UUID) -> JobView:
    """Cancel a job that has not begun; what it was for learns of it as of a failure.

    Raises NotFound, Conflict when it has begun or ended.
    """
    with tenant_scope(tenant_id):
        row = _locked(job_id)
        if row.state != Job.State.QUEUED:
            raise Conflict("Only a job that has not begun can be cancelled.")
        row.state, row.error = Job.State.CANCELLED, CANCELLED
        row.save()
        record_act(act="cancelled", kind="job", object_id=row.id, label=row.kind, tenant_id=tenant_id)
        tell_job(tenant_id)
        cancelled = _claimed(row)
        shown = job_view(row)
    handlers = settings.JOB_HANDLERS.get(row.kind)
    if handlers is not None:
        give_up = import_object(handlers[1])
        wait_for(lambda: give_up(cancelled, CANCELLED))
    return shown


_NO_JOB = "There is no such job."


def _locked(job_id: uuid.UUID) -> Job:
    row = Job.objects.select_for_update().filter(id=job_id).first()
    if row is None:
        raise NotFound(_NO_JOB)
    return row


def _claimed(row: Job) -> ClaimedJob:
    """The job as its kind's handlers know one; nobody holds its lease."""
    return ClaimedJob(
        id=row.id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        payload=row.payload,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        lease_owner="",
        request_id=row.request_id,
        trace_id=row.trace_id,
    )
