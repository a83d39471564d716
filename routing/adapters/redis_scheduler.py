"""The scheduler of the full profile: slots and queues in Redis, shared by every process of the installation.

The queue itself is Lua (`redis_queue.py`); here are the tasks that wait for it. A process says every second that it
lives; what one that died held and where it waited is free again within `LEASE_MS` and the next beat of any other. While
Redis is away, each process hands out a quarter of each replica's slots by itself, so that chat goes on.
"""

import asyncio
from collections import defaultdict
from typing import Any

import redis
import redis.asyncio
import structlog
from msgspec import json
from msgspec.structs import astuple, replace
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from kernel.errors import AtriumError, NoReplica, ServerOverloaded
from kernel.scripts import ScriptPipeline
from kernel.streams import Supervisor
from routing.adapters.redis_grants import Gone, Grants, Held, Outcome, Shed, Unreachable
from routing.adapters.redis_scripts import ACQUIRE, BEAT, CHARGE, MOVE, RELEASE, SNAPSHOT
from routing.queueing import work_tokens
from routing.reckoning import QueueBounds, Refusal
from routing.types import Lease, PoolSnapshot, PoolWork, QueuePlace, ReplicaSlots, Ticket
from routing.waiting import (
    LOOK_EVERY_S,
    MOST_MOVES,
    PAUSE_S,
    RETRY_AFTER_S,
    WaitingRooms,
    moves_of,
    out_of_time,
    refusal,
    shed,
    without_avoided,
)
from tenants.types import PriorityClass

log = structlog.get_logger(__name__)

LEASE_MS = 4_000
# Who waits learns of a lost message, and of its place, this often.
BEAT_EVERY_S = 1.0
TIMEOUT_S = 2.0
CHARGE_EVERY_S = 0.1
# Who asks how busy a pool is, and Redis does not answer, may ask again after so long.
AWAY_S = 2.0
SHARE_WHILE_AWAY = 4
# Tickets that one script looks at: it holds up every other one.
MOST_IN_A_BEAT = 200
SERVER_CLOCK = ""
# A pool that nobody has: asked about it, Redis shows that it is there.
NO_POOL = "health"


