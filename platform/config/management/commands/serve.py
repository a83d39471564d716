"""`serve`: the whole of Atrium with one command, in the embedded and small profiles.

Migrates, collects static files, makes the demo tenant on the first run, then serves HTTP and WebSockets in this
process and runs the worker as a supervised child.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.first_run import prepare_first_run, prepare_models
from config.server import SERVER_OPTIONS
from config.settings.environment import FULL

log = structlog.get_logger(__name__)
WORKER_PATIENCE_S = 5.0
LONGEST_PAUSE_S = 30.0


class Command(BaseCommand):
    """Serve in the foreground until Ctrl-C or SIGTERM."""

    help = "Migrate, make the demo tenant on the first run, and serve until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """`--no-demo` leaves the demo tenant out."""
        parser.add_argument("--no-demo", action="store_true", help="do not create the demo tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, then serve."""
        environment = settings.ATRIUM
        if environment.profile == FULL:
            raise CommandError("serve is for one machine; the full profile runs by `make run-production`")
        with _only_one(environment.home):
            call_command("migrate", verbosity=0, interactive=False)
            call_command("collectstatic", verbosity=0, interactive=False)
            prepare_models()
            if not options["no_demo"]:
                prepare_first_run(say=self.stdout.write)
            self.stdout.write(
                f"Atrium serves on http://{environment.host}:{environment.port}/ (Ctrl-C ends it)"
            )
            self.stdout.flush()
            uvloop.run(_serve(environment.host, environment.port))


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Two servers over one SQLite home would each believe to be the only process."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"another Atrium already serves from {home}") from error
        yield


async def _serve(host: str, port: int) -> None:
    server = uvicorn.Server(uvicorn.Config("config.asgi:application", host=host, port=port, **SERVER_OPTIONS))
    worker = asyncio.create_task(_keep_worker(), name="worker")
    try:
        await server.serve()
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    if not server.started:
        raise CommandError(f"the server could not start on {host}:{port}")


async def _keep_worker() -> None:
    """Run the worker; when it dies, start it again after a growing pause. Ends it when cancelled."""
    pause = 0.5
    program = os.path.realpath(sys.argv[0])  # noqa: ASYNC240 - once, at the start
    # Told its parent: when that dies while the worker is still starting, asking later would not tell.
    command = [sys.executable, program, "run_worker", "--parent", str(os.getpid())]
    while True:
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "ATRIUM_ROLE": "worker"}, start_new_session=True
        )
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await _end(child)
            raise
        log.error("worker_died", code=code, again_in_s=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(WORKER_PATIENCE_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
