"""The queue of one pool: who gets the next free slot, whether a ticket may wait, and how long it will. Pure.

Nothing here waits, sleeps or reads a clock: whoever drives it passes the time in milliseconds, so that a process, a
test and a simulator run the same lines. The scheduler over Redis does the same in Lua (`adapters/redis_queue.py`); a
differential test holds the two together.

A ticket waits in the lane of the replicas that it may go to. In a lane there is a line for each class, in a line the
tenants in order of what they have used, in a tenant its users likewise, and a user's tickets come as they came. The
counters are the pool's: a tenant that waits in two lanes has one counter for each class.

It is work-conserving but for what is kept for those who use little (`headroom.py`): after `grant` no replica is open
for anybody who waits for it.
"""

from collections import defaultdict
from collections.abc import Set
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from routing import fairness
from routing.balancing import cheapest, is_open
from routing.bands import BANDS, OVERDUE, Credits
from routing.headroom import Holders, is_wide
from routing.lanes import NOBODY, Band, Candidate, Lane, Waiting
from routing.reckoning import LEAST_RETRY_MS, QueueBounds, Refusal, Refused, Shed, expected_ms, retry_ms
from routing.types import PoolSnapshot, PoolWork, QueuePlace, ReplicaSlots, Ticket
from tenants.types import PriorityClass

# Of what a mean is corrected by with each new value.
SMOOTHING = 0.125
# Tokens of an answer whose length nobody knows.
USUAL_ANSWER = 256


class Grant(Struct, frozen=True):
    """A slot of `replica` for a ticket that waited."""

    ticket: Ticket
    replica: str
    waited_ms: float


class _Held:
    """A slot that is held, and how much of its prompt is still to be read."""

    __slots__ = ("at_ms", "rank", "reckoned", "replica", "ticket", "unread")

    def __init__(self, ticket: Ticket, rank: int, replica: ReplicaSlots, at_ms: float) -> None:
        self.ticket = ticket
        self.rank = rank
        self.replica = replica.id
        self.unread = self.reckoned = replica.uncached_tokens
        self.at_ms = at_ms


def work_tokens(ticket: Ticket) -> int:
    """What a call is reckoned with where a pool's work is counted: its prompt where most of it is cached, and an answer
    of the usual length, or of the one it asks for if that is shorter.
    """
    answer = min(ticket.max_tokens, USUAL_ANSWER) if ticket.max_tokens else USUAL_ANSWER
    return min((each.uncached_tokens for each in ticket.replicas), default=ticket.prompt_tokens) + answer


