"""Many ended requests into few writes: figures are gathered by series and labels, then written once each.

A write to a shared series costs a microsecond, and one request touches a dozen; gathered, they cost a quarter of it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from prometheus_client import Counter

from config.seeing import series
from config.seeing.series import Histogram
from kernel.hops import Facts, Hop, Trail

Labels = tuple[str, ...]

OTHER = "other"
# What an attempt, or the wait for one, may end with; an engine may say anything else.
OUTCOMES = frozenset(
    {
        "ok", "cancelled", "engine_full", "engine_unavailable", "engine_failed", "invalid_request_error",
        "context_length_exceeded", "server_overloaded", "rate_limit_exceeded", "insufficient_quota", "unavailable",
        "internal_error", "not_found", "permission_denied", "model_not_found",
    }
)  # fmt: skip
DOORS = frozenset({"v1", "ws"})


def outcome_of(facts: Facts) -> str:
    """The outcome as a label."""
    outcome = str(facts.get("outcome", "ok"))
    return outcome if outcome in OUTCOMES else OTHER


class Fold:
    """What some requests add to the series."""

    def __init__(self) -> None:
        """Empty."""
        self._counts: defaultdict[tuple[Counter, Labels], float] = defaultdict(float)
        self._values: defaultdict[tuple[Histogram, Labels], list[float]] = defaultdict(list)

    def write(self) -> None:
        """Add it to the series."""
        for (counter, labels), amount in self._counts.items():
            (counter.labels(*labels) if labels else counter).inc(amount)
        for (histogram, labels), values in self._values.items():
            (histogram.labels(*labels) if labels else histogram).observe_many(values)

    def take(self, trail: Trail) -> None:
        """Count an ended request or job with all its hops."""
        seconds = trail.ended - trail.began
        if trail.door == "job":
            outcome = "ok" if trail.state == "completed" else trail.state
            self._values[series.JOB_SECONDS, (trail.route, outcome)].append(seconds)
        elif trail.door in DOORS:
            route = trail.route or OTHER
            self._counts[series.REQUESTS, (trail.door, route, f"{trail.status // 100}xx")] += 1
            self._values[series.REQUEST_SECONDS, (trail.door, route)].append(seconds)
        called = None
        cached = False
        for hop in trail.hops:
            taken = HOPS.get(hop.name)
            if taken is not None:
                taken(self, hop)
            if hop.name == "attempt":
                called = hop.facts
            cached = cached or hop.name == "cache"
        if called is None:
            return
        if not cached:
            self._counts[series.CACHE, ("off",)] += 1
        if trail.stream and trail.first_byte and trail.door in DOORS:
            waited = trail.first_byte - trail.began
            self._values[series.FIRST_BYTE_SECONDS, (trail.door, str(called["model"]))].append(waited)

    def hop(self, hop: Hop) -> None:
        """Count one hop."""
        taken = HOPS.get(hop.name)
        if taken is not None:
            taken(self, hop)

    def attempt(self, hop: Hop) -> None:
        """A call of a replica."""
        facts = hop.facts
        model, pool = str(facts["model"]), str(facts["pool"])
        self._counts[series.ATTEMPTS, (model, pool, outcome_of(facts))] += 1
        self._values[series.ATTEMPT_SECONDS, (model, pool)].append(hop.ended - hop.began)

    def queue(self, hop: Hop) -> None:
        """A wait for a slot."""
        pool, outcome = str(hop.facts["pool"]), outcome_of(hop.facts)
        self._values[series.QUEUE_SECONDS, (pool,)].append(hop.ended - hop.began)
        if outcome != "ok":
            self._counts[series.QUEUE_REFUSED, (pool, outcome)] += 1

    def stream(self, hop: Hop) -> None:
        """A stream that ended."""
        facts = hop.facts
        gaps = int(facts["chunks"]) - 1
        if gaps > 0:
            model = (str(facts["model"]),)
            self._values[series.CHUNK_GAP_SECONDS, model].append((hop.ended - hop.began) / gaps)
            self._values[series.LONGEST_GAP_SECONDS, model].append(float(facts["longest_gap_ms"]) / 1000)

    def settle(self, hop: Hop) -> None:
        """A metered call."""
        facts = hop.facts
        model = str(facts["model"])
        self._counts[series.TOKENS, (model, "in")] += int(facts["prompt_tokens"])
        self._counts[series.TOKENS, (model, "out")] += int(facts["completion_tokens"])
        self._counts[series.COST, (model,)] += int(facts["cost_nano"])

    def cache(self, hop: Hop) -> None:
        """What the cache said."""
        self._counts[series.CACHE, (str(hop.facts.get("outcome", "off")),)] += 1

    def retrieve(self, hop: Hop) -> None:
        """A search."""
        self._values[series.RETRIEVAL_SECONDS, (outcome_of(hop.facts),)].append(hop.ended - hop.began)
        if "passages" in hop.facts:
            self._values[series.RETRIEVAL_PASSAGES, ()].append(float(hop.facts["passages"]))


HOPS: dict[str, Callable[[Fold, Hop], None]] = {
    "attempt": Fold.attempt,
    "queue": Fold.queue,
    "stream": Fold.stream,
    "settle": Fold.settle,
    "cache": Fold.cache,
    "retrieve": Fold.retrieve,
}


def fold(trails: Sequence[Trail], hops: Sequence[Hop]) -> None:
    """Add ended requests, and hops that their trails did not keep, to the series."""
    gathered = Fold()
    for trail in trails:
        gathered.take(trail)
    for hop in hops:
        gathered.hop(hop)
    gathered.write()
