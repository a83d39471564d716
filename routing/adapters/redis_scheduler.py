"""The scheduler of the full profile: slots and queues in Redis, shared by every process of the installation.

A lease and a place in a queue live by a heartbeat: those of a process that dies are free again within `LEASE_MS`.
While Redis is away, each process hands out a quarter of each replica's slots by itself, so that chat goes on.
"""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
import redis.asyncio
import structlog
from msgspec import json
from msgspec.structs import astuple, replace

from kernel.errors import NoReplica, ServerOverloaded
from kernel.streams import Supervisor
from routing.adapters.redis_scripts import ACQUIRE, BEAT, CHARGE, RELEASE, RENEW, SNAPSHOT
from routing.balancing import usable
from routing.types import Lease, PoolSnapshot, ReplicaSlots, Ticket
from routing.waiting import RETRY_AFTER_S, WaitingRooms

log = structlog.get_logger(__name__)

LEASE_MS = 10_000
BEAT_MS = 6_000
HEARTBEAT_S = 3.0
# A lost grant message is noticed by asking this often.
ASK_AGAIN_S = 1.0
TIMEOUT_S = 2.0
CHARGE_EVERY_S = 0.1
# Until Redis answers again it is not asked for this long: every call would wait for the timeout.
AWAY_S = 2.0
SHARE_WHILE_AWAY = 4

Unreachable = (redis.RedisError, OSError, TimeoutError)


@dataclass(slots=True)
class _Charge:
    """What a tenant used of a pool lately, and its leases (id, replica, id, …) whose first byte has come."""

    tokens: int = 0
    begun: list[str] = field(default_factory=list)


