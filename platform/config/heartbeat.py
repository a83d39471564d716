"""Every process tells now and then that it is there, so that the system page can say who runs."""

import asyncio
from importlib.metadata import version
from time import monotonic

import structlog
from django.conf import settings

from kernel.errors import AtriumError
from substrate.processes import EVERY_S, leave_process, note_process
from substrate.units import run_unit

log = structlog.get_logger(__name__)


async def tell_forever() -> None:
    """Tell it every half minute; a database that is away is told later."""
    while True:
        try:
            await run_unit(note_process, role=settings.ATRIUM.role, version=version("atrium"))
        except AtriumError as error:
            log.warning("heartbeat_failed", error=str(error))
        await asyncio.sleep(EVERY_S)


async def take_leave() -> None:
    """Tell that this process ends; what is not heard is noticed by its silence."""
    try:
        await run_unit(leave_process, role=settings.ATRIUM.role)
    except AtriumError as error:
        log.warning("leave_not_taken", error=str(error))


class BeatHeartbeat:
    """Of Celery's beat, which runs nothing of ours: the worker that it asks to sweep speaks for it."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._due = 0.0

    async def tell(self) -> None:
        """Tell, when the last time is half a minute ago."""
        if monotonic() < self._due:
            return
        self._due = monotonic() + EVERY_S
        try:
            await run_unit(note_process, role="beat", version=version("atrium"), host="", pid=0)
        except AtriumError as error:
            log.warning("heartbeat_failed", error=str(error))
