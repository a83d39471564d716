"""The queue as the scripts over a real Redis keep it, driven in virtual time: what `PoolQueue` is to the simulator.

`routing.adapters.redis_scheduler` does in production what is done here: one script for a call that comes and one for a call
that ends, and what was used in between is told a tenth of a second later.
"""

import json
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.routing.virtual import Timeline
from routing.adapters.redis_scripts import ACQUIRE, CHARGE, RELEASE, SNAPSHOT
from routing.queueing import Grant, work_tokens
from routing.reckoning import QueueBounds, Refusal, Refused, Shed
from routing.types import PoolSnapshot, PoolWork, Ticket
from tenants.types import PriorityClass

CHARGE_EVERY_S = 0.1
FOREVER_MS = 10**12
# Where the processes of a benchmark find the Redis.
URL_VARIABLE = "ATRIUM_BENCH_REDIS_URL"


class RedisCore:
    """One pool."""

    def __init__(self, url: str, timeline: Timeline, bounds: QueueBounds, told: Callable[[], None]) -> None:
        """`told` is called when there may be grants that no call of this class has asked for."""
        self._client = redis.Redis.from_url(url)
        self._timeline = timeline
        self._bounds = (bounds.total, bounds.tenant, *bounds.classes)
        self._told = told
        self._prefix = f"atrium:sched:{{bench-{uuid.uuid4().hex}}}:"
        self._scripts = {
            script: self._client.register_script(script) for script in (ACQUIRE, CHARGE, RELEASE, SNAPSHOT)
        }
        self._tickets: dict[str, Ticket] = {}
        self._outcome: Refused | Shed | None = None
        self._granted: list[Grant] = []
        self._charges: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._tickets)

    def take(self, ticket: Ticket, now_ms: float) -> str | None:
        """The replica that the ticket is given at once; None when it waits or may not, which `enqueue` says."""
        said = self._call(ACQUIRE, _as_json(ticket), *self._bounds)
        outcome = said[0].decode()
        if outcome == "held":
            return str(said[1].decode())
        self._outcome = None
        if outcome == "no":
            self._outcome = Refused(Refusal(said[1].decode()), float(said[2]))
            return None
        if outcome == "shed":
            self._outcome = Shed(said[1].decode(), float(said[2]))
            self._tickets.pop(self._outcome.id)
        self._tickets[ticket.id] = ticket
        return None

    def enqueue(self, ticket: Ticket, now_ms: float) -> Refused | Shed | None:
        """What became of the ticket that was not given a slot."""
        return self._outcome

    def cancel(self, id: str) -> bool:
        """Give up a place in the queue; False when there is none (any more)."""
        if self._tickets.pop(id, None) is None:
            return False
        self._hear(self._call(RELEASE, id, "1", 0, 0))
        return True

    def grant(self, now_ms: float) -> list[Grant]:
        """What the last scripts have granted."""
        granted, self._granted = self._granted, []
        return granted

    def charge(self, id: str, written: int, read: int = 0) -> None:
        """Book tokens of a held slot, in a tenth of a second."""
        if not self._charges:
            self._timeline.after(CHARGE_EVERY_S, self._flush)
        self._charges[id] = self._charges.get(id, 0) + written

    def release(self, id: str, now_ms: float) -> bool:
        """A slot is free again."""
        self._hear(self._call(RELEASE, id, "0", self._charges.pop(id, 0), 0))
        return True

    def snapshot(self, pool: str) -> PoolSnapshot:
        """How busy the pool is."""
        running, in_flight, waiting, hold_ms, work = self._call(SNAPSHOT)
        return PoolSnapshot(
            pool,
            _numbers(running),
            sum(waiting),
            in_flight=_numbers(in_flight),
            waiting_by_class=dict(zip(PriorityClass, waiting, strict=True)),
            hold_s=float(hold_ms) / 1000 if hold_ms else None,
            work=PoolWork(*work),
        )

    def close(self) -> None:
        """Leave nothing behind."""
        for key in self._client.scan_iter(match=f"{self._prefix}*", count=10_000):
            self._client.delete(key)
        self._client.close()

    def _flush(self) -> None:
        charges, self._charges = self._charges, {}
        if charges:
            self._hear(
                self._call(CHARGE, *(part for id, count in charges.items() for part in (id, count, 0)))
            )
            self._told()

    def _hear(self, granted: list[bytes]) -> None:
        for at in range(0, len(granted), 3):
            ticket = self._tickets.pop(granted[at].decode())
            self._granted.append(Grant(ticket, granted[at + 1].decode(), float(granted[at + 2])))

    def _call(self, script: str, *arguments: Any) -> Any:
        now_ms = self._timeline.now * 1000
        return self._scripts[script](keys=[self._prefix], args=[repr(now_ms), "me", FOREVER_MS, *arguments])


@contextmanager
def own_redis() -> Iterator[str]:
    """The address of a Redis that is ended afterwards; '' where this machine has none."""
    program = shutil.which("redis-server")
    if program is None:
        yield ""
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(
            url, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 50)
        ) as client:
            client.ping()
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _numbers(pairs: list[bytes]) -> dict[str, int]:
    return {pairs[at].decode(): int(pairs[at + 1]) for at in range(0, len(pairs), 2)}


def _as_json(ticket: Ticket) -> str:
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
