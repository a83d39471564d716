"""One way to ask for a list: sorted, searched, filtered, in pages or as CSV, the same at every address.

A view declares a `Listing` and hands it the rows it may show; the listing reads the query, cuts the page and answers.
"""

import csv
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import Any

from django.db.models import Q, QuerySet
from django.http import FileResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.utils.urls import replace_query_param

from kernel.errors import BadInput
from kernel.ids import parse_uuid
from substrate.cursors import Slice, cursor_at, cut, read_cursor
from substrate.openapi import PAGE_PARAMETERS

PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
# Counting goes no further: what has more is "more than" this.
MOST_COUNTED = 10_000
MOST_CSV_ROWS = 100_000
CSV_BATCH = 1_000
_IN_MEMORY = 2 * 1024 * 1024
_LONGEST_SEARCH = 200
# A spreadsheet takes a cell that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Show = Callable[[list[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Filter:
    """One query parameter: `read` turns its text into a value (raises ValueError), `lookup` is Django's."""

    lookup: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    description: str = ""


def choice_filter(column: str, choices: Sequence[str], description: str = "") -> Filter:
    """One or more of `choices`, separated by commas."""

    def read(text: str) -> list[str]:
        chosen = text.split(",")
        if not set(chosen) <= set(choices):
            raise ValueError(f"expected some of {', '.join(choices)}")
        return chosen

    schema = {"type": "string", "pattern": f"^({'|'.join(choices)})(,({'|'.join(choices)}))*$"}
    return Filter(f"{column}__in", read, schema, description or f"Some of {', '.join(choices)}, with commas.")


def uuid_filter(column: str, description: str = "") -> Filter:
    """An id."""

    def read(text: str) -> uuid.UUID:
        found = parse_uuid(text)
        if found is None:
            raise ValueError("expected an id")
        return found

    return Filter(column, read, {"type": "string", "format": "uuid"}, description)


def text_filter(column: str, description: str = "", *, longest: int = 255) -> Filter:
    """Exactly this text."""

    def read(text: str) -> str:
        if len(text) > longest or "\x00" in text:
            raise ValueError(f"expected at most {longest} characters")
        return text

    return Filter(column, read, {"type": "string", "maxLength": longest}, description)


