"""Policies of other routers, re-implemented from their sources, to choose a replica; each with its source's defaults.

An arm sees what its original would see: what it sent itself, and the engine's metrics as old as its poll makes them.
Prompts are chains of block hashes (`BLOCK` tokens each), which stand for tokens, characters or a tree of text.
"""

import random
from collections import OrderedDict, defaultdict
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.routing.engine import BLOCK, Replica, Request


@dataclass(slots=True, eq=False)
class Seen:
    """A replica as a router sees it: its own calls there, and the engine's metrics of the last poll."""

    replica: Replica
    in_flight: int = 0
    unread_tokens: int = 0
    active_blocks: int = 0
    polled_waiting: int = 0
    polled_running: int = 0
    polled_kv: float = 0.0
    sent: dict[int, int] = field(default_factory=dict)

    def poll(self) -> None:
        """Read the metrics."""
        self.polled_waiting = len(self.replica.waiting)
        self.polled_running = self.replica.running
        self.polled_kv = self.replica.kv_usage


class Arm(Protocol):
    """A way to choose a replica."""

    name: str
    # Seconds between two reads of the engines' metrics; 0 reads none.
    poll: float

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The replica for a request, of `seen`, which is never empty."""
        ...


class RoundRobin:
    """One after the other."""

    name, poll = "round robin", 0.0

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The next one."""
        self._turn += 1
        return seen[self._turn % len(seen)]


class LeastRequest:
    """The fewest own calls in flight; of equals, at random."""

    name, poll = "least request", 0.0

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The least loaded."""
        least = min(each.in_flight for each in seen)
        return self._rng.choice([each for each in seen if each.in_flight == least])


class PowerOfTwo:
    """The less loaded of two at random."""

    name, poll = "power of two", 0.0

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The less loaded of two."""
        if len(seen) == 1:
            return seen[0]
        return min(self._rng.sample(list(seen), 2), key=lambda each: each.in_flight)


class ProductionStackPrefix:
    """vLLM production-stack's PrefixAwareRouter: the longest prefix in a trie that never forgets, load no matter.

    Its trie is walked as long as some endpoint has the chunk; of those that have the last one, any (`random.choice`).
    """

    name, poll = "production-stack prefix", 0.0

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._had: defaultdict[int, set[str]] = defaultdict(set)

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """Any of those with the longest prefix."""
        left = list(seen)
        for block in request.blocks:
            having = [each for each in left if each.replica.name in self._had[block]]
            if not having:
                break
            left = having
        chosen = self._rng.choice(left)
        for block in request.blocks:
            self._had[block].add(chosen.replica.name)
        return chosen


class Prefixes:
    """An approximate index of which replica has seen which blocks, bounded, the least recently used forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: defaultdict[str, OrderedDict[int, float]] = defaultdict(OrderedDict)

    def matched(self, name: str, blocks: tuple[int, ...], newer_than: float = float("-inf")) -> int:
        """How many of the first blocks the replica has seen (since then)."""
        known = self._seen[name]
        count = 0
        for block in blocks:
            when = known.get(block)
            if when is None or when < newer_than:
                break
            count += 1
        return count

    def add(self, name: str, blocks: tuple[int, ...], now: float = 0.0) -> None:
        """The replica has been sent these."""
        known = self._seen[name]
        for block in blocks:
            known[block] = now
            known.move_to_end(block)
        while len(known) > self._most:
            known.popitem(last=False)

    def size(self, name: str) -> int:
        """How many blocks are known of the replica."""
        return len(self._seen[name])


class SglangCacheAware:
    """SGLang's cache_aware policy: the longest prefix above a threshold, unless loads differ too much.

    Defaults of the struct: cache_threshold 0.5, balance_abs_threshold 32, balance_rel_threshold 1.1; below the
    threshold the replica with the smallest tree.
    """

    poll = 0.0

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        absolute: int = 32,
        relative: float = 1.1,
        name: str = "SGLang cache-aware",
    ) -> None:
        self.name = name
        self._threshold, self._absolute, self._relative = threshold, absolute, relative
        self._trees = Prefixes(10_000)

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """By load when that is out of balance, else by prefix."""
        loads = [each.in_flight for each in seen]
        most, least = max(loads), min(loads)
        if most - least > self._absolute and most > self._relative * least:
            chosen = min(seen, key=lambda each: each.in_flight)
        else:
            matches = [self._trees.matched(each.replica.name, request.blocks) for each in seen]
            best = max(range(len(seen)), key=matches.__getitem__)
            if request.blocks and matches[best] / len(request.blocks) > self._threshold:
                chosen = seen[best]
            else:
                chosen = min(seen, key=lambda each: self._trees.size(each.replica.name))
        self._trees.add(chosen.replica.name, request.blocks)
        return chosen


class LlmD:
    """llm-d's endpoint picker with its default profile: queue 2, kv-cache use 2, prefix 3, the highest score wins.

    Metrics are read every 50 ms. Prefix: matched blocks / all blocks of an index of 31,250 blocks a replica.
    """

    poll = 0.05

    def __init__(
        self,
        rng: random.Random,
        *,
        weights: tuple[float, float, float] = (2, 2, 3),
        name: str = "llm-d 2/2/3",
    ) -> None:
        self.name = name
        self._rng, self._weights = rng, weights
        self._index = Prefixes(31_250)

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The highest sum of scores; of equals, at random."""
        queues = [each.polled_waiting for each in seen]
        most, least = max(queues), min(queues)
        w_queue, w_kv, w_prefix = self._weights
        scores: list[float] = []
        for each, queue in zip(seen, queues, strict=True):
            by_queue = 1.0 if most == least else (most - queue) / (most - least)
            matched = self._index.matched(each.replica.name, request.blocks)
            by_prefix = matched / len(request.blocks) if request.blocks else 0.0
            scores.append(w_queue * by_queue + w_kv * (1 - each.polled_kv) + w_prefix * by_prefix)
        best = max(scores)
        chosen = self._rng.choice([each for each, score in zip(seen, scores, strict=True) if score == best])
        self._index.add(chosen.replica.name, request.blocks)
        return chosen


