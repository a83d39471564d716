"""That usage grows, for pages that show it: one change a tenant each five seconds at most, however many calls there are."""

import uuid
from collections.abc import Iterable

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.units import run_unit

EVERY_S = 5.0
# With more tenants at once one change tells all of them: pages then look a little too often.
MOST_TENANTS = 50


class UsageTicks:
    """Gathers whose usage grew, and tells it. One per drain."""

    def __init__(self, *, every_s: float = EVERY_S, clock: Clock = SYSTEM_CLOCK) -> None:
        """Tells each `every_s` seconds at most; the first time at once."""
        self._every_s = every_s
        self._clock = clock
        self._grown: set[uuid.UUID] = set()
        self._told_at = clock.monotonic() - every_s

    def note(self, tenant_ids: Iterable[uuid.UUID]) -> None:
        """The usage of these tenants grew."""
        self._grown.update(tenant_ids)

    async def tell(self) -> None:
        """Tell what was noted, if it is time. Raises Unavailable."""
        now = self._clock.monotonic()
        if not self._grown or now - self._told_at < self._every_s:
            return
        self._told_at = now
        grown = tuple(self._grown)
        await run_unit(_tell, grown)
        self._grown.difference_update(grown)


def _tell(tenant_ids: tuple[uuid.UUID, ...]) -> None:
    with system_scope("tell that usage grew"):
        for tenant_id in tenant_ids if len(tenant_ids) <= MOST_TENANTS else (None,):
            record_change(kind="usage", object_id="", tenant_id=tenant_id)
