"""Rows as JSON lines, and lines as rows: by the model's own columns, the same on every database."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.db.models import Model

from config.keeping.failures import NotABackup

CHUNK = 500
# A number that 64 bits do not hold, or that has more digits than a float: the slower parser keeps it whole.
_LONG_NUMBER = re.compile(rb"\d{19}")
Column = models.Field[Any, Any]


def columns_of(model: type[Model]) -> list[Column]:
    """The columns that are written: generated ones are the database's own."""
    return [field for field in model._meta.concrete_fields if not getattr(field, "generated", False)]


Watcher = Callable[[dict[str, Any]], object]


def lines_of(
    model: type[Model], seen: Callable[[int], object], watch: Watcher | None = None
) -> Iterator[bytes]:
    """Every row of `model` in the scope and transaction at hand, as a JSON object of its columns; bounded memory.

    `watch` looks at each row.
    """
    columns = columns_of(model)
    names = [field.attname for field in columns]
    binary = [place for place, field in enumerate(columns) if isinstance(field, models.BinaryField)]
    rows = model._base_manager.order_by(model._meta.pk.attname).values_list(*names)
    for row in rows.iterator(chunk_size=CHUNK):
        values = list(row)
        for place in binary:
            if values[place] is not None:
                values[place] = base64.b64encode(bytes(values[place])).decode()
        found = dict(zip(names, values, strict=True))
        if watch is not None:
            watch(found)
        yield _dump(found)
        seen(1)


def _dump(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, default=str)
    except (TypeError, ValueError):
        # Numbers beyond 64 bits, or half a surrogate pair, in somebody's JSON.
        return json.dumps(row, default=_plain).encode()


def _plain(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, default=str))


def parse_line(line: bytes, what: str) -> dict[str, Any]:
    """The object of a line. Raises NotABackup."""
    try:
        found = json.loads(line) if _LONG_NUMBER.search(line) else orjson.loads(line)
    except ValueError as error:
        raise NotABackup(f"The backup is damaged: a line of {what} cannot be read.") from error
    if not isinstance(found, dict):
        raise NotABackup(f"The backup is damaged: a line of {what} is no row.")
    return found


class Loader:
    """Inserts rows of one model into the transaction at hand, some hundreds at a time.

    Columns that the lines do not have (the backup is of an older schema) get the field's default.
    """

    def __init__(self, model: type[Model], *, add: bool = False) -> None:
        """`add`: rows that are there already stay as they are."""
        self._model = model
        self._columns = columns_of(model)
        quote = connection.ops.quote_name
        names = ", ".join(quote(str(field.column)) for field in self._columns)
        self._row = "(" + ", ".join(["%s"] * len(self._columns)) + ")"
        # Names come from the models; every value is a parameter.
        self._insert = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES "  # noqa: S608
        self._end = " ON CONFLICT DO NOTHING" if add else ""

    def load(self, lines: Iterable[bytes], seen: Callable[[int], object]) -> int:
        """Insert every line's row; returns how many there were. Raises NotABackup, DatabaseError."""
        count = 0
        batch: list[Sequence[Any]] = []
        for line in lines:
            batch.append(self._values(parse_line(line, self._model._meta.label)))
            if len(batch) == CHUNK:
                self._write(batch)
                seen(len(batch))
                batch = []
            count += 1
        if batch:
            self._write(batch)
            seen(len(batch))
        self._advance_numbers()
        return count

    def _values(self, row: dict[str, Any]) -> list[Any]:
        try:
            return [
                field.get_db_prep_save(_value(field, row), connection=connection) for field in self._columns
            ]
        except (ValueError, TypeError, ValidationError) as error:
            raise NotABackup(
                f"The backup is damaged: a row of {self._model._meta.label} is not valid."
            ) from error

    def _write(self, rows: list[Sequence[Any]]) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                statement = self._insert + ", ".join([self._row] * len(rows)) + self._end
                cursor.execute(statement, [value for row in rows for value in row])
            else:
                cursor.executemany(self._insert + self._row + self._end, rows)

    def _advance_numbers(self) -> None:
        """A sequence goes on behind the greatest number that was inserted, and never goes back."""
        pk = self._model._meta.pk
        if connection.vendor != "postgresql" or not isinstance(pk, models.AutoField):
            return
        table, column = self._model._meta.db_table, str(pk.column)
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [quote(table), column])
            sequence = cursor.fetchone()[0]
            # Setting it is the owner's right; counting up is everybody's.
            cursor.execute(
                f"SELECT count(nextval(%s)) FROM generate_series(1, (SELECT coalesce(max({quote(column)}), 0) "  # noqa: S608 - names of the model
                f"FROM {quote(table)}) - (SELECT last_value FROM {sequence}))",
                [sequence],
            )


def _value(field: Column, row: dict[str, Any]) -> Any:
    if field.attname not in row:
        return field.get_default()
    value = row[field.attname]
    if value is None or isinstance(field, models.JSONField):
        return value
    if isinstance(field, models.BinaryField):
        return base64.b64decode(value, validate=True)
    return (
        field.to_python(value)
        if not isinstance(field, models.ForeignKey)
        else field.target_field.to_python(value)
    )
