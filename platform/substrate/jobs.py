"""Background jobs over the job table.

`enqueue_job` writes the row in the transaction of the act that asks for it. A worker (a child process that polls, or
Celery tasks told by a nudge) claims the row under a lease, runs the handler that settings name for its kind, renews
the lease meanwhile, and writes the outcome. A worker that dies lets its lease run out; the sweep queues the job
again. Handlers are idempotent: a job may run more than once.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from kernel.backends import backends, import_object
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.context import RequestContext, ensure_request, request_context
from kernel.errors import AtriumError, Internal, Unavailable
from kernel.hops import Trail, on_trail
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.models import Job
from substrate.ports import JobNudge
from substrate.scoping import tenant_scope
from substrate.units import run_unit

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)
RENEW_EVERY_S = 10.0
FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=5)
KEEP_DONE = timedelta(days=7)
# Later than any retry: a job that is due after this waits for its day, not for a worker.
FOR_LATER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job this worker holds the lease of. `payload` is JSON."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    kind: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int
    lease_owner: str
    request_id: str
    trace_id: str


Handler = Callable[[ClaimedJob], Awaitable[None]]
GiveUp = Callable[[ClaimedJob, str], Awaitable[None]]


def enqueue_job(
    *,
    tenant_id: uuid.UUID,
    kind: str,
    payload: dict[str, Any],
    max_attempts: int = 3,
    delay: timedelta = timedelta(),
    clock: Clock = SYSTEM_CLOCK,
) -> uuid.UUID:
    """Queue a job in the transaction at hand, to run after `delay`; workers hear of it once that is committed.

    Returns its id.
    """
    if kind not in settings.JOB_HANDLERS:
        raise LookupError(f"no handler for jobs of kind {kind!r}")
    request = ensure_request()
    with tenant_scope(tenant_id):
        job = Job.objects.create(
            tenant_id=tenant_id,
            kind=kind,
            payload=payload,
            max_attempts=max_attempts,
            run_after=clock.now() + delay,
            request_id=request.request_id,
            trace_id=request.trace_id,
        )
        tell_job(tenant_id)
        if not delay:
            nudge_job(job.id)
    return job.id


def has_live_job(*, kind: str, told: dict[str, Any]) -> bool:
    """Whether a job whose payload holds what is `told` is queued or running, in the scope at hand."""
    live = Job.objects.filter(kind=kind, state__in=[Job.State.QUEUED, Job.State.RUNNING])
    return live.filter(**{f"payload__{name}": value for name, value in told.items()}).exists()


def nudge_job(job_id: uuid.UUID) -> None:
    """Tell a worker of the job once the transaction at hand is committed."""
    transaction.on_commit(lambda: _nudge(job_id), robust=True)


def tell_job(tenant_id: uuid.UUID) -> None:
    """Say, in the transaction at hand, that jobs of the tenant changed: one change, however many they are."""
    record_change(kind="job", object_id="", tenant_id=tenant_id)


def _nudge(job_id: uuid.UUID) -> None:
    nudge: JobNudge = backends["job_nudge"]
    nudge.send(job_id)


def claim_job(
    *, owner: str, job_id: uuid.UUID | None = None, clock: Clock = SYSTEM_CLOCK
) -> ClaimedJob | None:
    """Take the lease of `job_id`, or of the oldest job that is due; None when there is none to be had."""
    now = clock.now()
    due = Q(state=Job.State.QUEUED, run_after__lte=now) | Q(state=Job.State.RUNNING, lease_until__lt=now)
    with system_scope("claim a job"):
        rows = Job.objects.filter(due).order_by("run_after")
        if job_id is not None:
            rows = rows.filter(id=job_id)
        job = rows.select_for_update(skip_locked=True).first()
        if job is None:
            return None
        job.state = Job.State.RUNNING
        job.attempts += 1
        job.lease_owner = owner
        job.lease_until = now + LEASE
        job.progress_done = job.progress_total = None
        job.save(update_fields=_CLAIM)
        tell_job(job.tenant_id)
        return ClaimedJob(
            id=job.id,
            tenant_id=job.tenant_id,
            kind=job.kind,
            payload=job.payload,
            attempts=job.attempts,
            max_attempts=job.max_attempts,
            lease_owner=owner,
            request_id=job.request_id,
            trace_id=job.trace_id,
        )


_CLAIM = (
    "state",
    "attempts",
    "lease_owner",
    "lease_until",
    "progress_done",
    "progress_total",
    "updated_at",
)


def _mine(job: ClaimedJob) -> Q:
    return Q(id=job.id, lease_owner=job.lease_owner, attempts=job.attempts, state=Job.State.RUNNING)


def renew_lease(job: ClaimedJob, *, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Hold the job longer; False when another worker has it by now."""
    with tenant_scope(job.tenant_id):
        return Job.objects.filter(_mine(job)).update(lease_until=clock.now() + LEASE) == 1


