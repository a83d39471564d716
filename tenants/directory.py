"""The key directory: API keys in memory, fed by the change log, so that a known key costs no query."""

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EVERYTHING
from substrate.entries import EntryCache
from substrate.ports import ChangeEvent
from substrate.units import run_unit
from tenants.selectors import load_key_entries
from tenants.types import KeyEntry

KEEP_S = 300.0
# A load takes less than the unit pool's time limit; marks older than both cannot concern any entry.
MARKS_KEPT_S = 2 * KEEP_S


class _Known:
    """An entry, and the number of the newest mark that is known not to concern it."""

    __slots__ = ("entry", "number")

    def __init__(self, number: int, entry: KeyEntry) -> None:
        self.number = number
        self.entry = entry


class KeyDirectory:
    """Entries by prefix, loaded at first use, unknown prefixes remembered too.

    A change of a key drops that entry. A change of a tenant, of its roles or grants, of a group, or of a user or one of their memberships, only
    leaves a mark with a number: entries loaded before the mark are loaded again at their next use. So each change costs
    O(1), however many keys depend on it.
    """

    def __init__(self, *, size: int = 20_000, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds `size` entries, each for five minutes at most."""
        self._clock = clock
        self._entries: EntryCache[str, _Known] = EntryCache(self._load, size=size, keep_s=KEEP_S, clock=clock)
        self._count = 0
        self._marks: dict[str, tuple[int, float]] = {}
        self._closed: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()

    async def start(self) -> None:
        """Forget everything: nothing needs to be there before the first request."""
        self._entries.clear()
        self._marks.clear()

    def on_change(self, event: ChangeEvent) -> None:
        """Drop the key that changed, or mark its tenant or user as changed."""
        if event.kind == "api_key":
            self._entries.forget(event.object_id)
        elif event.kind in ("tenant", "user", "membership", "group"):
            self._mark(event.object_id)
        elif event.kind in ("role", "grant") and event.tenant_id is not None:
            self._mark(str(event.tenant_id))
        elif event.kind == EVERYTHING:
            self._entries.clear()

    async def find(self, prefix: str) -> KeyEntry | None:
        """The entry of `prefix`, or None when no valid key has it. Raises Unavailable when it cannot be loaded."""
        known, found = self._entries.peek(prefix)
        if known and (found is None or found.number == self._count):
            return None if found is None else found.entry
        # Bounded: under a storm of changes an entry that was true a moment ago is good enough.
        for _ in range(3):
            found = await self._entries.get(prefix)
            if found is None:
                return None
            if not self._stale(found):
                break
            self._entries.forget(prefix)
        return found.entry

    async def _load(self, prefixes: Sequence[str]) -> dict[str, _Known]:
        number = self._count
        found = await run_unit(load_key_entries, prefixes)
        return {prefix: _Known(number, self._lighter(entry)) for prefix, entry in found.items()}

    def _lighter(self, entry: KeyEntry) -> KeyEntry:
        principal = entry.principal
        if not principal.closed:
            return entry
        return replace(entry, principal=replace(principal, closed=self._shared(principal.closed)))

    def _shared(self, closed: frozenset[str]) -> frozenset[str]:
        """One copy for all who have the same shut to them: colleagues differ in name, seldom in rights."""
        known = self._closed.get(hash(closed))
        if known == closed:
            return known
        self._closed[hash(closed)] = closed
        return closed

    def _stale(self, known: _Known) -> bool:
        principal = known.entry.principal
        depends_on = (principal.tenant_id, principal.user_id, *principal.group_ids)
        marks = (self._marks.get(str(each)) for each in depends_on if each is not None)
        if any(mark is not None and mark[0] > known.number for mark in marks):
            return True
        # None of the marks so far concerns it: they need not be looked through at every request.
        known.number = self._count
        return False

    def _mark(self, object_id: str) -> None:
        self._count += 1
        now = self._clock.monotonic()
        self._marks.pop(object_id, None)
        self._marks[object_id] = (self._count, now)
        # Marks stand in order of time, so the old ones are in front.
        while self._marks:
            oldest = next(iter(self._marks))
            if now - self._marks[oldest][1] < MARKS_KEPT_S:
                break
            del self._marks[oldest]
