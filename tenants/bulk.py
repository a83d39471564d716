"""Writing many rows by one statement, instead of an object for each row. For the drainer and what rebuilds its sums.

On PostgreSQL the columns go as arrays, so that the statement is the same for any number of rows; elsewhere as a list
of values.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models

# SQLite takes 32,766 parameters a statement at most.
MOST_PARAMETERS = 30_000


def write_rows(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    then: str,
    returning: str = "",
) -> list[Any]:
    """Insert `rows` of `columns`; `then` is the statement's end (`ON CONFLICT …`), written by the caller's module.

    Returns the column `returning` of the rows that were written, if one is named. Raises what the database raises.
    """
    found: list[Any] = []
    size = max(1, MOST_PARAMETERS // len(columns))
    with connection.cursor() as cursor:
        for first in range(0, len(rows), size):
            sql, parameters = _statement(model, columns, rows[first : first + size])
            cursor.execute(
                f"{sql} {then} RETURNING {returning}" if returning else f"{sql} {then}", parameters
            )
            if returning:
                found += [row[0] for row in cursor.fetchall()]
    return found


def replace_all(columns: Sequence[str]) -> str:
    """The end of a statement that writes over the row with the same id."""
    quote = connection.ops.quote_name
    changed = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in columns if name != "id")
    return f"ON CONFLICT (id) DO UPDATE SET {changed}"


def _statement(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    quote = connection.ops.quote_name
    names = ", ".join(quote(name) for name in columns)
    # Names come from the models; every value is a parameter.
    head = f"INSERT INTO {quote(model._meta.db_table)} ({names})"
    if connection.vendor == "postgresql":
        types = [model._meta.get_field(name).db_type(connection) for name in columns]
        arrays = ", ".join(f"%s::{_plain(str(each))}[]" for each in types)
        return f"{head} SELECT * FROM unnest({arrays})", [list(column) for column in zip(*rows, strict=True)]  # noqa: S608
    marks = f"({', '.join(['%s'] * len(columns))})"
    # SQLite would take ON for a join's without WHERE; VALUES needs none.
    return f"{head} VALUES {', '.join([marks] * len(rows))}", [
        _adapted(value) for row in rows for value in row
    ]


def _plain(db_type: str) -> str:
    """`varchar(255)` without its length: the column checks it."""
    return db_type.partition("(")[0]


def _adapted(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return value.hex
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def read_uuid(value: Any) -> uuid.UUID:
    """An id as a raw statement gives it."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
