"""Endpoints whose job is gone: after a restore, whose backup holds no jobs, and when giving one up could not be written."""

import uuid
from datetime import datetime, timedelta

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from substrate.jobs import has_live_job
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import Webhook, WebhookDelivery
from tenants.services.webhook_sending import JOB, go_on
from tenants.webhook_types import DeliveryState, Outcome

# Retries of a job take seconds; a queue this long is rare, and then the job is found alive.
OVERDUE = timedelta(hours=1)
AT_ONCE = 1_000


def settle_restored_webhooks(now: datetime) -> int:
    """Of restored endpoints none has a job, and what waited is not sent; returns how much it was.

    It was sent since, or it is told by another installation: a backup that is tried elsewhere must tell nobody of
    events. Runs in the scope at hand, which is the system's.
    """
    Webhook.objects.exclude(run_at=None).update(run_at=None)
    waiting = WebhookDelivery.objects.filter(state=DeliveryState.WAITING)
    return waiting.update(
        state=DeliveryState.FAILED, outcome=Outcome.RESTORED, finished_at=now, updated_at=now
    )


async def resume_stranded_webhooks(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Queue a job for endpoints whose own was due an hour ago and is gone; returns how many. Raises Unavailable."""
    count = 0
    for tenant_id, webhook_id, turn in await run_unit(_overdue, clock):
        count += await run_unit(_resume, tenant_id, webhook_id, turn, clock)
    return count


def _overdue(clock: Clock) -> list[tuple[uuid.UUID, uuid.UUID, int]]:
    with system_scope("find webhooks without a job", read_only=True):
        rows = Webhook.objects.filter(run_at__lt=clock.now() - OVERDUE).order_by("run_at", "id")
        return list(rows.values_list("tenant_id", "id", "turn")[:AT_ONCE])


def _resume(tenant_id: uuid.UUID, webhook_id: uuid.UUID, turn: int, clock: Clock) -> bool:
    with tenant_scope(tenant_id):
        if has_live_job(kind=JOB, told={"webhook_id": str(webhook_id), "turn": turn}):
            return False
        go_on(tenant_id, webhook_id, turn, clock)
        return True
