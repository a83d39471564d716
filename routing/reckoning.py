"""How many may wait, how long it will take, and when to come back. Pure.

The drain rate is measured: the mean time between two grants of a class while its queue is not empty, and, before there
are enough of them, how long slots are held. Nobody is refused for being late before something was measured.
"""

from enum import StrEnum

from msgspec import Struct

from routing.bands import BANDS, WHOLE
from routing.lanes import ENOUGH, Band

# A queue that has granted nothing for so many of its usual intervals, and for longer than a slot is usually held, is slower
# than it was. Where many calls began at once, as in a replica that was just started, they end at about the same time too:
# between two such crowds nothing is granted, and nothing is wrong.
STALLED = 4
# Who finds the queue full may come back when this part of it has drained: one place would go to one of many.
DRAINED = 0.25
LEAST_RETRY_MS = 1_000.0
LONGEST_RETRY_MS = 60_000.0
# As long as nothing is measured.
USUAL_RETRY_MS = 2_000.0
# One tenant may fill this part of a pool's queue.
TENANT_PART = 4
# A class or a tenant may always have so many waiting: small queues are not worth dividing.
UNDIVIDED = 16


class QueueBounds(Struct, frozen=True):
    """How many tickets may wait in a pool: in all, of each class (by rank), of one tenant."""

    total: int
    classes: tuple[int, ...]
    tenant: int

    @classmethod
    def of(cls, total: int) -> "QueueBounds":
        """The bounds of a queue of `total`, by the shares of the classes."""
        least = min(total, UNDIVIDED)
        classes = tuple(max(least, total * rule.queue_share // WHOLE) for rule in BANDS)
        return cls(total, classes, max(least, total // TENANT_PART))


class Refusal(StrEnum):
    """Why a ticket may not wait: the queue is full, its tenant's share of it is, or it would be too late."""

    FULL = "full"
    SHARE = "share"
    LATE = "late"


class Refused(Struct, frozen=True):
    """A ticket may not wait; in `retry_ms` it may."""

    why: Refusal
    retry_ms: float


class Shed(Struct, frozen=True):
    """The ticket that had to go to make room; in `retry_ms` it may come again."""

    id: str
    retry_ms: float


def expected_ms(
    band: Band, *, position: int, above: int, slots: int, hold_ms: float, holds: int, now_ms: float
) -> float | None:
    """How long the ticket at `position` of its band waits, `above` being those who wait in higher bands.

    None when nothing was measured, and for who waits for a replica that is not there yet.
    """
    if not slots:
        return None
    # Where nobody waits, what was measured is of a queue that is over.
    if band.waiting and band.grants >= ENOUGH:
        since = now_ms - band.began_ms
        stalled = holds > 0 and since > max(STALLED * band.interval_ms, hold_ms)
        return position * (since if stalled else band.interval_ms)
    if holds >= 2 * ENOUGH:
        return (above + position) * hold_ms / slots
    return None


def retry_ms(whole_ms: float | None) -> float:
    """When to come back to a queue that needs `whole_ms` to drain."""
    if whole_ms is None:
        return USUAL_RETRY_MS
    return min(LONGEST_RETRY_MS, max(LEAST_RETRY_MS, whole_ms * DRAINED))
