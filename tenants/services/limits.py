"""Limits in force: which ones hold for a call, and what ledger and spool say was used against them."""

import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock, unix_ms
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.access_reads import users_of_groups
from tenants.limit_types import Level, Limit, Line, LineKind, Measure, Seed, TenantLimits, period_at
from tenants.models import Quota, Tenant, UsageRecord
from tenants.periods import moment_of
from tenants.planning import Plan, Subjects, make_plan
from tenants.ports import LimitFinder, SeededCounters, UsageSpool
from tenants.types import Principal, UsageEntry
from tenants.usage_reads import Question, tallies

# Tenants whose limits are loaded together.
AT_ONCE = 500
# Plans of so many callers stay in a process.
MOST_PLANS = 50_000
# A principal brings its plan along for so long before its limits are looked at again, as all is that processes keep.
LOOK_AGAIN_MS = 300_000

# The column of the ledger (in words of `usage_reads`) that a level is counted by.
_GROUP_OF_LEVEL: Mapping[Level, str] = {Level.USER: "user", Level.KEY: "key", Level.MODEL: "model"}


class Plans:
    """The plans of this process's callers: made once, until limits change or a period ends."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Knows nobody."""
        self._clock = clock
        self._made: dict[tuple[str, tuple[str, ...], bool], tuple[TenantLimits, Plan | None]] = {}

    async def find(
        self, principal: Principal, models: tuple[str, ...], *, spare: bool = False
    ) -> Plan | None:
        """What limits a call of `principal` that may reach `models`; None, from memory, when nothing does. `spare`: it may
        only use what others leave. A caller who comes again brings the plan along.

        Raises Unavailable when limits cannot be loaded.
        """
        plan = principal.plan
        if (
            type(plan) is Plan
            and plan.owner is self
            and not plan.limits.over
            and unix_ms(self._clock) < plan.look_ms
            and plan.models == models
            and plan.spare is spare
        ):
            return plan
        return await self._find(principal, models, spare=spare)

    async def _find(self, principal: Principal, models: tuple[str, ...], *, spare: bool) -> Plan | None:
        finder: LimitFinder = backends["limit_directory"]
        told, limits = finder.peek(principal.tenant_name)
        if not told:
            limits = await finder.find(principal.tenant_id)
        if limits is None:
            return None
        plan = self._plan(limits, principal, models, spare=spare)
        if plan is not None and told:
            # Limits that were just loaded may be over already and nobody would say so: the next call looks.
            plan.owner, plan.look_ms = self, min(plan.ends_ms, unix_ms(self._clock) + LOOK_AGAIN_MS)
            principal.bring(plan)
        return plan

    def _plan(
        self, limits: TenantLimits, principal: Principal, models: tuple[str, ...], *, spare: bool
    ) -> Plan | None:
        key = principal.caller, models, spare
        known = self._made.get(key)
        if known is not None and known[0] is limits:
            plan = known[1]
            if plan is None or unix_ms(self._clock) < plan.ends_ms:
                return plan
        plan = make_plan(limits, _subjects(principal, models), self._clock.now(), spare=spare)
        if len(self._made) >= MOST_PLANS:
            self._made.clear()
        self._made[key] = (limits, plan)
        return plan


def _subjects(principal: Principal, models: tuple[str, ...]) -> Subjects:
    return Subjects(
        user=str(principal.user_id) if principal.user_id else "",
        key=str(principal.api_key_id) if principal.api_key_id else "",
        groups=tuple(sorted(str(each) for each in principal.group_ids)),
        models=models,
    )


