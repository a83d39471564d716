"""Which counters a call must keep, and what it may cost each of them. Pure.

A plan is made once for a caller and the models it may reach, and lives until one of its days or months ends.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from operator import itemgetter

from kernel.allowance import Allowance, RateTold
from tenants.limit_types import (
    MINUTE_MS,
    MOST,
    Level,
    Limit,
    Line,
    LineKind,
    LineSet,
    Measure,
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


# Takes (0, requests, tokens, money) and gives what each line counts of it.
_Pick = Callable[[tuple[int, int, int, int]], tuple[int, ...]]


class Charges:
    """What calls take from lines. Worked out once, by which amount each line counts: calls are many."""

    __slots__ = ("_bursts", "_by_model", "_elsewhere", "_least_burst", "_reserve")

    def __init__(self, charges: Sequence[Charge]) -> None:
        """`charges` stand beside the lines."""
        self._reserve = _pick([each.unit for each in charges])
        self._bursts = tuple(each.burst for each in charges)
        self._least_burst = min(filter(None, self._bursts), default=_FOREVER_MS)
        models = {each.model for each in charges if each.model}
        self._elsewhere = _pick([_Unit.NOTHING if each.model else each.unit for each in charges])
        self._by_model = {
            model: _pick([each.unit if each.model in ("", model) else _Unit.NOTHING for each in charges])
            for model in models
        }

    def reserved(self, tokens: int, cost: int) -> tuple[int, ...]:
        """What a call that may use so many tokens and nano-units takes from each line, rates at most their whole burst."""
        values = self._reserve((0, 1, tokens, cost))
        if tokens <= self._least_burst:
            return values
        # A call that is longer than the whole burst gets in when the bucket is full; settled, it leaves a debt.
        bounded = zip(values, self._bursts, strict=True)
        return tuple([min(value, burst) if burst else value for value, burst in bounded])

    def used(self, model: str, tokens: int, cost: int) -> tuple[int, ...]:
        """What a call of `model` has used of each line; of lines of other models nothing: it went elsewhere."""
        return self._by_model.get(model, self._elsewhere)((0, 1, tokens, cost))


def _pick(units: Sequence[_Unit]) -> _Pick:
    if len(units) == 1:
        only = units[0]
        return lambda amounts: (amounts[only],)
    return itemgetter(*units)


class ToldRate:
    """The rates of one measure, of which callers hear of the tightest."""

    __slots__ = ("_rates",)

    def __init__(self, limits: Sequence[tuple[int, int]]) -> None:
        """Places of lines with their limits; there is one at least."""
        self._rates = tuple((index, limit, limit * MINUTE_MS) for index, limit in limits)

    def tell(self, counts: Sequence[int]) -> RateTold:
        """The one that leaves least, by what the counters show."""
        rates = self._rates
        index, tightest, most = rates[0]
        least = most - counts[index]
        for index, limit, most in rates:
            room = most - counts[index]
            if room < least:
                tightest, least = limit, room
        debt = tightest * MINUTE_MS - least
        return RateTold(tightest, least // MINUTE_MS if least > 0 else 0, -(-debt // tightest))


@dataclass(slots=True, eq=False, weakref_slot=True)
class Plan:
    """The lines of a call beside the rules they come from. `limits` is what it was made of, `tenant` its tenant's id, `models`
    all that may answer it; `spare` as `make_plan` has it. It holds until `ends_ms`, Unix time.

    `place` is where its calls stand in line: the tenant and the names of the counters that say how many may run at once.
    `soft` are the lines with soft limits: their place, what their counters show at most below it, and the name. `each` are
    those of days and months that hold for each user, key or model: their place, and the least amount that somebody should
    know of. All of it is worked out once; what changes is `look_ms`, until when `owner` need not look whether it is still
    true.
    """

    limits: TenantLimits
    tenant: str
    models: tuple[str, ...]
    spare: bool
    rules: tuple[Limit, ...]
    lines: LineSet
    ends_ms: int
    place: tuple[str, tuple[str, ...]]
    charges: Charges
    told_requests: ToldRate | None
    told_tokens: ToldRate | None
    soft: tuple[tuple[int, int, str], ...]
    each: tuple[tuple[int, int], ...]
    look_ms: int = 0
    owner: object = None

    def allowance(self, counts: Sequence[int]) -> Allowance:
        """What the caller is told: the tightest rates, and the soft limits that are passed. `counts` are of its lines."""
        passed = ""
        for index, below, name in self.soft:
            if counts[index] > below:
                passed = f"{passed}, {name}" if passed else name
        requests, tokens = self.told_requests, self.told_tokens
        return Allowance(
            requests.tell(counts) if requests is not None else None,
            tokens.tell(counts) if tokens is not None else None,
            passed,
        )


# Most callers have limits of the same shape, and what tells of the shape alone is one object for all of them: of ten
# thousand callers in turn each finds theirs cold.
@lru_cache(maxsize=4_096)
def _charges_of(charges: tuple[Charge, ...]) -> Charges:
    return Charges(charges)


@lru_cache(maxsize=4_096)
def _told_of(limits: tuple[tuple[int, int], ...]) -> ToldRate:
    return ToldRate(limits)


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
        models=subjects.models,
        spare=spare,
        rules=rules,
        lines=LineSet(lines),
        ends_ms=min((line.end_ms for line in lines if line.end_ms), default=_FOREVER_MS),
        place=(
            str(limits.tenant_id),
            tuple(line.field for line in lines if line.kind is LineKind.RUNNING),
        ),
        charges=_charges_of(tuple(_charge(rule, line) for rule, line in zip(rules, lines, strict=True))),
        told_requests=_told(rules, lines, Measure.REQUESTS_PER_MINUTE),
        told_tokens=_told(rules, lines, Measure.TOKENS_PER_MINUTE),
        soft=tuple(
            (index, _below(rule.soft, rule.measure.kind), f"{rule.level.value}/{rule.measure.value}")
            for index, rule in enumerate(rules)
            if rule.soft is not None
        ),
        each=tuple(_marks_of_each(rules)),
    )


def _marks_of_each(rules: Sequence[Limit]) -> Iterator[tuple[int, int]]:
    # Those of every group are read for each group: groups are few.
    for index, rule in enumerate(rules):
        if rule.inherited and rule.level is not Level.GROUP and rule.measure.kind >= LineKind.DAY:
            yield index, min(each for each in (rule.soft, rule.hard) if each is not None)


def _less(rule: Limit) -> Limit:
    return rule if rule.hard is None else replace(rule, hard=rule.hard * (100 - KEPT_BACK) // 100)


def _told(rules: Sequence[Limit], lines: Sequence[Line], measure: Measure) -> ToldRate | None:
    found = tuple((index, lines[index].limit) for index, rule in enumerate(rules) if rule.measure is measure)
    return _told_of(found) if found else None


def _below(soft: int, kind: LineKind) -> int:
    """What a counter shows at most while less than `soft` is used."""
    return (soft - 1) * MINUTE_MS if kind is LineKind.RATE else soft - 1


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
