"""Tenants, people, keys and usage in quantities, made up from a seed: what pages must stay quick over.

A few tenants are large and most are small (Zipf), callers prefer one model, and days have their busy hours.
"""

import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from substrate.bulk import write_rows
from substrate.crossing import system_scope
from substrate.seeding import dice_of, made_up_id, without_indexes
from tenants.models import (
    ApiKey,
    Membership,
    PlatformHour,
    Tenant,
    TenantDay,
    TenantHour,
    UsageDay,
    UsageHour,
    UsageRecord,
    User,
)
from tenants.rollups import (
    HOUR_S,
    NOBODY,
    Detail,
    day_of_tenant,
    gathered,
    of_day,
    of_platform,
    of_tenant,
    row_id,
    write_sums,
)
from tenants.tallies import Tally, bucket_of
from tenants.types import Role, TenantState, UsageState

REASON = "seed a load"
ROWS_AT_ONCE = 5_000
MODELS = (
    ("atlas-small", 100, 400),
    ("atlas-large", 1_000, 4_000),
    ("borealis", 300, 900),
    ("cirrus-embed", 20, 0),
)
ERRORS = "The engine closed the connection."
SHAPES = 4_096
# How busy each hour of the day is.
BUSY = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 17, 14, 17, 18, 17, 15, 11, 7, 5, 4, 3, 2, 1)
_LEDGER = (
    "id", "created_at", "updated_at", "tenant_id", "record_id", "request_id", "user_id", "api_key_id", "model", "pool",
    "replica", "origin", "assistant", "state", "prompt_tokens", "completion_tokens", "cost_nano", "started_at",
    "queue_ms", "first_token_ms", "total_ms", "error", "estimated",
)  # fmt: skip

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SeededCaller:
    """A user or a key that calls models: what its calls have in common."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID | None
    api_key_id: uuid.UUID | None
    origin: str
    assistant: str
    model: int


@dataclass(frozen=True, slots=True)
class SeededTenants:
    """What `seed_tenants` made: tenants from the largest to the smallest, and who calls in them."""

    ids: tuple[uuid.UUID, ...]
    callers: tuple[SeededCaller, ...]
    share: tuple[float, ...]


def seed_tenants(*, count: int, seed: int, now: datetime) -> SeededTenants:
    """Make `count` tenants `load-00001` …, their owners and members, and keys of which some end soon."""
    dice = dice_of(seed)
    made = now - timedelta(days=400)
    ids = [made_up_id(dice, made + timedelta(minutes=number)) for number in range(count)]
    callers: list[SeededCaller] = []
    share: list[float] = []
    users, members, keys = [], [], []
    for number, tenant_id in enumerate(ids):
        people = max(1, min(200, count // (4 * (number + 1))))
        part = 1 / (number + 1) / (people + 1)
        for person in range(people):
            user_id = made_up_id(dice, made)
            users.append(
                (
                    user_id,
                    f"p{person}@load-{number + 1:05}.example",
                    f"Person {person}",
                    "!",
                    False,
                    True,
                    made,
                    made,
                )
            )
            role = Role.OWNER if person == 0 else Role.MEMBER
            members.append((made_up_id(dice, made), made, made, tenant_id, user_id, role.value))
            callers.append(
                SeededCaller(
                    tenant_id,
                    user_id,
                    None,
                    "ws",
                    dice.choice(["", "guide", "guide", "desk"]),
                    dice.randrange(2),
                )
            )
            share.append(part)
        key_id = made_up_id(dice, made)
        end = now + timedelta(days=dice.randrange(1, 14)) if number % 50 == 7 else None
        keys.append(_key(dice, key_id, tenant_id, made, end))
        callers.append(SeededCaller(tenant_id, None, key_id, "v1", "", dice.randrange(4)))
        share.append(part)
    states = [TenantState.SUSPENDED if number % 400 == 399 else TenantState.ACTIVE for number in range(count)]
    with without_indexes(Membership, ApiKey), system_scope(REASON):
        _write(Tenant, ("id", "created_at", "updated_at", "slug", "name", "state", "priority_class", "weight", "is_demo"), [
            (tenant_id, made, made, f"load-{number + 1:05}", f"Load {number + 1}", states[number].value, "critical", 1, False)
            for number, tenant_id in enumerate(ids)
        ])  # fmt: skip
        _write(
            User,
            ("id", "email", "name", "password", "is_operator", "is_active", "created_at", "updated_at"),
            users,
        )
        _write(Membership, ("id", "created_at", "updated_at", "tenant_id", "user_id", "role"), members)
        _write(ApiKey, _KEY, keys)
    return SeededTenants(tuple(ids), tuple(callers), tuple(share))


_KEY = (
    "id", "created_at", "updated_at", "tenant_id", "prefix", "fingerprint", "pepper_version", "name", "role",
    "priority_class", "expires_at",
)  # fmt: skip


def _key(
    dice: random.Random, key_id: uuid.UUID, tenant_id: uuid.UUID, made: datetime, end: datetime | None
) -> tuple[Any, ...]:
    # Nobody has the text of these keys: the fingerprint is of none.
    prefix = f"load{dice.getrandbits(40):010x}"
    return (
        key_id,
        made,
        made,
        tenant_id,
        prefix,
        f"{dice.getrandbits(256):064x}",
        1,
        "robot",
        "member",
        "critical",
        end,
    )


def _write(model: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    for first in range(0, len(rows), ROWS_AT_ONCE):
        write_rows(model, columns, rows[first : first + ROWS_AT_ONCE], then="")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a made-up call is like."""

    state: UsageState
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    first_token_ms: int
    total_ms: int
    first_bucket: int
    total_bucket: int


