"""Pages of long lists by position, not by count: page one thousand costs what page one costs.

A list is ordered by one column and, within equal values, by id; a cursor names the last row seen by both. (DRF's own
cursors count rows of equal value, up to a thousand of them: too few to sort documents by state.)
"""

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Field, Q, QuerySet

from kernel.errors import NotFound

_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: behind the row of `value` and `id`, in the list's order or (`backward`) against it."""

    value: str
    id: uuid.UUID
    backward: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows of one page in the list's order, and the cursors of its neighbours (None at either end)."""

    rows: list[Any]
    next: str | None
    previous: str | None


def read_cursor(text: str, sort: str) -> Position:
    """The position in a cursor that `cut` made for the same sort. Raises NotFound for any other text."""
    if len(text) > _LONGEST:
        raise NotFound("Invalid cursor")
    try:
        made_for, value, row_id, backward = json.loads(base64.urlsafe_b64decode(text.encode()))
        position = Position(str(value), uuid.UUID(row_id), bool(backward))
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise NotFound("Invalid cursor") from error
    if made_for != sort or "\x00" in position.value:
        raise NotFound("Invalid cursor")
    return position


def cut(queryset: QuerySet[Any], *, sort: str, column: str, position: Position | None, size: int) -> Slice:
    """The page of `size` rows behind `position`, or the first one.

    `sort` is the order's public name with "-" in front for descending, `column` what it sorts by: a field or an
    annotation that is never null. Raises NotFound for a position that is none in this list.
    """
    descending = sort.startswith("-")
    backward = position is not None and position.backward
    upward = descending == backward
    sign = "" if upward else "-"
    rows = queryset.order_by(f"{sign}{column}", f"{sign}id")
    if position is not None:
        rows = rows.filter(_behind(queryset, column, position, upward=upward))
    found = list(rows[: size + 1])
    more, page = len(found) > size, found[:size]
    if backward:
        page.reverse()
    # Going backward, the row that the cursor named lies ahead.
    ahead, behind = (True, more) if backward else (more, position is not None)
    return Slice(
        page,
        cursor_at(page[-1], sort, column, backward=False) if page and ahead else None,
        cursor_at(page[0], sort, column, backward=True) if page and behind else None,
    )


def _behind(queryset: QuerySet[Any], column: str, position: Position, *, upward: bool) -> Q:
    try:
        value = _field(queryset, column).to_python(position.value)
    except (ValidationError, ValueError, OverflowError) as error:
        raise NotFound("Invalid cursor") from error
    compare = "gt" if upward else "lt"
    if column == "id":
        return Q(**{f"id__{compare}": position.id})
    return Q(**{f"{column}__{compare}": value}) | Q(**{column: value, f"id__{compare}": position.id})


def _field(queryset: QuerySet[Any], column: str) -> Field[Any, Any]:
    annotation = queryset.query.annotations.get(column)
    if annotation is not None:
        field: Field[Any, Any] = annotation.output_field
        return field
    found = queryset.model._meta.get_field(column)
    if not isinstance(found, Field):
        raise FieldDoesNotExist(column)
    return found


def cursor_at(row: Any, sort: str, column: str, *, backward: bool) -> str:
    """The cursor of the page that begins behind `row`."""
    value = getattr(row, column)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    packed = json.dumps([sort, text, str(row.pk), backward], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode()
