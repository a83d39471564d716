"""Writing many rows by one statement, instead of an object for each row: for the usage ledger, and for load seeds.

On PostgreSQL the columns go as arrays, so that the statement is the same for any number of rows; elsewhere as a list
of values.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    if not rows:
        return []
    if connection.vendor != "postgresql" and not returning:
        _one_by_one(model, columns, rows, then)
        return []
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


def _one_by_one(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]], then: str
) -> None:
    """SQLite runs one prepared statement for each row faster than it reads one long statement."""
    head = _head(model, columns)
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(columns))
        cursor.executemany(f"{head} VALUES ({marks}) {then}", list(_adapted(model, columns, rows)))


def replace_all(columns: Sequence[str]) -> str:
    """The end of a statement that writes over the row with the same id."""
    quote = connection.ops.quote_name
    changed = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in columns if name != "id")
    return f"ON CONFLICT (id) DO UPDATE SET {changed}"


def _statement(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[str, list[Any]]:
    head = _head(model, columns)
    if connection.vendor == "postgresql":
        types = [model._meta.get_field(name).db_type(connection) for name in columns]
        arrays = ", ".join(f"%s::{_plain(str(each))}[]" for each in types)
        return f"{head} SELECT * FROM unnest({arrays})", [list(column) for column in zip(*rows, strict=True)]  # noqa: S608
    marks = f"({', '.join(['%s'] * len(columns))})"
    values = chain.from_iterable(_adapted(model, columns, rows))
    return f"{head} VALUES {', '.join([marks] * len(rows))}", list(values)


def _head(model: type[models.Model], columns: Sequence[str]) -> str:
    quote = connection.ops.quote_name
    # Names come from the models; every value is a parameter.
    return f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(quote(name) for name in columns)})"


def _adapted(
    model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Iterator[tuple[Any, ...]]:
    """Rows as a database without types of its own for ids and moments takes them."""
    kinds = [model._meta.get_field(name).get_internal_type() for name in columns]
    adapted = [
        _ADAPT.get(kind, _as_it_is)(column)
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
    ]
    return zip(*adapted, strict=True)


def _plain(db_type: str) -> str:
    """`varchar(255)` without its length: the column checks it."""
    return db_type.partition("(")[0]


def _as_it_is(column: Sequence[Any]) -> Sequence[Any]:
    return column


def _ids(column: Sequence[Any]) -> list[Any]:
    return [value.hex if isinstance(value, uuid.UUID) else value for value in column]


def _moments(column: Sequence[Any]) -> list[str | None]:
    return [None if value is None else _moment(value) for value in column]


def _moment(value: datetime) -> str:
    # As Django stores a moment in UTC, at a tenth of its cost.
    if value.tzinfo is UTC:
        return value.isoformat(" ")[:-6]
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
