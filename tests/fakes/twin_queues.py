"""`PoolQueue` and its Lua twin over a Redis, given the same steps: every answer must be the same."""

import json
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis
from msgspec.structs import astuple, replace

from routing.adapters.redis_scripts import ACQUIRE, BEAT, CHARGE, MOVE, RELEASE, SNAPSHOT
from routing.bands import BANDS
from routing.queueing import Grant, PoolQueue, work_tokens
from routing.reckoning import QueueBounds, Refused, Shed
from routing.types import QueuePlace, ReplicaSlots, Ticket
from tenants.types import PriorityClass

FOREVER_MS = 10**12
SETS = (("a",), ("b",), ("a", "b"), ("a", "b", "c"), ("c", "a"), ("d",), ("d", "e"), ("a", "d"), ())
# Of the larger ones some slots are kept for those who use little.
SLOTS = {"a": 2, "b": 3, "c": 1, "d": 8, "e": 16}
# Queues fill and drain in turn.
PHASES = ("aaaaaaaaaaaarrrwwcumm", "aaarrrrrrrrrrrwwwcumm")
PHASE_STEPS = 150


def as_json(ticket: Ticket) -> str:
    """The ticket as the scripts take it."""
    replicas = [
        [
            each.id,
            each.max_concurrency,
            each.prefill_tps,
            each.uncached_tokens,
            each.extra_s,
            each.token_budget,
        ]
        for each in ticket.replicas
    ]
    return json.dumps(
        {
            "id": ticket.id, "rank": ticket.priority.rank, "tenant": ticket.tenant, "user": ticket.user,
            "weight": ticket.weight, "wait_s": ticket.wait_s, "tokens": work_tokens(ticket), "replicas": replicas,
        }
    )  # fmt: skip


