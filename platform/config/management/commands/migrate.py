"""`migrate` as the owner of the tables.

On PostgreSQL every connection runs as the role that row-level security binds; structure is the owner's business. So
this command connects without switching roles, makes the roles first, and grants rows to them at the end. The triggers
that keep the audit append-only are made at the end too, on both databases.

One process at a time migrates; another says that it waits. A database that a newer version has migrated is refused.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from substrate.append_only import KEPT, append_only_statements, withheld_rights
from substrate.models import TenantOwned
from substrate.rls import grant_statements, role_statements
from substrate.schema import read_schema, refusal_of_newer

# Any number will do, as long as every `migrate` takes the same one.
MIGRATION_LOCK = 7_301_944_611


class Command(DjangoMigrate):
    """Django's `migrate`, under a lock, as the owner."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, one process at a time; on PostgreSQL grant afterwards. Raises CommandError over a newer schema."""
        connection = connections[options["database"]]
        if connection.vendor != "postgresql":
            with _file_lock(connection, self._say_waiting):
                self._migrate(connection, args, options)
                if _keeps_audit(connection):
                    _run(connection, append_only_statements("sqlite"))
            return
        with _as_owner(connection):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK])
                if cursor.fetchone() != (True,):
                    self._say_waiting()
                    cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
                for sql in role_statements():
                    cursor.execute(sql)
            self._migrate(connection, args, options)
            kept = _keeps_audit(connection)
            _run(connection, append_only_statements("postgresql") if kept else [])
            granted = grant_statements(tenant_tables(connection), withheld=withheld_rights() if kept else "")
            _run(connection, granted)

    def _migrate(
        self, connection: BaseDatabaseWrapper, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        state = read_schema(connection)
        if state.unknown and not options.get("prune"):
            raise CommandError(refusal_of_newer(state))
        super().handle(*args, **options)

    def _say_waiting(self) -> None:
        self.stderr.write("Another `migrate` is at work on this database; waiting for it.")
        self.stderr.flush()


@contextmanager
def _file_lock(connection: BaseDatabaseWrapper, say_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock beside an SQLite file. A database in memory has one process and needs none."""
    name = str(connection.settings_dict["NAME"])
    if name == ":memory:" or "mode=memory" in name:
        yield
        return
    Path(name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Path(f"{name}.migrate-lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say_waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(connection: BaseDatabaseWrapper, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def _keeps_audit(connection: BaseDatabaseWrapper) -> bool:
    """Whether the chains are there by now (a partial migration may have stopped before)."""
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
    return {table for kept in KEPT for table in (kept.acts, kept.chains)} <= there


def tenant_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Tables of tenant-owned models that exist by now (a partial migration leaves some out)."""
    there = set(connection.introspection.table_names())
    owned = [model for model in apps.get_models() if issubclass(model, TenantOwned)]
    return sorted(model._meta.db_table for model in owned if model._meta.db_table in there)


@contextmanager
def _as_owner(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Connect without pool and role; afterwards as before, for this process may go on to serve."""
    connection.close()
    usual = connection.settings_dict["OPTIONS"]
    connection.settings_dict["OPTIONS"] = {
        name: value for name, value in usual.items() if name not in ("options", "pool")
    }
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = usual
