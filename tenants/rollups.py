"""Sums of the ledger, kept in the ledger's own transactions: per hour and day, in detail, per tenant, per platform.

Whoever writes them holds `hold_rollups` until the end of the transaction: a row's sums are read, added to and
written back, which two at once must not do. (On SQLite the transaction itself is that lock.) One writer at a time is
enough: it moves thousands of calls a second.
"""

import uuid
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from django.db import connection

from substrate.bulk import hex_of, replace_all, write_rows
from tenants.rollup_models import PlatformHour, Sums, TenantDay, TenantHour, UsageDay, UsageHour
from tenants.tallies import Tally, add_packed, packed
from tenants.types import UsageState

HOUR_S, DAY_S = 3_600, 86_400
NOBODY = uuid.UUID(int=0)
# Any number that nothing else uses for PostgreSQL's advisory locks.
_LOCK = 0x41_74_72_69_75_6D_01
_SUMS = (
    "completed", "cancelled", "failed", "prompt_tokens", "completion_tokens", "cost_nano", "first_tokens", "totals"
)  # fmt: skip
_NUMBERS = 6
_READ_AT_ONCE = 5_000

K = TypeVar("K", bound=Hashable)


class Call(NamedTuple):
    """A row of the ledger, as far as it is summed."""

    tenant_id: uuid.UUID
    started_at: datetime
    model: str
    user_id: uuid.UUID | None
    api_key_id: uuid.UUID | None
    assistant: str
    origin: str
    state: UsageState
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    first_token_ms: int
    total_ms: int


class Detail(NamedTuple):
    """What a row of `UsageHour` or `UsageDay` sums: `start` in Unix seconds, "" or the nil UUID for nobody."""

    tenant_id: uuid.UUID
    start: int
    model: str
    user_id: uuid.UUID
    api_key_id: uuid.UUID
    assistant: str
    origin: str


class OfTenant(NamedTuple):
    """What a row of `TenantHour` or `TenantDay` sums."""

    tenant_id: uuid.UUID
    start: int


class OfPlatform(NamedTuple):
    """What a row of `PlatformHour` sums."""

    start: int
    model: str
    origin: str


def hold_rollups() -> None:
    """Wait until nobody else writes rollups, and keep others waiting until the transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def add_calls(calls: Iterable[Call]) -> None:
    """Add calls that are new in the ledger to every sum they belong to. Needs `hold_rollups` and a system scope."""
    hours = by_hour(calls)
    add_tenant_sums(hours)
    add_sums(PlatformHour, gathered(hours, of_platform))


def add_tenant_sums(hours: Mapping[Detail, Tally]) -> None:
    """Add to all sums of tenants, none of the platform's."""
    add_sums(UsageHour, hours)
    add_sums(UsageDay, gathered(hours, of_day))
    tenant_hours = gathered(hours, of_tenant)
    add_sums(TenantHour, tenant_hours)
    add_sums(TenantDay, gathered(tenant_hours, day_of_tenant))


def by_hour(calls: Iterable[Call]) -> dict[Detail, Tally]:
    """Calls summed in every detail."""
    found: dict[Detail, Tally] = {}
    for call in calls:
        key = Detail(
            call.tenant_id,
            int(call.started_at.timestamp()) // HOUR_S * HOUR_S,
            call.model,
            call.user_id or NOBODY,
            call.api_key_id or NOBODY,
            call.assistant,
            call.origin,
        )
        tally = found.get(key)
        if tally is None:
            tally = found[key] = Tally()
        tally.count(call)
    return found


def of_day(key: Detail) -> Detail:
    """The day of an hour."""
    return key._replace(start=key.start // DAY_S * DAY_S)


def of_tenant(key: Detail) -> OfTenant:
    """Without the details."""
    return OfTenant(key.tenant_id, key.start)


def day_of_tenant(key: OfTenant) -> OfTenant:
    """The day of an hour of a tenant."""
    return OfTenant(key.tenant_id, key.start // DAY_S * DAY_S)


def of_platform(key: Detail) -> OfPlatform:
    """Without the tenant."""
    return OfPlatform(key.start, key.model, key.origin)


def gathered(tallies: Mapping[Any, Tally], key_of: Any) -> dict[Any, Tally]:
    """Sums of sums: `key_of` says where each belongs."""
    found: dict[Any, Tally] = {}
    own = set()
    for key, tally in tallies.items():
        wider = key_of(key)
        there = found.setdefault(wider, tally)
        if there is not tally:
            if wider not in own:
                # Sums of one alone are that one, so long as nothing is added.
                own.add(wider)
                found[wider] = Tally()
                found[wider].add(there)
            found[wider].add(tally)
    return found


def row_id(key: Sequence[object]) -> str:
    """The id of the row that sums `key`, in hex: the first half of BLAKE2b over its parts."""
    text = "\x1f".join([each.hex if isinstance(each, uuid.UUID) else str(each) for each in key])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def add_sums(model: type[Sums], tallies: Mapping[Any, Tally]) -> None:
    """Add `tallies` to the rows of `model`, which are made where they are not there yet."""
    wanted = {row_id(key): (key, tally) for key, tally in tallies.items()}
    for found_id, there in _read(model, list(wanted)):
        key, tally = wanted[found_id]
        there.add(tally)
        wanted[found_id] = (key, there)
    write_sums(model, wanted)


def write_sums(model: type[Sums], rows: Mapping[str, tuple[Any, Tally]]) -> None:
    """Write these sums, over those that are there."""
    if not rows:
        return
    keys = next(iter(rows.values()))[0]._fields
    columns = ("id", *keys, *_SUMS)
    at = columns.index("start")
    values = []
    for found_id, (key, tally) in rows.items():
        row = [found_id, *key, *tally.numbers(), packed(tally.first_tokens), packed(tally.totals)]
        row[at] = datetime.fromtimestamp(row[at], UTC)
        values.append(row)
    write_rows(model, columns, values, then=replace_all(columns))


def _read(model: type[Sums], ids: Sequence[str]) -> list[tuple[str, Tally]]:
    quote = connection.ops.quote_name
    columns = ", ".join(("id", *_SUMS))
    found = []
    with connection.cursor() as cursor:
        for first in range(0, len(ids), _READ_AT_ONCE):
            some: list[Any] = list(ids[first : first + _READ_AT_ONCE])
            # Names come from the model; every value is a parameter.
            head = f"SELECT {columns} FROM {quote(model._meta.db_table)} WHERE id"  # noqa: S608
            if connection.vendor == "postgresql":
                cursor.execute(f"{head} = ANY(%s::uuid[])", [some])
            else:
                cursor.execute(f"{head} IN ({', '.join(['%s'] * len(some))})", some)
            found += [(hex_of(row[0]), unpacked(row[1:])) for row in cursor.fetchall()]
    return found


def unpacked(sums: Sequence[Any]) -> Tally:
    """The tally in the columns of sums, in their order."""
    tally = Tally(*sums[:_NUMBERS])
    add_packed(tally.first_tokens, bytes(sums[_NUMBERS]))
    add_packed(tally.totals, bytes(sums[_NUMBERS + 1]))
    return tally
