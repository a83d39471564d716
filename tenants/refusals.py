"""Which refusals of a key, or of a provider's answers, were written down already: so that whoever repeats themselves writes once an hour."""

import uuid

from kernel.clock import SYSTEM_CLOCK, Clock

ONCE_IN_S = 3600.0
MOST = 10_000


class RefusedKeys:
    """What this process has noted lately, by key or provider and reason. Bounded: the oldest is forgotten first.

    The audit itself says the same for all processes (`tenants.services.refusals`); this spares asking it each time.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, most: int = MOST) -> None:
        """Has noted nothing."""
        self._clock = clock
        self._most = most
        self._noted: dict[tuple[uuid.UUID, str], float] = {}

    def is_first(self, key_id: uuid.UUID, reason: str) -> bool:
        """Whether this refusal was not noted within the hour; it counts as noted from now on."""
        now = self._clock.monotonic()
        before = self._noted.pop((key_id, reason), None)
        fresh = before is None or now - before >= ONCE_IN_S
        self._noted[key_id, reason] = now if fresh or before is None else before
        while len(self._noted) > self._most:
            del self._noted[next(iter(self._noted))]
        return fresh

    def forget(self, key_id: uuid.UUID, reason: str) -> None:
        """It could not be written down: the next such refusal is the first again."""
        self._noted.pop((key_id, reason), None)
