"""Many ended requests into few writes: figures are gathered by series and labels, then written once each.

A write to a shared series costs a microsecond, and one request touches a dozen; gathered, they cost a fraction of it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from config.seeing import series
from config.seeing.series import Histogram
from kernel.hops import Facts, Hop, Trail

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
# What the cache says of an answer that was given before.
GIVEN = frozenset({"hit", "semantic"})

# Values by labels; of what is only counted, how often.
Values = defaultdict[tuple[str, ...], list[float]]


class Fold:
    """What some requests add to the series."""

    __slots__ = (
        "attempts", "cache", "cascades", "first_bytes", "gaps", "jobs", "longest", "passages", "queues", "refused", "remembered", "requests",
        "retrievals", "saved", "shadows", "used",
    )  # fmt: skip

    def __init__(self) -> None:
        """Empty."""
        # (door, route, status class)
        self.requests: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        self.first_bytes: Values = defaultdict(list)
        self.jobs: Values = defaultdict(list)
        # (model, pool, outcome)
        self.attempts: Values = defaultdict(list)
        self.queues: Values = defaultdict(list)
        self.refused: Counter[tuple[str, str]] = Counter()
        self.gaps: Values = defaultdict(list)
        self.longest: Values = defaultdict(list)
        # By model: tokens in, tokens out, cost.
        self.used: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.cache: Counter[str] = Counter()
        self.cascades: Values = defaultdict(list)
        self.shadows: Counter[str] = Counter()
        # By model: tokens, cost.
        self.saved: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.retrievals: Values = defaultdict(list)
        self.passages: list[float] = []
        self.remembered = 0

    def take(self, trail: Trail) -> None:
        """Count an ended request or job with all its hops."""
        door = trail.door
        seconds = trail.ended - trail.began
        if door in DOORS:
            self.requests[door, trail.route or OTHER, trail.status // 100].append(seconds)
        elif door == "job":
            self.jobs[trail.route, "ok" if trail.state == "completed" else trail.state].append(seconds)
        called = None
        cached = given = False
        for hop in trail.hops:
            name = hop[0]
            if name == "attempt":
                called = hop[3]
            elif name == "cache":
                cached = True
                given = hop[3].get("outcome") in GIVEN
            self.hop(hop)
        # An answer that was given again is no model's first byte; what was called for it was the maker of vectors.
        if called is None or given:
            return
        if not cached:
            self.cache["off"] += 1
        if trail.stream and trail.first_byte and door in DOORS:
            self.first_bytes[door, str(called["model"])].append(trail.first_byte - trail.began)

    def hop(self, hop: Hop) -> None:
        """Count one hop."""
        name, began, ended, facts = hop
        if name == "queue":
            pool = str(facts["pool"])
            self.queues[pool,].append(ended - began)
            if facts["outcome"] != "ok":
                self.refused[pool, _outcome(facts)] += 1
        elif name == "attempt":
            self.attempts[str(facts["model"]), str(facts["pool"]), _outcome(facts)].append(ended - began)
        elif name == "settle":
            used = self.used[str(facts["model"])]
            used[0] += int(facts["prompt_tokens"])
            used[1] += int(facts["completion_tokens"])
            used[2] += int(facts["cost_nano"])
        elif name == "stream":
            gaps = int(facts["chunks"]) - 1
            if gaps > 0:
                model = str(facts["model"])
                self.gaps[model,].append((ended - began) / gaps)
                self.longest[model,].append(float(facts["longest_gap_ms"]) / 1000)
        elif name == "retrieve":
            self.retrievals[_outcome(facts),].append(ended - began)
            self.remembered += bool(facts.get("remembered", 0))
            if "passages" in facts:
                self.passages.append(float(facts["passages"]))
        elif name == "cache":
            self.cache[str(facts.get("outcome", "off"))] += 1
            if "saved_tokens" in facts:
                saved = self.saved[str(facts["model"])]
                saved[0] += int(facts["saved_tokens"])
                saved[1] += int(facts["saved_nano"])
        elif name == "shadow":
            self.shadows[str(facts["outcome"])] += 1
        elif name == "cascade":
            self.cascades[str(facts["outcome"]),].append(float(facts["added_ms"]) / 1000)

    def write(self) -> None:
        """Add it to the series."""
        by_route: Values = defaultdict(list)
        for (door, route, status), seconds in self.requests.items():
            series.REQUESTS.labels(door, route, f"{status}xx").inc(len(seconds))
            by_route[door, route] += seconds
        by_pool: Values = defaultdict(list)
        for labels, seconds in self.attempts.items():
            series.ATTEMPTS.labels(*labels).inc(len(seconds))
            by_pool[labels[:2]] += seconds
        _observe(series.REQUEST_SECONDS, by_route)
        _observe(series.ATTEMPT_SECONDS, by_pool)
        _observe(series.FIRST_BYTE_SECONDS, self.first_bytes)
        _observe(series.JOB_SECONDS, self.jobs)
        _observe(series.QUEUE_SECONDS, self.queues)
        _observe(series.CHUNK_GAP_SECONDS, self.gaps)
        _observe(series.LONGEST_GAP_SECONDS, self.longest)
        _observe(series.RETRIEVAL_SECONDS, self.retrievals)
        for labels, seconds in self.cascades.items():
            series.CASCADES.labels(*labels).inc(len(seconds))
        _observe(series.CASCADE_SECONDS, self.cascades)
        for outcome, count in self.shadows.items():
            series.SHADOWS.labels(outcome).inc(count)
        if self.remembered:
            series.RETRIEVAL_REMEMBERED.inc(self.remembered)
        if self.passages:
            series.RETRIEVAL_PASSAGES.observe_many(self.passages)
        for (pool, outcome), count in self.refused.items():
            series.QUEUE_REFUSED.labels(pool, outcome).inc(count)
        for outcome, count in self.cache.items():
            series.CACHE.labels(outcome).inc(count)
        for model, (tokens, cost) in self.saved.items():
            series.SAVED_TOKENS.labels(model).inc(tokens)
            series.SAVED_COST.labels(model).inc(cost)
        for model, (given, made, cost) in self.used.items():
            series.TOKENS.labels(model, "in").inc(given)
            series.TOKENS.labels(model, "out").inc(made)
            series.COST.labels(model).inc(cost)


def _observe(histogram: Histogram, values: Mapping[tuple[str, ...], list[float]]) -> None:
    for labels, seconds in values.items():
        histogram.labels(*labels).observe_many(seconds)


def _outcome(facts: Facts) -> str:
    """The outcome as a label."""
    outcome = str(facts.get("outcome", "ok"))
    return outcome if outcome in OUTCOMES else OTHER


def fold(trails: Sequence[Trail], hops: Sequence[Hop]) -> None:
    """Add ended requests, and hops that their trails did not keep, to the series."""
    gathered = Fold()
    for trail in trails:
        gathered.take(trail)
    for hop in hops:
        gathered.hop(hop)
    gathered.write()
