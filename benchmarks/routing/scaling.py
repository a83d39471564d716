"""W7, `python -m benchmarks.routing.scaling`: pools that grow, shrink and sleep, by Atrium's policy and by others'.

The same requests, the same gateway and queue for every arm; only who decides how many replicas there are differs. A
request keeps its promise when it was answered, with its first token within 2 s and 60 ms between tokens on average; one
that was refused has not. A replica needs 100 s until it serves.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.routing.elastic import SLOTS, ElasticPool, flaps
from benchmarks.routing.engine import PROFILES, Request
from benchmarks.routing.measures import done, interval, percentile
from benchmarks.routing.scaling_arms import Atrium, Bounds, Hpa, Kpa, LlmDSlo, ScalingArm
from benchmarks.routing.virtual import Timeline
from benchmarks.routing.workloads import Lengths, Maker

WARMUP_S = 100
TTFT_S, TPOT_S = 2.0, 0.06
LENGTHS = Lengths(prompt=800, answer=300)
# Requests a second that one replica of the profile h100 answers at about 80 % of what it can.
REPLICA_RATE = 2.1
# Of a replica's slots, what every arm aims at; the others are tried with more and less too.
TARGETS = (0.35, 0.5)
DEFAULT_TARGET = 0.5
MOST_REPLICAS = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """A load over time: how many replicas' worth at each second."""

    seconds: float
    begin: int
    least: int
    wait: float
    load: Callable[[float], float]


def _ramp(at: float) -> float:
    """2 → 8 within five minutes, ten minutes there, back within five."""
    if at < 300:
        return 2.0
    if at < 600:
        return 2 + 6 * (at - 300) / 300
    if at < 1200:
        return 8.0
    if at < 1500:
        return 8 - 6 * (at - 1200) / 300
    return 2.0


def _step(at: float) -> float:
    return 6.0 if 300 <= at < 1100 else 2.0


def _waves(at: float) -> float:
    return 4 + 2 * math.sin(2 * math.pi * at / 900)


def _sleep(at: float) -> float:
    """Five minutes of work, fifteen without any."""
    return 0.8 if at % 1200 < 300 else 0.0


SHAPES = {
    "ramp 2 → 8 → 2": Shape(2400, 2, 1, 60.0, _ramp),
    "step 2 → 6 → 2": Shape(2000, 2, 1, 60.0, _step),
    "waves 2 … 6": Shape(2700, 4, 1, 60.0, _waves),
    "to zero and back": Shape(3600, 0, 0, 300.0, _sleep),
}


def offered(shape: Shape, seed: int) -> list[Request]:
    """The requests of a shape, a Poisson process whose rate follows it."""
    rng = random.Random(seed)
    maker = Maker(rng)
    most = max(shape.load(float(at)) for at in range(int(shape.seconds)))
    requests: list[Request] = []
    for at in maker.poisson(most * REPLICA_RATE, shape.seconds):
        if rng.random() * most < shape.load(at):
            request = maker.request(tenant=str(len(requests) % 10), arrival=at, tokens=LENGTHS.draw(rng))
            request.blocks, request.answer_blocks, request.wait = (), (), shape.wait
            requests.append(request)
    return requests


def _arms(share: float, shape: Shape) -> dict[str, ScalingArm]:
    bounds = Bounds(shape.least, MOST_REPLICAS, share * SLOTS)
    return {
        "Atrium": Atrium(bounds, start_s=WARMUP_S, ttft_ms=int(TTFT_S * 1000), tpot_ms=int(TPOT_S * 1000)),
        "HPA": Hpa(bounds),
        "KPA": Kpa(bounds),
        "llm-d SLO": LlmDSlo(bounds),
    }


@dataclass(frozen=True, slots=True)
class Case:
    """One run."""

    row: str
    arm: str
    share: float
    seed: int

    @property
    def label(self) -> str:
        """The arm, with its target where it is not the usual one."""
        return self.arm if self.share == DEFAULT_TARGET else f"{self.arm}, target {self.share:.0%}"

    def run(self) -> Mapping[str, float]:
        """What came of it."""
        shape = SHAPES[self.row]
        requests = offered(shape, self.seed)
        arm = _arms(self.share, shape)[self.arm]
        pool = ElasticPool(
            Timeline(),
            PROFILES["h100"],
            arm,
            begin=shape.begin,
            warmup=WARMUP_S,
            slo=(TTFT_S, TPOT_S),
        )
        pool.play(requests, shape.seconds + shape.wait)
        return figures(requests, pool)


def figures(requests: list[Request], pool: ElasticPool) -> Mapping[str, float]:
    """What a table shows."""
    ended = done(requests)
    kept = sum(each.ttft <= TTFT_S and each.tpot <= TPOT_S for each in ended)
    ups = [change for _, change in pool.changes if change > 0]
    return {
        "promise kept": kept / len(requests),
        "replica-seconds": pool.seconds,
        "flaps": flaps(pool.changes),
        "refused": sum(bool(each.rejected) for each in requests) / len(requests),
        "p99 TTFT s": percentile([each.ttft for each in ended], 0.99),
        "replicas started": sum(ups),
    }


def cases(seeds: int, rows: set[str], *, tuned: bool) -> Iterator[Case]:
    """All runs."""
    for row in SHAPES:
        if row not in rows:
            continue
        for seed in range(1, seeds + 1):
            for arm in ("Atrium", "HPA", "KPA", "llm-d SLO"):
                for share in TARGETS if tuned and arm in ("HPA", "KPA") else (DEFAULT_TARGET,):
                    yield Case(row, arm, share, seed)


def play(
    seeds: int, rows: set[str], processes: int, *, tuned: bool
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """By row, arm and figure, a value for each seed."""
    work = list(cases(seeds, rows, tuned=tuned))
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with ProcessPoolExecutor(processes) as pool:
        for case, values in zip(work, pool.map(_run, work), strict=True):
            row = found.setdefault(case.row, {}).setdefault(case.label, {})
            for name, value in values.items():
                row.setdefault(name, []).append(value)
    return found


def _run(case: Case) -> Mapping[str, float]:
    return case.run()


def main() -> int:
    """Run what was asked for: tables on the output, JSON and Markdown under `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=SHAPES, action="append", help="these shapes alone")
    parser.add_argument("--tuned", action="store_true", help="HPA and KPA with other targets too")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--out", type=Path, default=Path("var/bench/scaling"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    found = play(options.seeds, set(options.only or SHAPES), options.processes, tuned=options.tuned)
    lines = [f"{options.seeds} seeds in {time.perf_counter() - began:.0f} s."]
    for row_name, arms in found.items():
        names = list(next(iter(arms.values())))
        lines += ["", f"**{row_name}**", "", f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        lines += [
            f"| {arm} | {' | '.join(str(interval(values[name])) for name in names)} |"
            for arm, values in arms.items()
        ]
    text = "\n".join(lines)
    (options.out / "results.json").write_text(json.dumps(found, indent=1))
    (options.out / "tables.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
