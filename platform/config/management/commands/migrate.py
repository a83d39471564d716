"""`migrate` as the owner of the tables.

On PostgreSQL every connection runs as the role that row-level security binds; structure is the owner's business. So
this command connects without switching roles, makes the roles first, and grants rows to them at the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from substrate.models import TenantOwned
from substrate.rls import grant_statements, role_statements

# Any number will do, as long as every `migrate` takes the same one.
MIGRATION_LOCK = 7_301_944_611


class Command(DjangoMigrate):
    """Django's `migrate`, under a lock, as the owner."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; on PostgreSQL one process at a time, then grant."""
        connection = connections[options["database"]]
        if connection.vendor != "postgresql":
            super().handle(*args, **options)
            return
        with _as_owner(connection):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
                for sql in role_statements():
                    cursor.execute(sql)
            super().handle(*args, **options)
            with connection.cursor() as cursor:
                for sql in grant_statements(tenant_tables(connection)):
                    cursor.execute(sql)


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
