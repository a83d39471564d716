"""What a call costs on each replica, in seconds: the terms that the scheduler adds its tokens in flight to. Pure.

    (tokens in flight + the call's uncached tokens) / speed of prefill     the scheduler has the first of these
    + load          how much longer the answer takes beside those that this process already has there
    + standing      pressure on the engine's cache, and distance
    + stranger      half of the prompt's reading where a conversation that nobody has cached does not belong
    + trial         for a replica that comes back after it was left alone

One unit, so that unequal engines and other regions need no weights. What is not known costs nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from routing.prefixes import BLOCK_TOKENS, Prefix, PrefixIndex, preferred
from routing.types import ReplicaSlots, Terms

# A conversation that nobody has cached costs so much of its reading more where it does not belong.
STRANGER_SHARE = 0.5


class Standing(Protocol):
    """What is known of a replica: its speed in prompt tokens a second, and what is to be added whatever the call."""

    speed: float
    load_s: float
    standing_s: float
    generation: int


class Weighing(Struct, frozen=True):
    """What a call costs on each replica: `slots` as the scheduler is told, the rest to explain it."""

    prompt_tokens: int
    slots: tuple[ReplicaSlots, ...]
    loads_s: list[float]
    standings_s: list[float]
    trials_s: Sequence[float] | None
    home: int

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
    for at, each in enumerate(standings):
        speed, standing = each.speed, each.standing_s
        fixed.append(standing)
        extra = loads[at] + standing
        if home >= 0 and at != home:
            extra += STRANGER_SHARE * prompt_tokens / speed
        if trials_s is not None:
            extra += trials_s[at]
        uncached = prompt_tokens
        if matched:
            uncached = max(0, prompt_tokens - matched[at] * BLOCK_TOKENS)
        slots.append(ReplicaSlots(replicas[at], most[at], speed, uncached, extra))
    return Weighing(prompt_tokens, tuple(slots), loads, fixed, trials_s, home)
