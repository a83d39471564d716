"""The assistant directory: assistants in memory, loaded at first use, dropped when they change."""

import uuid

from assistants import selectors
from assistants.types import AssistantView
from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EntryCache
from substrate.ports import ChangeEvent
from substrate.scoping import tenant_scope
from substrate.units import run_unit

CHANGE_KIND = "assistant"


class AssistantDirectory:
    """Entries by tenant and slug; unknown slugs are remembered too."""

    def __init__(self, *, size: int = 10_000, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds `size` entries."""
        self._entries: EntryCache[tuple[uuid.UUID, str], AssistantView] = EntryCache(
            self._load, size=size, clock=clock
        )

    async def start(self) -> None:
        """Forget everything: nothing needs to be there before the first request."""
        self._entries.clear()

    def on_change(self, event: ChangeEvent) -> None:
        """Drop the assistant that changed."""
        if event.kind == CHANGE_KIND and event.tenant_id is not None:
            self._entries.forget((event.tenant_id, event.object_id))

    async def find(self, tenant_id: uuid.UUID, slug: str) -> AssistantView | None:
        """The assistant, or None when the tenant has none of this slug. Raises Unavailable."""
        return await self._entries.get((tenant_id, slug))

    async def _load(self, key: tuple[uuid.UUID, str]) -> AssistantView | None:
        return await run_unit(_load_assistant, *key)


def _load_assistant(tenant_id: uuid.UUID, slug: str) -> AssistantView | None:
    with tenant_scope(tenant_id, read_only=True):
        row = selectors.find_assistant(slug)
        return selectors.assistant_view(row) if row else None
