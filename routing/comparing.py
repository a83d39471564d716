"""Two models side by side, by the calls that one answered and the other was asked in copy. Pure.

Means of differences come with 95 % of the normal distribution about them (1.96 standard errors), from `ENOUGH` pairs on:
fewer are no sample of what comes. Shares have Wilson's interval (E. B. Wilson, "Probable inference, the law of succession,
and statistical inference", JASA 22, 1927), which holds for few too.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import fmean, stdev

from msgspec import Struct

from tenants.types import PairEntry, PairSide, PairState

# Standard errors, or their like, on both sides of 95 %.
Z = 1.96
ENOUGH = 30


class Cut(Struct, frozen=True):
    """A range of time up to now, in so many steps of so many seconds."""

    steps: int
    step_s: int


CUTS: Mapping[str, Cut] = {"1h": Cut(12, 300), "24h": Cut(24, 3_600), "7d": Cut(28, 21_600)}


class Spread(Struct, frozen=True):
    """The median, and the value that 95 % do not exceed; None without any."""

    p50: int | None
    p95: int | None


class Estimate(Struct, frozen=True):
    """A mean or a share of `count`, and where it lies with 95 %; no bounds where there are too few for any."""

    value: float
    low: float | None
    high: float | None
    count: int


class SideFigures(Struct, frozen=True):
    """How one of two models answered: spreads of milliseconds, means for each call, and how answers ended."""

    first_ms: Spread
    total_ms: Spread
    prompt_tokens: float
    completion_tokens: float
    cost_nano: int
    ends: Mapping[str, int]


class Step(Struct, frozen=True):
    """A step of the range: medians of both in milliseconds, and the mean agreement; None without any."""

    start: datetime
    compared: int
    answered_ms: int | None
    copied_ms: int | None
    agreement: float | None


class Comparison(Struct, frozen=True):
    """`model`, which answered, beside `shadow`, which was asked in copy. `percent` is what the policy says now, None: nothing.

    Figures of both are of the pairs that were compared, so that both are of the same calls. Differences are the copy's
    less the answer's, pair by pair.
    """

    model: str
    shadow: str
    percent: int | None
    compared: int
    failed: int
    dropped: int
    causes: Mapping[str, int]
    answered: SideFigures
    copied: SideFigures
    first_ms: Estimate | None
    total_ms: Estimate | None
    cost_nano: Estimate | None
    failures: Estimate | None
    agreement: Estimate | None
    same: Estimate | None
    steps: Sequence[Step]


def bounds(cut: Cut, now: datetime) -> datetime:
    """Where the first step begins; the last one goes on."""
    last = int(now.timestamp()) // cut.step_s * cut.step_s
    return datetime.fromtimestamp(last - (cut.steps - 1) * cut.step_s, now.tzinfo)


def compare(
    pairs: Iterable[PairEntry], copied: Mapping[tuple[str, str], int], *, start: datetime, cut: Cut
) -> list[Comparison]:
    """Every two models that `pairs` tell of since `start`, and those that are `copied` now, with their percent; these
    first, then by name.
    """
    by_models: dict[tuple[str, str], list[PairEntry]] = {models: [] for models in copied}
    for each in pairs:
        by_models.setdefault((each.model, each.shadow), []).append(each)
    found = [_comparison(models, copied.get(models), some, start, cut) for models, some in by_models.items()]
    return sorted(found, key=lambda each: (each.percent is None, each.model, each.shadow))


def _comparison(
    models: tuple[str, str], percent: int | None, pairs: list[PairEntry], start: datetime, cut: Cut
) -> Comparison:
    states = Counter(each.state for each in pairs)
    both = [each for each in pairs if each.state is PairState.COMPARED]
    streams = [each for each in both if each.stream]
    texts = [each for each in both if each.agreement is not None]
    asked = len(both) + states[PairState.FAILED]
    return Comparison(
        *models,
        percent,
        compared=len(both),
        failed=states[PairState.FAILED],
        dropped=states[PairState.DROPPED],
        causes=dict(Counter(each.error for each in pairs if each.error).most_common()),
        answered=_side([each.answered for each in both]),
        copied=_side([each.copied for each in both]),
        first_ms=_mean([each.copied.first_ms - each.answered.first_ms for each in streams]),
        total_ms=_mean([each.copied.total_ms - each.answered.total_ms for each in both]),
        cost_nano=_mean([each.copied.cost_nano - each.answered.cost_nano for each in both]),
        failures=share(states[PairState.FAILED], asked),
        agreement=_mean([each.agreement or 0.0 for each in texts], least=0.0, most=1.0),
        same=share(sum(bool(each.same) for each in texts), len(texts)),
        steps=_steps(both, start, cut),
    )


def _side(sides: Sequence[PairSide]) -> SideFigures:
    # An answer that came whole has no first token.
    first = [each.first_ms for each in sides if each.first_ms]
    return SideFigures(
        first_ms=_spread(first),
        total_ms=_spread([each.total_ms for each in sides]),
        prompt_tokens=_each(sides, lambda side: side.prompt_tokens),
        completion_tokens=_each(sides, lambda side: side.completion_tokens),
        cost_nano=round(_each(sides, lambda side: side.cost_nano)),
        ends=dict(Counter(each.finish_reason or "none" for each in sides).most_common()),
    )


def _each(sides: Sequence[PairSide], figure: Callable[[PairSide], int]) -> float:
    return fmean(map(figure, sides)) if sides else 0.0


def _steps(pairs: Sequence[PairEntry], start: datetime, cut: Cut) -> list[Step]:
    by_step: defaultdict[int, list[PairEntry]] = defaultdict(list)
    for each in pairs:
        by_step[int((each.started_at - start).total_seconds()) // cut.step_s].append(each)
    found = []
    for at in range(cut.steps):
        some = by_step[at]
        agreements = [each.agreement for each in some if each.agreement is not None]
        found.append(
            Step(
                start=start + timedelta(seconds=at * cut.step_s),
                compared=len(some),
                answered_ms=_spread([each.answered.total_ms for each in some]).p50,
                copied_ms=_spread([each.copied.total_ms for each in some]).p50,
                agreement=fmean(agreements) if agreements else None,
            )
        )
    return found


def _spread(values: Sequence[int]) -> Spread:
    ranked = sorted(values)
    return Spread(_at(ranked, 0.5), _at(ranked, 0.95))


def _at(ranked: Sequence[int], part: float) -> int | None:
    """The smallest value that so large a part of them do not exceed."""
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)] if ranked else None


def _mean(values: Sequence[float], *, least: float = -math.inf, most: float = math.inf) -> Estimate | None:
    if not values:
        return None
    mean = fmean(values)
    if len(values) < ENOUGH:
        return Estimate(mean, None, None, len(values))
    off = Z * stdev(values) / math.sqrt(len(values))
    return Estimate(mean, max(least, mean - off), min(most, mean + off), len(values))


def share(hits: int, count: int) -> Estimate | None:
    """The share of `hits`, with Wilson's interval; None of nothing."""
    if not count:
        return None
    part, square = hits / count, Z * Z
    middle = (part + square / (2 * count)) / (1 + square / count)
    off = Z / (1 + square / count) * math.sqrt(part * (1 - part) / count + square / (4 * count * count))
    return Estimate(part, max(0.0, middle - off), min(1.0, middle + off), count)
