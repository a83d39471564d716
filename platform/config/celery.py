"""Celery in the full profile: one task that runs one job of the job table, and the sweep that finds stranded ones.

Jobs are coroutines. Each worker process keeps one event loop in a thread, so that connections outlive a job; what the
process tells by itself runs there between jobs too.
"""

import asyncio
import os
import socket
import sys
import threading
import uuid
from collections.abc import Coroutine
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init, worker_process_init, worker_process_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("atrium")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()


class LoopThread:
    """An event loop in a thread of its own, for the life of the process."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="jobs", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the loop and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


@cache
def _loop() -> LoopThread:
    return LoopThread()


@cache
def _beat() -> Any:
    from config.heartbeat import BeatHeartbeat

    return BeatHeartbeat()


@cache
def _beside() -> Any:
    from config.background import BesideJobs

    return BesideJobs()


@app.task(name="atrium.run_job")
def run_job(job_id: str) -> None:
    """Claim the job and run it; nothing happens when another worker has it or it is done."""
    from config.background import run_one

    _loop().run(run_one(uuid.UUID(job_id), owner=f"{socket.gethostname()}-{os.getpid()}"))


@app.task(name="atrium.sweep_jobs")
def sweep_jobs() -> None:
    """Tell workers again of jobs that are due and that nobody runs; and that beat is there, who asked for it."""
    from config.background import tell_stranded

    tell_stranded()
    _loop().run(_beat().tell())


def _refuse_other_schema(**kwargs: Any) -> None:
    """End a worker or beat over a schema of another version, with one line."""
    from substrate.schema import SchemaMismatch, require_schema

    try:
        require_schema()
    except SchemaMismatch as error:
        sys.exit(f"atrium: {error.message}")


def _begin(**kwargs: Any) -> None:
    _loop().run(_beside().start())


def _close(**kwargs: Any) -> None:
    from config.background import close_connections
    from config.heartbeat import take_leave

    if _loop.cache_info().currsize:
        _loop().run(_beside().close())
        _loop().run(take_leave())
        _loop().run(close_connections())


worker_init.connect(_refuse_other_schema, weak=False)
beat_init.connect(_refuse_other_schema, weak=False)
worker_process_init.connect(_begin, weak=False)
worker_process_shutdown.connect(_close, weak=False)
