"""The key directory: API keys in memory, fed by the change log, so that a known key costs no query."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EVERYTHING
from substrate.entries import EntryCache
from substrate.ports import ChangeEvent
from substrate.units import run_unit
from tenants.selectors import load_key_entries
from tenants.types import KeyEntry, Principal

KEEP_S = 300.0
# A load takes less than the unit pool's time limit; marks older than both cannot concern any entry.
MARKS_KEPT_S = 2 * KEEP_S
# More keys than these of one tenant, user or group are not dropped with it, but looked at with their next use.
MANY = 20
# Loaded before a mark that concerns it: older than any.
_OVERTAKEN = -1


def _depends_on(principal: Principal) -> Iterator[str]:
    yield principal.tenant_name
    if principal.user_id is not None:
        yield principal.sharer
    for each in principal.group_ids:
        yield str(each)


class _Known:
    """An entry, and the number of marks when it was loaded or last looked at: none of these concerns it."""

    __slots__ = ("entry", "number")

    def __init__(self, number: int, entry: KeyEntry) -> None:
        self.number = number
        self.entry = entry


class KeyDirectory:
    """Entries by prefix, loaded at first use, unknown prefixes remembered too.

    A change of a key drops that entry. A change of a tenant, of its roles or grants, of a group, or of a user or one of
    their memberships drops the entries that depend on it where these are a few, and what is dropped is loaded together.
    Where they are many it leaves a mark with a number: entries loaded before the mark are looked at with their next use.
    So each change costs O(1), however many keys depend on it, and calls of whom it does not concern pay nothing for it.
    """

    def __init__(self, *, size: int = 20_000, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds `size` entries, each for five minutes at most."""
        self._clock = clock
        self._entries: EntryCache[str, _Known] = EntryCache(
            self._load, size=size, keep_s=KEEP_S, swapped=self._swapped, clock=clock
        )
        # Of all marks so far, and of the newest one that entries must be looked at for.
        self._count = self._wide = 0
        self._marks: dict[str, tuple[int, float]] = {}
        # Prefixes of the entries that are kept, by what they depend on.
        self._dependent: dict[str, set[str]] = {}
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
        if known and (found is None or found.number >= self._wide):
            return None if found is None else found.entry
        # Bounded: under a storm of changes an entry that was true a moment ago is good enough.
        for _ in range(3):
            found = await self._entries.get(prefix)
            if found is None:
                return None
            entry = found.entry
            if not self._stale(found):
                return entry
            self._entries.forget(prefix)
        return entry

    async def _load(self, prefixes: Sequence[str]) -> dict[str, _Known]:
        number = self._count
        found = await run_unit(load_key_entries, prefixes)
        return {prefix: _Known(number, self._lighter(entry)) for prefix, entry in found.items()}

    def _swapped(self, prefix: str, before: _Known | None, after: _Known | None) -> None:
        """Whose entries are kept, and whether what was loaded is true still."""
        if before is not None:
            for each in _depends_on(before.entry.principal):
                prefixes = self._dependent.get(each)
                if prefixes is not None:
                    prefixes.discard(prefix)
                    if not prefixes:
                        del self._dependent[each]
        if after is not None:
            for each in _depends_on(after.entry.principal):
                self._dependent.setdefault(each, set()).add(prefix)
            after.number = _OVERTAKEN if self._concerned(after) else self._count

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
        if known.number == _OVERTAKEN or self._concerned(known):
            return True
        # None of the marks so far concerns it: they need not be looked through at every request.
        known.number = self._count
        return False

    def _concerned(self, known: _Known) -> bool:
        """Whether any mark since it was loaded or last looked at concerns it."""
        for each in _depends_on(known.entry.principal):
            mark = self._marks.get(each)
            if mark is not None and mark[0] > known.number:
                return True
        return False

    def _mark(self, object_id: str) -> None:
        self._count += 1
        now = self._clock.monotonic()
        self._marks.pop(object_id, None)
        self._marks[object_id] = (self._count, now)
        dependent = self._dependent.get(object_id, ())
        if len(dependent) > MANY:
            self._wide = self._count
        else:
            for prefix in list(dependent):
                self._entries.forget(prefix)
        # Marks stand in order of time, so the old ones are in front.
        while self._marks:
            oldest = next(iter(self._marks))
            if now - self._marks[oldest][1] < MARKS_KEPT_S:
                break
            del self._marks[oldest]
