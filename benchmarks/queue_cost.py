"""What the queue costs: a pick among 10,000 that wait, and a slot when nobody does; in Python, and in Lua over a Redis.

    PYTHONPATH=.:platform python -m benchmarks.queue_cost [redis://host:port/db]

With a Redis it also measures the round trip of a call's slot (acquire and release), and the same two messages by way of
a list and a second process, which is what one elected dispatcher for each pool would need at least.
"""

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import redis

from routing.adapters.redis_scripts import ACQUIRE, RELEASE, SNAPSHOT
from routing.queueing import PoolQueue
from routing.reckoning import QueueBounds
from routing.types import ReplicaSlots, Ticket
from tenants.types import PriorityClass

WAITING, TENANTS, USERS, REPLICAS = 10_000, 1_000, 3, 8
PICKS = 5_000
FREE_CALLS = 20_000
LIMIT = 1_000_000
BOUNDS = QueueBounds(LIMIT, (LIMIT,) * 4, LIMIT)
CLASSES = list(PriorityClass)
DISPATCHER = """
import redis, sys
client = redis.Redis.from_url(sys.argv[1])
while True:
    _, asked = client.blpop(sys.argv[2])
    if asked == b"end": break
    client.rpush(asked, b"granted")
"""


def ticket(number: int, tokens: int = 100) -> Ticket:
    """The ticket of some user of some tenant."""
    replicas = tuple(ReplicaSlots(f"r{each}", 4, uncached_tokens=tokens) for each in range(REPLICAS))
    return Ticket(
        f"{number}", "pool", f"tenant-{number % TENANTS}", CLASSES[number % 4], replicas, tokens, 100, 1e9,
        user=f"user-{number % USERS}", weight=1 + number % 3,
    )  # fmt: skip


def microseconds(times: list[float]) -> dict[str, float]:
    """Median and 99th percentile of seconds, in µs."""
    ordered = sorted(times)
    return {
        "p50_us": round(statistics.median(ordered) * 1e6, 1),
        "p99_us": round(ordered[len(ordered) * 99 // 100] * 1e6, 1),
    }


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pick_in_python() -> dict[str, float]:
    """A slot comes free and is given to one of 10,000, and another one comes."""
    queue = PoolQueue(BOUNDS)
    held = []
    for number in range(REPLICAS * 4):
        queue.take(ticket(number), 0)
        held.append(f"{number}")
    number = len(held)
    for _ in range(WAITING):
        queue.enqueue(ticket(number), number)
        number += 1
    times = []
    for at in range(PICKS):
        queue.charge(held[at % len(held)], 64)
        queue.release(held[at % len(held)], number)
        began = time.perf_counter()
        granted = queue.grant(number)
        times.append(time.perf_counter() - began)
        held[at % len(held)] = granted[0].ticket.id
        queue.enqueue(ticket(number), number)
        number += 1
    return microseconds(times)


def slot_in_python() -> dict[str, float]:
    """Nobody waits: a slot is taken and given back."""
    queue = PoolQueue(BOUNDS)
    asked = ticket(0)

    def work() -> None:
        queue.take(asked, 0)
        queue.charge(asked.id, 1)
        queue.release(asked.id, 0)

    return microseconds([timed(work) for _ in range(FREE_CALLS)])


class InRedis:
    """The scripts over a pool of their own."""

    def __init__(self, client: "redis.Redis") -> None:
        """Nobody waits."""
        self._prefix = f"atrium:sched:{{bench-{uuid.uuid4().hex}}}:"
        self._client = client
        self._scripts = {script: client.register_script(script) for script in (ACQUIRE, RELEASE, SNAPSHOT)}

    def call(self, script: str, *arguments: Any) -> Any:
        """Run a script."""
        return self._scripts[script](keys=[self._prefix], args=["", "me", 10**9, *arguments])

    def acquire(self, asked: Ticket) -> Any:
        """Ask for a slot."""
        replicas = [
            [each.id, each.max_concurrency, 4000.0, each.uncached_tokens, 0, 0] for each in asked.replicas
        ]
        record = {
            "id": asked.id, "rank": asked.priority.rank, "tenant": asked.tenant, "user": asked.user,
            "weight": asked.weight, "wait_s": asked.wait_s, "replicas": replicas,
        }  # fmt: skip
        return self.call(ACQUIRE, json.dumps(record), LIMIT, LIMIT, *[LIMIT] * 4)

    def release(self, id: str) -> list[bytes]:
        """Give one back; what was granted."""
        found: list[bytes] = self.call(RELEASE, id, "0", 64, 0)
        return found

    def slot(self) -> dict[str, float]:
        """Nobody waits: a slot is taken and given back, two round trips."""
        asked = ticket(0)
        times = [timed(lambda: (self.acquire(asked), self.release(asked.id))) for _ in range(2_000)]
        return microseconds(times)

    def pick(self) -> dict[str, float]:
        """As `pick_in_python`, the round trip and what the call wrote included."""
        held = []
        for number in range(REPLICAS * 4):
            self.acquire(ticket(number))
            held.append(f"{number}")
        number = len(held)
        for _ in range(WAITING):
            self.acquire(ticket(number))
            number += 1
        times = []
        for at in range(1_000):
            began = time.perf_counter()
            granted = self.release(held[at % len(held)])
            times.append(time.perf_counter() - began)
            held[at % len(held)] = granted[0].decode()
            self.acquire(ticket(number))
            number += 1
        return microseconds(times)

    def close(self) -> None:
        """Leave nothing behind."""
        for key in self._client.scan_iter(match=f"{self._prefix}*", count=10_000):
            self._client.delete(key)


def by_dispatcher(url: str, client: "redis.Redis") -> dict[str, float]:
    """Two messages by way of a second process: one that asks, one that is answered, without any policy."""
    asks, answers = f"bench:{uuid.uuid4().hex}", f"bench:{uuid.uuid4().hex}"
    process = subprocess.Popen([sys.executable, "-c", DISPATCHER, url, asks])
    try:
        times = [timed(lambda: _ask(client, asks, answers)) for _ in range(2_000)]
        client.rpush(asks, "end")
        process.wait(10)
    finally:
        process.kill()
    # A call asks, and gives back without waiting.
    return microseconds(times[100:])


def _ask(client: "redis.Redis", asks: str, answers: str) -> None:
    client.rpush(asks, answers)
    if client.blpop([answers], timeout=10) is None:
        raise RuntimeError("the dispatcher does not answer")


def main() -> None:
    """Measure and print as JSON."""
    found: dict[str, Any] = {"pick": pick_in_python(), "slot": slot_in_python()}
    if len(sys.argv) > 1:
        client = redis.Redis.from_url(sys.argv[1])
        inside = InRedis(client)
        try:
            found["redis_slot"] = inside.slot()
            found["redis_round_trip"] = microseconds([timed(client.ping) for _ in range(2_000)])
            found["redis_pick"] = inside.pick()
        finally:
            inside.close()
        found["redis_dispatcher"] = by_dispatcher(sys.argv[1], client)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
