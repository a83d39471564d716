"""What this process has seen of each replica's work: speeds, pauses, load. Pure; times are of `time.perf_counter`.

Speeds are learned from own calls. A queue inside the engine only ever makes a prompt look slower than the engine reads,
so that a faster sample counts six times as much as a slower one. What an engine says of itself is used while it is
fresh, and never waited for.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from inference.sightings import SAMPLES, Sighting
from inference.types import ReplicaLoad

# Until something is known: of an 8B model on a middling GPU.
PREFILL_TPS = 2_000.0
GAP_S = 0.02
# A replica's load is felt by the first tokens of an answer: they come so much later as others are answered beside it.
FELT_TOKENS = 64
FASTER, SLOWER = 0.3, 0.05
# A shorter prompt says more of the network than of the engine.
TELLING_TOKENS = 256
# A sample this many times faster than all before it was a prompt that the engine had in its cache.
MOST_LEAP = 4.0
# Tokens after which half of a new pace is believed.
GAP_TOKENS = 64
# The quickest stretch of tokens is that of the last one or two windows of this length.
WINDOW_S = 2.0
TTFT_SHARE = 0.2
# What an engine said of itself is believed this long.
STALE_S = 3.0
# What is shown of a replica's times are those of its last answers, as far as they are of the last five minutes.
SEEN_S = 300.0
KV_WEIGHT_S = 0.15
FULLEST_KV = 0.98
# Differences below these are noise, and must not send every call to one replica.
KV_STEP_S = 0.01
DISTANCE_STEP_S = 0.005


@dataclass(slots=True, eq=False)
class Vital:
    """One replica. `running` and `streams` are calls of this process that hold a slot of it.

    `prefill_tps` are uncached prompt tokens a second, 0 until learned; `gap_s` seconds between two tokens of a stream,
    `ttft_s` to the first; `calls` and `gap_tokens` are what they rest on. `quick_gap_s` and `quick_before_s` are the
    quickest stretches of this window and the one before, which began at `window_at`; `slow_since` is since when they
    have been too slow, 0 while they are not. `progress_at` is when a token last came, or when the replica last began to
    have something to do; `due_at` when the longest prompt should have been read, `read_until` when, at its speed, all
    prompts are that were sent there; `queued_s` is the time to read those that wait for a slot of it, or their share of
    it where they may go elsewhere too. `speed` is `prefill_tps`, or the usual until it is learned. `load_s` is what the
    calls of this process cost another: the share of `slots` in use, times the time of the first tokens. `standing_s` is
    what it costs to go there whatever the call: cache pressure and distance, in seconds. `generation` grows when the
    engine has lost its cache, which holds `cache_tokens`, 0 until it said so; `left_alone` counts how often it was. `firsts`
    and `gaps` are the last times to a first token and between two tokens, in seconds, each with when it was.
    """

    prefill_tps: float = 0.0
    gap_s: float = 0.0
    gap_tokens: int = 0
    usual_gap_s: float = 0.0
    quick_gap_s: float = math.inf
    quick_before_s: float = math.inf
    window_at: float = 0.0
    slow_since: float = 0.0
    ttft_s: float = 0.0
    calls: int = 0
    running: int = 0
    streams: int = 0
    progress_at: float = 0.0
    due_at: float = 0.0
    read_until: float = 0.0
    queued_s: float = 0.0
    speed: float = PREFILL_TPS
    slots: int = 1
    load_s: float = 0.0
    standing_s: float = 0.0
    distance_s: float = 0.0
    generation: int = 0
    cache_tokens: int = 0
    load: ReplicaLoad | None = None
    load_at: float = 0.0
    left_alone: int = 0
    firsts: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    gaps: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    # Tasks that wait for a first byte of it, and those of them that were told not to.
    waiting: set[asyncio.Task[Any]] = field(default_factory=set)
    given_up: set[asyncio.Task[Any]] = field(default_factory=set)

    def begin(self, now: float, *, stream: bool, tokens: int, slots: int) -> None:
        """A call with `tokens` uncached prompt tokens has been given one of `slots` slots."""
        if not self.running:
            self.progress_at = now
            self.due_at = now
        self.read_until = max(self.read_until, now) + tokens / self.speed
        self.running += 1
        self.streams += stream
        self.slots = slots
        self.load_s = FELT_TOKENS * (self.gap_s or GAP_S) * self.running / slots
        if tokens > TELLING_TOKENS:
            self.due_at = max(self.due_at, now) + 4 * tokens / self.speed

    def end(self, *, stream: bool) -> None:
        """The call's slot is free again."""
        self.running -= 1
        self.streams -= stream
        self.load_s = FELT_TOKENS * (self.gap_s or GAP_S) * self.running / self.slots

    def note_first(self, now: float, seconds: float) -> None:
        """The first token of a stream came after `seconds`."""
        self.progress_at = now
        self.calls += 1
        self.firsts.append((now, seconds))
        self.ttft_s += (TTFT_SHARE if self.calls > 1 else 1.0) * (seconds - self.ttft_s)

    def note_pace(self, now: float, tokens: int, seconds: float) -> None:
        """`tokens` more tokens of a stream came within `seconds`."""
        if tokens <= 0:
            return
        self.progress_at = now
        gap = seconds / tokens
        self.gaps.append((now, gap))
        self._note_quickest(now, tokens, seconds)
        self.gap_s += (tokens / (tokens + GAP_TOKENS) if self.gap_tokens else 1.0) * (gap - self.gap_s)
        self.gap_tokens += tokens
        if not self.usual_gap_s:
            self.usual_gap_s = gap
        else:
            # Ten times as slow to believe: what the replica is like on a usual day.
            self.usual_gap_s += tokens / (tokens + 10 * GAP_TOKENS) * (gap - self.usual_gap_s)

    def _note_quickest(self, now: float, tokens: int, seconds: float) -> None:
        # The prompts that were to be read in that time: where they explain the half of it, it says nothing of the pace.
        reading = max(0.0, min(now, self.read_until) - (now - seconds))
        if reading > seconds / 2:
            return
        gap = (seconds - reading) / tokens
        if now - self.window_at >= WINDOW_S:
            self.quick_before_s = self.quick_gap_s if now - self.window_at < 2 * WINDOW_S else math.inf
            self.quick_gap_s, self.window_at = gap, now
        elif gap < self.quick_gap_s:
            self.quick_gap_s = gap

    def quickest_gap(self, now: float) -> float | None:
        """Seconds between tokens in the quickest stretch of the last seconds; None when none was seen for a while.

        Prompts that are read beside make some stretches slow, on any replica; where even the quickest is, beside what its
        prompts account for, the engine is.
        """
        quickest = min(self.quick_gap_s, self.quick_before_s)
        return quickest if now - self.window_at <= 2 * WINDOW_S and quickest < math.inf else None

    def slow_for(self, now: float, *, slow: bool) -> float:
        """Its pace was judged: for how many seconds it has been too slow every time."""
        if not slow:
            self.slow_since = 0.0
            return 0.0
        self.slow_since = self.slow_since or now
        return now - self.slow_since

    def note_prefill(self, tokens: int, seconds: float) -> None:
        """A prompt of which `tokens` were not cached had its first token after `seconds`."""
        if tokens < TELLING_TOKENS or seconds <= 0:
            return
        sample = tokens / seconds
        known = self.prefill_tps
        if not known:
            self.prefill_tps = self.speed = sample
            return
        sample = min(sample, known * MOST_LEAP)
        known += (FASTER if sample > known else SLOWER) * (sample - known)
        self.prefill_tps = self.speed = known

    def note_distance(self, seconds: float) -> None:
        """A small question was answered after `seconds`: the shortest such time is the way there and back."""
        known = self.distance_s
        self.distance_s = seconds if not known or seconds < known else known + 0.02 * (seconds - known)
        self.stand(self.load_at)

    def note_load(self, now: float, load: ReplicaLoad) -> None:
        """What the engine says of itself."""
        before, self.load, self.load_at = self.load, load, now
        self.cache_tokens = load.cache_tokens or self.cache_tokens
        if before is not None:
            if load.made_tokens < before.made_tokens or load.prompt_tokens < before.prompt_tokens:
                self.restarted()
            elif load.made_tokens > before.made_tokens or load.prompt_tokens > before.prompt_tokens:
                self.progress_at = now
        self.stand(now)

    def stand(self, now: float) -> None:
        """Reckon `standing_s` anew; what the engine said long ago no longer counts."""
        cost = round(self.distance_s / DISTANCE_STEP_S) * DISTANCE_STEP_S
        if self.load is not None and now - self.load_at <= STALE_S:
            kv = min(self.load.kv_usage, FULLEST_KV)
            cost += round(KV_WEIGHT_S * kv / (1 - kv) / KV_STEP_S) * KV_STEP_S
        self.standing_s = cost

    def fresh(self, now: float) -> bool:
        """Whether what the engine said of itself is still believed."""
        return self.load is not None and now - self.load_at <= STALE_S

    def restarted(self) -> None:
        """The engine is another process than before: its cache is empty."""
        self.generation += 1
        self.load = None

    def give_up(self) -> None:
        """Tell all who wait for a first byte of the replica not to."""
        for task in self.waiting:
            self.given_up.add(task)
            task.cancel()
        self.waiting.clear()

    def forget_pace(self) -> None:
        """Begin anew with what is known of its pace."""
        self.gap_s = self.ttft_s = 0.0
        self.gap_tokens = self.calls = 0
        self.quick_gap_s = self.quick_before_s = math.inf
        self.slow_since = 0.0


