"""What one decision costs in this process, beside what was wanted. Figures over Redis: `benchmarks/queue_cost.py`."""

import timeit
from collections.abc import Callable

from benchmarks.queue_cost import pick_in_python
from benchmarks.routing.verdicts import Verdict
from inference.vitals import Vital
from routing.prefixes import BLOCK_CHARS, PrefixIndex, prefix_of
from routing.scoring import weigh

REPLICAS, BLOCKS, ROUNDS = 64, 256, 30


def measure_costs() -> list[Verdict]:
    """A pick among 10,000 that wait (median), the score of 64 replicas and a block's hash (best of thirty rounds)."""
    pick = pick_in_python()["p50_us"]
    text = "What is written here means nothing. " * (BLOCKS * BLOCK_CHARS // 36 + 1)
    body = {"messages": [{"role": "user", "content": text[: BLOCKS * BLOCK_CHARS]}]}
    block = _least(lambda: prefix_of(body, 1), 10) / BLOCKS
    ids = [f"replica-{number}" for number in range(REPLICAS)]
    vitals, index = [Vital() for _ in ids], PrefixIndex()
    plain = _least(lambda: weigh(ids, [32] * REPLICAS, vitals, 40, None, index), 50)
    prefix = prefix_of(body, 1)
    cold = _least(lambda: weigh(ids, [32] * REPLICAS, vitals, BLOCKS * 64, prefix, index), 50)
    return [
        Verdict("cost of a decision", "queue pick ≤ 50 µs at 10,000 queued", f"{pick:.1f} µs", pick <= 50),
        Verdict(
            "cost of a decision",
            f"score of {REPLICAS} replicas ≤ 50 µs",
            f"{plain:.1f} µs; {cold:.1f} with a new prefix",
            max(plain, cold) <= 50,
        ),
        Verdict("cost of a decision", "hashing ≤ 1 µs a block", f"{block:.2f} µs", block <= 1),
    ]


def _least(work: Callable[[], object], times: int) -> float:
    return min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6
