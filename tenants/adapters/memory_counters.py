"""Counters in the process: exact for one serving process, seeded from ledger and spool at first use."""

from collections.abc import Sequence

from kernel.clock import SYSTEM_CLOCK, Clock, unix_ms
from tenants.counted import Bound, TenantCount
from tenants.counting import Calls
from tenants.limit_types import (
    LEASE_MS,
    Claim,
    CountersState,
    Line,
    Outcome,
    Seed,
    Settlement,
    Standing,
    Verdict,
)


class MemoryCounters:
    """One `TenantCount` for each tenant that has limits. Nothing here awaits, so each step is whole."""

    def __init__(self, *, lease_ms: int = LEASE_MS, clock: Clock = SYSTEM_CLOCK) -> None:
        """A reservation that nobody renews ends after `lease_ms`."""
        self._lease_ms = lease_ms
        self._clock = clock
        self._tenants: dict[str, TenantCount] = {}
        self._calls = Calls()

    async def reserve(self, claim: Claim) -> Verdict:
        """As the port says."""
        now_ms = unix_ms(self._clock)
        bound = claim.lines.kept
        if (
            type(bound) is not Bound
            or bound.tenant.owner is not self
            or bound.age != bound.tenant.age
            or not bound.from_ms <= now_ms < bound.until_ms
        ):
            bound = self._of(claim.tenant).bind(claim.lines, now_ms)
            if bound.unseeded:
                return Verdict(Outcome.UNSEEDED, at_ms=now_ms, unseeded=bound.unseeded)
        return self._calls.reserve(bound, claim, now_ms=now_ms, lease_ms=self._lease_ms)

    async def renew(self, claim: Claim, *, running: bool | None = None) -> bool:
        """As the port says."""
        now_ms = unix_ms(self._clock)
        if not self._calls.renew(claim.id, now_ms=now_ms, lease_ms=self._lease_ms):
            return False
        return running is None or self._calls.place(claim.id, wanted=running, now_ms=now_ms)

    def settle(self, settlement: Settlement) -> None:
        """As the port says."""
        if not self._calls.settle(settlement, now_ms=unix_ms(self._clock)):
            self._of(settlement.claim.tenant).book_late(settlement)

    def refund(self, claim: Claim) -> None:
        """As the port says."""
        self.settle(Settlement(claim, (0,) * len(claim.lines), unix_ms(self._clock)))

    async def read(self, tenant: str, lines: Sequence[Line]) -> tuple[Standing, ...]:
        """As the port says."""
        return self._of(tenant).read(lines, now_ms=unix_ms(self._clock))

    async def seed(self, tenant: str, seeds: Sequence[Seed], *, replace: bool = False) -> None:
        """As the port says."""
        self._of(tenant).seed(seeds, replace=replace)

    async def check(self) -> CountersState:
        """As the port says: they are never away from the one process that they serve."""
        return CountersState()

    async def forget(self, tenant: str) -> None:
        """As the port says."""
        count = self._tenants.pop(tenant, None)
        if count is not None:
            count.forget_sums()

    async def known(self, tenant: str) -> int:
        """As the port says: 1 or 0."""
        return int(tenant in self._tenants)

    def forget_sums(self, *, most: int) -> None:
        """Nothing is known of days and months any more; rates stay what they are, unless of more than `most` tenants."""
        for count in self._tenants.values():
            count.forget_sums()
        if len(self._tenants) > most:
            self._tenants.clear()

    def _of(self, tenant: str) -> TenantCount:
        found = self._tenants.get(tenant)
        if found is None:
            found = self._tenants[tenant] = TenantCount(self)
        return found