class RedisScheduler:
    """First come, first served over all processes. One connection for calls, one for grants."""

    def __init__(self, *, url: str, queue_limit: int) -> None:
        """`url` is the state instance of Redis; at most `queue_limit` tickets wait per pool."""
        self._calls = _TickPipeline(url)
        self._grants = _Grants(url)
        self._queue_limit = queue_limit
        self._local = WaitingRooms(queue_limit=queue_limit)
        self._held: dict[str, Lease] = {}
        # Leases whose first byte has not come.
        self._unread: set[str] = set()
        self._charges: defaultdict[tuple[str, str], _Charge] = defaultdict(_Charge)
        self._flushing = False
        self._background = Supervisor(limit=4, on_error=_report)
        self._started = False
        self._away_until = 0.0

    async def acquire(self, ticket: Ticket) -> Lease:
        """Wait for a slot. Raises ServerOverloaded, NoReplica."""
        replicas = usable(ticket.replicas, ticket.avoid)
        if not replicas:
            raise NoReplica(retry_after_s=RETRY_AFTER_S)
        if not self._redis_is_away():
            self._start()
            try:
                return await self._acquire(ticket, replicas)
            except Unreachable as error:
                self._note_away(error)
        return await self._local.acquire(replace(ticket, replicas=_share(replicas)))

    async def charge(self, lease: Lease, written: int, read: int = 0) -> None:
        """Count tokens; charges of a tenth of a second go together."""
        self._local.charge(lease, written, read)
        if lease.id not in self._held:
            return
        charge = self._charges[lease.pool, lease.tenant]
        charge.tokens += written
        if lease.id in self._unread:
            self._unread.discard(lease.id)
            charge.begun += [lease.id, lease.replica]
        if not self._flushing and self._started:
            self._flushing = True
            self._background.start("charges", self._flush_charges())

    async def renew(self, lease: Lease) -> bool:
        """Whether the slot is still held. Heartbeats are sent by the scheduler itself, for all leases at once."""
        return lease.id in self._held or self._local.holds(lease)

    async def release(self, lease: Lease, *, unused: bool = False) -> None:
        """Give the slot back. When Redis is away the slot ends with its heartbeat."""
        self._local.release(lease, unused=unused)
        self._unread.discard(lease.id)
        if self._held.pop(lease.id, None) is None:
            return
        try:
            await self._give_back(lease.pool, lease.id, [lease.replica])
        except Unreachable as error:
            self._note_away(error)

    async def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is now; this process's own share while Redis is away."""
        try:
            found = await self._calls.call(SNAPSHOT, _prefix(pool))
        except Unreachable as error:
            self._note_away(error)
            raise ServerOverloaded("The scheduler's Redis is not reachable.", retry_after_s=AWAY_S) from error
        pairs = found[1:]
        running = {pairs[i].decode(): int(pairs[i + 1]) for i in range(0, len(pairs), 2)}
        return PoolSnapshot(pool, running, int(found[0]))

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

    async def _acquire(self, ticket: Ticket, replicas: tuple[ReplicaSlots, ...]) -> Lease:
        began = asyncio.get_running_loop().time()
        granted = self._grants.expect(ticket.id)
        wanted = json.encode([astuple(each) for each in replicas])
        arguments = [ticket.id, self._grants.channel, LEASE_MS, BEAT_MS, self._queue_limit, wanted]
        ids = [each.id for each in replicas]
        try:
            said = (await self._calls.call(ACQUIRE, _prefix(ticket.pool), *arguments)).decode()
            if said == "full":
                raise ServerOverloaded("The queue of this model is full.", retry_after_s=RETRY_AFTER_S)
            replica = await self._wait(ticket, granted, ids) if said == "wait" else said
        except BaseException:
            # Cancelled, late, or Redis went away: whether a slot was given meanwhile is not known.
            await self._abandon(ticket, ids)
            raise
        finally:
            self._grants.forget(ticket.id)
        waited_ms = (asyncio.get_running_loop().time() - began) * 1000 if said == "wait" else 0.0
        lease = Lease(ticket.id, ticket.pool, ticket.tenant, replica, waited_ms)
        self._held[lease.id] = lease
        self._unread.add(lease.id)
        return lease

    async def _wait(self, ticket: Ticket, granted: "asyncio.Future[str]", ids: Sequence[str]) -> str:
        try:
            async with asyncio.timeout(ticket.wait_s):
                while True:
                    done, _ = await asyncio.wait({granted}, timeout=ASK_AGAIN_S)
                    if done:
                        return granted.result()
                    said = await self._calls.call(
                        BEAT, _prefix(ticket.pool), ticket.id, LEASE_MS, BEAT_MS, *ids
                    )
                    if said == b"gone":
                        raise ServerOverloaded(
                            "The place in the queue was lost.", retry_after_s=RETRY_AFTER_S
                        )
                    if said != b"wait":
                        return str(said.decode())
        except TimeoutError as error:
            raise ServerOverloaded("No slot came free in time.", retry_after_s=RETRY_AFTER_S) from error

    async def _abandon(self, ticket: Ticket, ids: Sequence[str]) -> None:
        try:
            await asyncio.shield(self._give_back(ticket.pool, ticket.id, ids))
        except Unreachable as error:
            log.warning("place_not_given_back", ticket=ticket.id, error=str(error))

    async def _give_back(self, pool: str, ticket: str, ids: Sequence[str]) -> None:
        await self._calls.call(RELEASE, _prefix(pool), ticket, LEASE_MS, *ids)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            leases = list(self._held.values())
            calls = [
                self._calls.call(RENEW, _prefix(each.pool), each.id, LEASE_MS, each.replica)
                for each in leases
            ]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            for lease, outcome in zip(leases, outcomes, strict=True):
                if outcome == 0 and self._held.pop(lease.id, None) is not None:
                    log.warning("slot_lost", lease=lease.id, pool=lease.pool, replica=lease.replica)

    async def _flush_charges(self) -> None:
        await asyncio.sleep(CHARGE_EVERY_S)
        charges, self._charges, self._flushing = self._charges, defaultdict(_Charge), False
        calls = [
            self._calls.call(CHARGE, _prefix(pool), LEASE_MS, tenant, charge.tokens, *charge.begun)
            for (pool, tenant), charge in charges.items()
        ]
        await asyncio.gather(*calls, return_exceptions=True)

    def _redis_is_away(self) -> bool:
        return asyncio.get_running_loop().time() < self._away_until

    def _note_away(self, error: BaseException) -> None:
        self._away_until = asyncio.get_running_loop().time() + AWAY_S
        log.warning("scheduler_without_redis", error=str(error) or type(error).__name__)