class TwinQueues:
    """Two queues that should never differ."""

    def __init__(self, client: "redis.Redis", bounds: QueueBounds) -> None:
        """A pool of its own in the Redis."""
        self._client = client
        self._bounds = bounds
        self._prefix = f"atrium:sched:{{twin-{uuid.uuid4().hex}}}:"
        self._queue = PoolQueue(bounds)
        self._scripts = {
            script: client.register_script(script)
            for script in (ACQUIRE, BEAT, CHARGE, MOVE, RELEASE, SNAPSHOT)
        }
        self.now = 1_000.0
        self.held: dict[str, str] = {}
        self.waiting: dict[str, Ticket] = {}

    def acquire(self, ticket: Ticket) -> None:
        """A ticket comes."""
        taken = self._queue.take(ticket, self.now)
        mine: list[str]
        if taken is not None:
            mine = ["held", taken]
            self.held[ticket.id] = taken
        else:
            outcome = self._queue.enqueue(ticket, self.now)
            place = self._queue.place(ticket.id, self.now)
            if isinstance(outcome, Refused):
                mine = ["no", outcome.why.value, repr(outcome.retry_ms)]
            elif isinstance(outcome, Shed):
                del self.waiting[outcome.id]
                mine = ["shed", outcome.id, repr(outcome.retry_ms), *_place(place)]
            else:
                mine = ["wait", *_place(place)]
            if not isinstance(outcome, Refused):
                self.waiting[ticket.id] = ticket
        bounds = self._bounds
        theirs = self._call(ACQUIRE, as_json(ticket), bounds.total, bounds.tenant, *bounds.classes)
        assert _alike(mine, theirs), (mine, theirs)

    def release(self, id: str, *, unused: bool = False, written: int = 0, read: int = 0) -> None:
        """A call ends."""
        self._queue.charge(id, written, read)
        self._queue.release(id, self.now, unused=unused)
        self.held.pop(id, None)
        self._compare_grants(self._call(RELEASE, id, "1" if unused else "0", written, read))

    def cancel(self, id: str) -> None:
        """Somebody gives up."""
        self._queue.cancel(id)
        self.waiting.pop(id, None)
        self._compare_grants(self._call(RELEASE, id, "1", 0, 0))

    def move(self, id: str, replicas: tuple[ReplicaSlots, ...]) -> None:
        """A ticket that waits may go elsewhere."""
        ticket = self.waiting[id] = replace(self.waiting[id], replicas=replicas)
        assert self._queue.move(id, replicas)
        self._compare_grants(self._call(MOVE, as_json(ticket)))

    def charge(self, id: str, written: int, read: int) -> None:
        """A call has used tokens."""
        self._queue.charge(id, written, read)
        self._compare_grants(self._call(CHARGE, id, written, read))

    def compare(self) -> None:
        """Everything that can be asked of both."""
        snapshot = self._queue.snapshot("pool")
        running, in_flight, waiting, hold_ms, work = self._call(SNAPSHOT)
        assert astuple(snapshot.work) == tuple(work)
        assert dict(snapshot.running) == _numbers(running)
        assert dict(snapshot.in_flight) == {k: v for k, v in _numbers(in_flight).items() if v}
        assert list(snapshot.waiting_by_class.values()) == waiting
        assert (snapshot.hold_s is None) == (hold_ms == "")
        assert dict(snapshot.running) == dict(Counter(self.held.values()))
        for rank in range(len(BANDS)):
            theirs = self._client.hgetall(f"{self._prefix}c{rank}")
            assert self._queue.used(rank) == {
                name.decode(): int(float(used)) for name, used in theirs.items()
            }
        ids = list(self.waiting)
        answers = self._call(BEAT, *ids)[1:]
        for id, theirs in zip(ids, answers, strict=True):
            mine = ["wait", *_place(self._queue.place(id, self.now))]
            assert _alike(mine, theirs), (id, mine, theirs)

    def haunt(self, replica: str) -> None:
        """Leave in Redis what a process of an earlier version does: calls of a tenant, and work, that nothing takes away."""
        for kind in ("h", "g"):
            self._client.hset(f"{self._prefix}{kind}2:{replica}", "ghost", 3)
        for work in ("running_work", "waiting_work"):
            self._client.hincrby(f"{self._prefix}n", work, 777)

    def close(self) -> None:
        """End every call; nothing may be left in the Redis but counters."""
        while self.held:
            self.now += 1
            self.release(next(iter(self.held)))
        assert not self.waiting
        self.compare()
        kinds = {key.decode().removeprefix(self._prefix)[:2].rstrip("0123") for key in self._keys()}
        assert kinds <= {"n", "al", "c"}, kinds
        self._client.delete(*self._keys())

    def _keys(self) -> Sequence[bytes]:
        return list(self._client.scan_iter(match=self._prefix.replace("[", "\\[") + "*", count=1000))

    def _compare_grants(self, theirs: list[str]) -> None:
        mine: list[Grant] = self._queue.grant(self.now)
        told = [part for grant in mine for part in (grant.ticket.id, grant.replica, repr(grant.waited_ms))]
        assert _alike(told, theirs), (told, theirs)
        for grant in mine:
            del self.waiting[grant.ticket.id]
            self.held[grant.ticket.id] = grant.replica

    def _call(self, script: str, *arguments: Any) -> Any:
        found = self._scripts[script](
            keys=[self._prefix], args=[repr(self.now), "me", FOREVER_MS, *arguments]
        )
        return _decoded(found)


def flooded_steps(client: "redis.Redis", *, seed: int, count: int) -> int:
    """Many tenants with a backlog beside some with single calls, so that replicas are open, and not for everybody.

    Returns how often nobody was given what was free.
    """
    dice = random.Random(seed)
    twins = TwinQueues(client, QueueBounds.of(1_000))
    kept = 0
    for number in range(count):
        twins.now += dice.choice((0, 1, 20))
        held, few = list(twins.held), len(twins.waiting) < 150
        step = dice.choice("aaawr" if few else "arrrw")
        if step == "a":
            tenant = f"polite{dice.randrange(3)}" if dice.random() < 0.1 else f"t{dice.randrange(20)}"
            replicas = tuple(
                ReplicaSlots(name, 16, uncached_tokens=dice.choice((0, 0, 50)), token_budget=900)
                for name in dice.choice((("d",), ("e",), ("d", "e"), ("d", "e")))
            )
            twins.acquire(
                Ticket(f"{number:07}", "pool", tenant, dice.choice(list(PriorityClass)[1:3]), replicas, 10, 10, 1e9, weight=dice.choice((1, 2)))
            )  # fmt: skip
        elif held:
            id = dice.choice(held)
            if step == "r":
                twins.release(id, written=dice.randrange(200))
            else:
                twins.charge(id, dice.randrange(128), 0)
            kept += bool(twins.waiting) and len(twins.held) < 32
        if number % 10 == 0:
            twins.compare()
    twins.close()
    return kept


