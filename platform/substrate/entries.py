"""What a process keeps of rows that every request needs: loaded at first use, forgotten when the change log says so.

Loads are gathered. Those who miss in one turn of the loop share one, and it takes along what would be loaded soon
anyway: entries that a change took away, and entries that are about to age. So neither fifty edits a second nor ten
thousand entries that age every few minutes cost a unit of work each.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable

K = TypeVar("K")
V = TypeVar("V")

# Entries of one load.
AT_ONCE = 100
# Used entries that have less than this share of their time left are taken along.
_SOON = 0.2


class _Entry(Generic[V]):
    """What is known of a key, None being nothing, until a moment of the monotonic clock."""

    __slots__ = ("until", "used", "value")

    def __init__(self, value: V | None, until: float) -> None:
        self.value = value
        self.until = until
        self.used = False


def _nothing_swapped(key: Any, before: Any, after: Any) -> None:
    """Nobody wants to hear of it."""


class EntryCache(Generic[K, V]):
    """A bounded cache of entries loaded by units of work at first use; that there is none is kept too.

    `forget` is called on a change. A load that was under way when its entry changed is not kept.
    """

    def __init__(
        self,
        load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        size: int = 10_000,
        keep_s: float = 300.0,
        at_once: int = AT_ONCE,
        swapped: Callable[[K, V | None, V | None], None] = _nothing_swapped,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`load` gives the entries of the keys that have one. Holds `size` entries, the least recently used leave first;
        each is loaded again after `keep_s` seconds. One load is of `at_once` keys at most.

        `swapped` hears of each value that comes, goes or takes another's place, in the moment that it does: the key, the
        value before and the one from now on, None where there is none.
        """
        self._load = load
        self._size = size
        # Who was used last matters once some must leave soon: until then their order is not worth the cold memory of
        # their neighbours, at each look.
        self._crowded = size * 3 // 4
        self._keep_s = keep_s
        self._at_once = at_once
        self._swapped = swapped
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._loading: dict[K, asyncio.Future[V | None]] = {}
        # Asked for in this turn of the loop; the load that begins in the next one takes them.
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        # Used until a change took them away.
        self._changed: dict[K, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def peek(self, key: K) -> tuple[bool, V | None]:
        """(known, entry) without loading."""
        entry = self._entries.get(key)
        if entry is None or entry.until < self._clock.monotonic():
            return False, None
        if len(self._entries) > self._crowded:
            self._entries.move_to_end(key)
        entry.used = True
        return True, entry.value

    async def get(self, key: K) -> V | None:
        """The entry of `key`, loaded if need be; None when there is none. Raises what the load raises."""
        known, value = self.peek(key)
        if known:
            return value
        waiting = self._loading.get(key)
        return await asyncio.shield(self._ask(key) if waiting is None else waiting)

    def forget(self, key: K) -> None:
        """Drop the entry of `key`; a load under way is not kept."""
        entry = self._entries.pop(key, None)
        if key not in self._asked:
            self._loading.pop(key, None)
        if entry is not None:
            self._let_go(key, entry)
            if entry.used and len(self._changed) < self._size:
                self._changed[key] = None

    def clear(self) -> None:
        """Drop everything."""
        while self._entries:
            self._let_go(*self._entries.popitem())
        self._changed.clear()
        # A load that has not begun will see what is true now.
        self._loading = dict(self._asked)

    def _ask(self, key: K) -> "asyncio.Future[V | None]":
        waiting = self._asked[key] = self._loading[key] = _future()
        if len(self._asked) == 1:
            self._begin()
        return waiting

    def _begin(self) -> None:
        task = asyncio.ensure_future(self._fetch())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self) -> None:
        """Load what was asked for in the turn before, and what may come along."""
        batch = {key: self._asked.pop(key) for key in list(islice(self._asked, self._at_once))}
        if self._asked:
            self._begin()
        for key in self._due(self._at_once - len(batch)):
            batch[key] = self._loading[key] = _future()
        try:
            await self._load_all(batch)
        finally:
            for key, waiting in batch.items():
                waiting.cancel()
                self._done(key, waiting)

    async def _load_all(self, batch: "Mapping[K, asyncio.Future[V | None]]") -> None:
        loading = asyncio.ensure_future(self._load(list(batch)))
        try:
            await asyncio.wait((loading,))
        finally:
            loading.cancel()
        error = loading.exception()
        if error is None:
            # One moment for all of them: a number that many share is seldom cold.
            found, until = loading.result(), self._clock.monotonic() + self._keep_s
            for key, waiting in batch.items():
                self._keep(key, waiting, found.get(key), until)
        elif len(batch) == 1 or isinstance(error, Unavailable):
            for waiting in batch.values():
                _fail(waiting, error)
        else:
            # One that cannot be read must not keep the others from theirs.
            for key, waiting in batch.items():
                await self._load_all({key: waiting})

    def _due(self, room: int) -> list[K]:
        """Keys to take along: of entries that a change took away, and of those that age soon. What aged unused goes."""
        due = list(islice(self._changed, max(0, room)))
        for key in due:
            del self._changed[key]
        now = self._clock.monotonic()
        soon = now + self._keep_s * _SOON
        for key, entry in list(islice(self._entries.items(), 2 * self._at_once)):
            if entry.until > soon or len(due) >= room:
                break
            if entry.used:
                due.append(key)
            elif entry.until < now:
                self._let_go(key, self._entries.pop(key))
        return [key for key in due if key not in self._loading]

    def _let_go(self, key: K, entry: _Entry[V]) -> None:
        self._swapped(key, entry.value, None)

    def _keep(self, key: K, waiting: "asyncio.Future[V | None]", value: V | None, until: float) -> None:
        if self._done(key, waiting):
            before = self._entries.pop(key, None)
            self._entries[key] = _Entry(value, until)
            self._swapped(key, None if before is None else before.value, value)
            while len(self._entries) > self._size:
                self._let_go(*self._entries.popitem(last=False))
        if not waiting.done():
            waiting.set_result(value)

    def _done(self, key: K, waiting: "asyncio.Future[V | None]") -> bool:
        """Whether the load that has ended is the newest of `key`."""
        if self._loading.get(key) is not waiting:
            return False
        del self._loading[key]
        return True


def _future() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


def _fail(waiting: "asyncio.Future[Any]", error: BaseException) -> None:
    if not waiting.done():
        waiting.set_exception(error)
        # When everybody who waited has left, nobody else asks for it.
        waiting.exception()
