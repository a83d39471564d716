"""Jobs: claimed once, kept under a lease, retried, given up with a reason, run again when a worker died."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from factories.tenants import make_tenant
from fakes import job_handlers
from fakes.clocks import FrozenClock

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK
from kernel.context import RequestContext, request_context
from substrate import jobs
from substrate.crossing import system_scope
from substrate.jobs import (
    KEEP_DONE,
    LEASE,
    ClaimedJob,
    Worker,
    claim_job,
    enqueue_job,
    fail_job,
    find_stranded_jobs,
    finish_job,
    forget_old_jobs,
    renew_lease,
    run_job,
)
from substrate.models import Job
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit

pytestmark = pytest.mark.django_db(transaction=True)
KIND = "test.act"


@pytest.fixture(autouse=True)
def handlers(settings: Any) -> Iterator[None]:
    settings.JOB_HANDLERS = {KIND: ("fakes.job_handlers.run", "fakes.job_handlers.give_up")}
    job_handlers.forget()
    yield
    close_units()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def enqueue(tenant_id: uuid.UUID | None = None, *, clock: Any = SYSTEM_CLOCK, **payload: Any) -> uuid.UUID:
    tenant_id = tenant_id or make_tenant().id
    return enqueue_job(tenant_id=tenant_id, kind=KIND, payload=payload, clock=clock)


def row(job_id: uuid.UUID) -> Job:
    with system_scope("test", read_only=True):
        return Job.objects.get(pk=job_id)


def claimed(**options: Any) -> ClaimedJob:
    job = claim_job(owner="worker", **options)
    assert job is not None
    return job


def test_a_job_is_written_with_its_act_or_not_at_all() -> None:
    tenant = make_tenant()

    def act() -> None:
        with transaction.atomic():
            enqueue(tenant.id)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        act()
    assert claim_job(owner="worker") is None


def test_the_worker_is_told_after_the_commit() -> None:
    told: list[uuid.UUID] = []

    class Nudge:
        def send(self, job_id: uuid.UUID) -> None:
            told.append(job_id)

    backends.replace("job_nudge", Nudge())
    tenant = make_tenant()
    try:
        with transaction.atomic():
            job_id = enqueue(tenant.id)
            assert told == []
        assert told == [job_id]
    finally:
        backends.configure(backends.specs)


def test_a_job_of_an_unknown_kind_is_not_queued() -> None:
    with pytest.raises(LookupError):
        enqueue_job(tenant_id=make_tenant().id, kind="no.such", payload={})


def test_a_job_belongs_to_its_tenant() -> None:
    one, other = make_tenant(), make_tenant()
    job_id = enqueue(one.id)
    with tenant_scope(other.id):
        assert not Job.objects.filter(pk=job_id).exists()
    with tenant_scope(one.id):
        assert Job.objects.get().pk == job_id


def test_a_claimed_job_is_not_to_be_had_again() -> None:
    job_id = enqueue(act="x")
    job = claimed()
    assert (job.id, job.payload, job.attempts, job.lease_owner) == (job_id, {"act": "x"}, 1, "worker")
    assert claim_job(owner="other") is None
    assert claim_job(owner="other", job_id=job_id) is None
    finish_job(job)
    assert claim_job(owner="other") is None
    assert row(job_id).state == Job.State.DONE


def test_the_one_that_waited_longest_comes_first(clock: FrozenClock) -> None:
    tenant = make_tenant()
    queued = []
    for _ in range(3):
        queued.append(enqueue(tenant.id, clock=clock))
        clock.advance(1)
    assert [claimed(clock=clock).id for _ in range(3)] == queued


def test_a_certain_job_can_be_claimed() -> None:
    tenant = make_tenant()
    enqueue(tenant.id)
    second = enqueue(tenant.id)
    assert claimed(job_id=second).id == second


def test_a_lease_that_ran_out_is_taken_over_and_the_first_owner_writes_nothing(clock: FrozenClock) -> None:
    job_id = enqueue(clock=clock)
    first = claimed(clock=clock)
    clock.advance(LEASE + timedelta(seconds=1))
    second = claim_job(owner="other", clock=clock)
    assert second is not None
    assert (second.id, second.attempts) == (job_id, 2)
    finish_job(first)
    assert fail_job(first, error="late", retry=False, clock=clock) is False
    assert not renew_lease(first, clock=clock)
    assert (row(job_id).state, row(job_id).lease_owner, row(job_id).error) == ("running", "other", "")
    assert renew_lease(second, clock=clock)


def test_a_renewed_lease_is_kept(clock: FrozenClock) -> None:
    enqueue(clock=clock)
    job = claimed(clock=clock)
    for _ in range(4):
        clock.advance(LEASE - timedelta(seconds=1))
        assert renew_lease(job, clock=clock)
    assert claim_job(owner="other", clock=clock) is None


def test_retries_wait_longer_each_time_and_end(clock: FrozenClock) -> None:
    job_id = enqueue(clock=clock)
    waits = []
    for attempt in (1, 2):
        job = claimed(clock=clock)
        assert job.attempts == attempt
        assert fail_job(job, error="away", retry=True, clock=clock) is False
        waits.append(row(job_id).run_after - clock.now())
        assert claim_job(owner="worker", clock=clock) is None
        clock.advance(waits[-1])
    assert waits == [timedelta(seconds=2), timedelta(seconds=4)]
    assert fail_job(claimed(clock=clock), error="away", retry=True, clock=clock) is True
    assert (row(job_id).state, row(job_id).error, row(job_id).lease_until) == ("failed", "away", None)
    clock.advance(timedelta(days=1))
    assert claim_job(owner="worker", clock=clock) is None


def test_what_cannot_succeed_is_not_retried(clock: FrozenClock) -> None:
    job_id = enqueue(clock=clock)
    assert fail_job(claimed(clock=clock), error="encrypted", retry=False, clock=clock) is True
    assert row(job_id).state == Job.State.FAILED


def test_stranded_jobs_are_found(clock: FrozenClock) -> None:
    tenant = make_tenant()
    lost = enqueue(tenant.id, clock=clock)
    assert find_stranded_jobs(clock=clock) == []
    clock.advance(6)
    assert find_stranded_jobs(clock=clock) == [lost]
    job = claimed(clock=clock)
    assert find_stranded_jobs(clock=clock) == []
    clock.advance(LEASE + timedelta(seconds=1))
    assert find_stranded_jobs(clock=clock) == [job.id]


def test_jobs_done_long_ago_are_forgotten_and_failed_ones_stay() -> None:
    tenant = make_tenant()
    done, failed, queued = (enqueue(tenant.id) for _ in range(3))
    finish_job(claimed(job_id=done))
    fail_job(claimed(job_id=failed), error="encrypted", retry=False)
    later = FrozenClock(SYSTEM_CLOCK.now())
    later.advance(KEEP_DONE - timedelta(minutes=1))
    assert forget_old_jobs(clock=later) == 0
    later.advance(timedelta(minutes=2))
    assert forget_old_jobs(clock=later) == 1
    with system_scope("test", read_only=True):
        assert set(Job.objects.values_list("id", flat=True)) == {failed, queued}


async def claim_and_run() -> ClaimedJob:
    job = await run_unit(claim_job, owner="worker")
    assert job is not None
    await run_job(job)
    return job


async def test_a_job_runs_under_the_request_that_asked_for_it() -> None:
    context = RequestContext("request-of-upload", "a" * 32)
    with request_context(context):
        job_id = await run_unit(enqueue)
    await claim_and_run()
    assert job_handlers.contexts == [context]
    assert (await run_unit(row, job_id)).state == Job.State.DONE


@pytest.mark.parametrize(
    ("act", "state", "error", "reasons"),
    [
        ("refuse", "failed", "The document is encrypted.", ["The document is encrypted."]),
        ("away", "queued", "The vector store is away.", []),
        ("crash", "queued", "Something went wrong on the server; the log has the cause.", []),
    ],
)
async def test_how_a_job_fails(act: str, state: str, error: str, reasons: list[str]) -> None:
    job_id = await run_unit(enqueue, act=act)
    await claim_and_run()
    left = await run_unit(row, job_id)
    assert (left.state, left.error) == (state, error)
    assert [reason for _, reason in job_handlers.given_up] == reasons


async def test_after_the_last_attempt_it_is_given_up_with_words_for_people() -> None:
    job_id = await run_unit(
        enqueue_job,
        tenant_id=(await run_unit(make_tenant)).id,
        kind=KIND,
        payload={"act": "crash"},
        max_attempts=1,
    )
    await claim_and_run()
    assert (await run_unit(row, job_id)).state == Job.State.FAILED
    assert [reason for _, reason in job_handlers.given_up] == [
        "Something went wrong on the server; the log has the cause."
    ]


async def test_a_bug_in_giving_up_does_not_end_the_worker() -> None:
    job_id = await run_unit(enqueue, act="refuse", give_up="crash")
    await claim_and_run()
    assert (await run_unit(row, job_id)).state == Job.State.FAILED


def let_lease_run_out(job_id: uuid.UUID) -> None:
    with system_scope("test"):
        Job.objects.filter(pk=job_id).update(lease_until=SYSTEM_CLOCK.now() - timedelta(seconds=1))


async def test_a_job_that_kills_its_workers_is_not_tried_for_ever() -> None:
    job_id = await run_unit(enqueue)
    for _ in range(3):
        assert await run_unit(claim_job, owner="a worker that dies") is not None
        await run_unit(let_lease_run_out, job_id)
    await claim_and_run()
    left = await run_unit(row, job_id)
    assert (left.state, left.error) == ("failed", "The worker died while doing this.")
    assert job_handlers.ran == []
    assert len(job_handlers.given_up) == 1


async def test_a_job_may_run_twice_and_ends_once() -> None:
    job_id = await run_unit(enqueue)
    first = await run_unit(claim_job, owner="slow")
    await run_unit(let_lease_run_out, job_id)
    second = await run_unit(claim_job, owner="quick")
    assert first is not None
    assert second is not None
    await run_job(second)
    await run_job(first)
    assert [job.attempts for job in job_handlers.ran] == [2, 1]
    left = await run_unit(row, job_id)
    assert (left.state, left.attempts, left.lease_owner) == ("done", 2, "quick")


async def test_a_lost_lease_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "RENEW_EVERY_S", 0.02)
    job_id = await run_unit(enqueue, act="endless")
    first = await run_unit(claim_job, owner="slow")
    assert first is not None
    async with asyncio.timeout(5):
        working = asyncio.ensure_future(run_job(first))
        await asyncio.sleep(0.05)
        assert not working.done()
        await run_unit(let_lease_run_out, job_id)
        taken = await run_unit(claim_job, owner="quick")
        # The slow one may have renewed in between; then it still has the job, which is as good.
        while taken is None:
            await run_unit(let_lease_run_out, job_id)
            taken = await run_unit(claim_job, owner="quick")
        await working
    assert job_handlers.ended == [str(job_id)]
    assert (await run_unit(row, job_id)).state == Job.State.RUNNING


async def test_a_cancelled_worker_leaves_the_job_to_the_next() -> None:
    job_id = await run_unit(enqueue, act="endless")
    job = await run_unit(claim_job, owner="worker")
    assert job is not None
    working = asyncio.ensure_future(run_job(job))
    await asyncio.sleep(0.05)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert job_handlers.ended == [str(job_id)]
    assert (await run_unit(row, job_id)).state == Job.State.RUNNING


async def test_a_kind_that_is_no_longer_known_fails_with_its_reason(settings: Any) -> None:
    job_id = await run_unit(enqueue)
    settings.JOB_HANDLERS = {}
    await claim_and_run()
    left = await run_unit(row, job_id)
    assert left.state == Job.State.FAILED
    assert KIND in left.error


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - what is waited for are rows
            await asyncio.sleep(0.01)


async def test_a_worker_does_what_is_queued_before_and_after_its_start() -> None:
    tenants = [await run_unit(make_tenant) for _ in range(2)]
    early = [await run_unit(enqueue, tenant.id) for tenant in tenants for _ in range(3)]
    worker = asyncio.ensure_future(Worker(owner="test", concurrency=3, poll_s=0.01).run())
    await until(lambda: len(job_handlers.ran) >= 6)
    late = await run_unit(enqueue, tenants[0].id, act="refuse")
    await until(lambda: bool(job_handlers.given_up))
    async with asyncio.timeout(10):
        while {(await run_unit(row, job_id)).state for job_id in early} != {"done"}:  # noqa: ASYNC110 - rows are waited for
            await asyncio.sleep(0.01)
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert sorted(job.id for job in job_handlers.ran) == sorted([*early, late])
    assert {job.tenant_id for job in job_handlers.ran} == {tenant.id for tenant in tenants}


async def test_workers_beside_each_other_take_each_job_once() -> None:
    tenant = await run_unit(make_tenant)
    queued = [await run_unit(enqueue, tenant.id) for _ in range(20)]
    workers = [
        asyncio.ensure_future(Worker(owner=f"w{n}", concurrency=2, poll_s=0.01).run()) for n in range(3)
    ]
    await until(lambda: len(job_handlers.ran) >= 20)
    await asyncio.sleep(0.05)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(job.id for job in job_handlers.ran) == sorted(queued)
