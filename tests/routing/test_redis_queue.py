"""The queue in Redis is the queue in Python: the same steps give the same grants, answers and counters."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fakes.redis_server import REDIS, RedisServer
from fakes.twin_queues import random_steps

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
