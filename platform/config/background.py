"""What the Celery tasks do, once Django is set up, and what each of their processes does beside them."""

import asyncio
import uuid

import structlog
from django.conf import settings

from config.heartbeat import tell_forever
from config.lifespan import keep_running
from kernel.backends import backends
from kernel.errors import AtriumError
from kernel.streams import Supervisor
from substrate.jobs import claim_job, find_stranded_jobs, run_job
from substrate.ports import Directory, JobNudge
from substrate.units import run_unit
from tenants.services import tell_sightings, tell_sightings_forever

log = structlog.get_logger(__name__)

# Of the last look when a process ends; Celery waits for it.
LAST_LOOK_S = 2.0


class BesideJobs:
    """What a process of a Celery worker tells between its jobs: that it is there, and whose limits its calls passed."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._tasks = Supervisor(limit=2, on_error=_report)

    async def start(self) -> None:
        """Tell from now on."""
        self._tasks.start("heartbeat", keep_running("heartbeat", tell_forever))
        self._tasks.start("sightings", keep_running("sightings", tell_sightings_forever))

    async def close(self) -> None:
        """End it, after a last look at what the calls have passed: nobody else knows of that."""
        await self._tasks.close()
        try:
            async with asyncio.timeout(LAST_LOOK_S):
                await tell_sightings()
        except (AtriumError, TimeoutError) as error:
            log.warning("sightings_lost", error=str(error) or type(error).__name__)


def _report(name: str, error: BaseException) -> None:
    log.error("beside_jobs_failed", work=name, error=str(error))


async def start_directories() -> None:
    """Load the directories that this loop has not loaded yet, or whose entries may have aged since the last job."""
    for name in settings.DIRECTORIES:
        directory: Directory = backends[name]
        await directory.start()


async def run_one(job_id: uuid.UUID, *, owner: str) -> None:
    """Claim and run one job; nothing happens when it is not to be had."""
    job = await run_unit(claim_job, owner=owner, job_id=job_id)
    if job is not None:
        await start_directories()
        await run_job(job)


def tell_stranded() -> None:
    """Nudge workers for every job that is due and that nobody runs."""
    nudge: JobNudge = backends["job_nudge"]
    for job_id in find_stranded_jobs():
        nudge.send(job_id)


async def close_connections() -> None:
    """Close what this loop holds."""
    await backends.close()
