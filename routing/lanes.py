"""The parts of a pool's queue: lanes of those who may go to the same replicas, and bands over all lanes."""

from collections import OrderedDict
from collections.abc import Iterable, Set

from routing.fairness import Counters, Order
from routing.types import ReplicaSlots, Ticket

# A mean of intervals is worth something after so many.
ENOUGH = 4
SMOOTHING = 0.125

NOBODY: Set[str] = frozenset()


class Waiting:
    """A ticket that waits: its class by rank, its lane, its place in the order of arrival, and since when."""

    __slots__ = ("at_ms", "lane", "ordinal", "rank", "sequence", "ticket")

    def __init__(self, ticket: Ticket, rank: int, lane: "Lane", sequence: int, at_ms: float) -> None:
        """It joins its band and its lane by their own methods."""
        self.ticket = ticket
        self.rank = rank
        self.lane = lane
        self.sequence = sequence
        self.at_ms = at_ms
        # The how manieth of its tenant's tickets in the band.
        self.ordinal = 0


# Who would go next of a line: its place by counters and names of tenant and user, and by arrival.
Candidate = tuple[tuple[int, str, int, str, int], Waiting]


class Band:
    """A class within a pool: what tenants and their users have used, how many wait, how fast the queue drains."""

    __slots__ = (
        "began_ms",
        "grants",
        "interval_ms",
        "joined",
        "left",
        "tenants",
        "tickets",
        "users",
        "waiting",
    )

    def __init__(self) -> None:
        """Nobody waits."""
        self.tenants = Counters()
        # Of tenants that wait: a user's counter ends with its tenant's wait.
        self.users: dict[str, Counters] = {}
        # The same tenants' tickets as they came, and how many have joined and left.
        self.tickets: dict[str, OrderedDict[str, Waiting]] = {}
        self.joined: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.waiting = 0
        # When the last grant was, or the queue began; and the mean between two grants of this queue.
        self.began_ms = 0.0
        self.interval_ms = 0.0
        self.grants = 0

    def begin(self, now_ms: float) -> None:
        """The first one waits: how fast the queue drains is measured anew."""
        self.began_ms = now_ms
        self.interval_ms = 0.0
        self.grants = 0

    def note_grant(self, now_ms: float) -> None:
        """One of those who wait gets a slot."""
        interval = now_ms - self.began_ms
        self.began_ms = now_ms
        # The first one ends the wait for a replica or for the first slot, and says nothing of those that follow.
        if self.grants:
            self.interval_ms += (interval - self.interval_ms) * (SMOOTHING if self.grants > 1 else 1.0)
        self.grants += 1

    def join(self, place: Waiting, least: int | None, least_of_users: int | None) -> None:
        """One more waits; the smallest counters are those of the tenants, and of the tenant's users, that wait."""
        ticket = place.ticket
        self.waiting += 1
        self.tenants.join(ticket.tenant, ticket.weight, least)
        self.tickets.setdefault(ticket.tenant, OrderedDict())[ticket.id] = place
        self.joined[ticket.tenant] = place.ordinal = self.joined.get(ticket.tenant, 0) + 1
        users = self.users.get(ticket.tenant)
        if users is None:
            users = self.users[ticket.tenant] = Counters()
        users.join(ticket.user, 1, least_of_users)
        if len(users.used) > users.most:
            users.prune(least_of_users)

    def leave(self, place: Waiting) -> bool:
        """One waits no longer. True when it was the last one of its tenant."""
        ticket = place.ticket
        self.waiting -= 1
        self.users[ticket.tenant].leave(ticket.user)
        del self.tickets[ticket.tenant][ticket.id]
        self.left[ticket.tenant] = self.left.get(ticket.tenant, 0) + 1
        if not self.tenants.leave(ticket.tenant):
            return False
        del self.users[ticket.tenant], self.tickets[ticket.tenant]
        del self.joined[ticket.tenant], self.left[ticket.tenant]
        return True

    def newest(self, tenant: str) -> Waiting | None:
        """Who of a tenant came last."""
        tickets = self.tickets.get(tenant)
        return next(reversed(tickets.values())) if tickets else None

    def charge(self, ticket: Ticket, amount: int, lanes: Iterable["Lane"], rank: int) -> None:
        """Book what a ticket's call used; `lanes` are told of counters that shrink."""
        self.tenants.charge(ticket.tenant, amount)
        if not self.waiting:
            return
        users = self.users.get(ticket.tenant)
        if users is not None and ticket.user in users.used:
            users.charge(ticket.user, amount)
        if amount < 0:
            for lane in lanes:
                lane.lines[rank].lowered(ticket)

    def position(self, tenant: str, weight: int, ordinal: int | None) -> int:
        """About how many of the band are served until a tenant's ticket is; without `ordinal`, until its next one is.

        While a tenant is served once, each other one is served by its weight.
        """
        if ordinal is None:
            own = self.tenants.waiting.get(tenant, 0) + 1
        else:
            own = max(1, ordinal - self.left.get(tenant, 0))
        total = self.tenants.weight + weight - self.tenants.weights.get(tenant, 0)
        return -(-own * total // weight)


class Lane:
    """Those who may go to the same replicas, a line for each class."""

    __slots__ = ("key", "lines", "replicas", "slots", "waiting")

    def __init__(
        self,
        key: tuple[tuple[str, int, int], ...],
        replicas: tuple[ReplicaSlots, ...],
        bands: Iterable[Band],
    ) -> None:
        """`replicas` are those of any of its tickets: what they cost differs by ticket, whether they are open does not."""
        self.key = key
        self.replicas = replicas
        self.slots = sum(each.max_concurrency for each in replicas)
        self.lines = [_Line(band) for band in bands]
        self.waiting = 0

    def add(self, place: Waiting) -> None:
        """One more waits, who has joined its band."""
        self.waiting += 1
        self.lines[place.rank].add(place)

    def remove(self, place: Waiting) -> None:
        """One waits no longer; its band is told afterwards."""
        self.waiting -= 1
        self.lines[place.rank].remove(place)

    def oldest(self, rank: int) -> Waiting | None:
        """Who waits longest in a class."""
        return next(iter(self.lines[rank].arrivals.values()), None)

    def newest(self, rank: int) -> Waiting | None:
        """Who came last in a class."""
        return next(reversed(self.lines[rank].arrivals.values()), None)

    def first(self, rank: int, back: Set[str] = NOBODY) -> Candidate | None:
        """Who goes next in a class, of the tenants that are not kept `back`; None when nobody does."""
        return self.lines[rank].first(back)


class _Line:
    """The tickets of one class in one lane."""

    __slots__ = ("_band", "_by_tenant", "arrivals", "tenants")

    def __init__(self, band: Band) -> None:
        self._band = band
        self.arrivals: OrderedDict[str, Waiting] = OrderedDict()
        self.tenants = Order(band.tenants.used)
        self._by_tenant: dict[str, _OfTenant] = {}

    def __bool__(self) -> bool:
        return bool(self.arrivals)

    def add(self, place: Waiting) -> None:
        ticket = place.ticket
        _insert(self.arrivals, place)
        own = self._by_tenant.get(ticket.tenant)
        if own is None:
            own = self._by_tenant[ticket.tenant] = _OfTenant(self._band.users[ticket.tenant])
            self.tenants.add(ticket.tenant)
        own.add(place)

    def remove(self, place: Waiting) -> None:
        ticket = place.ticket
        del self.arrivals[ticket.id]
        own = self._by_tenant[ticket.tenant]
        own.remove(place)
        if not own.users:
            del self._by_tenant[ticket.tenant]
            self.tenants.discard(ticket.tenant)

    def least_of_users(self, tenant: str) -> int | None:
        own = self._by_tenant.get(tenant)
        return own.users.least()[0] if own is not None else None

    def lowered(self, ticket: Ticket) -> None:
        own = self._by_tenant.get(ticket.tenant)
        if own is not None:
            self.tenants.lowered(ticket.tenant)
            own.users.lowered(ticket.user)

    def first(self, back: Set[str] = NOBODY) -> Candidate | None:
        if not self.arrivals:
            return None
        found = self.tenants.least_but(back) if back else self.tenants.least()
        if found is None:
            return None
        counter, tenant = found
        used, user, place = self._by_tenant[tenant].first()
        return (counter, tenant, used, user, place.sequence), place


class _OfTenant:
    """The tickets of one tenant in one line, by user."""

    __slots__ = ("_tickets", "users")

    def __init__(self, counters: Counters) -> None:
        self.users = Order(counters.used)
        self._tickets: dict[str, OrderedDict[str, Waiting]] = {}

    def add(self, place: Waiting) -> None:
        user = place.ticket.user
        tickets = self._tickets.get(user)
        if tickets is None:
            tickets = self._tickets[user] = OrderedDict()
            self.users.add(user)
        _insert(tickets, place)

    def remove(self, place: Waiting) -> None:
        user = place.ticket.user
        tickets = self._tickets[user]
        del tickets[place.ticket.id]
        if not tickets:
            del self._tickets[user]
            self.users.discard(user)

    def first(self) -> tuple[int, str, Waiting]:
        used, user = self.users.least()
        return used, user, next(iter(self._tickets[user].values()))


def _insert(arrivals: OrderedDict[str, Waiting], place: Waiting) -> None:
    """As they came: one that moves here from another lane may have come before others that are here."""
    later: list[str] = []
    for each in reversed(arrivals.values()):
        if each.sequence < place.sequence:
            break
        later.append(each.ticket.id)
    arrivals[place.ticket.id] = place
    for id in reversed(later):
        arrivals.move_to_end(id)
