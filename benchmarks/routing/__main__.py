"""`python -m benchmarks.routing`: every table, as JSON, Markdown and plots under `var/bench/routing`."""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.routing.beside import BESIDE, beside
from benchmarks.routing.costs import measure_costs
from benchmarks.routing.measures import interval, paired
from benchmarks.routing.plots import line_plot
from benchmarks.routing.redis_core import URL_VARIABLE, own_redis
from benchmarks.routing.runs import ATRIUM, ORACLE
from benchmarks.routing.scenarios import TABLES, Case, Figures, cases
from benchmarks.routing.verdicts import Verdict, as_markdown, judge

# By arm, one value for each seed, in the order of the seeds.
Values = dict[str, list[float]]


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=0, help="10 when not said, 3 with --quick")
    parser.add_argument("--only", choices=[*TABLES, *BESIDE], action="append", help="these tables alone")
    parser.add_argument("--public", type=Path, help="the folder of the public collections of W9")
    parser.add_argument("--quick", action="store_true", help="fewer loads, and three seeds")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--out", type=Path, default=Path("var/bench/routing"))
    options = parser.parse_args()
    options.seeds = options.seeds or (3 if options.quick else 10)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with own_redis() as url:
        os.environ[URL_VARIABLE] = url
        work = list(
            cases(set(TABLES) & set(options.only or TABLES), range(1, options.seeds + 1), options.quick)
        )
        found = _run_all(work, options.processes)
        costs = measure_costs(url)
    took = time.perf_counter() - began
    # Kept before what follows, which may fail: an hour of runs would be lost with it.
    tables = "\n".join(_table(name, rows) for name, rows in found.items())
    text = f"{options.seeds} seeds, {len(work)} runs in {took:.0f} s. Means ± half of the 95 % interval.\n\n{tables}"
    _keep_tables(options.out, found, text)
    lines = [*judge(found), *costs]
    verdicts = _keep_verdicts(options.out, lines)
    rest = beside(
        set(options.only or BESIDE), seeds=options.seeds, processes=options.processes, folder=options.public
    )
    if rest:
        verdicts = _keep_verdicts(options.out, [*lines, *rest])
    print(f"{text}\n\n## Wanted and reached\n\n{verdicts}")
    return 0


def _keep_tables(folder: Path, found: dict[str, dict[str, dict[str, Values]]], text: str) -> None:
    """Write every figure of the simulated pools, the tables and the plots."""
    (folder / "results.json").write_text(json.dumps(found, indent=1))
    (folder / "tables.md").write_text(text)
    for name, svg in _plots(found).items():
        (folder / name).write_text(svg)


def _keep_verdicts(folder: Path, lines: list[Verdict]) -> str:
    """Write what was wanted and reached; as Markdown."""
    verdicts = as_markdown(lines)
    (folder / "verdicts.json").write_bytes(msgspec.json.format(msgspec.json.encode(lines)))
    (folder / "verdicts.md").write_text(verdicts + "\n")
    return verdicts


def _run_all(work: list[Case], processes: int) -> dict[str, dict[str, dict[str, Values]]]:
    """Every case, several at a time."""
    began = time.perf_counter()
    found: dict[str, dict[str, dict[str, Values]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    with ProcessPoolExecutor(processes) as pool:
        for at, (case, figures) in enumerate(zip(work, pool.map(_run, work, chunksize=4), strict=True)):
            for name, value in figures.items():
                found[case.table][case.row][name].setdefault(case.arm, []).append(value)
            if at % 50 == 0:
                sys.stderr.write(f"\r{at}/{len(work)} runs, {time.perf_counter() - began:.0f} s ")
    sys.stderr.write("\n")
    return found


def _run(case: Case) -> Figures:
    return case.run()


def _table(name: str, rows: dict[str, dict[str, Values]]) -> str:
    """One workload: a table for each of its rows, an arm a line."""
    lines = [f"## {name}"]
    for row, figures in rows.items():
        names = list(figures)
        lines += ["", f"**{row}**", "", f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        arms = list(dict.fromkeys(arm for values in figures.values() for arm in values))
        for arm in arms:
            cells = [str(interval(figures[each][arm])) if arm in figures[each] else "" for each in names]
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        first = names[0]
        others = [arm for arm in arms if not arm.startswith(ATRIUM) and arm != ORACLE]
        if ATRIUM in figures[first] and others and "TTFT" in first:
            best = min(others, key=lambda arm: interval(figures[first][arm]).mean)
            gap = paired(figures[first][ATRIUM], figures[first][best])
            lines += ["", f"Atrium − best other ({best}), {first}, same seeds: {gap}"]
    return "\n".join([*lines, ""])


def _plots(found: dict[str, dict[str, dict[str, Values]]]) -> dict[str, str]:
    """Curves over the load of W1."""
    plots: dict[str, str] = {}
    for demand in ("0.7", "1.5"):
        rows = {row: figures for row, figures in found.get("W1", {}).items() if f"×{demand}," in row}
        for figure, log in (
            ("p50 TTFT s", True),
            ("p99 TTFT s", True),
            ("hit rate", False),
            ("answers/s", False),
        ):
            curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for row, figures in rows.items():
                load = float(row.rsplit(" ", 1)[1].rstrip("%"))
                for arm, values in figures[figure].items():
                    curves[arm].append((load, interval(values).mean))
            if curves:
                slug = figure.split(" s")[0].replace(" ", "-").replace("/", "-per-").lower()
                title = f"W1, shared texts {demand} × the caches: {figure}"
                plots[f"w1-{demand}-{slug}.svg"] = line_plot(title, "load, %", figure, dict(curves), log=log)
    return plots


if __name__ == "__main__":
    sys.exit(main())