class PoolQueue:
    """Slots in use and tickets that wait, of one pool."""

    def __init__(self, bounds: QueueBounds) -> None:
        """`bounds` says how many may wait."""
        self._bounds = bounds
        self._running: defaultdict[str, int] = defaultdict(int)
        self._in_flight: defaultdict[str, int] = defaultdict(int)
        self._held: dict[str, _Held] = {}
        self._holders: defaultdict[str, Holders] = defaultdict(Holders)
        self._bands = [Band() for _ in BANDS]
        self._lanes: dict[tuple[tuple[str, int, int], ...], Lane] = {}
        self._places: dict[str, Waiting] = {}
        self._tenants: defaultdict[str, int] = defaultdict(int)
        self._credits = Credits()
        self._sequence = 0
        self._turn = 0
        self._hold_ms = 0.0
        self._holds = 0
        self._done = 0
        self._refused = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._places)

    @property
    def idle(self) -> bool:
        """Whether nobody waits and no slot is held."""
        return not self._places and not self._held

    def take(self, ticket: Ticket, now_ms: float) -> str | None:
        """The replica that `ticket` is given at once, None when it would have to wait.

        Nobody who waits could use it: it would have been given out when it became open.
        """
        rank = ticket.priority.rank
        found = self._cheapest(ticket, rank)
        if found is None:
            return None
        band = self._bands[rank]
        tenants = band.tenants
        if ticket.tenant in tenants.waiting:
            self._hold(ticket, rank, found, now_ms)
            return found.id
        # As `Counters.lift` and `Band.charge` would, in one go: nearly every call passes here.
        least = self._least(rank) if band.waiting else tenants.used.get(tenants.last, 0)
        tenants.last = ticket.tenant
        tenants.used[ticket.tenant] = max(least or 0, tenants.used.get(ticket.tenant, 0)) + fairness.cost(
            found.uncached_tokens, 0, ticket.weight
        )
        if len(tenants.used) > tenants.most:
            self._prune(band, rank)
        self._occupy(ticket, rank, found, now_ms)
        return found.id

    def enqueue(self, ticket: Ticket, now_ms: float) -> Refused | Shed | None:
        """Let `ticket` wait, which could not be given a slot.

        None: it waits. Refused: it may not, and why. Shed: it waits, and in its place another one must go, who was
        waiting in a lower class.
        """
        rank = ticket.priority.rank
        band = self._bands[rank]
        lane = self._lane(ticket.replicas)
        found = self._judge(ticket, rank, lane, now_ms)
        shed = None
        if isinstance(found, Waiting):
            self.cancel(found.ticket.id)
            shed = Shed(found.ticket.id, self._retry_ms(found.rank, found.lane, now_ms))
            lane = self._lane(ticket.replicas)
        elif found is not None:
            self._drop_if_empty(lane)
            self._refused += work_tokens(ticket)
            return Refused(found, self._refused_ms(found, ticket, rank, lane, now_ms))
        if not band.waiting:
            band.begin(now_ms)
        self._sequence += 1
        place = Waiting(ticket, rank, lane, self._sequence, now_ms)
        self._places[ticket.id] = place
        self._tenants[ticket.tenant] += 1
        band.join(place, self._least(rank), self._least_of_users(rank, ticket.tenant))
        lane.add(place)
        return shed

    def cancel(self, id: str) -> bool:
        """Give up a place in the queue; False when there is none (any more)."""
        place = self._places.get(id)
        if place is None:
            return False
        self._remove(place)
        return True

    def move(self, id: str, replicas: tuple[ReplicaSlots, ...]) -> bool:
        """A ticket that waits may go to `replicas` instead, and keeps its place among all; False when it does not wait.

        Call `grant` afterwards: one of them may be open.
        """
        place = self._places.get(id)
        if place is None:
            return False
        left = place.lane
        left.remove(place)
        self._drop_if_empty(left)
        place.ticket = replace(place.ticket, replicas=replicas)
        place.lane = self._lane(replicas)
        place.lane.add(place)
        return True

    def grant(self, now_ms: float) -> list[Grant]:
        """Give out every slot that somebody who waits can use."""
        granted: list[Grant] = []
        while self._places:
            place = self._next(now_ms)
            if place is None:
                break
            ticket = place.ticket
            found = self._cheapest(ticket, place.rank)
            if found is None:
                raise AssertionError("who goes next may go to some replica of its lane")
            self._bands[place.rank].note_grant(now_ms)
            self._hold(ticket, place.rank, found, now_ms)
            self._remove(place)
            granted.append(Grant(ticket, found.id, now_ms - place.at_ms))
        return granted

    def charge(self, id: str, written: int, read: int = 0) -> None:
        """Book tokens of a held slot; its prompt has been read. `read` corrects what the prompt was reckoned with."""
        held = self._held.get(id)
        if held is None:
            return
        if held.unread:
            self._in_flight[held.replica] -= held.unread
            held.unread = 0
        if written or read:
            self._book(held, read, written)

    def release(self, id: str, now_ms: float, *, unused: bool = False) -> bool:
        """A slot is free again; False when it was not held. `unused`, its prompt costs nothing."""
        held = self._held.pop(id, None)
        if held is None:
            return False
        self._in_flight[held.replica] -= held.unread
        self._holders[held.replica].leave(held.rank, held.ticket.tenant)
        running = self._running[held.replica] - 1
        if running:
            self._running[held.replica] = running
        else:
            # Replicas come and go.
            del self._running[held.replica], self._in_flight[held.replica], self._holders[held.replica]
        if unused:
            self._book(held, -held.reckoned, 0)
            return True
        self._done += work_tokens(held.ticket)
        held_ms = now_ms - held.at_ms
        self._hold_ms += (held_ms - self._hold_ms) * (SMOOTHING if self._holds else 1.0)
        self._holds += 1
        return True

    def holds(self, id: str) -> bool:
        """Whether the slot is still held."""
        return id in self._held

    def place(self, id: str, now_ms: float) -> QueuePlace | None:
        """Where a ticket stands; None when it does not wait."""
        place = self._places.get(id)
        if place is None:
            return None
        band = self._bands[place.rank]
        position = min(band.position(place.ticket.tenant, place.ticket.weight, place.ordinal), band.waiting)
        wait_ms = self._expected_ms(place.rank, place.lane, position, now_ms)
        return QueuePlace(self._above(place.rank) + position, None if wait_ms is None else wait_ms / 1000)

    def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is."""
        return PoolSnapshot(
            pool,
            {replica: count for replica, count in self._running.items() if count},
            len(self._places),
            in_flight={replica: tokens for replica, tokens in self._in_flight.items() if tokens},
            waiting_by_class={each: self._bands[each.rank].waiting for each in PriorityClass},
            hold_s=self._hold_ms / 1000 if self._holds else None,
            work=PoolWork(
                running=sum(work_tokens(held.ticket) for held in self._held.values()),
                waiting=sum(work_tokens(place.ticket) for place in self._places.values()),
                done=self._done,
                refused=self._refused,
            ),
        )

    def used(self, rank: int) -> dict[str, int]:
        """The counters of the tenants in a band."""
        return dict(self._bands[rank].tenants.used)

    def _judge(self, ticket: Ticket, rank: int, lane: Lane, now_ms: float) -> Refusal | Waiting | None:
        """Whether `ticket` may wait: None, why not, or who must go for it, in whose place it may."""
        bounds, victim = self._bounds, None
        if bounds.tenant < bounds.total and self._tenants.get(ticket.tenant, 0) >= bounds.tenant:
            lower = self._bands[:rank:-1]
            victim = next((newest for band in lower if (newest := band.newest(ticket.tenant))), None)
            if victim is None:
                return Refusal.SHARE
        if self._bands[rank].waiting >= bounds.classes[rank]:
            return Refusal.FULL
        wait_ms = self._own_wait_ms(ticket, rank, lane, now_ms)
        if wait_ms is not None and wait_ms > ticket.wait_s * 1000:
            return Refusal.LATE
        if victim is None and len(self._places) >= bounds.total:
            victim = self._newest_below(rank)
            if victim is None:
                return Refusal.FULL
        return victim

    def _own_wait_ms(self, ticket: Ticket, rank: int, lane: Lane, now_ms: float) -> float | None:
        """How long `ticket` would wait."""
        band = self._bands[rank]
        position = min(band.position(ticket.tenant, ticket.weight, None), band.waiting + 1)
        return self._expected_ms(rank, lane, position, now_ms)

    def _refused_ms(self, why: Refusal, ticket: Ticket, rank: int, lane: Lane, now_ms: float) -> float:
        """When a refused ticket may come back."""
        if why is Refusal.LATE:
            wait_ms = self._own_wait_ms(ticket, rank, lane, now_ms) or 0.0
            return max(LEAST_RETRY_MS, wait_ms - ticket.wait_s * 1000)
        return self._retry_ms(rank, lane, now_ms)

    def _expected_ms(self, rank: int, lane: Lane, position: int, now_ms: float) -> float | None:
        return expected_ms(
            self._bands[rank],
            position=position,
            above=self._above(rank),
            slots=lane.slots,
            hold_ms=self._hold_ms,
            holds=self._holds,
            now_ms=now_ms,
        )

    def _retry_ms(self, rank: int, lane: Lane, now_ms: float) -> float:
        return retry_ms(self._expected_ms(rank, lane, self._bands[rank].waiting, now_ms))

    def _above(self, rank: int) -> int:
        return sum(band.waiting for band in self._bands[:rank])

    def _newest_below(self, rank: int) -> Waiting | None:
        """The newest ticket of the lowest class below `rank` that waits."""
        for lower in range(len(BANDS) - 1, rank, -1):
            if self._bands[lower].waiting:
                newest = (lane.newest(lower) for lane in self._lanes.values())
                return max((each for each in newest if each), key=lambda each: each.sequence)
        return None

    def _next(self, now_ms: float) -> Waiting | None:
        """Who goes next of those that wait and may go somewhere now."""
        found: list[list[Candidate]] = [[] for _ in BANDS]
        overdue: Waiting | None = None
        for lane in self._lanes.values():
            opened, wide = self._opened(lane)
            if not opened:
                continue
            for rank, candidates in enumerate(found):
                if not lane.lines[rank]:
                    continue
                back = NOBODY if wide else self._kept_back(opened, rank)
                first = lane.first(rank, back) if back is not None else None
                if back is None or first is None:
                    continue
                candidates.append(first)
                oldest = lane.oldest(rank)
                if (
                    oldest is not None
                    and now_ms - oldest.at_ms >= BANDS[rank].overdue_ms
                    and (overdue is None or oldest.sequence < overdue.sequence)
                    and oldest.ticket.tenant not in back
                ):
                    overdue = oldest
        ranks = [rank for rank, candidates in enumerate(found) if candidates]
        if not ranks:
            return None
        line = self._credits.choose(ranks, overdue=overdue is not None)
        if line == OVERDUE and overdue is not None:
            return overdue
        return min(found[line], key=lambda each: each[0])[1]

    def _opened(self, lane: Lane) -> tuple[list[ReplicaSlots], bool]:
        """The replicas of a lane that are open for somebody, and whether one of them is for everybody."""
        opened, wide = [], False
        for each in lane.replicas:
            running, in_flight = self._running.get(each.id, 0), self._in_flight.get(each.id, 0)
            if is_open(each, running, in_flight):
                opened.append(each)
                wide = wide or is_wide(each, running, in_flight)
        return opened, wide

    def _may(self, rank: int, tenant: str, replica: ReplicaSlots) -> bool:
        """Whether a tenant's ticket may go to a replica that is open, but not for everybody."""
        holders = self._holders.get(replica.id)
        waiting = self._bands[rank].tenants.waiting
        return holders is None or not holders.has_enough(rank, tenant, replica.max_concurrency, waiting)

    def _kept_back(self, opened: list[ReplicaSlots], rank: int) -> Set[str] | None:
        """The tenants of a class that wait and have had enough of each of the open replicas; None when the class has."""
        waiting = self._bands[rank].tenants.waiting
        back: Set[str] | None = None
        for each in opened:
            holders = self._holders.get(each.id)
            if holders is None:
                return NOBODY
            if holders.class_has_enough(rank, each.max_concurrency):
                continue
            enough = holders.with_enough(rank, each.max_concurrency, waiting)
            back = enough if back is None else back & enough
            if not back:
                break
        return back

    def _cheapest(self, ticket: Ticket, rank: int) -> ReplicaSlots | None:
        return cheapest(
            ticket.replicas,
            self._running.__getitem__,
            self._in_flight.__getitem__,
            turn=self._turn,
            may=partial(self._may, rank, ticket.tenant),
        )

    def _book(self, held: _Held, read: int, written: int) -> None:
        amount = fairness.cost(read, written, held.ticket.weight)
        self._bands[held.rank].charge(held.ticket, amount, self._lanes.values(), held.rank)

    def _hold(self, ticket: Ticket, rank: int, replica: ReplicaSlots, now_ms: float) -> None:
        amount = fairness.cost(replica.uncached_tokens, 0, ticket.weight)
        self._bands[rank].charge(ticket, amount, (), rank)
        self._occupy(ticket, rank, replica, now_ms)

    def _occupy(self, ticket: Ticket, rank: int, replica: ReplicaSlots, now_ms: float) -> None:
        self._turn += 1
        self._running[replica.id] += 1
        self._in_flight[replica.id] += replica.uncached_tokens
        self._holders[replica.id].join(rank, ticket.tenant, ticket.weight)
        self._held[ticket.id] = _Held(ticket, rank, replica, now_ms)

    def _remove(self, place: Waiting) -> None:
        ticket = place.ticket
        del self._places[ticket.id]
        self._tenants[ticket.tenant] -= 1
        if not self._tenants[ticket.tenant]:
            del self._tenants[ticket.tenant]
        band = self._bands[place.rank]
        place.lane.remove(place)
        if band.leave(place):
            self._prune(band, place.rank)
        self._drop_if_empty(place.lane)

    def _lane(self, replicas: tuple[ReplicaSlots, ...]) -> Lane:
        key = tuple([(each.id, each.max_concurrency, each.token_budget) for each in replicas])
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, replicas, self._bands)
        return lane

    def _drop_if_empty(self, lane: Lane) -> None:
        if not lane.waiting:
            self._lanes.pop(lane.key, None)

    def _least(self, rank: int) -> int | None:
        """The smallest counter of the tenants that wait in a band."""
        if not self._bands[rank].waiting:
            return None
        return min(lane.lines[rank].tenants.least()[0] for lane in self._lanes.values() if lane.lines[rank])

    def _least_of_users(self, rank: int, tenant: str) -> int | None:
        """The smallest counter of the users of a tenant that wait in a band."""
        found = (lane.lines[rank].least_of_users(tenant) for lane in self._lanes.values())
        return min((each for each in found if each is not None), default=None)

    def _prune(self, band: Band, rank: int) -> None:
        if len(band.tenants.used) > band.tenants.most:
            band.tenants.prune(self._least(rank))