def _shapes(dice: random.Random) -> list[list[_Shape]]:
    return [[_shape(dice, *prices) for _ in range(SHAPES)] for _, *prices in MODELS]


def _shape(dice: random.Random, price_in: int, price_out: int) -> _Shape:
    state = dice.choices(list(UsageState), weights=(96, 3, 1))[0]
    failed = state is UsageState.FAILED
    prompt, completion = dice.randrange(20, 6_000), 0 if failed else dice.randrange(5, 900)
    first = 0 if failed else round(dice.lognormvariate(5.6, 0.6)) + 20
    total = first + completion * dice.randrange(8, 25)
    cost = prompt * price_in + completion * price_out
    return _Shape(state, prompt, completion, cost, first, total, bucket_of(first), bucket_of(total))


def seed_usage(*, tenants: SeededTenants, count: int, days: int, seed: int, now: datetime, told: Told) -> int:
    """Write about `count` calls of the last `days` days into ledger and rollups; returns how many."""
    dice = dice_of(seed + 1)
    hours = days * 24
    last = int(now.timestamp()) // HOUR_S * HOUR_S
    starts = [last - (hours - 1 - number) * HOUR_S for number in range(hours)]
    weights = [BUSY[datetime.fromtimestamp(start, UTC).hour] for start in starts]
    shapes = _shapes(dice)
    cumulative = list(_running(tenants.share))
    done = 0
    with without_indexes(UsageRecord, UsageHour, UsageDay, TenantHour, TenantDay):
        day: dict[Detail, Tally] = {}
        for number, start in enumerate(starts):
            # The hour that goes on ends now.
            span = HOUR_S if start < last else max(60, int(now.timestamp()) - start)
            wanted = round(count * weights[number] / sum(weights) * span / HOUR_S)
            chosen = dice.choices(tenants.callers, cum_weights=cumulative, k=wanted)
            sums = _hour(dice, chosen, shapes, start, span)
            for key, tally in gathered(sums, of_day).items():
                day.setdefault(key, Tally()).add(tally)
            done += wanted
            if number == hours - 1 or datetime.fromtimestamp(start, UTC).hour == 23:
                _write_day(day)
                day = {}
                told(f"usage: {done:,} calls")
    return done


def _running(share: Sequence[float]) -> Iterator[float]:
    total = 0.0
    for each in share:
        total += each
        yield total


def _hour(
    dice: random.Random,
    callers: Sequence[SeededCaller],
    shapes: Sequence[Sequence[_Shape]],
    start: int,
    span: int,
) -> dict[Detail, Tally]:
    sums: dict[Detail, Tally] = {}
    by_caller: dict[int, Tally] = {}
    rows: list[tuple[Any, ...]] = []
    bits = dice.getrandbits
    begin = datetime.fromtimestamp(start, UTC)
    step = span / max(1, len(callers))
    with system_scope(REASON):
        for number, caller in enumerate(callers):
            shape = shapes[caller.model][bits(12)]
            moment = begin + timedelta(seconds=number * step)
            tally = by_caller.get(id(caller))
            if tally is None:
                tally = by_caller[id(caller)] = sums[_detail(caller, start)] = Tally()
            _count(tally, shape)
            rows.append(_row(bits, caller, shape, moment))
            if len(rows) == ROWS_AT_ONCE:
                write_rows(UsageRecord, _LEDGER, rows, then="")
                rows = []
        write_rows(UsageRecord, _LEDGER, rows, then="")
        _insert(UsageHour, sums)
        _insert(TenantHour, gathered(sums, of_tenant))
        _insert(PlatformHour, gathered(sums, of_platform))
    return sums


def _detail(caller: SeededCaller, start: int) -> Detail:
    return Detail(
        caller.tenant_id,
        start,
        MODELS[caller.model][0],
        caller.user_id or NOBODY,
        caller.api_key_id or NOBODY,
        caller.assistant,
        caller.origin,
    )


def _count(tally: Tally, shape: _Shape) -> None:
    if shape.state is UsageState.COMPLETED:
        tally.completed += 1
        tally.totals[shape.total_bucket] = tally.totals.get(shape.total_bucket, 0) + 1
    elif shape.state is UsageState.CANCELLED:
        tally.cancelled += 1
    else:
        tally.failed += 1
    tally.prompt_tokens += shape.prompt_tokens
    tally.completion_tokens += shape.completion_tokens
    tally.cost_nano += shape.cost_nano
    if shape.first_token_ms:
        tally.first_tokens[shape.first_bucket] = tally.first_tokens.get(shape.first_bucket, 0) + 1


def _row(
    bits: Callable[[int], int], caller: SeededCaller, shape: _Shape, moment: datetime
) -> tuple[Any, ...]:
    stamp = int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | bits(12) << 64 | 0b10 << 62 | bits(62)
    found = f"{stamp:032x}"
    model = MODELS[caller.model][0]
    return (
        found, moment, moment, caller.tenant_id, found, found, caller.user_id, caller.api_key_id, model, "main",
        "load-replica", caller.origin, caller.assistant, shape.state.value, shape.prompt_tokens,
        shape.completion_tokens, shape.cost_nano, moment, 0, shape.first_token_ms, shape.total_ms,
        ERRORS if shape.state is UsageState.FAILED else "", False,
    )  # fmt: skip


def _write_day(day: dict[Detail, Tally]) -> None:
    with system_scope(REASON):
        _insert(UsageDay, day)
        _insert(TenantDay, gathered(gathered(day, of_tenant), day_of_tenant))


def _insert(model: Any, sums: dict[Any, Tally]) -> None:
    write_sums(model, {row_id(key): (key, tally) for key, tally in sums.items()})
