"""Answers by their questions in this process, bounded in entries and in bytes."""

from collections import OrderedDict
from collections.abc import Mapping

from assistants.ports import MOST_QUESTIONS, MOST_SHELVES, MOST_TENANT_SHELVES
from assistants.types import Shelf
from kernel.clock import SYSTEM_CLOCK, Clock

# What an entry costs beside its question and answer.
ENTRY_BYTES = 600
# How often all that is over is dropped.
SWEEP_S = 60.0

# By name: question, answer, when it ends.
_Held = dict[str, tuple[bytes, bytes, float]]


class MemorySemanticCache:
    """The semantic cache of the embedded and small profiles: it ends with the process."""

    def __init__(self, *, most_bytes: int = 64 * 1024 * 1024, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds `most_bytes` at most, its own cost included."""
        self._most_bytes = most_bytes
        self._clock = clock
        # The shelves by tenant, the one last written to at the end; and the tenants in that order.
        self._tenants: OrderedDict[str, OrderedDict[Shelf, _Held]] = OrderedDict()
        self._bytes = 0
        self._swept_at = clock.monotonic()

    async def questions(self, shelf: Shelf) -> Mapping[str, bytes]:
        """The questions on the shelf by their names."""
        now = self._clock.monotonic()
        return {name: entry[0] for name, entry in self._held(shelf).items() if entry[2] > now}

    async def answer(self, shelf: Shelf, name: str) -> bytes | None:
        """The answer to the question of this name."""
        found = self._held(shelf).get(name)
        return found[1] if found is not None and found[2] > self._clock.monotonic() else None

    async def put(self, shelf: Shelf, name: str, question: bytes, answer: bytes, seconds: int) -> None:
        """Keep both, in place of what was there under the name."""
        if _size(question, answer) > self._most_bytes:
            return
        now = self._clock.monotonic()
        if now - self._swept_at >= SWEEP_S:
            self._sweep(now)
        shelves = self._tenants.setdefault(shelf.tenant, OrderedDict())
        held = shelves.setdefault(shelf, {})
        shelves.move_to_end(shelf)
        self._tenants.move_to_end(shelf.tenant)
        for each in [each for each, entry in held.items() if entry[2] <= now or each == name]:
            self._drop(held, each)
        while len(held) >= MOST_QUESTIONS:
            self._drop(held, min(held, key=lambda each: held[each][2]))
        held[name] = question, answer, now + seconds
        self._bytes += _size(question, answer)
        self._bound(shelf, shelves)

    async def forget(self, tenant: str) -> None:
        """Drop what is kept for the tenant."""
        for shelf in list(self._tenants.get(tenant, ())):
            self._drop_shelf(shelf)

    def _bound(self, shelf: Shelf, shelves: OrderedDict[Shelf, _Held]) -> None:
        own = [each for each in shelves if each.assistant == shelf.assistant]
        for each in own[: max(0, len(own) - MOST_SHELVES)]:
            self._drop_shelf(each)
        while len(shelves) > MOST_TENANT_SHELVES:
            self._drop_shelf(next(iter(shelves)))
        while self._bytes > self._most_bytes:
            self._drop_shelf(next(iter(next(iter(self._tenants.values())))))

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for shelves in list(self._tenants.values()):
            for shelf, held in list(shelves.items()):
                for name in [name for name, entry in held.items() if entry[2] <= now]:
                    self._drop(held, name)
                if not held:
                    self._drop_shelf(shelf)

    def _held(self, shelf: Shelf) -> _Held:
        shelves = self._tenants.get(shelf.tenant)
        return shelves.get(shelf, {}) if shelves is not None else {}

    def _drop(self, held: _Held, name: str) -> None:
        question, answer, _ = held.pop(name)
        self._bytes -= _size(question, answer)

    def _drop_shelf(self, shelf: Shelf) -> None:
        shelves = self._tenants[shelf.tenant]
        held = shelves.pop(shelf)
        self._bytes -= sum(_size(question, answer) for question, answer, _ in held.values())
        if not shelves:
            del self._tenants[shelf.tenant]


def _size(question: bytes, answer: bytes) -> int:
    return ENTRY_BYTES + len(question) + len(answer)
