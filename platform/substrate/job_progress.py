"""How far a job has come: told by its handler, written at most once a second, seen by who looks at the queue."""

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.jobs import ClaimedJob, tell_job
from substrate.models import Job
from substrate.scoping import tenant_scope
from substrate.units import run_unit

EVERY_S = 1.0


class JobProgress:
    """The progress of one attempt. A job that is quick writes nothing at all."""

    def __init__(self, job: ClaimedJob, *, every_s: float = EVERY_S, clock: Clock = SYSTEM_CLOCK) -> None:
        """Writes at most each `every_s` seconds, the first time that long after now."""
        self._job = job
        self._every_s = every_s
        self._clock = clock
        self._written_at = clock.monotonic()

    async def tell(self, done: int, total: int | None, message: str = "") -> None:
        """`done` of `total` pieces (None: nobody knows), `message` is the step at hand in a word. Raises Unavailable."""
        now = self._clock.monotonic()
        if now - self._written_at < self._every_s:
            return
        self._written_at = now
        await run_unit(_write, self._job, done, total, message)


def _write(job: ClaimedJob, done: int, total: int | None, message: str) -> None:
    with tenant_scope(job.tenant_id):
        mine = Job.objects.filter(id=job.id, lease_owner=job.lease_owner, state=Job.State.RUNNING)
        if mine.update(progress_done=done, progress_total=total, progress_message=message[:200]):
            tell_job(job.tenant_id)
