"""What a server process starts and ends: directories, the change tail, background coroutines, backends."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import structlog
from django.conf import settings

from assistants.services import close_runs
from config.heartbeat import take_leave, tell_forever
from config.static import Receive, Scope, Send
from kernel.backends import backends, import_object
from kernel.streams import Supervisor
from routing.services import close_copies
from substrate.changes import ChangeTail
from substrate.ports import Directory
from substrate.schema import SchemaMismatch, require_schema
from substrate.units import close_units, run_unit

log = structlog.get_logger(__name__)
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# Objects made since the last look before the collector looks again (Python's default is 700).
YOUNG_OBJECTS = 10_000


class Lifespan:
    """The ASGI lifespan of one process."""

    def __init__(self) -> None:
        """Nothing runs before `startup`."""
        self._supervisor = Supervisor(limit=32, on_error=_report)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak the lifespan protocol."""
        await receive()
        try:
            await self.startup()
        except SchemaMismatch as error:
            # One line for the person who started this, no traceback.
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        except Exception as error:
            # Whatever it is: a server that only sees the exception takes the protocol for unsupported and serves
            # without having started. So it is told, and then the error goes on.
            log.exception("startup_failed")
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def startup(self) -> None:
        """Load directories, tail the change log, start what this role runs in the background. Raises SchemaMismatch."""
        await run_unit(require_schema)
        tail: ChangeTail = backends["change_tail"]
        await tail.start()
        for name in settings.DIRECTORIES:
            directory: Directory = backends[name]
            tail.listen(directory.on_change)
            await directory.start()
        self._supervisor.start("change_tail", keep_running("change_tail", tail.run))
        self._supervisor.start("heartbeat", keep_running("heartbeat", tell_forever))
        role = settings.ATRIUM.role
        for plane, paths in settings.BACKGROUND.items():
            if plane == role or (role == "all" and plane != "worker"):
                for path in paths:
                    self._supervisor.start(path, keep_running(path, import_object(path)))
        _settle_memory()
        log.info("started", role=role, profile=settings.ATRIUM.profile)

    async def shutdown(self) -> None:
        """End copies, runs and background work, then close connections."""
        await close_copies()
        await close_runs()
        await self._supervisor.close()
        await take_leave()
        await backends.close()
        await asyncio.to_thread(close_units)
        log.info("stopped")


def _settle_memory() -> None:
    """What is loaded by now stays: the collector need not look at it again, nor as often at what comes.

    Measured: an eighth of the data plane's processor time, and the longest pauses.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


async def keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` for ever; when it fails, log why and start it again after a growing pause."""
    pause = FIRST_PAUSE_S
    while True:
        try:
            await work()
            return
        except Exception:
            # The edge of a background task: any work of any app, and nobody above who could decide. A bug in one
            # sweep must not end it for the life of the process; what is cancelled still ends.
            log.exception("background_failed", work=name, again_in_s=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


def _report(name: str, error: BaseException) -> None:
    log.error("background_ended", work=name, error=str(error))
