"""Writing many rows by one statement, instead of an object for each row: for the usage ledger, and for load seeds.

On PostgreSQL the columns go as arrays, so that the statement is the same for any number of rows; elsewhere as a list
of values.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
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
    fields = [model._meta.get_field(name) for name in columns]
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{_plain(str(each.db_type(connection)))}[]" for each in fields)
        return f"{head} SELECT * FROM unnest({arrays})", [list(column) for column in zip(*rows, strict=True)]  # noqa: S608
    marks = f"({', '.join(['%s'] * len(columns))})"
    adapted = [
        _ADAPT.get(each.get_internal_type(), _as_it_is)(column)
        for each, column in zip(fields, zip(*rows, strict=True), strict=True)
    ]
    return f"{head} VALUES {', '.join([marks] * len(rows))}", list(
        chain.from_iterable(zip(*adapted, strict=True))
    )


def _plain(db_type: str) -> str:
    """`varchar(255)` without its length: the column checks it."""
    return db_type.partition("(")[0]


def _as_it_is(column: Sequence[Any]) -> Sequence[Any]:
    return column


def _ids(column: Sequence[Any]) -> list[Any]:
    return [value.hex if isinstance(value, uuid.UUID) else value for value in column]


def _moments(column: Sequence[Any]) -> list[str]:
    # As Django stores a moment in UTC, at a tenth of its cost.
    return [value.isoformat(" ")[:-6] if value.tzinfo is UTC else _moment(value) for value in column]


def _moment(value: datetime) -> str:
    return str(connection.ops.adapt_datetimefield_value(value))


# What a database without types of its own for them takes, by Django's name of the field.
_ADAPT: Mapping[str, Callable[[Sequence[Any]], Sequence[Any]]] = {
    "UUIDField": _ids,
    "ForeignKey": _ids,
    "DateTimeField": _moments,
}


def hex_of(value: Any) -> str:
    """An id as a raw statement gives it, as 32 hex characters."""
    return value.hex if isinstance(value, uuid.UUID) else str(value)
