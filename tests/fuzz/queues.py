"""The long run of the two queues, in Python and in Redis, against each other."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from fakes.redis_server import RedisServer
from fakes.twin_queues import random_steps


@dataclass(frozen=True)
class Agreement:
    """So many steps gave the same in both."""

    steps: int
    runs: int
    seconds: float


def compare_queues(*, runs: int, steps: int) -> Agreement:
    """`runs` times `steps` operations; raises AssertionError where the two differ."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        client = redis.Redis.from_url(server.url)
        began = time.monotonic()
        try:
            done = sum(random_steps(client, seed=1_000 + number, count=steps) for number in range(runs))
        finally:
            client.close()
            server.stop()
        return Agreement(done, runs, round(time.monotonic() - began, 1))
