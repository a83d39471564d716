"""Searches that this process has made a moment ago: what was found, as long as nothing in their knowledge bases changed.

Only the finding is remembered: chunks and scores. Before it each search asks the database whose bases the asker may read,
after it which of the chunks are live; so that a remembered search shows nobody what they may not read, nor anything that
is gone. What is new is found as soon as the change log has told of it.
"""

import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from kernel.clock import SYSTEM_CLOCK, Clock
from knowledge.types import Collection, Hit, SearchMode
from substrate.changes import EVERYTHING
from substrate.ports import ChangeEvent

# Changes of a document are told as those of its base.
KINDS = frozenset({"knowledge_base", "document"})
MOST_SEARCHES = 2_000
# With more bases than these, all is forgotten at once.
MOST_BASES = 50_000
KEEP_S = 300.0


class SearchKey(NamedTuple):
    """One search, and the state that its bases were in as far as this process had heard."""

    collection: Collection
    bases: tuple[uuid.UUID, ...]
    text: str
    limit: int
    mode: SearchMode
    alpha: float
    states: tuple[int, ...]


class RememberedSearches:
    """One per process and event loop. It remembers nothing before `start`: until then nobody tells it of changes."""

    def __init__(
        self, *, size: int = MOST_SEARCHES, keep_s: float = KEEP_S, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """Remembers `size` searches at most, the least recently made leave first, each for `keep_s` seconds."""
        self._size = size
        self._keep_s = keep_s
        self._clock = clock
        self._told = False
        self._found: OrderedDict[SearchKey, tuple[tuple[Hit, ...], float]] = OrderedDict()
        self._states: defaultdict[str, int] = defaultdict(int)
        # Grows when everything changed: no key of before is equal to one of after.
        self._epoch = 0

    async def start(self) -> None:
        """From now on changes are told."""
        self._told = True
        self._forget()

    def on_change(self, event: ChangeEvent) -> None:
        """A base has another state: what was found in the one before is not found again."""
        if event.kind in KINDS:
            if len(self._states) >= MOST_BASES:
                self._forget()
            self._states[event.object_id] += 1
        elif event.kind == EVERYTHING:
            self._forget()

    def key(
        self,
        collection: Collection,
        bases: Sequence[uuid.UUID],
        text: str,
        *,
        limit: int,
        mode: SearchMode,
        alpha: float,
    ) -> SearchKey | None:
        """What the search is remembered by, asked for before it is made; None while nothing is remembered."""
        if not self._told:
            return None
        states = (self._epoch, *(self._states.get(str(each), 0) for each in bases))
        return SearchKey(collection, tuple(bases), text, limit, mode, alpha, states)

    def get(self, key: SearchKey) -> tuple[Hit, ...] | None:
        """What was found; None when it is not remembered (any more)."""
        known = self._found.get(key)
        if known is None:
            return None
        if known[1] <= self._clock.monotonic():
            del self._found[key]
            return None
        self._found.move_to_end(key)
        return known[0]

    def put(self, key: SearchKey, hits: Sequence[Hit]) -> None:
        """Remember what was found."""
        self._found[key] = tuple(hits), self._clock.monotonic() + self._keep_s
        self._found.move_to_end(key)
        if len(self._found) > self._size:
            self._found.popitem(last=False)

    def _forget(self) -> None:
        self._found.clear()
        self._states.clear()
        self._epoch += 1
