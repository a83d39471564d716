"""Background jobs and acts in quantities, for load seeds."""

import random
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from substrate.audit import append_acts
from substrate.models import Job, TenantAct
from substrate.scoping import tenant_scope
from substrate.seeding import dice_of, made_up_id


def seed_jobs(*, tenants: Sequence[uuid.UUID], each: int, seed: int, now: datetime) -> int:
    """Give each of `tenants` so many jobs of the past (one in fifty given up) and acts; returns how many jobs."""
    dice = dice_of(seed + 3)
    for tenant_id in tenants:
        with tenant_scope(tenant_id):
            Job.objects.bulk_create([_job(dice, tenant_id, now) for _ in range(each)])
            acts = sorted((_act(dice, tenant_id, now) for _ in range(each)), key=lambda row: row.id)
            append_acts(tenant_id=tenant_id, rows=acts)
    return len(tenants) * each


def _job(dice: random.Random, tenant_id: uuid.UUID, now: datetime) -> Job:
    failed = dice.random() < 0.02
    moment = now - timedelta(seconds=dice.randrange(7 * 86_400))
    return Job(
        id=made_up_id(dice, moment),
        tenant_id=tenant_id,
        kind="knowledge.ingest",
        state=Job.State.FAILED if failed else Job.State.DONE,
        attempts=3 if failed else 1,
        run_after=moment,
        error="The file is damaged." if failed else "",
    )


def _act(dice: random.Random, tenant_id: uuid.UUID, now: datetime) -> TenantAct:
    moment = now - timedelta(seconds=dice.randrange(60 * 86_400))
    return TenantAct(
        id=made_up_id(dice, moment),
        created_at=moment,
        tenant_id=tenant_id,
        act=dice.choice(["created", "changed", "revoked"]),
        kind=dice.choice(["api_key", "assistant", "document"]),
        object_id=str(tenant_id),
        label="made up",
        actor_kind="user",
        actor="load@example.com",
    )
