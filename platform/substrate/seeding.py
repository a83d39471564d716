"""What load seeds of all apps share: tables that are filled without their secondary indexes, and repeatable ids.

For `manage.py seed_load` alone: nothing that serves people drops an index.
"""

import json
import os
import random
import signal
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, models

from kernel.ids import first_uuid7

# Beside the data, so that what a killed run had dropped is known to the next one.
_NOTE = "dropped-indexes.json"


@contextmanager
def without_indexes(*found: type[models.Model]) -> Iterator[None]:
    """Drop the secondary indexes of these models' tables, and make them again in the end, whatever happened.

    Unique ones stay. Not inside a transaction that must see them. What is dropped is noted first: after a run that was
    killed, `heal_indexes` makes them again.
    """
    heal_indexes()
    tables = [model._meta.db_table for model in found]
    definitions = _definitions(tables)
    _write_note(definitions)
    try:
        _as_owner([f'DROP INDEX "{name}"' for name in definitions])
        yield
    finally:
        heal_indexes()
        _as_owner(_analyse(tables))


def heal_indexes() -> list[str]:
    """Make the indexes that a run dropped and did not make again; returns their names."""
    note = _note()
    if not note.is_file():
        return []
    dropped: Mapping[str, str] = json.loads(note.read_text())
    missing = [name for name in dropped if name not in _names()]
    _as_owner([dropped[name] for name in missing])
    note.unlink()
    return missing


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does: `finally` is reached."""

    def leave(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _note() -> Path:
    return Path(settings.ATRIUM.home) / _NOTE


def _write_note(definitions: Mapping[str, str]) -> None:
    note = _note()
    fresh = note.with_suffix(".new")
    with fresh.open("w") as file:
        json.dump(definitions, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(note)


def _names() -> set[str]:
    sql = (
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
        if connection.vendor == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'index'"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {row[0] for row in cursor.fetchall()}


def _definitions(tables: Sequence[str]) -> dict[str, str]:
    marks = ", ".join(["%s"] * len(tables))
    if connection.vendor == "postgresql":
        sql = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() "  # noqa: S608 - marks
            f"AND indexdef NOT LIKE 'CREATE UNIQUE%%' AND tablename IN ({marks})"
        )
    else:
        sql = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE 'CREATE INDEX%%' "  # noqa: S608
            f"AND tbl_name IN ({marks})"
        )
    with connection.cursor() as cursor:
        cursor.execute(sql, tables)
        return dict(cursor.fetchall())


def _analyse(tables: Sequence[str]) -> list[str]:
    return [f'ANALYZE "{table}"' for table in tables]


def _as_owner(statements: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Structure is the owner's, not the role's that serves; and an index of millions takes its time.
            cursor.execute("SELECT current_setting('role'), current_setting('statement_timeout')")
            role, timeout = cursor.fetchone()
            cursor.execute("SET ROLE NONE")
            cursor.execute("SET statement_timeout = 0")
            try:
                for statement in statements:
                    cursor.execute(statement)
            finally:
                cursor.execute("SELECT set_config('role', %s, false)", [role])
                cursor.execute("SELECT set_config('statement_timeout', %s, false)", [timeout])
        else:
            for statement in statements:
                cursor.execute(statement)


def roomy_cache() -> None:
    """Let SQLite keep half a gigabyte of pages on this connection, and not wait for the disk."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA cache_size=-524288")
            cursor.execute("PRAGMA synchronous=OFF")


def dice_of(seed: int) -> random.Random:
    """Dice that fall the same for the same seed."""
    return random.Random(seed)  # noqa: S311 - no secret depends on it


def made_up_id(dice: random.Random, moment: datetime) -> uuid.UUID:
    """A UUIDv7 of `moment`, the same for the same dice."""
    return uuid.UUID(int=first_uuid7(moment).int | dice.getrandbits(12) << 64 | dice.getrandbits(62))
