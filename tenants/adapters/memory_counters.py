"""Counters in the process: exact for one serving process, seeded from ledger and spool at first use."""

from collections.abc import Sequence

from kernel.clock import SYSTEM_CLOCK, Clock, unix_ms
from tenants.counted import Done
from tenants.counting import REMEMBER_MS, TenantCount
from tenants.limit_types import LEASE_MS, Claim, CountersState, Line, Seed, Settlement, Standing, Verdict


class MemoryCounters:
    """One `TenantCount` for each tenant that has limits. Nothing here awaits, so each step is whole."""

    def __init__(self, *, lease_ms: int = LEASE_MS, clock: Clock = SYSTEM_CLOCK) -> None:
        """A reservation that nobody renews ends after `lease_ms`."""
        self._lease_ms = lease_ms
        self._clock = clock
        self._tenants: dict[str, TenantCount] = {}
        # One of all tenants: of ten thousand that call in turn each would find its own cold.
        self._done = Done(REMEMBER_MS)

    async def reserve(self, claim: Claim) -> Verdict:
        """As the port says."""
        now_ms = unix_ms(self._clock)
        count = self._tenants.get(claim.tenant) or self._of(claim.tenant)
        return count.reserve(claim, now_ms=now_ms, lease_ms=self._lease_ms)

    async def renew(self, claim: Claim, *, running: bool | None = None) -> bool:
        """As the port says."""
        count, now_ms = self._of(claim.tenant), self._now_ms()
        if not count.renew([claim.id], now_ms=now_ms, lease_ms=self._lease_ms)[0]:
            return False
        return running is None or count.place(claim.id, wanted=running, now_ms=now_ms)

    def settle(self, settlement: Settlement) -> None:
        """As the port says."""
        tenant = settlement.claim.tenant
        count = self._tenants.get(tenant) or self._of(tenant)
        count.settle(settlement, now_ms=unix_ms(self._clock))

    def refund(self, claim: Claim) -> None:
        """As the port says."""
        self.settle(Settlement(claim, (0,) * len(claim.lines), self._now_ms()))

    async def read(self, tenant: str, lines: Sequence[Line]) -> tuple[Standing, ...]:
        """As the port says."""
        return self._of(tenant).read(lines, now_ms=self._now_ms())

    async def seed(self, tenant: str, seeds: Sequence[Seed], *, replace: bool = False) -> None:
        """As the port says."""
        self._of(tenant).seed(seeds, replace=replace)

    async def check(self) -> CountersState:
        """As the port says: they are never away from the one process that they serve."""
        return CountersState()

    async def forget(self, tenant: str) -> None:
        """As the port says."""
        self._tenants.pop(tenant, None)

    async def known(self, tenant: str) -> int:
        """As the port says: 1 or 0."""
        return int(tenant in self._tenants)

    def _of(self, tenant: str) -> TenantCount:
        found = self._tenants.get(tenant)
        if found is None:
            found = self._tenants[tenant] = TenantCount(self._done)
        return found

    def _now_ms(self) -> int:
        return unix_ms(self._clock)
