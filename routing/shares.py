"""How many of a tenant's calls are heavy: a threshold that follows what the tenant asks, so that 30 % means 30 %. Pure.

A score says only which of two calls is the more complex one; where "heavy" begins is the (1 - share) quantile of the
tenant's own last calls (RouteLLM's calibration, `routellm/calibrate_threshold.py`, done all the time). Each process keeps
its own sketch: it sees a random sample of the tenant's calls, so that all of them settle on the same threshold.
"""

import uuid
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from msgspec import Struct

# Calls that the threshold rests on, and how many of the calls of all tenants a young sketch begins with.
WINDOW = 512
PRIOR = 64
MOST_TENANTS = 2_000


class Threshold(Struct, frozen=True):
    """Where heavy begins. A call of exactly this score is heavy by chance, with `tied` as its probability."""

    score: float
    tied: float

    def heavy(self, score: float, chance: Callable[[], float]) -> bool:
        """Whether a call of this score is heavy; `chance` gives a number from 0 to 1."""
        if score == self.score:
            return chance() < self.tied
        return score > self.score


class Sketch:
    """The scores of the last calls of one tenant, in their order of time and of size."""

    __slots__ = ("_recent", "_sorted")

    def __init__(self, prior: Sequence[float]) -> None:
        """Begins with the scores that calls have in general, which leave as the tenant's own come."""
        self._recent: deque[float] = deque(prior)
        self._sorted = array("d", sorted(prior))

    def note(self, score: float) -> None:
        """One more call."""
        if len(self._recent) >= WINDOW:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(score)
        insort(self._sorted, score)

    def threshold(self, percent: int) -> Threshold:
        """Where the most complex `percent` of these calls begin."""
        found, size = self._sorted, len(self._sorted)
        wanted = size * percent / 100
        if not size or wanted <= 0:
            return Threshold(2.0, 0.0)
        at = found[min(size - 1, int(size - wanted))]
        above, tied = size - bisect_right(found, at), bisect_right(found, at) - bisect_left(found, at)
        return Threshold(at, min(1.0, max(0.0, (wanted - above) / tied)))

    def __len__(self) -> int:
        """How many scores it holds."""
        return len(self._recent)


class Shares:
    """The sketches of the tenants that asked last, a bounded number of them."""

    def __init__(self, prior: Sequence[float], *, most: int = MOST_TENANTS) -> None:
        """`prior` are scores of calls in general: quantiles at equal steps."""
        step = max(1, len(prior) // PRIOR)
        self._prior = tuple(prior[::step])[:PRIOR]
        self._sketches: OrderedDict[uuid.UUID, Sketch] = OrderedDict()
        self._most = most

    def of(self, tenant_id: uuid.UUID) -> Sketch:
        """The tenant's sketch."""
        found = self._sketches.get(tenant_id)
        if found is None:
            found = self._sketches[tenant_id] = Sketch(self._prior)
            if len(self._sketches) > self._most:
                self._sketches.popitem(last=False)
        else:
            self._sketches.move_to_end(tenant_id)
        return found

    def peek(self, tenant_id: uuid.UUID) -> Sketch:
        """The tenant's sketch, or a new one that is not kept: for who only asks."""
        return self._sketches.get(tenant_id) or Sketch(self._prior)
