"""Kept answers in this process, bounded in bytes: the least recently used leave first."""

from collections import OrderedDict

from kernel.clock import SYSTEM_CLOCK, Clock

# What an entry costs beside its key and value.
ENTRY_BYTES = 400


class MemoryResponseCache:
    """The response cache of the embedded and small profiles: it ends with the process."""

    def __init__(self, *, most_bytes: int = 64 * 1024 * 1024, clock: Clock = SYSTEM_CLOCK) -> None:
        """Holds `most_bytes` at most, keys and its own cost included."""
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    async def get(self, tenant: str, key: str) -> bytes | None:
        """What is kept under `key` for the tenant."""
        found = self._kept.get((tenant, key))
        if found is None:
            return None
        if found[1] <= self._clock.monotonic():
            self._drop((tenant, key))
            return None
        self._kept.move_to_end((tenant, key))
        return found[0]

    async def put(self, tenant: str, key: str, value: bytes, seconds: int) -> None:
        """Keep `value`, in place of what was there."""
        self._drop((tenant, key))
        size = _size(tenant, key, value)
        if size > self._most_bytes:
            return
        self._kept[tenant, key] = value, self._clock.monotonic() + seconds
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    async def forget(self, tenant: str) -> None:
        """Drop what is kept for the tenant."""
        for each in [each for each in self._kept if each[0] == tenant]:
            self._drop(each)

    def _drop(self, name: tuple[str, str]) -> None:
        found = self._kept.pop(name, None)
        if found is not None:
            self._bytes -= _size(*name, found[0])


def _size(tenant: str, key: str, value: bytes) -> int:
    return ENTRY_BYTES + len(tenant) + len(key) + len(value)
