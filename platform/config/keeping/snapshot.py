"""One moment of the database: everything read inside sees the same rows, while others go on writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import connection, transaction

from substrate.crossing import system_scope

REASON = "back up"


@contextmanager
def snapshot() -> Iterator[datetime]:
    """Read rows of all tenants as they are at one moment, which is what it gives. Nobody waits for it.

    PostgreSQL: one REPEATABLE READ transaction that only reads, as the system's role, with cursors on the server.
    SQLite: one deferred transaction over the write-ahead log.
    """
    if connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL statement_timeout = 0")
            with system_scope(REASON, read_only=True):
                yield _begun()
        return
    connection.ensure_connection()
    with connection.cursor() as cursor:
        # Django's own transactions take the write lock at once here; a backup must not.
        cursor.execute("BEGIN DEFERRED")
    try:
        with system_scope(REASON, read_only=True):
            yield _begun()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")


def _begun() -> datetime:
    """The snapshot is taken by the first statement that reads."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations")
        cursor.fetchone()
    return datetime.now(UTC)
