"""What the choice of a replica costs: hashing of a prompt, matching, and the score of many replicas.

`.venv/bin/python benchmarks/choosing.py` prints microseconds: the least of many rounds, so that the figures hold still on
a machine that does other work too.
"""

import sys
import timeit
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from inference.vitals import Vital  # noqa: E402 - the paths come first
from routing.balancing import cheapest  # noqa: E402
from routing.prefixes import BLOCK_CHARS, PrefixIndex, prefix_of  # noqa: E402
from routing.scoring import weigh  # noqa: E402

REPLICAS = 64
ROUNDS = 30


def least(work: Callable[[], object], times: int) -> float:
    """Microseconds of one `work`, in the best of the rounds."""
    return min(timeit.repeat(work, number=times, repeat=ROUNDS)) / times * 1e6


def body_of(blocks: int) -> dict[str, object]:
    """A conversation of so many blocks of text."""
    text = "What is written here means nothing. " * (blocks * BLOCK_CHARS // 36 + 1)
    return {"messages": [{"role": "user", "content": text[: blocks * BLOCK_CHARS]}]}


def main() -> None:
    """Measure."""
    for blocks in (1, 16, 256, 2048):
        body = body_of(blocks)
        took = least(lambda body=body: prefix_of(body, 1), max(1, 2000 // blocks))  # type: ignore[misc]
        sys.stdout.write(f"hash {blocks} blocks: {took:.2f} µs, {took / blocks:.3f} a block\n")
    index = PrefixIndex()
    prefix = prefix_of(body_of(64), 1)
    other = prefix_of(body_of(48), 1)
    assert prefix is not None
    assert other is not None
    ids = [f"replica-{number}" for number in range(REPLICAS)]
    most = [32] * REPLICAS
    vitals = [Vital() for _ in ids]
    plain = least(lambda: weigh(ids, most, vitals, 40, None, index), 50)
    cold = least(lambda: weigh(ids, most, vitals, 4096, prefix, index), 50)
    for each in ids:
        index.note(each, 0, other.chain)
    warm = least(lambda: weigh(ids, most, vitals, 4096, prefix, index), 50)
    sys.stdout.write(
        f"terms of {REPLICAS} replicas: {plain:.1f} µs without a prefix, {cold:.1f} cold, {warm:.1f} warm\n"
    )
    slots = weigh(ids, most, vitals, 40, None, index).slots
    pick = least(lambda: cheapest(slots, lambda _: 1, lambda _: 100), 50)
    sys.stdout.write(f"cheapest of {REPLICAS}: {pick:.1f} µs\n")


if __name__ == "__main__":
    main()
