"""Which counters a call must keep, and what it may cost each of them. Pure.

A plan is made once for a caller and the models it may reach, and lives until one of its days or months ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whose limits hold for a call: ids, empty where there is none. `models` are all that may answer it."""

    user: str
    key: str
    groups: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Plan:
    """The lines of a call beside the rules they come from. `limits` is what it was made of."""

    limits: TenantLimits
    rules: tuple[Limit, ...]
    lines: tuple[Line, ...]
    ends_ms: int
    running_fields: tuple[str, ...]
    warns: bool

    @property
    def counts_running(self) -> bool:
        """Whether any line says how many calls may run at once."""
        return bool(self.running_fields)

    def values(self, *, tokens: int, cost: int, model: str | None = None) -> tuple[int, ...]:
        """What a call of so many tokens and nano-units takes from each line, rates at most their whole burst.

        With `model` lines of other models take nothing: the call went elsewhere.
        """
        return tuple(
            self._value(rule, line, tokens, cost, model)
            for rule, line in zip(self.rules, self.lines, strict=True)
        )

    @staticmethod
    def _value(rule: Limit, line: Line, tokens: int, cost: int, model: str | None) -> int:
        if model is not None and rule.level is Level.MODEL and rule.subject != model:
            return 0
        measure = rule.measure
        if measure.is_tokens:
            # A call that is longer than the whole burst gets in when the bucket is full; settled, it leaves a debt.
            return min(tokens, line.limit) if model is None and line.kind is LineKind.RATE else tokens
        if measure.is_money:
            return cost
        return 1 if measure is Measure.REQUESTS_PER_MINUTE else 0

    def allowance(self, standings: Sequence[Standing]) -> Allowance:
        """What the caller is told: the tightest rates, and the soft limits that are passed."""
        return Allowance(
            requests=self._told(Measure.REQUESTS_PER_MINUTE, standings),
            tokens=self._told(Measure.TOKENS_PER_MINUTE, standings),
            warning=", ".join(_warnings(self.rules, standings)) if self.warns else "",
        )

    def _told(self, measure: Measure, standings: Sequence[Standing]) -> RateTold | None:
        tightest: RateTold | None = None
        for rule, line, standing in zip(self.rules, self.lines, standings, strict=True):
            if rule.measure is measure and (tightest is None or standing.remaining < tightest.remaining):
                tightest = RateTold(line.limit, standing.remaining, standing.reset_ms)
        return tightest


def _warnings(rules: Iterable[Limit], standings: Iterable[Standing]) -> Iterator[str]:
    for rule, standing in zip(rules, standings, strict=True):
        if rule.soft is not None and standing.used >= rule.soft:
            yield f"{rule.level.value}/{rule.measure.value}"


def make_plan(limits: TenantLimits, subjects: Subjects, now: datetime) -> Plan | None:
    """The plan of a caller, None when nothing limits it."""
    rules = tuple(rule for rule in rules_for(limits, subjects) if not rule.measure.is_stock)
    if not rules:
        return None
    lines = tuple(line_of(rule, now, limits.timezone) for rule in rules)
    return Plan(
        limits=limits,
        rules=rules,
        lines=lines,
        ends_ms=min((line.end_ms for line in lines if line.end_ms), default=_FOREVER_MS),
        running_fields=tuple(line.field for line in lines if line.kind is LineKind.RUNNING),
        warns=any(rule.soft is not None for rule in rules),
    )


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
