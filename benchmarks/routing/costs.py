"""What one decision costs in this process, beside what was wanted. Figures over Redis: `benchmarks/queue_cost.py`."""

import timeit
from collections.abc import Callable

import redis

from benchmarks.queue_cost import InRedis, pick_in_python
from benchmarks.routing.verdicts import Verdict
from inference.vitals import Vital
from routing.prefixes import BLOCK_CHARS, PrefixIndex, prefix_of
from routing.scoring import weigh

REPLICAS, BLOCKS, ROUNDS = 64, 256, 30


def measure_costs(redis_url: str) -> list[Verdict]:
    """A pick among 10,000 that wait (median), the score of 64 replicas and a block's hash (best of thirty rounds).

    With a Redis also what its queue adds to a call that does not wait: two scripts, one before and one after it (median).
    """
    pick = pick_in_python()["p50_us"]
    text = "What is written here means nothing. " * (BLOCKS * BLOCK_CHARS // 36 + 1)
    body = {"messages": [{"role": "user", "content": text[: BLOCKS * BLOCK_CHARS]}]}
    block = _least(lambda: prefix_of(body, 1), 10) / BLOCKS
    ids = [f"replica-{number}" for number in range(REPLICAS)]
    vitals, index = [Vital() for _ in ids], PrefixIndex()
    plain = _least(lambda: weigh(ids, [32] * REPLICAS, vitals, 40, None, index), 50)
    prefix = prefix_of(body, 1)
    cold = _least(lambda: weigh(ids, [32] * REPLICAS, vitals, BLOCKS * 64, prefix, index), 50)
    lines = [
        Verdict("cost of a decision", "queue pick ≤ 50 µs at 10,000 queued", f"{pick:.1f} µs", pick <= 50),
        Verdict(
            "cost of a decision",
            f"score of {REPLICAS} replicas ≤ 50 µs",
            f"{plain:.1f} µs; {cold:.1f} with a new prefix",
            max(plain, cold) <= 50,
        ),
        Verdict("cost of a decision", "hashing ≤ 1 µs a block", f"{block:.2f} µs", block <= 1),
    ]
    if redis_url:
        client = redis.Redis.from_url(redis_url)
        inside = InRedis(client)
        added = inside.slot()["p50_us"]
        inside.close()
        client.close()
        lines.append(
            Verdict(
                "cost of a decision",
                "over Redis ≤ 1 ms p50 when not queued",
                f"{added / 1000:.2f} ms",
                added <= 1000,
            )
        )
    return lines


def _least(work: Callable[[], object], times: int) -> float:
    return min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6
