"""Checks what our migrations would do to a busy PostgreSQL: locks, rewrites, and steps that break running processes.

django-migration-linter's rules over the SQL that Django would write; no database is asked. While an upgrade rolls on,
processes of the version before still run over the new schema, so a column they do not know must be nullable or have
a default in the database (`db_default`), nothing may be dropped or renamed, and an index over a table that has rows is
made by `AddIndexConcurrently`. What breaks a rule on purpose stands in REVIEWED with its reason.

usage: lint_migrations.py (from `make check`). Exit code 1 when something is found.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The small profile, over a database that is never reached.
os.environ.update(
    DJANGO_SETTINGS_MODULE="config.settings",
    ATRIUM_HOME=tempfile.mkdtemp(prefix="atrium-lint-"),
    ATRIUM_DATABASE_URL="postgres://nobody@127.0.0.1:1/none",
    ATRIUM_KEYRING=f"1:{'A' * 43}=",
    ATRIUM_REDIS_URL="",
    ATRIUM_WEAVIATE_URL="",
)
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

import django  # noqa: E402 - reads the environment above

django.setup()

from django.db import connection  # noqa: E402 - needs the settings
from django.db.backends.postgresql.psycopg_any import sql  # noqa: E402
from django.db.migrations.loader import MigrationLoader  # noqa: E402
from django_migration_linter.migration_linter import MigrationLinter  # noqa: E402
from django_migration_linter.sql_analyser import PostgresqlAnalyser, analyse_sql_statements  # noqa: E402

OURS = ("substrate", "tenants", "inference", "routing", "knowledge", "assistants")

# (app, migration) -> rule -> why it may be broken there.
NO_ROWS_YET = "the version before was never released, so no installation has many rows in this table"
REVIEWED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("assistants", "0002_deleted_assistants"): {
        "ADD_UNIQUE": "a tenant has tens of assistants: building the index takes milliseconds",
        "CREATE_INDEX": "the same",
        "CREATE_INDEX_EXCLUSIVE": "the same",
    },
    ("knowledge", "0002_listing"): {
        "ADD_UNIQUE": "a tenant has tens of knowledge bases: building the index takes milliseconds",
        "CREATE_INDEX": NO_ROWS_YET,
        "CREATE_INDEX_EXCLUSIVE": NO_ROWS_YET,
    },
    ("knowledge", "0003_who_handed_in"): {
        "CREATE_INDEX": NO_ROWS_YET,
        "CREATE_INDEX_EXCLUSIVE": NO_ROWS_YET,
    },
    ("substrate", "0007_changes_by_object"): {
        "CREATE_INDEX": "the log holds the changes of two hours: building the index takes milliseconds",
    },
    ("substrate", "0008_changes_of_everything"): {
        "CREATE_INDEX": "the log holds the changes of two hours: one pass over it takes milliseconds",
    },
    ("substrate", "0003_job_progress"): {
        "CREATE_INDEX": NO_ROWS_YET,
        "CREATE_INDEX_EXCLUSIVE": NO_ROWS_YET,
    },
    ("substrate", "0005_audit_chains"): {
        "ADD_UNIQUE": "acts of control-plane changes are few: building the index takes milliseconds",
    },
    ("tenants", "0002_usage_rollups"): {
        "DROP_INDEX": "dropping takes milliseconds, and no statement that it would wait for runs longer than 30 s",
    },
    ("tenants", "0004_traces"): {"CREATE_INDEX": NO_ROWS_YET, "CREATE_INDEX_EXCLUSIVE": NO_ROWS_YET},
    ("tenants", "0022_cached_answers_by_time"): {"CREATE_INDEX": NO_ROWS_YET},
    ("tenants", "0028_keys_by_what_they_replace"): {
        "CREATE_INDEX": "only keys of rotations are in it: one pass over the table, a second for a million keys",
    },
    ("tenants", "0029_keys_by_their_end"): {
        "CREATE_INDEX": "a second for a million keys; who waits for it is whoever issues or revokes a key meanwhile",
    },
    ("tenants", "0014_usage_indexes_cover"): {
        "CREATE_INDEX": NO_ROWS_YET,
        "DROP_INDEX": "dropping takes milliseconds, and no statement that it would wait for runs longer than 30 s",
    },
}


def statements_of(loader: MigrationLoader, key: tuple[str, str]) -> list[str]:
    """The SQL of one migration, as `sqlmigrate` would print it."""
    migration = loader.disk_migrations[key]
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        migration.apply(loader.project_state(key, at_end=False), editor, collect_sql=True)
        lines: list[str] = list(editor.collected_sql)
    return ["BEGIN;", *lines, "COMMIT;"] if migration.atomic else lines


class Offline(MigrationLinter):
    """The linter's look at data migrations, without the database it would load its list from."""

    def __init__(self) -> None:
        """Nothing is left out."""
        self.exclude_migration_tests = ()


def compose(text: str, params: Any) -> str:
    """What the server would be asked to put together."""
    return text % tuple(sql.quote(value) for value in params) if params else text


def findings() -> list[str]:
    """One line for each broken rule that is not reviewed, and for each review that is not needed any more."""
    connection.pg_version = 150000
    connection.ops.compose_sql = compose
    loader, found = MigrationLoader(None), []
    unused = {(key, rule) for key, rules in REVIEWED.items() for rule in rules}
    for key in sorted(each for each in loader.disk_migrations if each[0] in OURS):
        errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, statements_of(loader, key))
        own_errors, _, own_warnings = Offline().analyse_data_migration(loader.disk_migrations[key])
        for issue in [*errors, *warnings, *own_errors, *own_warnings]:
            unused.discard((key, issue.code))
            if issue.code not in REVIEWED.get(key, {}):
                where = f" ({issue.table}{f'.{issue.column}' if issue.column else ''})" if issue.table else ""
                found.append(f"{key[0]}.{key[1]}: {issue.code}: {issue.message}{where}")
    return found + [f"{key[0]}.{key[1]}: {rule} is reviewed but not broken" for key, rule in sorted(unused)]


def main() -> int:
    """Print what was found."""
    found = findings()
    for line in found:
        print(line)
    print(f"migrations: {len(found)} findings" if found else "migrations: nothing that locks or breaks")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
