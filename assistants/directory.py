"""Assistants in memory: loaded at first use, dropped when the change log says that one was edited."""

import uuid
from collections.abc import Sequence

from assistants.selectors import load_assistants
from assistants.types import AssistantView
from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EVERYTHING
from substrate.entries import EntryCache
from substrate.ports import ChangeEvent
from substrate.units import run_unit

CHANGE_KIND = "assistant"
# Of one load: each tenant takes a scope of its own.
AT_ONCE = 10


class AssistantDirectory:
    """One per process and event loop; a question to a known assistant asks no database."""

    def __init__(self, *, size: int = 10_000, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds at most `size` assistants, unknown names included."""
        self._entries: EntryCache[tuple[uuid.UUID, str], AssistantView] = EntryCache(
            _load, size=size, at_once=AT_ONCE, clock=clock
        )

    async def start(self) -> None:
        """Nothing must be there before the first question; what was there may have aged."""
        self._entries.clear()

    def on_change(self, event: ChangeEvent) -> None:
        """Drop the assistant that was changed."""
        if event.kind == CHANGE_KIND and event.tenant_id is not None:
            self._entries.forget((event.tenant_id, event.object_id))
        elif event.kind == EVERYTHING:
            self._entries.clear()

    async def find(self, tenant_id: uuid.UUID, slug: str) -> AssistantView | None:
        """The tenant's assistant of this name, or None. Raises Unavailable."""
        return await self._entries.get((tenant_id, slug))


async def _load(keys: Sequence[tuple[uuid.UUID, str]]) -> dict[tuple[uuid.UUID, str], AssistantView]:
    return await run_unit(load_assistants, keys)
