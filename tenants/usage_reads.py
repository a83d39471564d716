"""Reads of usage: sums per step of time or per group, over any range. Each needs a scope, whose rows it sums.

A range is cut into what the rollups hold whole: days, hours at its ends, and the ledger's own rows where it begins or
ends within an hour.
"""

import uuid
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, Q, QuerySet, Sum, TextField
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from kernel.ids import first_uuid7
from substrate.scoping import current_scope
from tenants.models import PlatformHour, Tenant, TenantDay, TenantHour, UsageDay, UsageHour, UsageRecord
from tenants.rollup_models import Sums
from tenants.tallies import Tally, add_many_packed
from tenants.types import UsageState

# Groups by their column in the ledger and in the rollups.
COLUMNS: Mapping[str, str] = {
    "model": "model",
    "user": "user_id",
    "key": "api_key_id",
    "assistant": "assistant",
    "origin": "origin",
    "tenant": "tenant_id",
}
NOBODY = uuid.UUID(int=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Latencies of more rows than these would take too long to add up; the sums are told without them.
MOST_LATENCY_ROWS = 100_000
# A call's id is made when it begins, its row's time a moment later or earlier.
_SLACK = timedelta(minutes=10)
_NUMBERS = ("completed", "cancelled", "failed", "prompt_tokens", "completion_tokens", "cost_nano")
_CALL = ("state", "origin", "prompt_tokens", "completion_tokens", "cost_nano", "first_token_ms", "total_ms")

GroupOf = Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Question:
    """What to sum: `start` to `end` (not included), the rows that have `equal` (by group name).

    `group` is one of `COLUMNS`, or empty: then `moment` says which group a moment belongs to, and `step` how long the
    shortest group is (none is shorter than the rows that are summed). `among` keeps some groups alone. Without
    `numbers` or `latencies` the sums have none. `only` keeps rows of these hours alone.
    """

    start: datetime
    end: datetime
    group: str = ""
    moment: GroupOf | None = None
    step: timedelta = DAY
    equal: Mapping[str, object] = field(default_factory=dict)
    among: Sequence[str] | None = None
    numbers: bool = True
    latencies: bool = True
    only: Sequence[datetime] | None = None

    def group_of(self, value: Any) -> str:
        """The group of a row, by its column of `group` or by its moment."""
        if self.group or self.moment is None:
            return "" if value in (None, NOBODY) else str(value)
        return self.moment(value)


class _Call(NamedTuple):
    state: UsageState
    origin: str
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    first_token_ms: int
    total_ms: int


def tallies(question: Question) -> dict[str, Tally]:
    """Sums by group; groups without any call are left out."""
    found: dict[str, Tally] = {}
    for source, start, end in _pieces(question):
        part = replace(question, start=start, end=end)
        if source is UsageRecord:
            _add_calls(found, part)
        else:
            _add_sums(found, part, source)
    return found


def tallies_of_days(question: Question, names: Sequence[str], starts: Sequence[datetime]) -> dict[str, Tally]:
    """Sums by day of a zone: day `names[i]` is from `starts[i]` to `starts[i + 1]`, whole hours of UTC.

    A day is what the days of UTC hold between the midnights nearest to its ends, plus or less the hours from an end to
    its midnight. In Berlin these are two of 24, so that a tenth of the rows is read. Latencies are left out when there
    are too many rows; days without any call too.
    """
    hours, days = _sources(question)
    if days is None:
        question = replace(question, step=HOUR, moment=lambda moment: names[bisect_right(starts, moment) - 1])
        return tallies(replace(question, latencies=countable(question)))
    midnights = [_down(start + DAY / 2, DAY) for start in starts]
    boundary = {
        hour: at for at, ends in enumerate(zip(starts, midnights, strict=True)) for hour in _between(*ends)
    }
    parts = [
        (days, replace(question, start=midnights[0], end=midnights[-1],
                       moment=lambda moment: str(bisect_right(midnights, moment) - 1))),
    ]  # fmt: skip
    if boundary:
        first, last = min(boundary), max(boundary)
        part = replace(question, start=first, end=last + HOUR, only=list(boundary))
        parts.append((hours, replace(part, moment=lambda moment: str(boundary[moment]))))
    rows = sum(_count(source, part, MOST_LATENCY_ROWS + 1) for source, part in parts)
    found: list[dict[str, Tally]] = [{}, {}]
    # The hours first: what is counted between the two reads is in the days at most, and never taken away from too few.
    for (source, part), sums in reversed(list(zip(parts, found, strict=False))):
        _add_sums(sums, replace(part, latencies=rows <= MOST_LATENCY_ROWS), source)
    return _zoned(
        names, [start < midnight for start, midnight in zip(starts, midnights, strict=True)], *found
    )


def _between(one: datetime, other: datetime) -> list[datetime]:
    first, last = min(one, other), max(one, other)
    return [first + number * HOUR for number in range((last - first) // HOUR)]


def _zoned(
    names: Sequence[str], before: Sequence[bool], days: Mapping[str, Tally], ends: Mapping[str, Tally]
) -> dict[str, Tally]:
    """Each day put together: `before` says whether an end lies before its midnight."""
    found = {}
    for at, name in enumerate(names):
        tally = Tally()
        more: list[Tally | None] = [days.get(str(at))]
        less: list[Tally | None] = []
        (more if before[at] else less).append(ends.get(str(at)))
        (less if before[at + 1] else more).append(ends.get(str(at + 1)))
        for each in filter(None, more):
            tally.add(each)
        for each in filter(None, less):
            tally.take_away(each)
        if tally.used:
            found[name] = tally
    return found


def _pieces(question: Question) -> Iterator[tuple[Any, datetime, datetime]]:
    """(rows, start, end) that together are the range."""
    hours, days = _sources(question)
    if question.step < HOUR:
        yield UsageRecord, question.start, question.end
        return
    first, last = _up(question.start, HOUR), _down(question.end, HOUR)
    if first > last:
        yield UsageRecord, question.start, question.end
        return
    if question.start < first:
        yield UsageRecord, question.start, first
    first_day, last_day = _up(first, DAY), _down(last, DAY)
    if days is None or question.step < DAY or first_day >= last_day:
        if first < last:
            yield hours, first, last
    else:
        for source, start, end in (
            (hours, first, first_day),
            (days, first_day, last_day),
            (hours, last_day, last),
        ):
            if start < end:
                yield source, start, end
    if last < question.end:
        yield UsageRecord, last, question.end


def _sources(question: Question) -> tuple[type[Sums], type[Sums] | None]:
    """Which rollups answer: the fewest rows that know enough."""
    asked = {question.group, *question.equal} - {""}
    if current_scope().tenant_id is None and not asked & {"tenant", "user", "key", "assistant"}:
        return PlatformHour, None
    return (UsageHour, UsageDay) if asked - {"tenant"} else (TenantHour, TenantDay)


def _up(moment: datetime, unit: timedelta) -> datetime:
    down = _down(moment, unit)
    return down if down == moment else down + unit


def _down(moment: datetime, unit: timedelta) -> datetime:
    seconds = int(unit.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)


def _narrowed(rows: QuerySet[Any], question: Question, column: str) -> QuerySet[Any]:
    within = {f"{column}__gte": question.start, f"{column}__lt": question.end}
    equal = Q(**{COLUMNS[name]: value for name, value in question.equal.items()})
    if question.among is not None:
        equal &= Q(**{f"{COLUMNS[question.group]}__in": question.among})
    if question.only is not None:
        equal &= Q(start__in=question.only)
    return rows.filter(equal, **within).order_by()


def _add_sums(found: dict[str, Tally], question: Question, source: type[Sums]) -> None:
    rows = _narrowed(source._default_manager.all(), question, "start")
    by = COLUMNS[question.group] if question.group else "start"
    if question.numbers:
        summed = rows.values_list(by).annotate(*(Sum(name) for name in _NUMBERS))
        for value, *numbers in summed:
            # PostgreSQL sums into decimals.
            sums: list[Any] = [int(each) for each in numbers]
            group = question.group_of(value)
            # Of ten thousand tenants each has one row here: nothing to add up.
            if group in found:
                found[group].add(Tally(*sums))
            else:
                found[group] = Tally(*sums)
    if question.latencies:
        # A moment is read as text: to parse that of every row would take longer than all the rest.
        as_told = F(by) if question.group else Cast("start", TextField())
        stored: dict[Any, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
        for value, first_tokens, totals in rows.values_list(as_told, "first_tokens", "totals").iterator(
            2_000
        ):
            there = stored[value]
            there[0].append(first_tokens)
            there[1].append(totals)
        for value, (first, total) in stored.items():
            known = value if question.group else datetime.fromisoformat(value).replace(tzinfo=UTC)
            tally = found.setdefault(question.group_of(known), Tally())
            add_many_packed(tally.first_tokens, first)
            add_many_packed(tally.totals, total)


def _add_calls(found: dict[str, Tally], question: Question) -> None:
    rows = _narrowed(UsageRecord.objects.all(), question, "started_at")
    if current_scope().tenant_id is None:
        # Over all tenants there is no index on the time but that of the ids, which begin with it.
        rows = rows.filter(
            id__gte=first_uuid7(question.start - _SLACK), id__lt=first_uuid7(question.end + DAY)
        )
    by = COLUMNS[question.group] if question.group else "started_at"
    counted: dict[str, Tally] = {}
    for value, state, *numbers in rows.values_list(by, *_CALL).iterator(2_000):
        counted.setdefault(question.group_of(value), Tally()).count(_Call(UsageState(state), *numbers))
    for group, tally in counted.items():
        wanted = Tally(*tally.numbers()) if question.numbers else Tally()
        if question.latencies:
            wanted.first_tokens, wanted.totals = tally.first_tokens, tally.totals
        found.setdefault(group, Tally()).add(wanted)


def largest_tenants(question: Question, limit: int) -> list[str]:
    """The tenants with most requests in whole hours of the range, ranked by the database. Needs a system scope."""
    rows, values = _rows_of_tenants(question, F("completed") + F("cancelled") + F("failed"))
    ranked = (
        f"WITH rollups (tenant_id, requests) AS ({rows}) SELECT tenant_id FROM rollups "  # noqa: S608 - see below
        "GROUP BY tenant_id HAVING SUM(requests) > 0 ORDER BY SUM(requests) DESC, tenant_id LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(ranked, [*values, limit])
        return [_text_of(row[0]) for row in cursor.fetchall()]


def dearest_tenants(question: Question, limit: int) -> tuple[list[tuple[str, Tally]], Tally, int]:
    """Tenants by cost, then by requests: the first `limit` with their sums, the sums of all, and how many there are.

    The database ranks and adds up, so that ten thousand tenants are no ten thousand objects here. Without latencies,
    and of a range that needs no row of the ledger itself (see `in_rollups`). Needs a system scope.
    """
    rows, values = _rows_of_tenants(question, *map(F, _NUMBERS))
    names = ", ".join(_NUMBERS)
    each = ", ".join(f"SUM({name}) AS {name}" for name in _NUMBERS)
    every = ", ".join(f"SUM({name}) OVER ()" for name in _NUMBERS)
    ranked = (
        f"WITH rollups (tenant_id, {names}) AS ({rows}), "  # noqa: S608 - see below
        f"sums AS (SELECT tenant_id, {each} FROM rollups GROUP BY tenant_id) "
        f"SELECT tenant_id, {names}, {every}, COUNT(*) OVER () FROM sums "
        "WHERE completed + cancelled + failed + prompt_tokens + completion_tokens > 0 "
        "ORDER BY cost_nano DESC, completed + cancelled + failed DESC, tenant_id LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(ranked, [*values, limit])
        found = cursor.fetchall()
    if not found:
        return [], Tally(), 0
    own = len(_NUMBERS) + 1
    return (
        [(_text_of(row[0]), _tally_of(row[1:own])) for row in found],
        _tally_of(found[0][own:-1]),
        found[0][-1],
    )


def in_rollups(question: Question) -> bool:
    """Whether the range begins and ends with an hour, so that no row of the ledger itself is needed."""
    return all(source is not UsageRecord for source, _, _ in _pieces(question))


def _rows_of_tenants(question: Question, *columns: Combinable) -> tuple[str, list[Any]]:
    """The rollups' rows of the range with their tenant and `columns`: SQL of the ORM's making, each value a parameter.

    Rows that are too much have their columns below zero.
    """
    parts: list[str] = []
    values: list[Any] = []
    pieces = list(_signed_pieces(replace(question, group="tenant")))
    # Over one part alone SQLite would walk through all tenants to have them in order; a second, empty one keeps it
    # at the time.
    pieces.append((pieces[0][0], question.start, question.start, 1))
    for source, start, end, sign in pieces:
        rows = _narrowed(source._default_manager.all(), replace(question, start=start, end=end), "start")
        sql, parameters = rows.values_list(
            "tenant_id", *(each * sign for each in columns)
        ).query.sql_with_params()
        parts.append(sql)
        values += parameters
    return " UNION ALL ".join(parts), values


def _signed_pieces(question: Question) -> Iterator[tuple[Any, datetime, datetime, int]]:
    """As `_pieces`, with what each counts for: more than half a day at an end is the whole day less its other hours.

    So at most twelve hours are read at an end. All must be read at one moment.
    """
    hours, days = _sources(question)
    first, last = (_down(end + DAY / 2, DAY) for end in (question.start, question.end))
    if days is None or first >= last or not in_rollups(question):
        for source, start, end in _pieces(question):
            yield source, start, end, 1
        return
    yield days, first, last, 1
    if question.start != first:
        yield (
            hours,
            min(question.start, first),
            max(question.start, first),
            1 if question.start < first else -1,
        )
    if question.end != last:
        yield hours, min(question.end, last), max(question.end, last), 1 if question.end > last else -1


def _tally_of(sums: Sequence[Any]) -> Tally:
    # PostgreSQL sums into decimals.
    numbers: list[Any] = [int(each) for each in sums]
    return Tally(*numbers)


def _text_of(tenant_id: object) -> str:
    return str(uuid.UUID(str(tenant_id)))


def countable(question: Question) -> bool:
    """Whether so few rows are summed that their latencies can be added up at a glance."""
    rows = 0
    for source, start, end in _pieces(question):
        column = "started_at" if source is UsageRecord else "start"
        rows += _count(source, replace(question, start=start, end=end), MOST_LATENCY_ROWS + 1, column)
        if rows > MOST_LATENCY_ROWS:
            return False
    return True


def _count(source: Any, question: Question, most: int, column: str = "start") -> int:
    rows = _narrowed(source._default_manager.all(), question, column)
    # The moment is in the index; any other column would be fetched row by row.
    return int(rows.values(column)[:most].count())


def whole(found: Sequence[Tally]) -> Tally:
    """All together."""
    together = Tally()
    for each in found:
        together.add(each)
    return together


def tenant_slugs(ids: Sequence[uuid.UUID]) -> dict[str, str]:
    """Slugs of tenants by id; for operators."""
    return {str(pk): slug for pk, slug in Tenant.objects.filter(id__in=ids).values_list("id", "slug")}
