"""`python -m benchmarks.routing.tune`: the best parameters of each arm that has some, from a small grid, on seeds of its own.

Writes `benchmarks/routing/tuned.json`, whose arms `make bench-routing` reports beside the defaults. The best is the one
with the most goodput in W1 at 80 and 100 % load with both sizes of caches, of equals the one with the smaller median.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from benchmarks.routing.engine import PROFILES
from benchmarks.routing.runs import TUNED_FILE, tunable
from benchmarks.routing.scenarios import W1_BLOCKS, W1_CAPACITY, shared_prefix

# Not among those of the tables, which count from 1.
SEEDS = (1001, 1002)
SECONDS = 60.0
LOADS = (0.8, 1.0)
GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "SGLang cache-aware": {"threshold": (0.3, 0.5, 0.8), "absolute": (4, 32), "relative": (1.1, 1.5)},
    "llm-d 2/2/3": {"weights": ((2, 2, 3), (1, 1, 1), (1, 1, 3), (3, 1, 3), (1, 3, 3), (2, 2, 8))},
    "Dynamo cost": {"overlap": (1.0, 2.0, 4.0), "ttl": (120.0, 600.0)},
}


def main() -> None:
    """Try every combination."""
    arms: dict[str, Any] = {}
    for arm, grid in GRIDS.items():
        tried: list[dict[str, Any]] = []
        for values in product(*grid.values()):
            parameters = dict(zip(grid, values, strict=True))
            goodput, median = _worth(arm, parameters)
            tried.append({"parameters": parameters, "goodput/s": goodput, "p50 TTFT s": median})
            sys.stderr.write(f"{arm} {parameters}: {goodput:.3f}/s, {median:.2f} s\n")
        arms[arm] = max(tried, key=lambda each: (each["goodput/s"], -each["p50 TTFT s"])) | {
            "tried": len(tried)
        }
    TUNED_FILE.write_text(json.dumps({"seeds": SEEDS, "seconds": SECONDS, "arms": arms}, indent=1) + "\n")


def _worth(arm: str, parameters: Mapping[str, Any]) -> tuple[float, float]:
    """Mean goodput and mean median over the runs."""
    found = [
        shared_prefix(
            arm,
            "none",
            seed,
            replace(PROFILES["h100"], blocks=blocks),
            load * W1_CAPACITY[demand],
            SECONDS,
            made=tunable(arm, parameters),
        )
        for seed in SEEDS
        for demand, blocks in W1_BLOCKS.items()
        for load in LOADS
    ]
    goodput, median = (sum(each[name] for each in found) / len(found) for name in ("goodput/s", "p50 TTFT s"))
    return round(goodput, 4), round(median, 4)


if __name__ == "__main__":
    main()
