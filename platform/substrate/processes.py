"""Which processes of the installation are there: each says so now and then, in a row that all can read."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.models import ServerProcess

# A process tells it is there this often, and is taken for gone after three times as long.
EVERY_S = 30.0
GONE_AFTER = timedelta(seconds=3 * EVERY_S)
FORGOTTEN_AFTER = timedelta(hours=1)

_STARTED = SYSTEM_CLOCK.now()


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process: where it runs, what it does, in which version, since when, and when it was last heard of."""

    name: str
    role: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    running: bool


def note_process(
    *, role: str, version: str, host: str | None = None, pid: int | None = None, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Say that a process is there: this one, or one that another speaks for."""
    host = socket.gethostname() if host is None else host
    pid = os.getpid() if pid is None else pid
    ServerProcess.objects.update_or_create(
        name=f"{role}@{host}:{pid}"[:200],
        defaults={"role": role, "host": host[:128], "pid": pid, "version": version, "seen_at": clock.now()},
        create_defaults={
            "role": role,
            "host": host[:128],
            "pid": pid,
            "version": version,
            "seen_at": clock.now(),
            "started_at": _STARTED,
        },
    )


def leave_process(*, role: str) -> None:
    """Say that this process ends."""
    name = f"{role}@{socket.gethostname()}:{os.getpid()}"[:200]
    ServerProcess.objects.filter(name=name).delete()


def list_processes(*, clock: Clock = SYSTEM_CLOCK) -> list[ProcessView]:
    """Every process that was heard of within the last hour, by role and age."""
    rows = ServerProcess.objects.filter(seen_at__gte=clock.now() - FORGOTTEN_AFTER)
    return [
        ProcessView(
            name=row.name,
            role=row.role,
            host=row.host,
            pid=row.pid,
            version=row.version,
            started_at=row.started_at,
            seen_at=row.seen_at,
            running=row.seen_at >= clock.now() - GONE_AFTER,
        )
        for row in rows.order_by("role", "started_at", "name")
    ]


def forget_gone_processes(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete what was last heard of more than an hour ago; returns how many."""
    return ServerProcess.objects.filter(seen_at__lt=clock.now() - FORGOTTEN_AFTER).delete()[0]
