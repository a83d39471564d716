"""The queue in Redis is the queue in Python: the same steps give the same grants, answers and counters."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fakes.redis_server import REDIS, RedisServer
from fakes.twin_queues import TwinQueues, flooded_steps, random_steps

from routing.reckoning import QueueBounds
from routing.types import ReplicaSlots, Ticket
from tenants.types import PriorityClass

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(REDIS is None, reason="no redis-server on this machine"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis.Redis"]:
    folder: Path = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder)
    server.start()
    made = redis.Redis.from_url(server.url)
    yield made
    made.close()
    server.stop()


@pytest.mark.parametrize("seed", range(4))
def test_both_queues_agree(client: "redis.Redis", seed: int) -> None:
    assert random_steps(client, seed=seed, count=1_000) == 1_000


@pytest.mark.parametrize("seed", range(2))
def test_both_agree_on_what_is_kept_free_in_a_flood(client: "redis.Redis", seed: int) -> None:
    assert flooded_steps(client, seed=seed, count=1_000) > 100


def test_what_an_earlier_version_left_goes_with_the_last_call(client: "redis.Redis") -> None:
    twins = TwinQueues(client, QueueBounds.of(100))
    for number in range(3):
        replicas = (ReplicaSlots("a", 1, uncached_tokens=7),)
        twins.acquire(Ticket(f"{number}", "pool", f"t{number}", PriorityClass.STANDARD, replicas, 7, 10, 1e9))
    twins.haunt("a")
    assert len(twins.waiting) == 2
    # Nothing but counters may be left, and no work.
    twins.close()
