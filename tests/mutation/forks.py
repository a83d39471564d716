"""Work in a fork of this process, with a database and threads of its own, whose answer comes back as JSON.

Import it before what makes pools of threads: those that it saw made live on in a fork, the others wait for ever there.
"""

import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakSet

_pools: WeakSet[ThreadPoolExecutor] = WeakSet()
_made = ThreadPoolExecutor.__init__


def _make(pool: ThreadPoolExecutor, *args: Any, **options: Any) -> None:
    _made(pool, *args, **options)
    _pools.add(pool)


ThreadPoolExecutor.__init__ = _make  # type: ignore[method-assign]


def in_a_fork(work: Callable[[], dict[str, Any]], most_s: float) -> dict[str, Any]:
    """What `work` says in a fork; nothing where it took more than `most_s` seconds or died.

    What one fork leaves behind in its database (it may be killed) no other one finds.
    """
    from django.db import connections

    from substrate.units import close_units

    close_units()
    connections.close_all()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _own_database()
            _forget_threads()
            os.write(writing, json.dumps(work()).encode())
        finally:
            # Whatever happened: nothing of this process may go on in the child.
            os._exit(0)
    os.close(writing)
    timer = threading.Timer(most_s, os.kill, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    timer.cancel()
    for left in (f"{_database()}.{child}{part}" for part in ("", "-wal", "-shm")):
        Path(left).unlink(missing_ok=True)
    return dict(json.loads(told)) if told else {}


def _database() -> str:
    from django.db import connection

    return str(connection.settings_dict["NAME"])


def _own_database() -> None:
    """An empty one: what tests have left behind says nothing. Threads that are made later find it by these settings."""
    from django.db import connections
    from fakes.schema import place_schema

    own = f"{_database()}.{os.getpid()}"
    place_schema(Path(own))
    for used in (connections["default"].settings_dict, connections.databases["default"]):
        used["NAME"] = own


def _forget_threads() -> None:
    """Threads do not live on in a fork: a pool that thinks it has some would never make one."""
    for pool in _pools:
        inside: Any = pool
        inside._threads.clear()
        inside._idle_semaphore = threading.Semaphore(0)
