"""Limits in memory, fed by the change log: a tenant without any costs a look into a set and nothing else."""

import uuid
from dataclasses import replace

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EVERYTHING, EntryCache
from substrate.ports import ChangeEvent
from substrate.units import run_unit
from tenants.limit_types import TenantLimits
from tenants.services.limits import limited_tenants, load_limits


class LimitDirectory:
    """Which tenants have limits is known whole; the limits themselves are loaded at a tenant's first call."""

    def __init__(self, *, size: int = 20_000, keep_s: float = 300.0, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds the limits of `size` tenants."""
        self._limited: set[uuid.UUID] = set()
        self._recount: set[uuid.UUID] = set()
        self._entries: EntryCache[uuid.UUID, TenantLimits] = EntryCache(
            self._load, size=size, keep_s=keep_s, clock=clock
        )

    async def start(self) -> None:
        """Learn which tenants have limits."""
        self._entries.clear()
        self._limited = await run_unit(limited_tenants)

    def on_change(self, event: ChangeEvent) -> None:
        """Drop the limits of the tenant that changed."""
        if event.kind == "quota" and event.tenant_id is not None:
            self._limited.add(event.tenant_id)
            self._entries.forget(event.tenant_id)
        elif event.kind == "counters" and event.tenant_id is not None:
            self._recount.add(event.tenant_id)
            self._entries.forget(event.tenant_id)
        elif event.kind == "tenant" and event.tenant_id is not None:
            # Its calendar may be another one.
            self._entries.forget(event.tenant_id)
        elif event.kind == EVERYTHING:
            self._entries.clear()
            self._limited = _Everyone()

    async def find(self, tenant_id: uuid.UUID) -> TenantLimits | None:
        """The limits of a tenant, None when it has none. Raises Unavailable when they cannot be loaded."""
        if tenant_id not in self._limited:
            return None
        known, found = self._entries.peek(tenant_id)
        return found if known else await self._entries.get(tenant_id)

    async def _load(self, tenant_id: uuid.UUID) -> TenantLimits | None:
        found = await run_unit(load_limits, tenant_id)
        if found is not None and tenant_id in self._recount:
            self._recount.discard(tenant_id)
            return replace(found, recount=True)
        return found


class _Everyone(set[uuid.UUID]):
    """After a restore anybody may have limits, until the next start."""

    def __contains__(self, value: object) -> bool:
        return True
