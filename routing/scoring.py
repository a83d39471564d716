"""What a call costs on each replica, in seconds: the terms that the scheduler adds its tokens in flight to. Pure.

    (tokens in flight + the call's uncached tokens) / speed of prefill     the scheduler has the first of these
    + load          how much longer the answer takes beside those that this process already has there
    + standing      pressure on the engine's cache, and distance
    + stranger      half of the prompt's reading where a conversation that nobody has cached does not belong
    + trial         for a replica that comes back after it was left alone

Where some replicas have the prompt cached, the others are left out unless those are far too busy.

One unit, so that unequal engines and other regions need no weights. What is not known costs nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from routing.prefixes import BLOCK_TOKENS, Prefix, PrefixIndex, preferred
from routing.types import ReplicaSlots, Terms

# A conversation that nobody has cached costs so much of its reading more where it does not belong.
STRANGER_SHARE = 0.5
# Speeds above this share of the fastest replica's count as the same: they are no better known.
SAME_SPEED = 0.7
# A replica has a prompt cached when it saves this part of the most that any saves; less than so many tokens is nothing.
ENOUGH_OF_IT = 0.8
TELLING_TOKENS = 256
LEAST_PATIENCE, MOST_PATIENCE = 2.0, 100.0
# A new prompt of so many tokens waits for one replica, so that others with its beginning can follow; a shorter one goes
# wherever a slot comes free.
SETTLED_TOKENS = 1024
# A replica is given so much to read ahead.
READ_AHEAD_S = 0.25
LEAST_AHEAD_TOKENS = 512
# The others are as busy as counts when their mean backlog is this part of what is saved, or this part of their slots is
# in use.
BUSY_SHARE = 0.15
BUSY_SLOTS = 0.5


class Standing(Protocol):
    """What is known of a replica: its speed in prompt tokens a second, and what is to be added whatever the call.

    `prefill_tps` is the speed as learned, 0 until it is; `speed` what is taken when nobody's is known. `read_until` is
    when the prompts that this process sent there should be read, `queued_s` the time to read those that wait for it,
    `running` how many calls it has there.
    """

    speed: float
    prefill_tps: float
    read_until: float
    queued_s: float
    running: int
    load_s: float
    standing_s: float
    generation: int


class Weighing(Struct, frozen=True):
    """What a call costs on each replica, and those of them that it may go to: `worth_it` is for the scheduler.

    `settled` is the index of a replica that will read the prompt, known before its slot is granted, or -1: those that
    come meanwhile with the same beginning are to follow it. `waits`: by what this process knows, it will wait.
    """

    prompt_tokens: int
    slots: tuple[ReplicaSlots, ...]
    loads_s: list[float]
    standings_s: list[float]
    trials_s: Sequence[float] | None
    home: int
    worth_it: tuple[ReplicaSlots, ...]
    settled: int
    waits: bool

    def terms(self, at: int) -> Terms:
        """The terms of one replica."""
        slots = self.slots[at]
        trial = self.trials_s[at] if self.trials_s is not None else 0.0
        load, standing = self.loads_s[at], self.standings_s[at]
        return Terms(
            replica=slots.id,
            cached_tokens=self.prompt_tokens - slots.uncached_tokens,
            uncached_tokens=slots.uncached_tokens,
            prefill_tps=slots.prefill_tps,
            load_s=load,
            standing_s=standing,
            stranger_s=max(0.0, slots.extra_s - load - standing - trial),
            trial_s=trial,
        )


def weigh(
    replicas: Sequence[str],
    most: Sequence[int],
    standings: Sequence[Standing],
    prompt_tokens: int,
    prefix: Prefix | None,
    index: PrefixIndex,
    trials_s: Sequence[float] | None = None,
    *,
    now: float = 0.0,
) -> Weighing:
    """What a call of `prompt_tokens` with this prefix costs on each of the replicas, which take `most` calls at once."""
    loads = [each.load_s for each in standings]
    matched: Sequence[int] = ()
    home = -1
    if prefix is not None:
        matched = index.matched(replicas, [each.generation for each in standings], prefix.chain)
        if not any(matched):
            matched = ()
            home = preferred(prefix.home, replicas, loads)
    slots = []
    fixed = []
    fastest = max(each.prefill_tps or 0.0 for each in standings)
    alike = SAME_SPEED * fastest
    for at, each in enumerate(standings):
        speed, standing = each.prefill_tps, each.standing_s
        if speed == 0.0 or speed > alike:
            # One that nobody has tried may be as fast as any, and noise must not send every call to one of equals.
            speed = fastest or each.speed
        fixed.append(standing)
        extra = loads[at] + standing
        if home >= 0 and at != home:
            extra += STRANGER_SHARE * prompt_tokens / speed
        if trials_s is not None:
            extra += trials_s[at]
        uncached = prompt_tokens
        if matched:
            uncached = max(0, prompt_tokens - matched[at] * BLOCK_TOKENS)
        slots.append(
            ReplicaSlots(replicas[at], most[at], speed, uncached, extra, budget_of(each.prefill_tps))
        )
    worth_it = tuple(slots)
    settled, waits = -1, False
    if prefix is not None:
        backlogs = [max(0.0, each.read_until - now) + each.queued_s for each in standings]
        if matched:
            worth = _worth_it(slots, standings, prompt_tokens, backlogs)
            worth_it = tuple([slots[at] for at in worth])
            waits = min([backlogs[at] for at in worth]) > 0
        else:
            waits = min(backlogs) > 0
            if waits and prompt_tokens >= SETTLED_TOKENS:
                settled = _soonest(slots, backlogs)
                worth_it = (slots[settled],)
    return Weighing(prompt_tokens, tuple(slots), loads, fixed, trials_s, home, worth_it, settled, waits)


def _soonest(slots: Sequence[ReplicaSlots], backlogs: Sequence[float]) -> int:
    """Where a prompt that nobody has cached is read first, when all have something to read before."""
    costs = [
        backlog + each.uncached_tokens / each.prefill_tps + each.extra_s
        for backlog, each in zip(backlogs, slots, strict=True)
    ]
    return costs.index(min(costs))


def budget_of(prefill_tps: float) -> int:
    """Tokens of prompts that a replica of this speed may have before it; 0, without a bound, while it is not known.

    What waits inside an engine waits in its order, not in that of classes and shares; so it gets no more than keeps it
    busy. In powers of two, for calls whose replicas take the same share a line in the queue.
    """
    if not prefill_tps:
        return 0
    return max(LEAST_AHEAD_TOKENS, 1 << (int(READ_AHEAD_S * prefill_tps) - 1).bit_length())


def _worth_it(
    slots: Sequence[ReplicaSlots],
    standings: Sequence[Standing],
    prompt_tokens: int,
    backlogs: Sequence[float],
) -> Sequence[int]:
    """Which replicas are worth going to where some have the prompt cached: those, or all when they are too busy.

    Reading a prompt again costs the caller its time once, and everybody who reads behind it there again, beside what it
    drives from that replica's cache. So the busier the others are, the longer a call waits for what it saves: from
    `LEAST_PATIENCE` times the saving, when they have nothing to read, to `MOST_PATIENCE` times. Without this a short
    overload ends in one that does not end: calls go where the queue is shorter and not where their prompts are, which
    makes all queues longer (`benchmarks/routing`, W1).
    """
    saved = prompt_tokens - min(each.uncached_tokens for each in slots)
    limit = prompt_tokens - ENOUGH_OF_IT * saved
    having = [at for at, each in enumerate(slots) if each.uncached_tokens <= limit]
    if len(having) == len(slots) or saved < TELLING_TOKENS:
        return range(len(slots))
    costs = [backlog + each.extra_s for backlog, each in zip(backlogs, slots, strict=True)]
    others = [at for at in range(len(slots)) if at not in having]
    saved_s = saved / max(slots[at].prefill_tps for at in having)
    backlog = sum(backlogs[at] for at in others) / len(others)
    running = sum(standings[at].running / slots[at].max_concurrency for at in others) / len(others)
    busy = min(1.0, max(backlog / (BUSY_SHARE * saved_s), running / BUSY_SLOTS))
    patience = LEAST_PATIENCE + (MOST_PATIENCE - LEAST_PATIENCE) * busy
    full = busy < 1.0 and all(standings[at].running >= slots[at].max_concurrency for at in having)
    if full or min(costs[at] for at in having) - min(costs[at] for at in others) > patience * saved_s:
        return range(len(slots))
    return having
