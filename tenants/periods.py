"""Days and months of a tenant's calendar. Pure."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tenants.limit_types import LineKind

Bounds = tuple[int, int, int]


def zone_of(name: str) -> ZoneInfo | None:
    """The time zone called `name`, or None when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def period_bounds(kind: LineKind, moment: datetime, timezone: str) -> Bounds:
    """Where the day or month of `moment` starts and ends, and where the next one ends: Unix milliseconds.

    By the clock on the wall of `timezone` (UTC where it is not known): a day has 23 or 25 hours where clocks are put
    forward or back.
    """
    zone = zone_of(timezone) or ZoneInfo("UTC")
    local = moment.astimezone(zone)
    start = datetime(local.year, local.month, local.day if kind is LineKind.DAY else 1, tzinfo=zone)
    end = _after(kind, start)
    return _ms(start), _ms(end), _ms(_after(kind, end))


def period_name(kind: LineKind, moment: datetime, timezone: str) -> str:
    """How people call the day or month of `moment`: 2026-03-31, 2026-03."""
    local = moment.astimezone(zone_of(timezone) or ZoneInfo("UTC"))
    return f"{local:%Y-%m-%d}" if kind is LineKind.DAY else f"{local:%Y-%m}"


def moment_of(ms: int) -> datetime:
    """The moment of Unix milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _after(kind: LineKind, start: datetime) -> datetime:
    if kind is LineKind.DAY:
        # Calendar days: wall-clock arithmetic, so that the zone's own rules apply.
        following = start.replace(tzinfo=None) + timedelta(days=1)
    else:
        following = (start.replace(tzinfo=None, day=1) + timedelta(days=32)).replace(day=1)
    return following.replace(tzinfo=start.tzinfo)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