class DynamoCost:
    """NVIDIA Dynamo's KV router without events: prefill blocks to compute + blocks being decoded, the smallest sum.

    It predicts the caches from its own decisions, which count for 120 s.
    """

    poll = 0.0

    def __init__(self, *, overlap: float = 1.0, ttl: float = 120.0, name: str = "Dynamo cost") -> None:
        self.name = name
        self._overlap, self._ttl = overlap, ttl
        self._index = Prefixes(10**9)

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The smallest cost."""
        blocks = -(-request.prompt_tokens // BLOCK)
        now = seen[0].replica.timeline.now

        def cost(each: Seen) -> float:
            matched = self._index.matched(each.replica.name, request.blocks, now - self._ttl)
            prefill = each.unread_tokens / BLOCK + blocks - self._overlap * matched
            return max(prefill, 0.0) + each.active_blocks + blocks

        chosen = min(seen, key=cost)
        self._index.add(chosen.replica.name, request.blocks, now)
        return chosen


class VllmDp:
    """vLLM's own balancer of data-parallel engines: max(own, waiting + running) + 6 · waiting · max(0, kv − 0.5).

    Snapshots every 100 ms, the start rotates.
    """

    name, poll = "vLLM DP score", 0.1

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The smallest score."""
        self._turn += 1

        def score(place: int) -> tuple[float, int]:
            each = seen[place]
            load = max(each.in_flight, each.polled_waiting + each.polled_running)
            pressure = each.polled_waiting * 6 * max(0.0, each.polled_kv - 0.5)
            return load + pressure, (place - self._turn) % len(seen)

        return seen[min(range(len(seen)), key=score)]


class Oracle:
    """Knows what no router can: every replica's true speeds and state, and how long the answer will be.

    Of the replicas where the answer would keep both promises of goodput (`ttft` to the first token, `tpot` between tokens,
    in seconds), by the engine's own law as things stand, it takes the one where its last token comes first; of all where
    there are none. It decides one call after the other, so it is no proven bound.
    """

    name, poll = "oracle", 0.0

    def __init__(self, *, ttft: float = 1.0, tpot: float = 0.05) -> None:
        self._ttft, self._tpot = ttft, tpot

    def choose(self, request: Request, seen: Many[Seen]) -> Seen:
        """The one that answers soonest of those that answer in time."""

        def cost(each: Seen) -> tuple[bool, float]:
            replica, profile = each.replica, each.replica.profile
            queued = [*replica.reading, *replica.waiting]
            unread = sum(one.unread for one in queued) + request.prompt_tokens
            reading = (
                unread * profile.per_token
                + (len(queued) + 1) * profile.per_prompt
                + profile.base * (1 + unread // profile.chunk)
            )
            beside = min(profile.sequences, replica.running + len(replica.waiting) + 1)
            pause = profile.base + profile.per_sequence * beside
            late = reading > self._ttft or pause > self._tpot
            return late, reading + request.output_tokens * pause

        return min(seen, key=cost)
