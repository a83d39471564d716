"""What the Celery tasks do, once Django is set up."""

import uuid

from django.conf import settings

from kernel.backends import backends
from substrate.jobs import claim_job, find_stranded_jobs, run_job
from substrate.ports import Directory, JobNudge
from substrate.units import run_unit


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
