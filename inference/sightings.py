"""What processes see of replicas, told to one another and put together. Pure.

Calls are made by many processes, and each learns from its own alone; who looks at a pool wants to know how it is for all
of them. What a process tells is `encode`d, and replaces what it told before.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

# The last answers of a replica that a process remembers the times of.
SAMPLES = 100


class Sighting(msgspec.Struct, frozen=True, array_like=True):
    """What one process has seen of one replica of late.

    `prefill_tps` is what it has learned of its speed, 0 where nothing; `firsts_ms` are times to the first token of its
    last answers, `gaps_ms` those between two tokens, in stretches of streams. For `left_alone_s` more seconds the process
    gives it no calls, because of `left_alone`.
    """

    prefill_tps: float = 0.0
    firsts_ms: list[float] = []
    gaps_ms: list[float] = []
    restarts: int = 0
    left_alone: str = ""
    left_alone_s: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.prefill_tps or self.firsts_ms or self.gaps_ms or self.left_alone_s or self.restarts)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Sighting])


def encode(seen: Mapping[str, Sighting]) -> bytes:
    """What is told of these replicas, by their ids; nothing where there is nothing to tell."""
    told = {key: each for key, each in seen.items() if not each.empty}
    return _encoder.encode(told) if told else b""


class Sightings:
    """What the other processes told last."""

    def __init__(self) -> None:
        """Nobody has told anything."""
        self._told: list[dict[str, Sighting]] = []

    def hear(self, told: Iterable[bytes]) -> None:
        """Replace what was known by these. What cannot be read, of another version for instance, says nothing."""
        self._told = []
        for each in told:
            try:
                self._told.append(_decoder.decode(each))
            except msgspec.DecodeError:
                continue

    def of(self, replica_id: str) -> list[Sighting]:
        """What each of them saw of the replica."""
        return [found for told in self._told if (found := told.get(replica_id)) is not None]

    def speeds(self) -> dict[str, float]:
        """The speed of every replica of which somebody has learned it, by id.

        Where several have, the highest counts: a queue only ever makes an engine look slower.
        """
        found: dict[str, float] = {}
        for told in self._told:
            for key, each in told.items():
                if each.prefill_tps > found.get(key, 0.0):
                    found[key] = each.prefill_tps
        return found


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` (0–1) of `values` do not exceed, by the nearest rank; None where there are none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