class RedisScheduler:
    """One queue for each pool over all processes. One connection for calls, one for grants."""

    def __init__(self, *, url: str, queue_limit: int) -> None:
        """`url` is the state instance of Redis; at most `queue_limit` tickets wait per pool, classes and tenants within."""
        self._calls = ScriptPipeline(
            redis.asyncio.Redis.from_url(
                url,
                protocol=2,
                socket_timeout=None,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            ),
            timeout_s=TIMEOUT_S,
            unreachable=Unreachable,
            refused=redis.exceptions.ResponseError,
            forgotten=redis.exceptions.NoScriptError,
        )
        self._grants = Grants(url, timeout_s=TIMEOUT_S)
        bounds = QueueBounds.of(queue_limit)
        self._bounds = (bounds.total, bounds.tenant, *bounds.classes)
        self._local = WaitingRooms(queue_limit=queue_limit)
        self._held: dict[str, Lease] = {}
        self._waiting: dict[str, Ticket] = {}
        # What was used since the last charge: pool → lease → written, read.
        self._charges: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        # Tickets that may go elsewhere, of which Redis was not told yet.
        self._unmoved: set[str] = set()
        # Tickets of which Redis could not be told that they are given up: ticket → pool.
        self._untold: dict[str, str] = {}
        self._charged = asyncio.Event()
        self._background = Supervisor(limit=4, on_error=_report)
        self._started = False
        # Redis did not answer, and no beat has found it again: nobody else waits for its timeout meanwhile.
        self._away = False

    async def acquire(self, ticket: Ticket) -> Lease:
        """Wait for a slot. Raises ServerOverloaded, QueueShareFull, NoReplica."""
        ticket = without_avoided(ticket)
        if not self._away:
            self._start()
            try:
                return await self._acquire(ticket)
            except Unreachable as error:
                self._note_away(error)
        return await self._local.acquire(_shared(ticket))

    async def charge(self, lease: Lease, written: int, read: int = 0) -> None:
        """Count tokens; charges of a tenth of a second go together. Raises nothing: Redis hears of them later."""
        if lease.id not in self._held:
            self._local.charge(lease, written, read)
            return
        charge = self._charges[lease.pool].setdefault(lease.id, [0, 0])
        charge[0] += written
        charge[1] += read
        self._charged.set()

    async def renew(self, lease: Lease) -> bool:
        """Whether the slot is still held. The scheduler itself says that its process lives, for all leases at once."""
        return lease.id in self._held or self._local.holds(lease)

    async def release(self, lease: Lease, *, unused: bool = False) -> None:
        """Give the slot back. A Redis that is away is told later."""
        if self._held.pop(lease.id, None) is None:
            self._local.release(lease, unused=unused)
            return
        written, read = self._charges[lease.pool].pop(lease.id, (0, 0))
        await self._give_back(lease.pool, lease.id, unused=unused, written=written, read=read)

    async def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is now. Raises ServerOverloaded while Redis is away."""
        try:
            running, in_flight, waiting, hold_ms, work = await self._call(SNAPSHOT, pool)
        except Unreachable as error:
            self._note_away(error)
            raise ServerOverloaded("The scheduler's Redis is not reachable.", retry_after_s=AWAY_S) from error
        return PoolSnapshot(
            pool,
            _numbers(running),
            sum(waiting),
            in_flight={replica: tokens for replica, tokens in _numbers(in_flight).items() if tokens},
            waiting_by_class=dict(zip(PriorityClass, waiting, strict=True)),
            hold_s=float(hold_ms) / 1000 if hold_ms else None,
            work=PoolWork(*work),
        )

    async def close(self) -> None:
        """End the background work and the connections."""
        await self._background.close()
        await self._grants.close()
        await self._calls.close()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._background.start("grants", self._grants.listen())
            self._background.start("heartbeat", self._beat_forever())
            self._background.start("looks", self._look_forever())
            self._background.start("charges", self._tell_charges_forever())

    def _call(self, script: str, pool: str, *arguments: Any) -> "asyncio.Future[Any]":
        return self._calls.send(script, _prefix(pool), SERVER_CLOCK, self._grants.owner, LEASE_MS, *arguments)

    async def _acquire(self, ticket: Ticket) -> Lease:
        loop = asyncio.get_running_loop()
        began = loop.time()
        turn = self._grants.expect(ticket.id)
        waited_ms = 0.0
        try:
            replica = await self._enter(ticket)
            if not replica:
                replica = await self._wait(ticket, turn, began + ticket.wait_s)
                waited_ms = (loop.time() - began) * 1000
        except AtriumError as error:
            if isinstance(error, _StillThere):
                await self._give_back(ticket.pool, ticket.id, unused=True)
                raise error.told from error
            raise
        except Unreachable:
            # Whether a slot was given meanwhile is not known: the first beat that is heard gives it back.
            self._untold[ticket.id] = ticket.pool
            raise
        except BaseException:
            # Cancelled: whether a slot was given meanwhile is not known.
            await asyncio.shield(self._give_back(ticket.pool, ticket.id, unused=True))
            raise
        finally:
            self._grants.forget(ticket.id)
            self._waiting.pop(ticket.id, None)
        lease = Lease(ticket.id, ticket.pool, ticket.tenant, replica, waited_ms)
        self._held[lease.id] = lease
        return lease

    async def _enter(self, ticket: Ticket) -> str:
        """The replica that the ticket is given at once; '' when it waits. Raises ServerOverloaded, QueueShareFull."""
        said = await self._call(ACQUIRE, ticket.pool, _as_json(ticket), *self._bounds)
        outcome = said[0].decode()
        if outcome == "held":
            return str(said[1].decode())
        if outcome == "no":
            raise refusal(Refusal(said[1].decode()), float(said[2]))
        self._waiting[ticket.id] = ticket
        _tell(ticket, said[-2:])
        return ""

    async def _wait(self, ticket: Ticket, turn: "asyncio.Future[Outcome]", deadline: float) -> str:
        """The replica that the ticket is given. Raises ServerOverloaded, QueueShareFull, and _StillThere when time is up."""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    await asyncio.wait({turn})
                    outcome = turn.result()
                    if isinstance(outcome, Held):
                        return outcome.replica
                    if isinstance(outcome, Shed):
                        raise shed(outcome.retry_ms)
                    if isinstance(outcome, Gone):
                        raise _StillThere(NoReplica(retry_after_s=RETRY_AFTER_S))
                    # Its place was lost, with the memory of Redis or by a long pause of this process: it asks again.
                    turn = self._grants.expect(ticket.id)
                    replica = await self._enter(self._waiting.get(ticket.id, ticket))
                    if replica:
                        return replica
        except TimeoutError as error:
            raise _StillThere(out_of_time(None)) from error

    async def _give_back(
        self, pool: str, ticket: str, *, unused: bool = False, written: int = 0, read: int = 0
    ) -> None:
        if self._away:
            self._untold[ticket] = pool
            return
        try:
            await self._call(RELEASE, pool, ticket, "1" if unused else "0", written, read)
        except Unreachable as error:
            self._untold[ticket] = pool
            self._note_away(error)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                if self._away:
                    await self._call(SNAPSHOT, NO_POOL)
                await self._beat()
                self._away = False
            except Unreachable as error:
                self._note_away(error)

    async def _beat(self) -> None:
        """Say that this process lives, and hear what happened to its tickets; tell what could not be told before."""
        pools: defaultdict[str, list[Ticket | Lease]] = defaultdict(list)
        for ticket in self._waiting.values():
            pools[ticket.pool].append(ticket)
        for lease in self._held.values():
            pools[lease.pool].append(lease)
        for given_up, pool in list(self._untold.items()):
            await self._call(RELEASE, pool, given_up, "1", 0, 0)
            self._untold.pop(given_up, None)
        for pool, asked in pools.items():
            for at in range(0, len(asked), MOST_IN_A_BEAT):
                part = asked[at : at + MOST_IN_A_BEAT]
                _, *answers = await self._call(BEAT, pool, *(each.id for each in part))
                for each, answer in zip(part, answers, strict=True):
                    self._hear(each, answer)

    def _hear(self, asked: Ticket | Lease, answer: list[bytes]) -> None:
        outcome = answer[0].decode()
        if isinstance(asked, Lease):
            if outcome == "gone" and self._held.get(asked.id) is asked:
                # Redis was emptied, or took this process for dead: the slot is another's now.
                del self._held[asked.id]
                log.warning("slot_lost", lease=asked.id, pool=asked.pool, replica=asked.replica)
        elif outcome == "wait":
            if asked.id in self._waiting:
                _tell(asked, answer[1:])
        else:
            self._grants.settle(asked.id, Held(answer[1].decode()) if outcome == "held" else None)

    async def _look_forever(self) -> None:
        while True:
            more = False
            try:
                more = not self._away and await self._look_again()
            except Unreachable as error:
                log.warning("scheduler_looks_lost", error=str(error) or type(error).__name__)
            await asyncio.sleep(PAUSE_S if more else LOOK_EVERY_S)

    async def _look_again(self) -> bool:
        """Let those who wait go to replicas that have come, and to none that have gone; whether there are more of them.

        A place is told of again by a later look when Redis was away.
        """
        moves, more = moves_of(self._waiting.values())
        for ticket, replicas in moves:
            if replicas or ticket.held:
                self._waiting[ticket.id] = replace(ticket, replicas=replicas)
                self._unmoved.add(ticket.id)
            else:
                self._grants.settle(ticket.id, Gone())
        pools: defaultdict[str, list[Ticket]] = defaultdict(list)
        self._unmoved &= self._waiting.keys()
        for id in self._unmoved:
            pools[self._waiting[id].pool].append(self._waiting[id])
        for pool, moved in pools.items():
            moved.sort(key=lambda each: each.priority.rank)
            for at in range(0, len(moved), MOST_MOVES):
                part = moved[at : at + MOST_MOVES]
                await self._call(MOVE, pool, *map(_as_json, part))
                self._unmoved.difference_update([each.id for each in part])
        return more

    async def _tell_charges_forever(self) -> None:
        while True:
            await self._charged.wait()
            await asyncio.sleep(CHARGE_EVERY_S)
            if not self._away:
                self._charged.clear()
                await self._tell_charges()

    async def _tell_charges(self) -> None:
        """Tell Redis of all charges. Those it may not have heard are told again as nothing used, by leases still held:
        fairness loses a tenth of a second, and yet the prompt counts as read.
        """
        charges, self._charges = self._charges, defaultdict(dict)
        told = {
            pool: self._call(
                CHARGE, pool, *(part for lease, charge in used.items() for part in (lease, *charge))
            )
            for pool, used in charges.items()
            if used
        }
        answers = await asyncio.gather(*told.values(), return_exceptions=True)
        for pool, answer in zip(told, answers, strict=True):
            if isinstance(answer, BaseException):
                log.warning("scheduler_charges_lost", pool=pool, error=str(answer) or type(answer).__name__)
                for lease in charges[pool].keys() & self._held.keys():
                    self._charges[pool].setdefault(lease, [0, 0])
                    self._charged.set()

    def _note_away(self, error: BaseException) -> None:
        # Where nothing beats, as in a process that only asks how busy pools are, nobody would find it again.
        self._away = self._started
        log.warning("scheduler_without_redis", error=str(error) or type(error).__name__)


class _StillThere(AtriumError):
    """The wait is over for the reason `told`, and the ticket may still be in the queue."""

    def __init__(self, told: AtriumError) -> None:
        super().__init__()
        self.told = told


def _prefix(pool: str) -> str:
    return f"atrium:sched:{{{pool.replace('{', '(').replace('}', ')')}}}:"


def _share(replicas: tuple[ReplicaSlots, ...]) -> tuple[ReplicaSlots, ...]:
    return tuple(
        replace(each, max_concurrency=max(1, each.max_concurrency // SHARE_WHILE_AWAY)) for each in replicas
    )


def _shared(ticket: Ticket) -> Ticket:
    """The ticket as it waits in this process alone."""
    look = ticket.look

    def look_at_share() -> tuple[ReplicaSlots, ...] | None:
        found = look() if look is not None else None
        return None if found is None else _share(found)

    return replace(ticket, replicas=_share(ticket.replicas), look=look_at_share if look else None)


def _as_json(ticket: Ticket) -> bytes:
    return json.encode(
        {
            "id": ticket.id,
            "rank": ticket.priority.rank,
            "tenant": ticket.tenant,
            "user": ticket.user,
            "weight": ticket.weight,
            "wait_s": ticket.wait_s,
            "tokens": work_tokens(ticket),
            "replicas": [astuple(each) for each in ticket.replicas],
        }
    )


def _tell(ticket: Ticket, place: list[bytes]) -> None:
    if ticket.tell is not None:
        ticket.tell(QueuePlace(int(place[0]), float(place[1]) / 1000 if place[1] else None))


def _numbers(pairs: list[bytes]) -> dict[str, int]:
    return {pairs[at].decode(): int(pairs[at + 1]) for at in range(0, len(pairs), 2)}


def _report(name: str, error: BaseException) -> None:
    log.error("scheduler_background_ended", work=name, error=str(error))
