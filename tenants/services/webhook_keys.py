"""What is looked at every quarter of an hour for webhooks: keys that end soon, and endpoints whose job is gone.

A key is told once, however often and by however many it is looked at.
"""

import asyncio
import random
import uuid
from datetime import timedelta

import structlog

from kernel.actors import SYSTEM, acting
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import ApiKey, Webhook
from tenants.services.webhook_mending import resume_stranded_webhooks
from tenants.services.webhook_sending import emit_event
from tenants.types import TenantState
from tenants.webhook_types import Stopped

log = structlog.get_logger(__name__)

EVENT = "api_key.expiring"
SOON = timedelta(days=7)
EVERY_S = 900.0
# In one transaction; what is more has its turn at the next look.
AT_ONCE = 200


async def watch_webhooks_forever() -> None:
    """Look every quarter of an hour. A database that is away is tried again."""
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        try:
            await tell_ending_keys()
            if resumed := await resume_stranded_webhooks():
                log.warning("webhooks_resumed", count=resumed)
        except AtriumError as error:
            log.warning("webhooks_not_watched", error=str(error))


async def tell_ending_keys(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Tell the webhooks that asked for it of keys that end within seven days; returns how many keys. Raises Unavailable."""
    told = 0
    for tenant_id in await run_unit(_asking):
        told += await run_unit(_tell, tenant_id, clock)
    return told


def _asking() -> list[uuid.UUID]:
    with system_scope("find webhooks that hear of keys", read_only=True):
        rows = Webhook.objects.filter(stopped=Stopped.NOT, tenant__state=TenantState.ACTIVE)
        found = rows.values_list("tenant_id", "events").iterator(chunk_size=1_000)
        return sorted({tenant_id for tenant_id, events in found if EVENT in events})


def _tell(tenant_id: uuid.UUID, clock: Clock) -> int:
    now = clock.now()
    with acting(SYSTEM), tenant_scope(tenant_id):
        ending = ApiKey.objects.filter(
            revoked_at=None, end_told_at=None, expires_at__gt=now, expires_at__lte=now + SOON
        )
        # Locked: two processes that look at once must not both tell.
        rows = list(ending.select_for_update().order_by("expires_at", "id")[:AT_ONCE])
        for row in rows:
            told = {"id": row.id, "prefix": row.prefix, "expires_at": row.expires_at}
            emit_event(tenant_id=tenant_id, event=EVENT, told=told, clock=clock)
        ApiKey.objects.filter(id__in=[row.id for row in rows]).update(end_told_at=now)
    return len(rows)