def _prefix(pool: str) -> str:
    return f"atrium:sched:{{{pool.replace('{', '(').replace('}', ')')}}}:"


def _share(replicas: Sequence[ReplicaSlots]) -> tuple[ReplicaSlots, ...]:
    return tuple(
        replace(each, max_concurrency=max(1, each.max_concurrency // SHARE_WHILE_AWAY)) for each in replicas
    )


def _report(name: str, error: BaseException) -> None:
    log.error("scheduler_background_ended", work=name, error=str(error))


_Call = tuple[str, str, tuple[Any, ...], "asyncio.Future[Any]"]


class _TickPipeline:
    """Calls of scripts; those of one turn of the loop go to Redis as one pipeline."""

    def __init__(self, url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, max_connections=8
        )
        self._scripts: dict[str, str] = {}
        self._waiting: list[_Call] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def call(self, script: str, prefix: str, *arguments: Any) -> Any:
        """Run `script`; raises RedisError, OSError, TimeoutError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((script, prefix, arguments, future))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._send_soon)
        return await future

    async def close(self) -> None:
        """Wait for what is under way and close the connections."""
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._client.aclose()

    def _send_soon(self) -> None:
        batch, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._send(batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, batch: list[_Call]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answers = await self._run(batch)
        except Unreachable as error:
            answers = [error] * len(batch)
        for (_, _, _, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _run(self, batch: list[_Call]) -> list[Any]:
        answers = await self._evaluate(batch)
        unknown = [
            i for i, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)
        ]
        if unknown:
            # A Redis that was emptied or replaced has forgotten the scripts; nothing of these has run.
            self._scripts.clear()
            for i, answer in zip(unknown, await self._evaluate([batch[i] for i in unknown]), strict=True):
                answers[i] = answer
        return answers

    async def _evaluate(self, batch: list[_Call]) -> list[Any]:
        for script in {script for script, *_ in batch} - self._scripts.keys():
            self._scripts[script] = await self._client.script_load(script)
        async with self._client.pipeline(transaction=False) as pipeline:
            for script, prefix, arguments, _ in batch:
                pipeline.evalsha(self._scripts[script], 1, prefix, *arguments)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers


class _Grants:
    """Hears which waiting tickets of this process were given a slot."""

    def __init__(self, url: str) -> None:
        self.channel = f"atrium:sched:grants:{uuid.uuid4().hex}"
        self._client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=TIMEOUT_S)
        self._expected: dict[str, asyncio.Future[str]] = {}

    def expect(self, ticket: str) -> "asyncio.Future[str]":
        """A future of the replica that `ticket` is given."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._expected[ticket] = future
        return future

    def forget(self, ticket: str) -> None:
        """Nobody waits for `ticket` any more."""
        self._expected.pop(ticket, None)

    async def listen(self) -> None:
        """Listen for ever; a broken connection is opened again, and lost messages are asked for by the waiters."""
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self.channel)
                    async for message in subscription.listen():
                        if message["type"] == "message":
                            self._hear(message["data"].decode())
            except Unreachable as error:
                log.warning("grants_lost", error=str(error))
                await asyncio.sleep(ASK_AGAIN_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    def _hear(self, message: str) -> None:
        ticket, _, replica = message.partition(" ")
        future = self._expected.get(ticket)
        if future is not None and not future.done():
            future.set_result(replica)