def boolean_filter(lookup: str, description: str = "") -> Filter:
    """`true` or `false`."""

    def read(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("expected true or false")
        return text == "true"

    return Filter(lookup, read, {"type": "boolean"}, description)


def moment_filter(lookup: str, description: str = "") -> Filter:
    """A moment in ISO 8601; without an offset it is UTC. `lookup` says how to compare, as `started_at__gte`."""

    def read(text: str) -> datetime:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if not 1970 <= moment.year <= 9000:
            raise ValueError("expected a moment of our era")
        return moment

    return Filter(lookup, read, {"type": "string", "format": "date-time"}, description)


@dataclass(frozen=True, slots=True)
class Listing:
    """How one list may be asked for.

    `sorts` maps public names to columns (fields or annotations, never null); `default` is a public name with "-" in
    front for descending; `search` are the columns that `q` looks in; `csv` are the output's fields in the file.
    """

    sorts: Mapping[str, str]
    default: str
    search: tuple[str, ...] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    csv: tuple[str, ...] = ()
    file_name: str = "list"

    def parameters(self) -> list[OpenApiParameter]:
        """The query parameters, for `extend_schema`."""
        orders = [sign + name for name in self.sorts for sign in ("", "-")]
        found = [
            *PAGE_PARAMETERS,
            OpenApiParameter("sort", OpenApiTypes.STR, enum=orders, default=self.default),
            OpenApiParameter("total", bool, description=f"Count the rows too, up to {MOST_COUNTED}."),
        ]
        if self.search:
            found.append(
                OpenApiParameter("q", {"type": "string", "maxLength": _LONGEST_SEARCH}, description="Search.")
            )
        if self.csv:
            text = f"`csv`: the whole list as a file, at most {MOST_CSV_ROWS} rows."
            found.append(OpenApiParameter("format", OpenApiTypes.STR, enum=["json", "csv"], description=text))
        found += [
            OpenApiParameter(name, dict(each.schema), description=each.description)
            for name, each in self.filters.items()
        ]
        return found

    def answer(
        self, request: Request, queryset: QuerySet[Any], show: Show, serializer: type[BaseSerializer[Any]]
    ) -> HttpResponseBase:
        """The page or the file asked for. Called inside the scope whose rows `queryset` shows.

        `show` turns rows into what `serializer` takes, a page at once. Raises BadInput, NotFound for a bad cursor.
        """
        rows = self.narrowed(request, queryset)
        sort = self.sort_of(request)
        column = self.sorts[sort.removeprefix("-")]
        form = request.query_params.get("format", "json")
        if form == "csv" and self.csv:
            return self._file(rows, sort, column, show, serializer)
        if form != "json":
            raise BadInput("This list has no such format.", param="format")
        text = request.query_params.get("cursor")
        position = read_cursor(text, sort) if text else None
        page = cut(rows, sort=sort, column=column, position=position, size=page_size(request))
        body: dict[str, Any] = {
            "results": serializer(show(page.rows), many=True).data,
            "next": link_to(request, page.next),
            "previous": link_to(request, page.previous),
        }
        if wants_total(request):
            body["total"] = count_of_several([rows])
        return Response(body)

    def sort_of(self, request: Request) -> str:
        """The order asked for, by its public name. Raises BadInput."""
        sort = request.query_params.get("sort", self.default)
        if sort.removeprefix("-") not in self.sorts:
            raise BadInput(f"Sort by one of {', '.join(self.sorts)}.", param="sort")
        return sort

    def narrowed(self, request: Request, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that the request's filters and search leave. Raises BadInput."""
        rows = queryset
        for name, each in self.filters.items():
            text = request.query_params.get(name, "")
            if text:
                rows = rows.filter(**{each.lookup: _value(name, each, text)})
        wanted = request.query_params.get("q", "").strip()
        if len(wanted) > _LONGEST_SEARCH or "\x00" in wanted:
            raise BadInput(f"Search for at most {_LONGEST_SEARCH} characters.", param="q")
        if wanted and self.search:
            anywhere = Q()
            for column in self.search:
                anywhere |= Q(**{f"{column}__icontains": wanted})
            rows = rows.filter(anywhere)
        return rows

    def _file(
        self,
        rows: QuerySet[Any],
        sort: str,
        column: str,
        show: Show,
        serializer: type[BaseSerializer[Any]],
    ) -> FileResponse:
        # Written whole before it is sent: the rows are of one moment, and of the scope that is open now.
        spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        text = TextIOWrapper(spool, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(self.csv)
        for batch in _batches(rows, sort, column):
            for shown in serializer(show(batch), many=True).data:
                writer.writerow([safe_cell(shown.get(name)) for name in self.csv])
        text.detach()
        size = spool.tell()
        spool.seek(0)
        answer = FileResponse(
            spool,
            as_attachment=True,
            filename=f"{self.file_name}.csv",
            content_type="text/csv; charset=utf-8",
        )
        answer["Content-Length"] = str(size)
        answer["Cache-Control"] = "no-store"
        return answer


def _batches(rows: QuerySet[Any], sort: str, column: str) -> Iterator[list[Any]]:
    position = None
    for _ in range(MOST_CSV_ROWS // CSV_BATCH):
        page = cut(rows, sort=sort, column=column, position=position, size=CSV_BATCH)
        yield page.rows
        if page.next is None:
            return
        position = read_cursor(page.next, sort)


def safe_cell(value: object) -> object:
    """`value` as a cell no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _value(name: str, each: Filter, text: str) -> Any:
    try:
        return each.read(text)
    except ValueError as error:
        raise BadInput(f"{name}: {error}", param=name) from error


def page_size(request: Request) -> int:
    """Rows a page of the request has: `limit`, 1–200, else 50."""
    text = request.query_params.get("limit", "")
    # As every page of the API: what is no number, or below one, means the default.
    return (
        min(int(text), MAX_PAGE_SIZE)
        if text.isascii() and text.isdigit() and int(text[:9]) > 0
        else PAGE_SIZE
    )


def wants_total(request: Request) -> bool:
    """Whether the rows shall be counted too."""
    return request.query_params.get("total") == "true"


def count_of_several(sources: Sequence[QuerySet[Any]]) -> int:
    """How many rows there are in all of them; what is more than `MOST_COUNTED` is told as that."""
    return min(MOST_COUNTED, sum(rows.order_by()[:MOST_COUNTED].count() for rows in sources))


def cut_of_several(sources: Sequence[QuerySet[Any]], *, sort: str, cursor: str | None, size: int) -> Slice:
    """The page of `size` rows of several tables as one list, in the order of their (time-ordered) ids.

    Raises NotFound for a cursor that is none.
    """
    position = read_cursor(cursor, sort) if cursor else None
    if len(sources) == 1:
        return cut(sources[0], sort=sort, column="id", position=position, size=size)
    backward = position is not None and position.backward
    # One row more than a page from each: enough to know what follows.
    found = [
        row
        for rows in sources
        for row in cut(rows, sort=sort, column="id", position=position, size=size + 1).rows
    ]
    found.sort(key=lambda row: row.id, reverse=sort.startswith("-"))
    more = len(found) > size
    page = found[-size:] if backward else found[:size]
    ahead, behind = (True, more) if backward else (more, position is not None)
    return Slice(
        page,
        cursor_at(page[-1], sort, "id", backward=False) if page and ahead else None,
        cursor_at(page[0], sort, "id", backward=True) if page and behind else None,
    )


def link_to(request: Request, cursor: str | None) -> str | None:
    """The address of the page at `cursor`."""
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor) if cursor else None
