"""The change log: how an edit in one process reaches the memory of all others within two seconds.

`record_change` writes a row in the edit's own transaction. Each process runs one `ChangeTail`, which reads new rows
(nudged by Redis where there is one, else once a second) and tells the listeners. What they usually keep is an
`EntryCache` (`substrate.entries`).
"""

import asyncio
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Max, Min

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Unavailable
from substrate.models import Change
from substrate.ports import ChangeEvent, ChangeNudge
from substrate.units import run_unit

log = structlog.get_logger(__name__)

# The kind of the one change after which nothing in memory can be trusted: a restored backup. Every listener that keeps
# entries forgets them all.
EVERYTHING = "everything"
# A transaction that took a sequence number may commit after one with a higher number; its row is looked for this long.
GAP_PATIENCE = timedelta(seconds=60)
# What is kept by the state of the log, an hour at most, must end before that state comes again.
KEEP_CHANGES = timedelta(hours=2)
# How far below a new sequence number others may still be on their way to their commit.
WIDEST_GAP = 1_000
# Edits that come by the dozen are read together, so many seconds apart at least.
REST_S = 0.1


Listener = Callable[[ChangeEvent], None]


@dataclass(frozen=True, slots=True)
class _Told:
    """What a transaction does once it is committed: nudge the tails. Equal for the same change."""

    kind: str
    tenant_id: uuid.UUID | None
    object_id: str

    def __call__(self) -> None:
        nudge: ChangeNudge = backends["change_nudge"]
        nudge.send()


def record_change(*, kind: str, object_id: object, tenant_id: uuid.UUID | None = None) -> None:
    """Say, in the transaction at hand, that the thing was changed; nudge the other processes once it is committed.

    Said again in the same transaction it costs nothing: one row tells.
    """
    told = _Told(kind, tenant_id, str(object_id))
    # What waits for the commit is still true: a rollback takes it away together with its row.
    if any(waiting[1] == told for waiting in transaction.get_connection().run_on_commit):
        return
    Change.objects.create(kind=kind, tenant_id=tenant_id, object_id=told.object_id)
    transaction.on_commit(told, robust=True)


def newest_changes(
    *, kinds: Collection[str], tenant_id: uuid.UUID, object_ids: Collection[str], limit: int = 200
) -> list[tuple[int, datetime]]:
    """(seq, when) of the newest changes of these things of the tenant that the log still holds, the newest first.

    Those after which nothing can be trusted are among them. Two equal lists, less than an hour apart, say that nothing
    changed between: all of them are told and not the newest alone, for a transaction that took an earlier number may
    commit after one with a later.
    """
    # Two questions, each with an index of its own: one with OR reads the whole log.
    ours = Change.objects.filter(kind__in=kinds, tenant_id=tenant_id, object_id__in=object_ids)
    found: list[tuple[int, datetime]] = []
    for rows in (ours, Change.objects.filter(kind=EVERYTHING)):
        found += rows.order_by("-seq").values_list("seq", "created_at")[:limit]
    return sorted(found, reverse=True)[:limit]


class ChangeTail:
    """Reads the change log of the database and tells listeners. One per process, run by the lifespan."""

    def __init__(self, *, poll_s: float = 1.0, rest_s: float = REST_S, clock: Clock = SYSTEM_CLOCK) -> None:
        """Polls each `poll_s` seconds, sooner when nudged, but never within `rest_s` of the last time."""
        self._poll_s = poll_s
        self._rest_s = rest_s
        self._clock = clock
        self._listeners: list[Listener] = []
        self._high = 0
        self._gaps: dict[int, float] = {}
        # When all changes were last known, by the clock's monotonic seconds.
        self.caught_up_at = clock.monotonic()

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each change from now on. It must be quick and must not raise."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Begin after the newest change there is; numbers missing just below it may yet be committed."""
        self._high, missing = await run_unit(_newest)
        self._gaps = dict.fromkeys(missing, self._clock.monotonic())

    async def run(self) -> None:
        """Tail for ever. A database that is away is retried; the listeners' entries stay as they are meanwhile."""
        nudge: ChangeNudge = backends["change_nudge"]
        while True:
            try:
                await self.catch_up()
            except Unavailable as error:
                log.warning("change_log_unavailable", error=str(error))
            await asyncio.sleep(self._rest_s)
            await nudge.wait(self._poll_s)

    async def catch_up(self) -> None:
        """Read what is new and tell the listeners, in order of sequence."""
        rows = await run_unit(_after, self._high, tuple(self._gaps))
        now = self._clock.monotonic()
        for event in rows:
            for missing in range(max(self._high + 1, event.seq - WIDEST_GAP), event.seq):
                self._gaps[missing] = now
            self._gaps.pop(event.seq, None)
            self._high = max(self._high, event.seq)
            for listener in self._listeners:
                listener(event)
        self.caught_up_at = now
        patience = GAP_PATIENCE.total_seconds()
        self._gaps = {seq: since for seq, since in self._gaps.items() if now - since < patience}


def _newest() -> tuple[int, list[int]]:
    newest: int = Change.objects.aggregate(newest=Max("seq"))["newest"] or 0
    oldest = Change.objects.filter(seq__gt=newest - WIDEST_GAP).aggregate(oldest=Min("seq"))["oldest"] or 0
    there = set(Change.objects.filter(seq__gte=oldest, seq__lte=newest).values_list("seq", flat=True))
    return newest, [seq for seq in range(oldest, newest) if seq not in there]


def _after(high: int, gaps: tuple[int, ...]) -> list[ChangeEvent]:
    rows = list(Change.objects.filter(seq__in=gaps)) if gaps else []
    rows += Change.objects.filter(seq__gt=high).order_by("seq")[:5000]
    return [ChangeEvent(row.seq, row.kind, row.tenant_id, row.object_id) for row in rows]


def forget_old_changes(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete changes older than two hours; returns how many. Every process has long read them."""
    deleted, _ = Change.objects.filter(created_at__lt=clock.now() - KEEP_CHANGES).delete()
    return deleted