async def seed_counters(
    tenant_id: uuid.UUID,
    pairs: Sequence[tuple[Limit, Line]],
    *,
    replace: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Tell the counters what lines of days and months have counted. Raises Unavailable."""
    counters: SeededCounters = backends["counters"]
    seeds = await known_usage(tenant_id, pairs, clock=clock)
    await counters.seed(str(tenant_id), seeds, replace=replace)


async def known_usage(
    tenant_id: uuid.UUID, pairs: Sequence[tuple[Limit, Line]], *, clock: Clock = SYSTEM_CLOCK
) -> list[Seed]:
    """What ledger and spool together say of each line of a day or month. Raises Unavailable.

    The spool is read first: what is drained meanwhile is found in both places, and counted once by its id.
    """
    spool: UsageSpool = backends["usage_spool"]
    now = clock.now()
    at_ms = int(now.timestamp() * 1000)
    waiting = [
        each for each in await spool.waiting() if isinstance(each, UsageEntry) and each.tenant_id == tenant_id
    ]
    return await run_unit(_sum_usage, tenant_id, list(pairs), waiting, at_ms)


def _sum_usage(
    tenant_id: uuid.UUID, pairs: list[tuple[Limit, Line]], waiting: list[UsageEntry], at_ms: int
) -> list[Seed]:
    with tenant_scope(tenant_id, read_only=True):
        ids = {each.record_id for each in waiting}
        drained = set(UsageRecord.objects.filter(record_id__in=ids).values_list("record_id", flat=True))
        fresh = {each.record_id: each for each in waiting if each.record_id not in drained}
        seeds = []
        # As they are now, for the ledger knows no groups.
        members = users_of_groups(uuid.UUID(rule.subject) for rule, _ in pairs if rule.level is Level.GROUP)
        for rule, line in pairs:
            if line.kind < LineKind.DAY:
                continue
            start_ms, end_ms = period_at(line, at_ms)
            start, end = moment_of(start_ms), moment_of(end_ms)
            within = members.get(rule.subject, frozenset())
            used = _ledger_sum(rule, start, end, within)
            used += sum(
                _amount(rule.measure, each.prompt_tokens, each.completion_tokens, each.cost_nano)
                for each in fresh.values()
                if start <= each.started_at < end and _concerns(rule, each, within)
            )
            seeds.append(Seed(line, start_ms, used, at_ms))
    return seeds


def _ledger_sum(rule: Limit, start: datetime, end: datetime, users: frozenset[uuid.UUID]) -> int:
    equal: dict[str, object] = {}
    if rule.level is Level.GROUP:
        by_user = tallies(
            Question(start, end, group="user", among=[str(each) for each in users], latencies=False)
        )
        return sum(
            _amount(rule.measure, each.prompt_tokens, each.completion_tokens, each.cost_nano)
            for each in by_user.values()
        )
    if rule.level in _GROUP_OF_LEVEL:
        subject: object = rule.subject if rule.level is Level.MODEL else uuid.UUID(rule.subject)
        equal[_GROUP_OF_LEVEL[rule.level]] = subject
    found = tallies(Question(start, end, moment=lambda _: "all", equal=equal, latencies=False)).get("all")
    if found is None:
        return 0
    return _amount(rule.measure, found.prompt_tokens, found.completion_tokens, found.cost_nano)


def _amount(measure: Measure, prompt_tokens: int, completion_tokens: int, cost_nano: int) -> int:
    return cost_nano if measure.is_money else prompt_tokens + completion_tokens


def _concerns(rule: Limit, entry: UsageEntry, users: frozenset[uuid.UUID]) -> bool:
    if rule.level is Level.GROUP:
        return entry.user_id in users
    subject: Mapping[Level, str] = {
        Level.TENANT: "",
        Level.USER: str(entry.user_id or ""),
        Level.KEY: str(entry.api_key_id or ""),
        Level.MODEL: entry.model,
    }
    return subject.get(rule.level) == rule.subject


def limited_tenants() -> set[uuid.UUID]:
    """The ids of the tenants that have any limit. Opens a system scope."""
    with system_scope("which tenants have limits", read_only=True):
        return set(Quota.objects.values_list("tenant_id", flat=True).distinct())


async def limits_that_count(measures: Collection[Measure]) -> AsyncIterator[Sequence[TenantLimits]]:
    """The rules of these measures of every tenant that has any, tenants by hundreds. Raises Unavailable.

    For who looks at all of them again and again: they cost a thirtieth of the time of one by one.
    """
    after: uuid.UUID | None = None
    while page := await run_unit(_limits_after, measures, after):
        yield page
        after = page[-1].tenant_id


def _limits_after(measures: Collection[Measure], after: uuid.UUID | None) -> list[TenantLimits]:
    with system_scope("look at limits of all tenants", read_only=True):
        rows = Quota.objects.filter(measure__in=measures).order_by("tenant_id")
        if after is not None:
            rows = rows.filter(tenant_id__gt=after)
        ids = list(rows.values_list("tenant_id", flat=True).distinct()[:AT_ONCE])
        found: dict[Tenant, list[Quota]] = {}
        for row in rows.filter(tenant_id__in=ids).select_related("tenant"):
            found.setdefault(row.tenant, []).append(row)
    return [TenantLimits(tenant.id, tenant.timezone, rules_by_level(mine)) for tenant, mine in found.items()]


def load_limits(tenant_id: uuid.UUID) -> TenantLimits | None:
    """All limits of a tenant, None when there is none. Opens a system scope."""
    return load_limits_of([tenant_id]).get(tenant_id)


def load_limits_of(tenant_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, TenantLimits]:
    """All limits of those of the tenants that have any. Opens a system scope."""
    with system_scope("load the limits of tenants", read_only=True):
        rows: dict[uuid.UUID, list[Quota]] = {}
        for row in Quota.objects.filter(tenant_id__in=tenant_ids):
            rows.setdefault(row.tenant_id, []).append(row)
        zones = dict(Tenant.objects.filter(id__in=rows).values_list("id", "timezone"))
    return {each: TenantLimits(each, zones[each], rules_by_level(mine)) for each, mine in rows.items()}


def rules_by_level(rows: Iterable[Quota]) -> dict[Level, dict[str, tuple[Limit, ...]]]:
    """The rules that rows say, by level and subject."""
    rules: dict[Level, dict[str, tuple[Limit, ...]]] = {}
    for row in rows:
        rule = limit_of(row)
        by_subject = rules.setdefault(rule.level, {})
        by_subject[rule.subject] = (*by_subject.get(rule.subject, ()), rule)
    return rules


def limit_of(row: Quota) -> Limit:
    """The rule that a row says."""
    return Limit(Level(row.level), row.subject, Measure(row.measure), row.hard, row.soft)
