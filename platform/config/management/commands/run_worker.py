"""`run_worker`: runs the jobs of the job table, beside the server process, until it is told to end."""

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.background import close_connections, start_directories
from config.heartbeat import take_leave, tell_forever
from config.lifespan import keep_running
from kernel.backends import backends, import_object
from kernel.streams import PeerGone, run_until
from substrate.changes import ChangeTail
from substrate.jobs import Worker
from substrate.ports import Directory
from substrate.schema import SchemaMismatch, require_schema

NICENESS = 10


class Command(BaseCommand):
    """The worker of the embedded and small profiles: a child process of `serve`."""

    help = "Run background jobs (parsing, embedding, indexing) until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        """`--concurrency`: jobs at once."""
        parser.add_argument("--concurrency", type=int, default=2, help="jobs at once (default 2)")
        parser.add_argument("--parent", type=int, default=0, help="end when this process has died")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until a signal; also end when the parent has died. Raises CommandError over another schema."""
        try:
            require_schema()
        except SchemaMismatch as error:
            raise CommandError(error.message) from error
        # The server next door streams to people who wait; what happens here may wait.
        os.nice(NICENESS)
        asyncio.run(_work(options["concurrency"], options["parent"] or os.getppid()))


async def _work(concurrency: int, parent: int) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    tail: ChangeTail = backends["change_tail"]
    await tail.start()
    for name in settings.DIRECTORIES:
        directory: Directory = backends[name]
        tail.listen(directory.on_change)
    await start_directories()
    worker = Worker(owner=f"{socket.gethostname()}-{os.getpid()}", concurrency=concurrency)
    try:
        await run_until(lambda: _ended(told, parent), _all(tail, worker))
    except PeerGone:
        return
    finally:
        await take_leave()
        await close_connections()


async def _all(tail: ChangeTail, worker: Worker) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(tail.run())
        group.create_task(worker.run())
        group.create_task(keep_running("heartbeat", tell_forever))
        for path in settings.BACKGROUND["worker"]:
            group.create_task(keep_running(path, import_object(path)))


async def _ended(told: asyncio.Event, parent: int) -> None:
    # The parent may die without a word; nothing but asking tells.
    while os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await told.wait()
                return
