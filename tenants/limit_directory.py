"""Limits in memory, fed by the change log: a tenant without any costs a look into a set and nothing else."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EVERYTHING
from substrate.entries import EntryCache
from substrate.ports import ChangeEvent
from substrate.units import run_unit
from tenants.limit_types import TenantLimits
from tenants.services.limits import limited_tenants, load_limits_of


class LimitDirectory:
    """Which tenants have limits is known whole; the limits themselves are loaded at a tenant's first call."""

    def __init__(self, *, size: int = 20_000, keep_s: float = 300.0, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds the limits of `size` tenants."""
        # By the ids as texts, which hash and compare in a tenth of the time: every model call looks here.
        self._limited: set[str] = set()
        self._recount: set[str] = set()
        self._entries: EntryCache[str, TenantLimits] = EntryCache(
            self._load, size=size, keep_s=keep_s, swapped=_end, clock=clock
        )

    async def start(self) -> None:
        """Learn which tenants have limits."""
        self._entries.clear()
        self._limited = set(map(str, await run_unit(limited_tenants)))

    def on_change(self, event: ChangeEvent) -> None:
        """Drop the limits of the tenant that changed."""
        if event.kind == EVERYTHING:
            self._entries.clear()
            self._limited = _Everyone()
        if event.tenant_id is None:
            return
        tenant = str(event.tenant_id)
        if event.kind == "quota":
            self._limited.add(tenant)
            self._entries.forget(tenant)
        elif event.kind == "counters":
            self._recount.add(tenant)
            self._entries.forget(tenant)
        elif event.kind == "tenant":
            # Its calendar may be another one.
            self._entries.forget(tenant)

    def peek(self, tenant: str) -> tuple[bool, TenantLimits | None]:
        """As the port says."""
        known, limits = self._entries.peek(tenant)
        if known or tenant in self._limited:
            return known, limits
        return True, None

    async def find(self, tenant_id: uuid.UUID) -> TenantLimits | None:
        """The limits of a tenant, None when it has none. Raises Unavailable when they cannot be loaded."""
        tenant = str(tenant_id)
        return await self._entries.get(tenant) if tenant in self._limited else None

    async def _load(self, tenants: Sequence[str]) -> dict[str, TenantLimits]:
        rows = await run_unit(load_limits_of, [uuid.UUID(each) for each in tenants])
        found = {str(tenant_id): limits for tenant_id, limits in rows.items()}
        for tenant in self._recount.intersection(found):
            self._recount.discard(tenant)
            found[tenant] = replace(found[tenant], recount=True)
        return found


def _end(_: str, before: TenantLimits | None, after: TenantLimits | None) -> None:
    if before is not None:
        before.over = True


class _Everyone(set[str]):
    """After a restore anybody may have limits, until the next start."""

    def __contains__(self, value: object) -> bool:
        return True
