"""Who is being served right now, so that the end of somebody's rights reaches what runs for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.changes import EVERYTHING
from substrate.ports import ChangeEvent
from tenants.types import Principal

# Changes of these kinds may take rights away; their object ids are a tenant's, a user's or a key's prefix.
TOUCHING = frozenset({"tenant", "user", "membership", "session", "api_key"})
# These may touch anybody in the tenant: what a role allows, what is shut to whom.
WHOLE_TENANT = frozenset({"role", "grant"})
# Longer than it takes from the check of a credential to the moment its answer is followed here.
MARKS_KEPT_S = 30.0


class AccessWatch:
    """Wakes what is followed when a change concerns its principal. A `Directory`: settings name it, after the keys.

    What was changed in the last seconds is remembered, so that nobody slips through between check and following. Each
    change costs what it wakes, each thing followed three entries.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Nothing is followed yet."""
        self._clock = clock
        self._followed: dict[str, set[asyncio.Event]] = {}
        self._marks: dict[str, float] = {}

    async def start(self) -> None:
        """Nothing needs to be there before the first request."""

    def __len__(self) -> int:
        """How many are followed."""
        return len({event for events in self._followed.values() for event in events})

    def on_change(self, event: ChangeEvent) -> None:
        """Wake those whom the change concerns; after a restored backup, everybody."""
        if event.kind == EVERYTHING:
            for name in self._followed:
                self._wake(name)
        elif event.kind in TOUCHING:
            self._mark(event.object_id)
            self._wake(event.object_id)
        elif event.kind in WHOLE_TENANT and event.tenant_id is not None:
            self._mark(str(event.tenant_id))
            self._wake(str(event.tenant_id))

    @contextmanager
    def following(self, principal: Principal) -> Iterator[asyncio.Event]:
        """An event that is set whenever the rights of `principal` may have changed, from a little while ago on."""
        touched = asyncio.Event()
        names = _names(principal)
        for name in names:
            self._followed.setdefault(name, set()).add(touched)
        oldest = self._clock.monotonic() - MARKS_KEPT_S
        if any(self._marks.get(name, oldest) > oldest for name in names):
            touched.set()
        try:
            yield touched
        finally:
            for name in names:
                events = self._followed[name]
                events.discard(touched)
                if not events:
                    del self._followed[name]

    def _wake(self, name: str) -> None:
        for touched in self._followed.get(name, ()):
            touched.set()

    def _mark(self, name: str) -> None:
        now = self._clock.monotonic()
        self._marks.pop(name, None)
        self._marks[name] = now
        # Marks stand in order of time, so the old ones are in front.
        while (oldest := next(iter(self._marks))) != name and now - self._marks[oldest] > MARKS_KEPT_S:
            del self._marks[oldest]


def _names(principal: Principal) -> set[str]:
    user = {str(principal.user_id)} if principal.user_id else set()
    key = {principal.api_key_prefix} if principal.api_key_prefix else set()
    return {str(principal.tenant_id)} | user | key