def random_steps(client: "redis.Redis", *, seed: int, count: int) -> int:
    """So many steps by dice; how many were granted, refused and shed does not matter, only that both agree."""
    dice = random.Random(seed)
    bounds = QueueBounds(30, (30, 30, 25, 15), 20) if seed % 2 else QueueBounds(200, (200,) * 4, 200)
    twins = TwinQueues(client, bounds)
    for number in range(count):
        # Times that binary fractions hold exactly.
        twins.now += dice.choice((0, 0.25, 1, 20, 500)) * (1 if dice.random() < 0.98 else 100)
        step = dice.choice(PHASES[number // PHASE_STEPS % 2])
        held, waiting = list(twins.held), list(twins.waiting)
        if step == "a":
            twins.acquire(_ticket(dice, number))
        elif step == "r" and held:
            twins.release(dice.choice(held), written=dice.randrange(200), read=dice.randrange(-50, 50))
        elif step == "u" and held:
            twins.release(dice.choice(held), unused=True)
        elif step == "w" and held:
            twins.charge(dice.choice(held), dice.randrange(128), dice.choice((0, 0, -20, 9)))
        elif step == "c" and waiting:
            twins.cancel(dice.choice(waiting))
        elif step == "m" and waiting:
            twins.move(dice.choice(waiting), _replicas(dice, number))
        if number % 10 == 0:
            twins.compare()
    for id in list(twins.waiting):
        # Those for whom there is no replica.
        twins.cancel(id)
    twins.close()
    return count


def _replicas(dice: random.Random, number: int) -> tuple[ReplicaSlots, ...]:
    return tuple(
        ReplicaSlots(
            name, SLOTS[name], prefill_tps=dice.choice((1000.0, 4000.0, 5123.7)),
            uncached_tokens=dice.randrange(600), extra_s=dice.choice((0.0, 0.0, 0.013)), token_budget=(0, 900)[number % 3 == 0],
        )
        for name in dice.choice(SETS)
    )  # fmt: skip


def _ticket(dice: random.Random, number: int) -> Ticket:
    replicas = _replicas(dice, number)
    return Ticket(
        f"{number:07}", "pool", f"t{dice.randrange(6)}", dice.choice(list(PriorityClass)), replicas, 10, 10,
        dice.choice((1.0, 60.0, 1e9, 1e9, 1e9, 1e9, 1e9)), user=dice.choice(("", "u1", "u2", "u3")), weight=dice.choice((1, 1, 2, 3, 7)),
    )  # fmt: skip


def _place(place: QueuePlace | None) -> list[str]:
    assert place is not None
    wait_s = place.expected_wait_s
    return [str(place.position), "" if wait_s is None else repr(wait_s * 1000)]


def _decoded(found: Any) -> Any:
    if isinstance(found, list):
        return [_decoded(each) for each in found]
    return found.decode() if isinstance(found, bytes) else found


def _numbers(pairs: list[str]) -> dict[str, int]:
    return {pairs[at]: int(pairs[at + 1]) for at in range(0, len(pairs), 2)}


def _alike(mine: list[str], theirs: list[str]) -> bool:
    """Equal; times within a millionth, for they are written in two ways."""
    if len(mine) != len(theirs):
        return False
    for one, other in zip(mine, theirs, strict=True):
        if one != other:
            try:
                if abs(float(one) - float(other)) > 1e-6 * max(1.0, abs(float(one))):
                    return False
            except ValueError:
                return False
    return True