def finish_job(job: ClaimedJob, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Write that the job is done."""
    with tenant_scope(job.tenant_id):
        Job.objects.filter(_mine(job)).update(
            state=Job.State.DONE, error="", lease_until=None, updated_at=clock.now()
        )
        tell_job(job.tenant_id)


def fail_job(job: ClaimedJob, *, error: str, retry: bool, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Write that this attempt failed.

    True when the job is given up for good; False when it will be retried, or another worker has it by now.
    """
    again = retry and job.attempts < job.max_attempts
    delay: timedelta = min(FIRST_RETRY * 2 ** (job.attempts - 1), LONGEST_RETRY)
    with tenant_scope(job.tenant_id):
        written = Job.objects.filter(_mine(job)).update(
            state=Job.State.QUEUED if again else Job.State.FAILED,
            run_after=clock.now() + delay if again else F("run_after"),
            error=error[:2000],
            lease_until=None,
            updated_at=clock.now(),
        )
        tell_job(job.tenant_id)
    return written == 1 and not again


def _without_later(clock: Clock) -> QuerySet[Job]:
    return Job.objects.exclude(state=Job.State.QUEUED, run_after__gt=clock.now() + FOR_LATER)


def count_jobs(*, clock: Clock = SYSTEM_CLOCK) -> dict[str, int]:
    """How many jobs of all tenants are in each state, without those that are meant for later."""
    with system_scope("count jobs", read_only=True):
        return dict(_without_later(clock).values_list("state").annotate(count=Count("id")))


def find_stranded_jobs(*, clock: Clock = SYSTEM_CLOCK, limit: int = 500) -> list[uuid.UUID]:
    """Ids of jobs that are due, or whose worker died: what a lost nudge left behind."""
    now = clock.now()
    late: datetime = now - timedelta(seconds=5)
    with system_scope("sweep jobs"):
        due = Q(state=Job.State.QUEUED, run_after__lte=late) | Q(state=Job.State.RUNNING, lease_until__lt=now)
        return list(Job.objects.filter(due).order_by("run_after").values_list("id", flat=True)[:limit])


def forget_old_jobs(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete jobs that were done a week ago; returns how many. Failed ones stay: their row has the reason."""
    with system_scope("prune jobs"):
        done = Job.objects.filter(state=Job.State.DONE, updated_at__lt=clock.now() - KEEP_DONE)
        return done.delete()[0]


def drop_jobs(*, tenant_id: uuid.UUID) -> bool:
    """Delete every job of a tenant that is deleted; True when one was running.

    Its worker notices within `RENEW_EVERY_S` that it holds no lease any more, and stops.
    """
    with tenant_scope(tenant_id):
        running = Job.objects.filter(state=Job.State.RUNNING).exists()
        Job.objects.all().delete()
        tell_job(tenant_id)
    return running


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs are queued, running and failed, and since when the oldest that is due waits."""

    counts: dict[str, int]
    oldest_due: datetime | None


def count_waiting_jobs(*, clock: Clock = SYSTEM_CLOCK) -> Waiting:
    """Jobs of all tenants by state; those that are done are not counted, for nobody waits for them."""
    states = (Job.State.QUEUED, Job.State.RUNNING, Job.State.FAILED)
    due = Q(state=Job.State.QUEUED, run_after__lte=clock.now())
    with system_scope("count jobs", read_only=True):
        found = _without_later(clock).filter(state__in=states).values_list("state").annotate(Count("id"))
        oldest = Job.objects.filter(due).order_by("run_after").values_list("run_after", flat=True).first()
        return Waiting({state.value: 0 for state in states} | dict(found), oldest)


async def refuse_unknown_kind(job: ClaimedJob) -> None:
    """The handler of jobs that nobody handles."""
    raise Internal(f"This version of Atrium does not know jobs of kind {job.kind!r}.")


async def say_nothing(job: ClaimedJob, reason: str) -> None:
    """Give up a job that concerns nobody any more: its row has the reason."""


_NO_HANDLER = f"{__name__}.{refuse_unknown_kind.__name__}"
_NO_GIVING_UP = f"{__name__}.{say_nothing.__name__}"


class _LeaseLost(Exception):
    """Another worker has the job by now."""


async def run_job(job: ClaimedJob) -> None:
    """Run the handler of a claimed job under its request's context, and write the outcome. Raises only when cancelled.

    When the database is away at the end, nothing is written: the lease runs out and the job runs again.
    """
    trail = Trail("job", job.request_id, job.trace_id)
    trail.route = job.kind if job.kind in settings.JOB_HANDLERS else "other"
    trail.state = "cancelled"
    try:
        with request_context(RequestContext(job.request_id, job.trace_id)), on_trail(trail):
            trail.state = await _run(job)
    finally:
        trail.finish()


async def _run(job: ClaimedJob) -> str:
    """How it ended, as a trail tells it: `completed`, `failed` or `cancelled` (taken over)."""
    # A kind that an older version queued, and this one does not know, fails with its reason.
    run_path, give_up_path = settings.JOB_HANDLERS.get(job.kind, (_NO_HANDLER, _NO_GIVING_UP))
    about = {"job_id": str(job.id), "kind": job.kind}
    log.info("job_started", **about, tenant_id=str(job.tenant_id), attempt=job.attempts)
    error = await _attempt(job, import_object(run_path))
    if isinstance(error, _LeaseLost):
        log.warning("job_taken_over", **about)
        return "cancelled"
    try:
        if error is None:
            await run_unit(finish_job, job)
            log.info("job_done", **about)
        else:
            await _write_failure(job, error, import_object(give_up_path))
    except Exception:
        # The task edge: neither a database that is away nor a bug in giving up may end the worker.
        log.exception("job_outcome_not_written", **about)
        return "failed"
    return "completed" if error is None else "failed"


async def _attempt(job: ClaimedJob, handler: Handler) -> Exception | None:
    """Run the handler while the lease is renewed; the error it ended with, or None."""
    if job.attempts > job.max_attempts:
        # Its workers died, one after the other: what kills a worker is not tried for ever.
        return Internal("The worker died while doing this.")
    try:
        async with asyncio.TaskGroup() as group:
            renewal = group.create_task(_keep_lease(job))
            await handler(job)
            renewal.cancel()
    except ExceptionGroup as group_error:
        error = _first(group_error)
        if not isinstance(error, AtriumError | _LeaseLost):
            # The task edge: a bug in one job must not end the worker.
            log.error("job_crashed", job_id=str(job.id), kind=job.kind, exc_info=error)
        return error
    return None


def _first(group: BaseExceptionGroup[BaseException]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return cast(Exception, error)


async def _keep_lease(job: ClaimedJob) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        try:
            held = await run_unit(renew_lease, job)
        except Unavailable as error:
            log.warning("lease_not_renewed", job_id=str(job.id), error=str(error))
            continue
        if not held:
            raise _LeaseLost


async def _write_failure(job: ClaimedJob, error: Exception, give_up: GiveUp) -> None:
    known = isinstance(error, AtriumError)
    reason = str(error) if known else "Something went wrong on the server; the log has the cause."
    retry = error.retryable if isinstance(error, AtriumError) else True
    given_up = await run_unit(fail_job, job, error=reason, retry=retry)
    log.warning("job_failed", job_id=str(job.id), kind=job.kind, error=reason, given_up=given_up)
    if given_up:
        await give_up(job, reason)


class Worker:
    """Polls the job table and runs up to `concurrency` jobs at once; ends cleanly when cancelled."""

    def __init__(self, *, owner: str, concurrency: int, poll_s: float = 0.5) -> None:
        """`owner` names this worker in leases; an idle worker looks for work each `poll_s` seconds."""
        self._owner = owner
        self._concurrency = concurrency
        self._poll_s = poll_s

    async def run(self) -> None:
        """Work for ever. A database that is away is retried."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._concurrency):
                group.create_task(self._work(f"{self._owner}-{number}"))

    async def _work(self, owner: str) -> None:
        while True:
            try:
                job = await run_unit(claim_job, owner=owner)
                if job is not None:
                    await run_job(job)
                    continue
            except Unavailable as error:
                log.warning("worker_without_database", error=str(error))
            await asyncio.sleep(self._poll_s)
