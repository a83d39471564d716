"""Backups by themselves: one each `ATRIUM_BACKUPS_EVERY` hours, when it is set."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings

from config.keeping.keeper import ProcessKeeper
from config.keeping.notes import all_notes
from kernel.errors import AtriumError

log = structlog.get_logger(__name__)
LOOK_EVERY_S = 300.0


async def keep_backups_forever() -> None:
    """Look each five minutes whether the newest backup is old enough. Returns at once when no schedule is set."""
    hours = settings.ATRIUM.backups_every_h
    if not hours:
        return
    while True:
        # Several processes may look; a little spread keeps them apart, and the second finds one at work.
        await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 - no secret depends on it
        try:
            if await asyncio.to_thread(is_due, timedelta(hours=hours)):
                await asyncio.to_thread(_take)
        except AtriumError as error:
            log.warning("scheduled_backup_failed", error=error.message)


def is_due(every: timedelta, *, now: datetime | None = None) -> bool:
    """Whether no backup was begun within `every`; failed ones count, so that a full disk is not tried again and again."""
    begun = [datetime.fromisoformat(note.created_at) for note in all_notes() if note.origin != "uploaded"]
    return not begun or (now or datetime.now(UTC)) - max(begun) >= every


def _take() -> None:
    ProcessKeeper().take("schedule", origin="scheduled")
