"""Which counters a call must keep, and what it may cost each of them. Pure.

A plan is made once for a caller and the models it may reach, and lives until one of its days or months ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from kernel.allowance import Allowance, RateTold
from tenants.limit_types import (
    MOST,
    Level,
    Limit,
    Line,
    LineKind,
    Measure,
    Standing,
    TenantLimits,
    field_of,
)
from tenants.periods import period_bounds

_FOREVER_MS = 1 << 62
# Percent of each day and month, for calls that somebody waits for.
KEPT_BACK = 20


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whose limits hold for a call: ids, empty where there is none. `models` are all that may answer it."""

    user: str
    key: str
    groups: tuple[str, ...]
    models: tuple[str, ...]


class _Unit(IntEnum):
    """What a line counts of a call."""

    NOTHING = 0
    REQUESTS = 1
    TOKENS = 2
    MONEY = 3


@dataclass(frozen=True, slots=True)
class Charge:
    """How a line is charged. `burst` bounds what is reserved of it (0: nothing does); `model` is whose calls it counts."""

    unit: _Unit
    burst: int
    model: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Plan:
    """The lines of a call beside the rules they come from. `limits` is what it was made of, `tenant` its tenant's id.

    `charges` stand beside `lines`; `told_requests` and `told_tokens` are the indexes of the rates that callers hear of,
    `soft` those of soft limits with their amounts and names. All of it is worked out once: calls are many.
    """

    limits: TenantLimits
    tenant: str
    rules: tuple[Limit, ...]
    lines: tuple[Line, ...]
    ends_ms: int
    running_fields: tuple[str, ...]
    charges: tuple[Charge, ...]
    told_requests: tuple[int, ...]
    told_tokens: tuple[int, ...]
    soft: tuple[tuple[int, int, str], ...]

    @property
    def counts_running(self) -> bool:
        """Whether any line says how many calls may run at once."""
        return bool(self.running_fields)

    def values(self, *, tokens: int, cost: int, model: str | None = None) -> tuple[int, ...]:
        """What a call of so many tokens and nano-units takes from each line, rates at most their whole burst.

        With `model` lines of other models take nothing: the call went elsewhere.
        """
        amounts = (0, 1, tokens, cost)
        if model is None:
            # A call that is longer than the whole burst gets in when the bucket is full; settled, it leaves a debt.
            return tuple(
                [each.burst if 0 < each.burst < tokens else amounts[each.unit] for each in self.charges]
            )
        return tuple(
            [0 if each.model and each.model != model else amounts[each.unit] for each in self.charges]
        )

    def allowance(self, standings: Sequence[Standing]) -> Allowance:
        """What the caller is told: the tightest rates, and the soft limits that are passed."""
        passed = [name for index, soft, name in self.soft if standings[index].used >= soft]
        return Allowance(
            requests=self._told(self.told_requests, standings),
            tokens=self._told(self.told_tokens, standings),
            warning=", ".join(passed) if passed else "",
        )

    def _told(self, indexes: Sequence[int], standings: Sequence[Standing]) -> RateTold | None:
        if not indexes:
            return None
        tightest = indexes[0]
        standing = standings[tightest]
        for index in indexes:
            if standings[index].remaining < standing.remaining:
                tightest, standing = index, standings[index]
        return RateTold(self.lines[tightest].limit, standing.remaining, standing.reset_ms)


def _charge(rule: Limit, line: Line) -> Charge:
    measure = rule.measure
    model = rule.subject if rule.level is Level.MODEL else ""
    if measure.is_tokens:
        return Charge(_Unit.TOKENS, line.limit if line.kind is LineKind.RATE else 0, model)
    if measure.is_money:
        return Charge(_Unit.MONEY, 0, model)
    unit = _Unit.REQUESTS if measure is Measure.REQUESTS_PER_MINUTE else _Unit.NOTHING
    return Charge(unit, 0, model)


def make_plan(limits: TenantLimits, subjects: Subjects, now: datetime, *, spare: bool = False) -> Plan | None:
    """The plan of a caller, None when nothing limits it. With `spare` it is of what nobody waits for: that takes no place
    and no share of a rate from others, and leaves them the last `KEPT_BACK` percent of each day and month.
    """
    rules = tuple(rule for rule in rules_for(limits, subjects) if not rule.measure.is_stock)
    if spare:
        rules = tuple(_less(rule) for rule in rules if rule.measure.kind >= LineKind.DAY)
    if not rules:
        return None
    lines = tuple(line_of(rule, now, limits.timezone) for rule in rules)
    return Plan(
        limits=limits,
        tenant=str(limits.tenant_id),
        rules=rules,
        lines=lines,
        ends_ms=min((line.end_ms for line in lines if line.end_ms), default=_FOREVER_MS),
        running_fields=tuple(line.field for line in lines if line.kind is LineKind.RUNNING),
        charges=tuple(_charge(rule, line) for rule, line in zip(rules, lines, strict=True)),
        told_requests=_indexes(rules, Measure.REQUESTS_PER_MINUTE),
        told_tokens=_indexes(rules, Measure.TOKENS_PER_MINUTE),
        soft=tuple(
            (index, rule.soft, f"{rule.level.value}/{rule.measure.value}")
            for index, rule in enumerate(rules)
            if rule.soft is not None
        ),
    )


def _less(rule: Limit) -> Limit:
    return rule if rule.hard is None else replace(rule, hard=rule.hard * (100 - KEPT_BACK) // 100)


def _indexes(rules: Sequence[Limit], measure: Measure) -> tuple[int, ...]:
    return tuple(index for index, rule in enumerate(rules) if rule.measure is measure)


def line_of(rule: Limit, now: datetime, timezone: str) -> Line:
    """The counter of a rule, with the day or month of `now` where it counts one."""
    kind = rule.measure.kind
    bounds = period_bounds(kind, now, timezone) if kind >= LineKind.DAY else (0, 0, 0)
    amount = rule.hard if rule.hard is not None else min(rule.measure.most, MOST)
    return Line(kind, field_of(rule.level, rule.subject, rule.measure), amount, *bounds)


def rules_for(limits: TenantLimits, subjects: Subjects) -> Iterator[Limit]:
    """The rules that hold for a caller, level by level."""
    yield from limits.of(Level.TENANT, "")
    for group in subjects.groups:
        yield from limits.of(Level.GROUP, group)
    if subjects.user:
        yield from limits.of(Level.USER, subjects.user)
    if subjects.key:
        yield from limits.of(Level.KEY, subjects.key)
    for model in subjects.models:
        yield from limits.of(Level.MODEL, model)
