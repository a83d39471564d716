"""What is read off a run: percentiles, fairness, intervals. Rejections are always counted beside latencies."""

import math
from collections.abc import Iterable
from collections.abc import Sequence as Many
from dataclasses import dataclass
from statistics import mean, stdev

from benchmarks.routing.engine import Request

# Two-sided 95 % of Student's t, by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 14: 2.14, 19: 2.09}


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds, and half the width of its 95 % interval."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} ± {self.half:.1g}" if self.half else f"{self.mean:.3g}"


def interval(values: Iterable[float]) -> Interval:
    """The mean of the values that are numbers, and its 95 % interval."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Interval(math.nan, 0.0)
    if len(known) == 1:
        return Interval(known[0], 0.0)
    freedom = len(known) - 1
    factor = _T.get(freedom) or min(value for key, value in _T.items() if key <= freedom)
    return Interval(mean(known), factor * stdev(known) / math.sqrt(len(known)))


def paired(values: Many[float], others: Many[float]) -> Interval:
    """The mean difference of two arms over the same seeds, and its 95 % interval."""
    return interval([one - other for one, other in zip(values, others, strict=True)])


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0–1) of them lie; not a number when there are none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share else 0)]


def jain(values: Many[float]) -> float:
    """Jain's index of fairness: 1 when all are equal, 1/n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else math.nan


def done(requests: Iterable[Request]) -> list[Request]:
    """Those that were answered whole."""
    return [each for each in requests if not math.isnan(each.end)]


def rejected(requests: Many[Request]) -> float:
    """The share that was refused."""
    return sum(bool(each.rejected) for each in requests) / len(requests) if requests else 0.0


def goodput(requests: Many[Request], seconds: float, *, ttft: float, tpot: float) -> float:
    """Answers a second that kept both promises, as `vllm bench serve --goodput` counts them."""
    return sum(each.ttft <= ttft and each.tpot <= tpot for each in done(requests)) / seconds
