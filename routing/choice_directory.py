"""Policies in memory, fed by the change log: a tenant without one costs a look into a set and nothing else.

While the platform has a default, every tenant has a policy; it is kept as that of any other.
"""

import uuid
from collections.abc import Sequence

from kernel.clock import SYSTEM_CLOCK, Clock
from routing.choice_types import TenantPolicy
from routing.selectors import load_policies, platform_says, tenants_with_policy
from substrate.changes import EVERYTHING
from substrate.entries import EntryCache
from substrate.ports import ChangeEvent
from substrate.units import run_unit

KIND = "choice_policy"
DEFAULT_KIND = "choice_default"


class ChoiceDirectory:
    """Which tenants have a policy is known whole; the policies are loaded at a tenant's first call."""

    def __init__(self, *, size: int = 10_000, keep_s: float = 300.0, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds the policies of `size` tenants."""
        self._having: set[uuid.UUID] = set()
        self._everyone = False
        self._entries: EntryCache[uuid.UUID, TenantPolicy] = EntryCache(
            self._load, size=size, keep_s=keep_s, clock=clock
        )

    async def start(self) -> None:
        """Learn which tenants have a policy."""
        self._entries.clear()
        self._having = await run_unit(tenants_with_policy)
        self._everyone = await run_unit(platform_says)

    def on_change(self, event: ChangeEvent) -> None:
        """Drop the policy of the tenant that changed; its calendar may be another one too."""
        if event.kind in (EVERYTHING, DEFAULT_KIND):
            self._entries.clear()
            # After a restore, or with a default, anybody may have one, until the next start.
            self._everyone = True
        elif event.tenant_id is not None and event.kind in (KIND, "tenant"):
            if event.kind == KIND:
                self._having.add(event.tenant_id)
            self._entries.forget(event.tenant_id)

    def has(self, tenant_id: uuid.UUID) -> bool:
        """Whether the tenant may have a policy."""
        return self._everyone or tenant_id in self._having

    async def find(self, tenant_id: uuid.UUID) -> TenantPolicy | None:
        """What the tenant says, None when nothing. Raises Unavailable when it cannot be loaded."""
        if not self.has(tenant_id):
            return None
        known, found = self._entries.peek(tenant_id)
        return found if known else await self._entries.get(tenant_id)

    async def _load(self, tenant_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, TenantPolicy]:
        return await run_unit(load_policies, tenant_ids)
