"""What the last minutes of a pool were like: how much work came, whether it rises, and how fast replicas are. Pure."""

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from routing.scaling_types import Signals

# Demand is a mean over so long: single calls come and go.
DEMAND_S = 30.0
TREND_S = 100.0
# Of a slope that much is believed which is above so many times its own uncertainty.
SURE = 1.5
# What a pool was like when it was awake last is remembered while it sleeps; of an older peak half goes in so long awake.
USUAL_HALF_LIFE_S = 600.0


class Pace(Struct):
    """How long calls take in a replica with n of them: a line through what was seen, of which half is forgotten after
    `HALF_LIFE_S`. Before anything is seen at several n, a full replica is thought three times as slow as an empty one.
    """

    HALF_LIFE_S = 1200.0
    FULL_TIMES = 3.0

    weight: float = 0.0
    n_sum: float = 0.0
    h_sum: float = 0.0
    nn_sum: float = 0.0
    nh_sum: float = 0.0
    at: float = 0.0

    def note(self, at: float, n: float, seconds: float) -> None:
        """In a replica with `n` calls each took `seconds`."""
        kept = 0.5 ** ((at - self.at) / self.HALF_LIFE_S) if self.weight else 0.0
        self.at = at
        for name, value in (
            ("weight", 1.0),
            ("n_sum", n),
            ("h_sum", seconds),
            ("nn_sum", n * n),
            ("nh_sum", n * seconds),
        ):
            setattr(self, name, getattr(self, name) * kept + value)

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return self.weight > 0

    def seconds(self, n: float, slots: int) -> float:
        """How long a call takes in a replica with `n` of them."""
        n_mean, h_mean = self.n_sum / self.weight, self.h_sum / self.weight
        # The supposed slope through the mean, and as sure of it as of ten looks a quarter of the slots apart.
        supposed = h_mean / (n_mean + slots / (self.FULL_TIMES - 1))
        sure = 10 * (slots / 4) ** 2
        spread = self.nn_sum - self.weight * n_mean**2
        slope = (self.nh_sum - self.weight * n_mean * h_mean + sure * supposed) / (spread + sure)
        slope = min(max(0.0, slope), h_mean / max(n_mean, 1e-9))
        return max(h_mean + slope * (n - n_mean), 1e-3)


class _Look(Struct, frozen=True):
    """One moment: what had come by then, and the work that ran, in tokens; calls in each ready replica; what was done."""

    at: float
    come: float
    running: float
    done: float
    ready: int
    calls: float


class Load:
    """The work that came to one pool of late, in tokens."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.pace = Pace()
        self._seen: deque[_Look] = deque()
        self._usual = 0.0
        self._usual_at = self._unsteady_at = -math.inf

    def look(self, signals: Signals, *, steady: bool = True) -> None:
        """Note what is seen at a moment."""
        work, at = signals.work, signals.at
        come = work.done + work.refused + work.running + work.waiting
        if self._seen and work.done < self._seen[-1].done:
            # The queue's memory was lost: what was counted before cannot be compared.
            self._seen.clear()
        calls = signals.running / signals.ready if signals.ready else 0.0
        self._seen.append(_Look(at, come, work.running, work.done, signals.ready, calls))
        while self._seen[0].at < at - TREND_S:
            self._seen.popleft()
        if not steady:
            self._unsteady_at = at
        if at - self._unsteady_at > DEMAND_S:
            self._learn_pace()
        if signals.running:
            self._learn_usual(signals)

    def _learn_pace(self) -> None:
        recent = self._recent(DEMAND_S)
        span = recent[-1].at - recent[0].at
        if len({each.ready for each in recent}) > 1 or span < DEMAND_S / 2:
            return
        done = recent[-1].done - recent[0].done
        calls = mean([each.calls for each in recent])
        if done > 0 and calls >= 1:
            self.pace.note(recent[-1].at, calls, mean([each.running for each in recent]) * span / done)

    def _learn_usual(self, signals: Signals) -> None:
        """Calls a second, the most of late: over all that is seen, for a sleep is longer than a burst's noise."""
        at, first = signals.at, self._seen[0]
        if at - first.at >= TREND_S * 0.9:
            calls = mean([each.calls * each.ready for each in self._seen])
            tokens = mean([each.running for each in self._seen])
            rate = (self._seen[-1].come - first.come) / (at - first.at) * calls / max(tokens, 1.0)
            kept = 0.5 ** ((at - self._usual_at) / USUAL_HALF_LIFE_S)
            self._usual = max(rate, self._usual * kept)
        self._usual_at = at

    def coming(self, came: int, seconds: float) -> float:
        """Calls a second that come to a pool that wakes, when `came` did in so many seconds.

        As many as surely came so far; or as when the pool was awake last, unless what came speaks against it.
        """
        rate = max(0.0, came - math.sqrt(came)) / seconds
        hoped = self._usual * seconds
        if came > 1 and came >= hoped - 2 * math.sqrt(hoped):
            rate = max(rate, self._usual)
        return rate

    def rate(self) -> float:
        """Tokens that came in a second, of late."""
        recent = self._recent(DEMAND_S)
        span = recent[-1].at - recent[0].at
        return max(0.0, (recent[-1].come - recent[0].come) / span) if span > 0 else 0.0

    def slope(self) -> float:
        """By how many tokens a second more each second brings; 0 when it does not, or not surely.

        What has jumped rises in one half of the time alone: it is no trend, and is where it will be.
        """
        looks = list(self._seen)
        if looks[-1].at - looks[0].at < TREND_S * 0.9:
            return 0.0
        points = [
            ((one.at + other.at) / 2, (other.come - one.come) / (other.at - one.at))
            for one, other in pairwise(looks)
            if other.at > one.at
        ]
        slope, error = line(points)
        half = len(points) // 2
        return max(0.0, min(slope - SURE * error, line(points[:half])[0], line(points[half:])[0]))

    def _recent(self, seconds: float) -> list["_Look"]:
        return [each for each in self._seen if each.at >= self._seen[-1].at - seconds]


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line of least squares through the points, and its standard error."""
    if len(points) < 3:
        return 0.0, math.inf
    x_mean, y_mean = mean([x for x, _ in points]), mean([y for _, y in points])
    xx = sum((x - x_mean) ** 2 for x, _ in points)
    if not xx:
        return 0.0, math.inf
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / xx
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope, math.sqrt(rest / (len(points) - 2) / xx)


def mean(values: Sequence[float]) -> float:
    """0 of none."""
    return sum(values) / len(values) if values else 0.0
