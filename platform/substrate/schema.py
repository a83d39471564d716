"""The schema this version of Atrium expects, and the one the database has: a process over another one refuses to start.

A schema is known by the names of the migrations in it. Too old: some of this version's migrations are missing. Too
new: the database has migrations that this version does not know.
"""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from kernel.errors import Unavailable

# Labels of apps that an earlier version had and this one has not: their rows in the list of migrations stay.
RETIRED_APPS: frozenset[str] = frozenset()


class SchemaMismatch(Unavailable):
    """The database's schema is not the one of this version. The message is one line that says what to do."""

    code = "schema_mismatch"
    retryable = False


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`missing`: migrations of this version that the database has not; `unknown`: the other way round.

    Each as `app.name`, in order. `newest` is the last applied migration of each app that has any.
    """

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    newest: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever migrated."""
        return not self.newest


def read_schema(connection: BaseDatabaseWrapper | None = None) -> SchemaState:
    """How the database and this version compare. Raises OperationalError when the database is away.

    On PostgreSQL without a connection given, it is asked as the owner and outside of the pool: the roles of an empty
    database may not be there yet.
    """
    if connection is not None:
        return _compare(set(MigrationRecorder(connection).applied_migrations()))
    with _plain_connection() as own:
        return _compare(set(MigrationRecorder(own).applied_migrations()))


def require_schema() -> None:
    """Return when the database has exactly this version's schema. Raises SchemaMismatch, OperationalError."""
    reason = reason_against(read_schema())
    if reason:
        raise SchemaMismatch(reason)


def reason_against(state: SchemaState) -> str:
    """Why nothing may run over such a schema, in one line that says what to do; empty when all is well."""
    if state.unknown:
        return refusal_of_newer(state)
    if state.is_empty:
        return "The database is empty: run `manage.py migrate` (or `manage.py prepare`) first."
    if state.missing:
        return (
            f"The database's schema is older than this version of Atrium ({_some(state.missing)} to go): "
            "take a backup, then run `manage.py migrate`."
        )
    return ""


def refusal_of_newer(state: SchemaState) -> str:
    """The line about a database that a newer version has migrated."""
    return (
        f"The database's schema is newer than this version of Atrium (it has {_some(state.unknown)}): start the "
        "version that migrated it, or restore the backup from before the upgrade."
    )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def _compare(applied: set[tuple[str, str]]) -> SchemaState:
    expected = _expected()
    known = {each for each in applied if each[0] not in RETIRED_APPS}
    last = dict(sorted(known))
    return SchemaState(
        missing=_written(expected - known),
        unknown=_written(known - expected),
        newest=_written(set(last.items())),
    )


def _written(names: set[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{label}.{name}" for label, name in sorted(names))


def _expected() -> set[tuple[str, str]]:
    """(app label, name) of every migration of this version: by file name, which costs no import of them."""
    found: set[tuple[str, str]] = set()
    for config in apps.get_app_configs():
        path, _ = MigrationLoader.migrations_module(config.label)
        if path is None:
            continue
        try:
            package = import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:
                raise
            continue
        # A plain module where a package is expected holds none.
        places = getattr(package, "__path__", ())
        names = (each.name for each in pkgutil.iter_modules(places) if each.name[0] not in "_~")
        found |= {(config.label, name) for name in names}
    return found


@contextmanager
def _plain_connection() -> Iterator[BaseDatabaseWrapper]:
    usual = connections[DEFAULT_DB_ALIAS]
    if usual.vendor != "postgresql":
        yield usual
        return
    options = {k: v for k, v in usual.settings_dict["OPTIONS"].items() if k not in ("options", "pool")}
    own = type(usual)({**usual.settings_dict, "OPTIONS": options}, DEFAULT_DB_ALIAS)
    try:
        yield own
    finally:
        own.close()
