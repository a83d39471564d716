"""What is used against which limits: for a caller, for a user or key, and for all rules of a tenant."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound
from substrate.bridge import wait_for
from substrate.scoping import tenant_scope
from substrate.versions import version_of
from tenants.access_reads import groups_of_users
from tenants.limit_types import (
    Level,
    Limit,
    Line,
    LineKind,
    QuotaStanding,
    Seed,
    Standing,
    TenantLimits,
    period_at,
)
from tenants.models import Quota
from tenants.periods import moment_of
from tenants.permissions import require
from tenants.planning import Subjects, line_of, rules_for
from tenants.ports import Counters
from tenants.services.limits import known_usage, load_limits
from tenants.services.quotas import names_of
from tenants.services.stocks import stocks_used
from tenants.types import Principal

# Rules of one tenant that are shown with their figures at once.
MOST_SHOWN = 500

OK, WARNED, REACHED = "ok", "warned", "reached"
STATES = [(each, each) for each in (OK, WARNED, REACHED)]
OWN, INHERITED = "own", "inherited"
SOURCES = [(each, each) for each in (OWN, INHERITED)]


@dataclass(frozen=True, slots=True)
class _Row:
    """The row behind a rule."""

    id: uuid.UUID
    version: str


def own_standings(*, principal: Principal, clock: Clock = SYSTEM_CLOCK) -> list[QuotaStanding]:
    """The limits that hold for what the principal does, with what is used. Raises Unavailable."""
    user = str(principal.user_id) if principal.user_id else ""
    key = str(principal.api_key_id) if principal.api_key_id else ""
    groups = tuple(sorted(str(each) for each in principal.group_ids))
    return _standings(principal.tenant_id, Subjects(user, key, groups, ()), clock)


def standings_of(
    *, principal: Principal, user: str = "", key: str = "", clock: Clock = SYSTEM_CLOCK
) -> list[QuotaStanding]:
    """The limits that hold for a user or key of the tenant. Raises PermissionDenied, NotFound, Unavailable."""
    require(principal, "usage.read")
    level, subject = (Level.USER, user) if user else (Level.KEY, key)
    with tenant_scope(principal.tenant_id, read_only=True):
        if subject not in names_of(level, [subject]):
            raise NotFound("There is no such thing in this tenant.")
        groups = groups_of_users([uuid.UUID(user)]) if user else []
    return _standings(principal.tenant_id, Subjects(user, key, tuple(groups), ()), clock)


def all_standings(*, principal: Principal, clock: Clock = SYSTEM_CLOCK) -> list[QuotaStanding]:
    """Every rule of the tenant; those of every subject of a level have no figures of their own.

    Raises PermissionDenied, Unavailable.
    """
    require(principal, "usage.read")
    limits = load_limits(principal.tenant_id)
    if limits is None:
        return []
    rules = [rule for by_subject in limits.rules.values() for each in by_subject.values() for rule in each]
    rules.sort(key=lambda rule: (list(Level).index(rule.level), rule.subject, rule.measure))
    return _shown(limits, rules[:MOST_SHOWN], clock)


def _standings(tenant_id: uuid.UUID, subjects: Subjects, clock: Clock) -> list[QuotaStanding]:
    limits = load_limits(tenant_id)
    if limits is None:
        return []
    by_model = [
        rule for rules in limits.rules.get(Level.MODEL, {}).values() for rule in rules if rule.subject
    ]
    return _shown(limits, [*rules_for(limits, subjects), *by_model], clock)


def _shown(limits: TenantLimits, rules: Sequence[Limit], clock: Clock) -> list[QuotaStanding]:
    now = clock.now()
    of_somebody = [rule for rule in rules if rule.subject or rule.level is Level.TENANT]
    counted = [
        (rule, line_of(rule, now, limits.timezone)) for rule in of_somebody if not rule.measure.is_stock
    ]
    stocks = read_stocks(limits.tenant_id, [rule for rule in of_somebody if rule.measure.is_stock])
    figures = dict(zip(counted, wait_for(lambda: read_standings(limits.tenant_id, counted)), strict=True))
    by_rule = {rule: figures[rule, line] for rule, line in counted}
    lines = dict(counted)
    with tenant_scope(limits.tenant_id, read_only=True):
        rows = {
            (row.level, row.subject, row.measure): _Row(row.id, version_of(row.updated_at))
            for row in Quota.objects.all()
        }
        names = {
            level: names_of(level, [rule.subject for rule in rules if rule.level is level and rule.subject])
            for level in Level
        }
    shown = []
    for rule in rules:
        source = "" if rule.inherited else rule.subject
        row = rows.get((rule.level.value, source, rule.measure.value))
        if row is None:
            # Taken away meanwhile.
            continue
        standing = by_rule.get(rule)
        used = standing.used if standing else stocks.get(rule, 0)
        resets = standing is not None and standing.reset_ms > 0
        shown.append(
            QuotaStanding(
                limit=rule,
                name=names[rule.level].get(rule.subject, rule.subject),
                used=used,
                remaining=None if rule.hard is None else max(0, rule.hard - used),
                resets_at=_resets_at(lines[rule], standing, now) if standing and resets else None,
                state=state_of(rule, used),
                source=INHERITED if rule.inherited else OWN,
                quota_id=row.id,
                version=row.version,
            )
        )
    return shown


def read_stocks(tenant_id: uuid.UUID, rules: Sequence[Limit]) -> Mapping[Limit, int]:
    """What is kept against each rule of a stock."""
    if not rules:
        return {}
    with tenant_scope(tenant_id, read_only=True):
        return stocks_used(rules)


async def read_standings(tenant_id: uuid.UUID, counted: Sequence[tuple[Limit, Line]]) -> list[Standing]:
    """Each line's standing; of a day or month that no call has begun yet, what ledger and spool say."""
    counters: Counters = backends["counters"]
    lines = [line for _, line in counted]
    standings = list(await counters.read(str(tenant_id), lines)) if lines else []
    missing = [pair for pair, standing in zip(counted, standings, strict=True) if not standing.seeded]
    if missing:
        known: dict[str, Seed] = {each.line.field: each for each in await known_usage(tenant_id, missing)}
        standings = [
            standing if standing.seeded else _known(standing, line, known[line.field].used)
            for standing, line in zip(standings, lines, strict=True)
        ]
    return standings


def _resets_at(line: Line, standing: Standing, now: datetime) -> datetime:
    if line.kind >= LineKind.DAY:
        return moment_of(period_at(line, int(now.timestamp() * 1000))[1])
    return now + timedelta(milliseconds=standing.reset_ms)


def _known(standing: Standing, line: Line, used: int) -> Standing:
    return Standing(used, max(0, line.limit - used), standing.reset_ms, seeded=False)


def state_of(rule: Limit, used: int) -> str:
    """`ok`, `warned` or `reached`."""
    if rule.hard is not None and used >= rule.hard and rule.measure.kind is not LineKind.RUNNING:
        return REACHED
    if rule.soft is not None and used >= rule.soft:
        return WARNED
    return OK
