"""Usage by day, hour, model, user and more, over any days in any time zone: exact sums, and latencies within 5 %."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from kernel.errors import BadInput
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.permissions import OPERATE, require
from tenants.services.figures import labels
from tenants.slowness import marked
from tenants.tallies import Tally
from tenants.types import Principal, UsageGroup, UsageReport
from tenants.usage_reads import (
    HOUR,
    Question,
    countable,
    dearest_tenants,
    in_rollups,
    tallies,
    tallies_of_days,
    whole,
)

TIMES = ("day", "hour")
GROUPS = (*TIMES, "model", "user", "key", "assistant", "origin")
PLATFORM_GROUPS = (*TIMES, "model", "origin", "tenant")
# More rows than this in one answer help nobody; a file may have more.
MOST_GROUPS, MOST_TENANTS, MOST_EXPORTED = 1_000, 200, 100_000
# Hours of a year would be more rows than anybody reads.
MOST_HOURLY_DAYS = 40
# Latencies of groups behind these are left out, when there are more.
MOST_MEASURED = 200


@dataclass(frozen=True, slots=True)
class UsageAsked:
    """What is asked: days from `first` to `last` of `zone`, both included; `equal` by group's name, `group_by` one of
    `GROUPS` (of `PLATFORM_GROUPS` for all tenants). `mine` asks for the caller's own usage alone."""

    first: date
    last: date
    group_by: str = "day"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    equal: Mapping[str, object] = field(default_factory=dict)
    mine: bool = False
    platform: bool = False
    most: int = 0

    def with_most(self, most: int) -> "UsageAsked":
        """The same, with at most so many groups told instead of the usual number."""
        return replace(self, most=most)


def report_usage(*, principal: Principal, asked: UsageAsked) -> UsageReport:
    """Usage summed as asked; times come in order, the others by cost. Raises PermissionDenied, BadInput."""
    _check(asked)
    if asked.platform:
        require(principal, OPERATE)
        with system_scope("operators see usage", read_only=True):
            return _report(asked)
    if asked.mine:
        asked = replace(asked, equal={**asked.equal, **_own(principal)})
    else:
        require(principal, "usage.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _report(asked)


def _check(asked: UsageAsked) -> None:
    groups = PLATFORM_GROUPS if asked.platform else GROUPS
    if asked.group_by not in groups:
        raise BadInput(f"group_by is one of {', '.join(groups)} here.", param="group_by")
    if asked.group_by == "hour" and asked.last - asked.first > timedelta(days=MOST_HOURLY_DAYS):
        raise BadInput(f"Hours are told for {MOST_HOURLY_DAYS} days at most.", param="from")
    if asked.platform and asked.mine:
        raise BadInput("Own usage is of one tenant.", param="mine")
    for name in asked.equal:
        if name not in _filters(asked):
            raise BadInput(f"There is no filter `{name}` here.", param=name)


def _filters(asked: UsageAsked) -> tuple[str, ...]:
    if not asked.platform:
        return ("model", "user", "key", "assistant", "origin")
    # Details of all tenants together are in no rollup.
    return ("tenant",) if asked.group_by == "tenant" else ("model", "origin", "tenant")


def _own(principal: Principal) -> dict[str, object]:
    """What makes usage somebody's own: that of the user, or of a key that belongs to no user."""
    if principal.user_id is not None:
        return {"user": principal.user_id}
    return {"key": principal.api_key_id}


def _report(asked: UsageAsked) -> UsageReport:
    in_time, by_tenant = asked.group_by in TIMES, asked.group_by == "tenant"
    most = asked.most or (MOST_TENANTS if by_tenant else MOST_GROUPS)
    if by_tenant and in_rollups(_of_groups(asked)):
        shown, totals, count = _by_tenant(asked, most)
    else:
        found = _by_time(asked) if in_time else _by_group(asked)
        ranked = sorted(found.items(), key=lambda each: each[0] if in_time else _dearest(*each))
        shown, totals, count = ranked[:most], whole([tally for _, tally in ranked]), len(ranked)
    names = labels(asked.group_by, [name for name, _ in shown if name])
    groups = [UsageGroup(name, names.get(name, ""), tally.shown()) for name, tally in shown]
    return UsageReport(
        groups=marked(groups) if by_tenant else groups,
        totals=totals.shown(),
        more=count > len(shown),
    )


def _dearest(name: str, tally: Tally) -> tuple[int, int, str]:
    return (-tally.cost_nano, -tally.requests, name)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _by_time(asked: UsageAsked) -> dict[str, Tally]:
    zone = asked.zone
    days = [asked.first + timedelta(days=number) for number in range((asked.last - asked.first).days + 1)]
    starts = [_midnight(day, zone) for day in (*days, asked.last + timedelta(days=1))]
    question = Question(starts[0], starts[-1], moment=_hour, step=HOUR, equal=asked.equal)
    if asked.group_by == "day":
        if all(start.hour == 0 == start.minute for start in starts):
            question = replace(question, moment=_day, step=timedelta(days=1))
        elif any(start.minute for start in starts):
            return _by_split_hours(days, starts, question)
        else:
            return tallies_of_days(question, [day.isoformat() for day in days], starts)
    return tallies(replace(question, latencies=countable(question)))


def _by_split_hours(days: list[date], starts: list[datetime], question: Question) -> dict[str, Tally]:
    """Days of a zone whose midnight lies within an hour of UTC: each is a range of its own."""
    found = {}
    for day, start, end in zip(days, starts, starts[1:], strict=False):
        part = replace(question, start=start, end=end, moment=lambda _: "", step=timedelta(days=1))
        tally = whole(list(tallies(replace(part, latencies=countable(part))).values()))
        if tally.requests:
            found[day.isoformat()] = tally
    return found


def _hour(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:00:00Z}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _of_groups(asked: UsageAsked) -> Question:
    start = _midnight(asked.first, asked.zone)
    end = _midnight(asked.last + timedelta(days=1), asked.zone)
    return Question(start, end, group=asked.group_by, equal=asked.equal)


def _by_tenant(asked: UsageAsked, most: int) -> tuple[list[tuple[str, Tally]], Tally, int]:
    """The dearest tenants, the sums of all of them, and how many there are. Latencies are those of the dearest."""
    question = _of_groups(asked)
    shown, totals, count = dearest_tenants(question, most)
    measured = replace(question, numbers=False, among=[name for name, _ in shown[:MOST_MEASURED]])
    if shown and countable(measured):
        latencies = tallies(measured)
        for name, tally in shown:
            tally.add(latencies.get(name, Tally()))
        totals.add(whole(list(latencies.values())))
    return shown, totals, count


def _by_group(asked: UsageAsked) -> dict[str, Tally]:
    question = _of_groups(asked)
    found = tallies(replace(question, latencies=False))
    measured = replace(question, numbers=False)
    if len(found) > MOST_MEASURED:
        ranked = sorted(found, key=lambda name: _dearest(name, found[name]))
        measured = replace(measured, among=[name for name in ranked[:MOST_MEASURED] if name])
    if countable(measured):
        for name, tally in tallies(measured).items():
            found.setdefault(name, Tally()).add(tally)
    return found
