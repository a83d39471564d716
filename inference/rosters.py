"""What follows when a source says who is there: who is put into service, drained, brought back, removed. Pure.

Only replicas that a source found are ever touched, and never because it names nobody: a name without addresses is far more
often a mistake than an empty pool, and what is really gone is out of service by its probes.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from inference.sources import Presence, Roster

# Every process has heard by then that a replica takes no new calls.
HEARD_S = 5.0
# Calls that have not ended by then end with their replica.
DRAIN_S = 600.0


class Known(Struct, frozen=True):
    """A replica of the pool. `discovered` says that a source found it, `vanished_at` since when it is drained because
    the source names it no more.
    """

    id: UUID
    model: str
    url: str
    discovered: bool
    vanished_at: datetime | None


class Steps(Struct, frozen=True):
    """What is to be done: addresses to register, replicas to bring back, to drain and to remove."""

    join: tuple[str, ...] = ()
    back: tuple[UUID, ...] = ()
    drain: tuple[UUID, ...] = ()
    remove: tuple[UUID, ...] = ()


def steps_for(
    roster: Roster, known: Iterable[Known], *, model: str, calls: Mapping[str, int] | None, now: datetime
) -> Steps:
    """What follows from a roster whose replicas serve `model`; `calls` are those that run by replica, None when unknown."""
    ready = dict.fromkeys(each.url for each in roster.found if each.presence is Presence.READY)
    if not ready:
        return Steps()
    # One that is not ready is not drained for it: whether an engine answers is told by its probes, and sooner.
    staying = {each.url for each in roster.found if each.presence is not Presence.LEAVING}
    known = list(known)
    there = {each.url for each in known if each.model == model}
    found = [each for each in known if each.discovered]
    missing = [each for each in found if each.model != model or each.url not in staying]
    return Steps(
        join=tuple(url for url in ready if url not in there),
        back=tuple(
            each.id
            for each in found
            if each.vanished_at is not None and each.model == model and each.url in ready
        ),
        drain=tuple(each.id for each in missing if each.vanished_at is None),
        remove=tuple(each.id for each in missing if _has_ended(each, calls, now)),
    )


def _has_ended(replica: Known, calls: Mapping[str, int] | None, now: datetime) -> bool:
    if replica.vanished_at is None:
        return False
    gone_for = now - replica.vanished_at
    if gone_for >= timedelta(seconds=DRAIN_S):
        return True
    idle = calls is not None and not calls.get(str(replica.id))
    return idle and gone_for >= timedelta(seconds=HEARD_S)
