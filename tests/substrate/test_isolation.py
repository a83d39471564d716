"""Jobs, keys of repeated requests, acts and changes of one tenant are out of another one's reach, by any id."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import sync_to_async
from django.utils import timezone
from factories.tenants import make_tenant

from kernel.errors import Conflict, NotFound
from substrate.audit import acts_of_tenant, record_act
from substrate.audit_keeping import delete_acts_of, forget_old_acts, let_go_chain, link_loose_acts
from substrate.audit_verifying import verify_tenant_acts
from substrate.changes import newest_changes, record_change
from substrate.crossing import system_scope
from substrate.idempotency import begin_once, finish_once, forget_once
from substrate.job_board import cancel_job, find_job, retry_job
from substrate.job_figures import failed_jobs
from substrate.job_progress import JobProgress
from substrate.jobs import ClaimedJob, claim_job, drop_jobs, enqueue_job, fail_job, finish_job, renew_lease
from substrate.models import IdempotencyRecord, Job, TenantAct, TenantChain
from substrate.scoping import tenant_scope
from tenants.models import Tenant

pytestmark = pytest.mark.django_db
CANARY = "canary-77aa-of-another-tenant"


@pytest.fixture
def mine() -> Tenant:
    return make_tenant()


@pytest.fixture
def other() -> Tenant:
    return make_tenant()


def row_of(job_id: uuid.UUID) -> dict[str, Any]:
    with system_scope("tests", read_only=True):
        return Job.objects.filter(id=job_id).values().get()


def queue(tenant: Tenant) -> uuid.UUID:
    return enqueue_job(tenant_id=tenant.id, kind="tenants.export", payload={"export_id": str(uuid.uuid4())})


@pytest.mark.parametrize("act", [find_job, retry_job, cancel_job])
@pytest.mark.parametrize("state", [Job.State.QUEUED, Job.State.FAILED])
def test_a_job_of_another_tenant_is_not_there(
    mine: Tenant, other: Tenant, act: Callable[..., Any], state: str
) -> None:
    job = queue(other)
    with tenant_scope(other.id):
        Job.objects.update(state=state)
    before = row_of(job)
    with pytest.raises(NotFound):
        act(tenant_id=mine.id, job_id=job)
    assert row_of(job) == before


def test_failed_jobs_are_told_of_one_tenant(mine: Tenant, other: Tenant) -> None:
    queue(other)
    with tenant_scope(other.id):
        Job.objects.update(state=Job.State.FAILED, error=CANARY)
    assert failed_jobs(tenant_id=mine.id, limit=5) == (0, [])
    assert failed_jobs(tenant_id=other.id, limit=5)[0] == 1


def test_a_worker_writes_to_jobs_of_the_tenant_it_names(mine: Tenant, other: Tenant) -> None:
    queue(other)
    held = claim_job(owner="w")
    assert held is not None
    before, foreign = row_of(held.id), replace(held, tenant_id=mine.id)
    assert not renew_lease(foreign)
    finish_job(foreign)
    assert not fail_job(foreign, error=CANARY, retry=False)
    assert row_of(held.id) == before
    assert renew_lease(held)


def test_jobs_are_dropped_of_one_tenant(mine: Tenant, other: Tenant) -> None:
    queue(mine)
    theirs = queue(other)
    assert claim_job(owner="w", job_id=theirs) is not None
    assert not drop_jobs(tenant_id=mine.id)
    assert row_of(theirs)["state"] == Job.State.RUNNING


def test_a_key_of_a_request_is_each_tenants_own(mine: Tenant, other: Tenant) -> None:
    asked = {"key": "k", "route": "POST /x"}
    assert begin_once(tenant_id=other.id, body_hash=CANARY, **asked) is None
    finish_once(tenant_id=mine.id, status=200, body="{}", **asked)
    forget_once(tenant_id=mine.id, **asked)
    with pytest.raises(Conflict):
        begin_once(tenant_id=other.id, body_hash=CANARY, **asked)
    with tenant_scope(other.id):
        IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(days=30))
    assert begin_once(tenant_id=mine.id, body_hash="mine", **asked) is None
    with tenant_scope(other.id):
        assert IdempotencyRecord.objects.get().body_hash == CANARY


def test_changes_are_told_of_one_tenant(mine: Tenant, other: Tenant) -> None:
    with system_scope("tests"):
        record_change(kind="thing", object_id="t", tenant_id=other.id)
    asked: dict[str, Any] = {"kinds": ["thing"], "object_ids": ["t"]}
    seen = newest_changes(tenant_id=mine.id, **asked)
    assert len(newest_changes(tenant_id=other.id, **asked)) == len(seen) + 1


def act(tenant: Tenant, label: str) -> None:
    with tenant_scope(tenant.id):
        record_act(act="made", kind="thing", object_id="t", label=label, tenant_id=tenant.id)


def labels(tenant: Tenant) -> list[str]:
    return [each.label for each in acts_of_tenant(tenant_id=tenant.id, limit=50)]


def test_acts_are_let_go_of_one_tenant(mine: Tenant, other: Tenant) -> None:
    act(other, CANARY)
    act(mine, "mine")
    with system_scope("tests", read_only=True):
        before = TenantChain.objects.filter(tenant_id=other.id).values().get()
    assert labels(mine) == ["mine"]
    assert delete_acts_of(tenant_id=mine.id, limit=50) == 1
    assert delete_acts_of(tenant_id=mine.id, limit=50) == 1
    with system_scope("tests"):
        let_go_chain(tenant_id=mine.id)
        assert TenantChain.objects.filter(tenant_id=other.id).values().get() == before
    assert labels(other) == [CANARY]
    assert labels(mine) == []


def test_old_acts_are_forgotten_by_their_own_chain(mine: Tenant, other: Tenant) -> None:
    with time_machine.travel(timezone.now() - timedelta(days=500)):
        act(mine, "mine, old")
    act(other, CANARY)
    act(mine, "mine, young")
    with system_scope("tests"):
        others = TenantChain.objects.filter(tenant_id=other.id)
        before = others.values().get()
        assert forget_old_acts() == 1
        assert others.values().get() == before
    assert labels(other) == [CANARY]
    assert labels(mine) == ["mine, young"]


@pytest.mark.django_db(transaction=True)
async def test_progress_is_told_of_jobs_of_the_tenant_it_names() -> None:
    def furnish() -> tuple[ClaimedJob, Tenant]:
        queue(make_tenant())
        held = claim_job(owner="w")
        assert held is not None
        return held, make_tenant()

    held, mine = await sync_to_async(furnish)()
    before = await sync_to_async(row_of)(held.id)
    await JobProgress(replace(held, tenant_id=mine.id), every_s=0).tell(3, 4, CANARY)
    assert await sync_to_async(row_of)(held.id) == before
    await JobProgress(held, every_s=0).tell(3, 4, "mine")
    assert (await sync_to_async(row_of)(held.id))["progress_done"] == 3


def test_acts_that_the_platform_writes_go_to_the_chain_of_their_own_tenant(
    mine: Tenant, other: Tenant
) -> None:
    with system_scope("tests"):
        for tenant, label in ((other, CANARY), (mine, "mine"), (other, CANARY)):
            record_act(act="made", kind="thing", object_id="t", label=label, tenant_id=tenant.id)
    assert (labels(mine), labels(other)) == (["mine"], [CANARY, CANARY])
    for tenant, rows in ((mine, 1), (other, 2)):
        found = verify_tenant_acts(tenant_id=tenant.id)
        assert (found.whole, found.rows) == (True, rows)


def test_acts_of_an_older_version_are_linked_each_to_its_own_tenant(mine: Tenant, other: Tenant) -> None:
    for tenant in (mine, other):
        act(tenant, "linked")
        with tenant_scope(tenant.id):
            for number in range(2):
                loose = {"act": "made", "kind": "thing", "object_id": str(number)}
                TenantAct.objects.create(**loose, actor_kind="user", actor="a")
    assert link_loose_acts() == 4
    for tenant in (mine, other):
        found = verify_tenant_acts(tenant_id=tenant.id)
        assert (found.whole, found.last) == (True, 3)
