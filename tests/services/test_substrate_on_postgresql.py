"""What the substrate promises, where it differs from SQLite: real concurrency, late commits, a server that is away."""

import asyncio
import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection, connections, transaction
from factories.tenants import make_tenant
from fakes import job_handlers
from fakes.postgresql import fresh_database

from kernel.backends import backends
from kernel.errors import Conflict, Unavailable
from substrate.changes import ChangeTail, record_change
from substrate.crossing import system_scope
from substrate.idempotency import begin_once, forget_once
from substrate.jobs import Worker, claim_job, enqueue_job
from substrate.models import Job
from substrate.units import run_unit

pytestmark = pytest.mark.services
KIND = "test.act"


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    with fresh_database(django_db_blocker):
        yield


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {KIND: ("fakes.job_handlers.run", "fakes.job_handlers.give_up")}
    monkeypatch.setattr(django_settings, "JOB_HANDLERS", handlers)
    job_handlers.forget()


@pytest.fixture(autouse=True)
def nobody_else_is_told() -> Iterator[None]:
    """The stack's own workers know nothing of this database."""
    for name in ("job_nudge", "change_nudge"):
        backends.replace(name, Silent())
    yield
    backends.configure(backends.specs)


class Silent:
    """A nudge that reaches nobody."""

    def send(self, job_id: uuid.UUID | None = None) -> None:
        """Nothing."""


async def test_a_change_that_commits_late_is_told_later() -> None:
    heard: list[str] = []
    tail = ChangeTail()
    tail.listen(lambda event: heard.append(event.object_id))
    written, gate = threading.Event(), threading.Event()

    def commit_late() -> None:
        with transaction.atomic():
            record_change(kind="model", object_id="late")
            written.set()
            assert gate.wait(20)

    await tail.start()
    late = asyncio.ensure_future(run_unit(commit_late))
    assert await asyncio.to_thread(written.wait, 10)
    await run_unit(record_change, kind="model", object_id="early")
    await tail.catch_up()
    assert heard == ["early"]
    gate.set()
    await late
    await tail.catch_up()
    await tail.catch_up()
    assert heard == ["early", "late"]


async def test_a_change_under_way_when_the_tail_starts_is_told() -> None:
    heard: list[str] = []
    tail = ChangeTail()
    tail.listen(lambda event: heard.append(event.object_id))
    written, gate = threading.Event(), threading.Event()

    def commit_late() -> None:
        with transaction.atomic():
            record_change(kind="model", object_id="under way")
            written.set()
            assert gate.wait(20)

    await run_unit(record_change, kind="model", object_id="before")
    late = asyncio.ensure_future(run_unit(commit_late))
    assert await asyncio.to_thread(written.wait, 10)
    await run_unit(record_change, kind="model", object_id="also before")
    await tail.start()
    gate.set()
    await late
    await tail.catch_up()
    assert heard == ["under way"]


def test_claims_at_the_same_moment_get_jobs_of_their_own() -> None:
    tenant = make_tenant()
    queued = {enqueue_job(tenant_id=tenant.id, kind=KIND, payload={}) for _ in range(40)}
    line = threading.Barrier(8, timeout=20)

    def claim_all(number: int) -> list[uuid.UUID]:
        got = []
        try:
            line.wait()
            while (job := claim_job(owner=f"worker-{number}")) is not None:
                got.append(job.id)
            return got
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        claimed = [job_id for got in pool.map(claim_all, range(8)) for job_id in got]
    assert len(claimed) == 40
    assert set(claimed) == queued


async def test_workers_do_every_job_once() -> None:
    tenants = [await run_unit(make_tenant) for _ in range(3)]
    queued = [
        await run_unit(enqueue_job, tenant_id=tenants[number % 3].id, kind=KIND, payload={})
        for number in range(60)
    ]
    workers = [
        asyncio.ensure_future(Worker(owner=f"w{number}", concurrency=3, poll_s=0.02).run())
        for number in range(2)
    ]
    async with asyncio.timeout(30):
        while await run_unit(count_left, queued):  # noqa: ASYNC110 - rows are waited for
            await asyncio.sleep(0.05)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(job.id for job in job_handlers.ran) == sorted(queued)


def count_left(queued: list[uuid.UUID]) -> int:
    with system_scope("tests", read_only=True):
        return Job.objects.filter(pk__in=queued).exclude(state=Job.State.DONE).count()


def test_of_many_posts_at_the_same_moment_one_is_first() -> None:
    tenant_id = make_tenant().id
    line = threading.Barrier(8, timeout=20)

    def race(number: int) -> str:
        line.wait()
        try:
            begin_once(tenant_id=tenant_id, key="key-1", route="/things", body_hash="same")
        except Conflict:
            return "wait"
        finally:
            connections.close_all()
        return "first"

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert sorted(pool.map(race, range(8))) == ["first"] + ["wait"] * 7
            forget_once(tenant_id=tenant_id, key="key-1", route="/things")


async def test_a_query_that_takes_too_long_is_unavailable() -> None:
    def slow() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 50")
            cursor.execute("SELECT pg_sleep(5)")

    with pytest.raises(Unavailable):
        await run_unit(slow)
    assert await run_unit(select_one) == 1


async def test_connections_that_were_cut_are_replaced() -> None:
    await asyncio.gather(*(run_unit(select_one) for _ in range(30)))
    name = connection.settings_dict["NAME"]
    with psycopg.connect(os.environ["ATRIUM_DATABASE_URL"], autocommit=True) as login:
        cut = login.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s", [name]
        ).fetchone()
    assert cut
    assert cut[0] >= 1
    assert await asyncio.gather(*(run_unit(select_one) for _ in range(30))) == [1] * 30


def select_one() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        found: int = cursor.fetchone()[0]
        return found
