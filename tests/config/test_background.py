"""What processes keep running: work that fails comes back, Celery's side claims once, the composition is whole."""

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from factories.tenants import make_tenant
from fakes import job_handlers

from config import celery, lifespan
from config.background import BesideJobs, run_one, tell_stranded
from config.lifespan import keep_running
from config.settings.adapters import background_work
from config.settings.environment import read_environment
from kernel.backends import backends
from kernel.errors import Unavailable
from substrate import jobs
from substrate.crossing import system_scope
from substrate.jobs import enqueue_job
from substrate.models import Job
from substrate.processes import list_processes
from substrate.units import close_units, run_unit
from tenants.services import limit_watching
from tenants.services.limit_watching import SightingWatch


async def test_work_that_fails_is_started_again_after_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespan, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(lifespan, "LONGEST_PAUSE_S", 0.02)
    starts: list[float] = []

    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())
        if len(starts) < 5:
            raise RuntimeError("broken")

    async with asyncio.timeout(5):
        await keep_running("work", work)
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(starts) == 5
    assert pauses[0] >= 0.009
    assert all(pause >= 0.019 for pause in pauses[1:])


async def test_work_that_is_cancelled_stays_ended() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    running = asyncio.ensure_future(keep_running("work", work))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.django_db(transaction=True)
async def test_a_worker_tells_of_itself_and_of_limits_between_its_jobs_and_of_limits_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[bool] = []
    noticed = asyncio.Event()

    async def look(self: SightingWatch) -> int:
        looks.append(noticed.is_set())
        noticed.set()
        return 0

    monkeypatch.setattr(limit_watching, "EVERY_S", 0.01)
    monkeypatch.setattr(SightingWatch, "look", look)
    beside = BesideJobs()
    await beside.start()
    async with asyncio.timeout(5):
        await noticed.wait()
        while not await run_unit(list_processes):  # noqa: ASYNC110 - a row of the database is waited for
            await asyncio.sleep(0.01)
    before = len(looks)
    monkeypatch.setattr(limit_watching, "EVERY_S", 100)
    await beside.close()
    assert len(looks) > before
    after = len(looks)
    await asyncio.sleep(0.05)
    assert len(looks) == after


@pytest.mark.parametrize("error", [Unavailable(), TimeoutError()])
async def test_a_worker_ends_although_its_last_look_fails(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def look(self: SightingWatch) -> int:
        raise error

    monkeypatch.setattr(SightingWatch, "look", look)
    await BesideJobs().close()


def test_each_process_of_a_worker_begins_with_it() -> None:
    assert celery._begin in [receiver for _, receiver in celery.worker_process_init.receivers]


def test_somebody_drains_the_spool_in_every_profile(tmp_path: Any) -> None:
    environment = read_environment({"ATRIUM_HOME": str(tmp_path)})
    planes = background_work(environment)
    assert set(planes) == {"gateway", "control", "worker"}
    assert sum("drain_usage_forever" in path for paths in planes.values() for path in paths) == 1


@pytest.fixture
def handlers(settings: Any) -> Iterator[None]:
    settings.JOB_HANDLERS = {"test.act": ("fakes.job_handlers.run", "fakes.job_handlers.give_up")}
    job_handlers.forget()
    yield
    close_units()


def enqueue() -> uuid.UUID:
    return enqueue_job(tenant_id=make_tenant().id, kind="test.act", payload={})


def state(job_id: uuid.UUID) -> str:
    with system_scope("test", read_only=True):
        return Job.objects.get(pk=job_id).state


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("handlers")
async def test_a_message_runs_its_job_once_however_often_it_comes() -> None:
    job_id = await run_unit(enqueue)
    for _ in range(3):
        await run_one(job_id, owner="celery")
    await run_one(uuid.uuid4(), owner="celery")
    assert [job.id for job in job_handlers.ran] == [job_id]
    assert await run_unit(state, job_id) == "done"
    await backends.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("handlers")
def test_the_sweep_tells_of_what_nobody_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[uuid.UUID] = []

    class Nudge:
        def send(self, job_id: uuid.UUID) -> None:
            told.append(job_id)

    lost = enqueue()
    with system_scope("test"):
        Job.objects.update(run_after=jobs.SYSTEM_CLOCK.now() - jobs.LEASE)
    backends.replace("job_nudge", Nudge())
    try:
        tell_stranded()
    finally:
        backends.configure(backends.specs)
    assert told == [lost]
