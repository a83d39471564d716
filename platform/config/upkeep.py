"""Regular upkeep of the control plane: what has served its time is deleted."""

import asyncio
import random

import structlog

from assistants.services import forget_deleted_assistants
from kernel.errors import AtriumError
from substrate.audit_keeping import forget_old_acts, link_loose_acts
from substrate.changes import forget_old_changes
from substrate.idempotency import forget_old_records
from substrate.jobs import forget_old_jobs
from substrate.processes import forget_gone_processes
from substrate.units import run_unit
from tenants.services import (
    forget_old_invitations,
    forget_old_pairs,
    forget_old_sessions,
    forget_old_traces,
)

log = structlog.get_logger(__name__)
EVERY_S = 600.0


async def keep_up_forever() -> None:
    """Delete old changes, idempotency records, acts and done jobs every ten minutes; a database that is away is tried later."""
    while True:
        # Several processes may do this; a little spread keeps them apart.
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        try:
            changes = await run_unit(forget_old_changes)
            records = await run_unit(forget_old_records)
            jobs = await run_unit(forget_old_jobs)
            await run_unit(link_loose_acts)
            acts = await run_unit(forget_old_acts)
            await run_unit(forget_gone_processes)
            traces = await run_unit(forget_old_traces)
            pairs = await run_unit(forget_old_pairs)
            sessions = await run_unit(forget_old_sessions)
            invitations = await run_unit(forget_old_invitations)
            assistants = await run_unit(forget_deleted_assistants)
            log.info(
                "kept_up",
                changes=changes,
                idempotency_records=records,
                jobs=jobs,
                acts=acts,
                traces=traces,
                shadow_pairs=pairs,
                invitations=invitations,
                sessions=sessions,
                assistants=assistants,
            )
        except AtriumError as error:
            log.warning("upkeep_failed", error=str(error))