class VitalsBook:
    """The vitals of all replicas, made when first asked for."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._vitals: dict[str, Vital] = {}

    def of(self, replica_id: str) -> Vital:
        """What was seen of the replica."""
        found = self._vitals.get(replica_id)
        if found is None:
            found = self._vitals[replica_id] = Vital()
        return found

    def keep_only(self, replica_ids: Iterable[str]) -> None:
        """Forget every replica but these."""
        kept = set(replica_ids)
        self._vitals = {key: vital for key, vital in self._vitals.items() if key in kept}

    def sighting(self, replica_id: str, now: float) -> Sighting | None:
        """What was seen of the replica's work of late, as others are told; None when nothing was."""
        vital = self._vitals.get(replica_id)
        if vital is None:
            return None
        since = now - SEEN_S
        return Sighting(
            prefill_tps=vital.prefill_tps,
            firsts_ms=[round(seconds * 1000, 1) for at, seconds in vital.firsts if at >= since],
            gaps_ms=[round(seconds * 1000, 2) for at, seconds in vital.gaps if at >= since],
            restarts=vital.generation,
        )

    def adopt(self, replica_id: str, prefill_tps: float) -> None:
        """Reckon with a speed that another process has learned, until this one knows better."""
        vital = self.of(replica_id)
        if not vital.prefill_tps:
            vital.prefill_tps = vital.speed = prefill_tps
