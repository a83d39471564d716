"""`/jobs`: who sees what of the queue, trying again, cancelling, how far a job is."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes import job_handlers
from fakes.clocks import FrozenClock

from substrate.audit import acts_of_tenant
from substrate.job_progress import JobProgress
from substrate.jobs import ClaimedJob, claim_job, count_jobs, enqueue_job, fail_job, finish_job
from substrate.models import Change, Job
from substrate.scoping import tenant_scope
from substrate.units import close_units
from tenants.models import Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db(transaction=True)
KIND = "test.act"


@pytest.fixture(autouse=True)
def handlers(settings: Any) -> Iterator[None]:
    pair = ("fakes.job_handlers.run", "fakes.job_handlers.give_up")
    settings.JOB_HANDLERS = {KIND: pair, "knowledge.purge": pair}
    job_handlers.forget()
    yield
    close_units()


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    return key_client(tenant, role=Role.ADMIN)


def enqueue(tenant: Tenant, *, kind: str = KIND, **payload: Any) -> uuid.UUID:
    return enqueue_job(tenant_id=tenant.id, kind=kind, payload=payload)


def claimed(job_id: uuid.UUID) -> ClaimedJob:
    job = claim_job(owner="test", job_id=job_id)
    assert job is not None
    return job


def call(client: Client, method: str, path: str, status: int = 200) -> Any:
    answer = client.generic(method, f"/api/v1/jobs{path}")
    assert answer.status_code == status, answer.content[:500]
    return json.loads(answer.content)


def test_jobs_of_the_tenant_are_listed_without_their_payload(tenant: Tenant, admin: Client) -> None:
    other = make_tenant("other")
    secret = {"document_id": str(uuid.uuid4()), "text": "a secret of the tenant"}
    mine = enqueue(tenant, **secret)
    enqueue(other, **secret)
    fail_job(claimed(mine), error="The document is encrypted.", retry=False)
    answer = admin.get("/api/v1/jobs")
    assert b"a secret of the tenant" not in answer.content
    assert [each["id"] for each in answer.json()["results"]] == [str(mine)]
    shown = answer.json()["results"][0]
    assert (shown["state"], shown["error"], shown["attempts"]) == ("failed", "The document is encrypted.", 1)
    assert shown["subject"] == {
        "kind": "document",
        "id": secret["document_id"],
        "title": None,
        "knowledge_base_id": None,
    }


def test_jobs_are_filtered_and_searched(tenant: Tenant, admin: Client) -> None:
    failed, done, waiting = (enqueue(tenant) for _ in range(3))
    fail_job(claimed(failed), error="No such thing", retry=False)
    finish_job(claimed(done))

    def ids(query: str) -> list[str]:
        return [each["id"] for each in call(admin, "GET", query)["results"]]

    assert ids("?state=failed") == [str(failed)]
    # Made within the same millisecond, in either order.
    assert sorted(ids("?state=queued,done")) == sorted([str(waiting), str(done)])
    assert ids("?q=such") == [str(failed)]
    assert ids("?kind=other") == []
    assert call(admin, "GET", "?total=true")["total"] == 3
    call(admin, "GET", "?state=sleeping", 400)
    assert call(admin, "GET", "/kinds")["kinds"] == ["knowledge.purge", KIND]


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_the_queue_is_for_administrators(tenant: Tenant, role: Role) -> None:
    client = key_client(tenant, role=role)
    job = enqueue(tenant)
    call(client, "GET", "", 403)
    call(client, "GET", f"/{job}", 403)
    call(client, "POST", f"/{job}/cancel", 403)


def test_another_tenants_job_is_unknown(tenant: Tenant, admin: Client) -> None:
    job = enqueue(make_tenant())
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel")):
        call(admin, method, f"/{job}{path}", 404)
    call(admin, "GET", "/nothing", 404)
    call(admin, "GET", "?scope=platform", 403)


def test_operators_see_and_mend_all_queues(tenant: Tenant) -> None:
    home = make_membership(make_tenant("home"), make_user(is_operator=True), role=Role.OWNER)
    operator = session_client(home)
    job = enqueue(tenant)
    fail_job(claimed(job), error="x", retry=False)
    shown = call(operator, "GET", "?scope=platform")["results"]
    assert [(each["tenant"], each["id"]) for each in shown] == [("acme", str(job))]
    call(operator, "POST", f"/{job}/retry", 404)
    assert call(operator, "POST", f"/{job}/retry?scope=platform")["state"] == "queued"


def test_a_failed_job_is_tried_again_with_all_its_attempts(tenant: Tenant, admin: Client) -> None:
    job = enqueue(tenant)
    call(admin, "POST", f"/{job}/retry", 409)
    fail_job(claimed(job), error="x", retry=False)
    shown = call(admin, "POST", f"/{job}/retry")
    assert (shown["state"], shown["attempts"], shown["error"], shown["may_retry"]) == (
        "queued",
        0,
        None,
        False,
    )
    assert claimed(job).attempts == 1
    assert [each.act for each in acts_of_tenant(tenant_id=tenant.id, limit=5) if each.kind == "job"] == [
        "retried"
    ]


def test_a_queued_job_is_cancelled_and_its_handler_told(tenant: Tenant, admin: Client) -> None:
    job = enqueue(tenant)
    shown = call(admin, "POST", f"/{job}/cancel")
    assert (shown["state"], shown["may_cancel"], shown["may_retry"]) == ("cancelled", False, True)
    assert [reason for _, reason in job_handlers.given_up] == ["Cancelled before it began."]
    assert claim_job(owner="test", job_id=job) is None
    call(admin, "POST", f"/{job}/cancel", 409)
    running = enqueue(tenant)
    claimed(running)
    call(admin, "POST", f"/{running}/cancel", 409)


def test_what_removes_deleted_things_is_not_cancelled(tenant: Tenant, admin: Client) -> None:
    job = enqueue(tenant, kind="knowledge.purge")
    call(admin, "POST", f"/{job}/cancel", 409)
    assert call(admin, "GET", f"/{job}")["may_cancel"] is False


def test_a_job_for_a_later_day_is_no_work_that_waits(tenant: Tenant, admin: Client) -> None:
    job = enqueue_job(tenant_id=tenant.id, kind=KIND, payload={}, delay=timedelta(days=7))
    assert call(admin, "GET", f"/{job}")["scheduled"] is True
    assert count_jobs() == {}
    assert claim_job(owner="test") is None


def test_progress_is_written_at_most_once_a_second(tenant: Tenant, admin: Client) -> None:
    job = claimed(enqueue(tenant))
    clock = FrozenClock()
    progress = JobProgress(job, clock=clock)
    Change.objects.all().delete()

    async def work() -> None:
        await progress.tell(1, 100, "embedding")
        clock.advance(1.0)
        await progress.tell(40, 100, "embedding")
        await progress.tell(41, 100, "embedding")

    asyncio.run(work())
    shown = call(admin, "GET", f"/{job.id}")
    assert (shown["progress_done"], shown["progress_total"], shown["progress_message"]) == (
        40,
        100,
        "embedding",
    )
    assert list(Change.objects.values_list("kind", flat=True)) == ["job"]
    finish_job(job)
    clock.advance(5.0)
    asyncio.run(progress.tell(99, 100))
    with tenant_scope(tenant.id):
        assert Job.objects.get(id=job.id).progress_done == 40
