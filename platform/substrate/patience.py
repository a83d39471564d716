"""Writes that are not worth waiting for: a note of when something was seen last, beside a read.

While a restore or a migration holds the database, whoever only looks must be answered all the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import OperationalError, connection

log = structlog.get_logger(__name__)
_SHORT_MS = 100


@contextmanager
def giving_way() -> Iterator[None]:
    """What is written inside is left out, silently, where somebody else's transaction stands in the way.

    Within a transaction that is open already it waits as usual: a failure there would be the whole's.
    """
    if connection.in_atomic_block:
        yield
        return
    before = _wait_at_most(_SHORT_MS)
    try:
        yield
    except OperationalError as error:
        log.debug("note_left_out", error=str(error))
    finally:
        _wait_at_most(before)


def _wait_at_most(milliseconds: int) -> int:
    """Set how long this connection waits for a lock; returns what it was."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA busy_timeout")
            before = int(cursor.fetchone()[0])
            cursor.execute(f"PRAGMA busy_timeout = {milliseconds:d}")
            return before
        cursor.execute("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")
        before = int(cursor.fetchone()[0])
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{milliseconds:d}ms"])
        return before
