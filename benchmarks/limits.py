"""What tenants, keys and limits cost: `python benchmarks/limits.py [cost] [redis] [served] [full] [scale]`, a part of `make bench`.

cost   authenticate, check, reserve and settle in process; requests a second with every limit on over none
redis  the same with the counters in a Redis of its own
served requests a second of a whole server over sockets, with every limit on over none, in process
full   the same of a gateway of the full profile, over PostgreSQL and Redis (after `make services`): with four and with all
scale  10,000 tenants, 100,000 users and 1,000,000 keys beside ten tenants: requests a second, also while 50 edits a
       second are made; memory, start, and the lists of administrators

The way of a request is that of `one_request.py`: the whole of Atrium's part without sockets, counted in processor time,
so that its ratios hold on a machine that does other work too. Rounds of what is compared take turns. Each part runs in
a process of its own. Figures: `var/bench/limits.json` and a table.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "bench"
SERVICES = ROOT / "var" / "services" / "environment"
PARTS = ("cost", "redis", "served", "full", "scale")


def main() -> int:
    """Run parts, print the table; the exit code is 1 when a part failed, not when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=(*PARTS, []), help="all, where none is named")
    parser.add_argument("--rounds", type=int, default=40, help="of 160 requests each (default 40)")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / "limits.json"
    found: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    failed = False
    for part in options.parts or PARTS:
        if part == "full" and not options.parts and not SERVICES.exists():
            sys.stdout.write("left out: full, which needs `make services`\n")
            continue
        done = subprocess.run(
            [
                sys.executable,
                str(ROOT / "benchmarks" / "limits_parts.py"),
                part,
                "--rounds",
                str(options.rounds),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "ATRIUM_HOME": str(FOLDER / f"limits-{part}")},
        )
        if done.returncode:
            failed = True
            log = FOLDER / f"limits-{part}" / f"{part}.log"
            sys.stdout.write(f"FAILED: {part} ended with code {done.returncode}; see {log}\n")
            continue
        found[part] = json.loads(done.stdout.strip().splitlines()[-1])
        found[part]["when"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        target.write_text(json.dumps(found, indent=2))
    text = table(found)
    (FOLDER / "limits.md").write_text(text)
    sys.stdout.write(text)
    return int(failed)


GOALS = (
    # part, figure, what it is, goal, whether more is better, unit
    ("cost", "share", "requests a second, all limits on ÷ none, in process", 0.85, True, ""),
    ("cost", "p50_ms", "authenticate + check + reserve + settle, p50, in process", 0.15, False, " ms"),
    (
        "served",
        "share",
        "requests a second of a whole server over sockets, all limits on ÷ none",
        0.85,
        True,
        "",
    ),
    (
        "full",
        "share",
        "requests a second of a gateway over PostgreSQL and Redis, all 20 limits on ÷ none",
        0.75,
        True,
        "",
    ),
    ("full", "share_four", "the same with four limits", 0.75, True, ""),
    ("redis", "share", "requests a second, all limits on ÷ none, over Redis", 0.75, True, ""),
    ("redis", "p50_ms", "authenticate + check + reserve over Redis, p50", 0.6, False, " ms"),
    ("scale", "share", "requests a second, 10,000 tenants and 1,000,000 keys ÷ ten tenants", 0.95, True, ""),
    (
        "scale",
        "share_edits",
        "the same while 50 edits a second are made, apart from what the editor takes as a neighbour",
        0.95,
        True,
        "",
    ),
    ("scale", "served", "the first over sockets, two whole servers, by the clock", 0.95, True, ""),
    ("scale", "served_processor", "the same by processor time of the servers", 0.95, True, ""),
    (
        "scale",
        "served_edits_processor",
        "the same by processor time while 50 edits a second are made",
        0.95,
        True,
        "",
    ),
    ("scale", "memory_mb", "memory of the process", 600, False, " MB"),
    ("scale", "start_s", "start, from exec to ready", 15, False, " s"),
    ("scale", "list_ms", "slowest list of administrators, median", 300, False, " ms"),
)


def table(found: dict[str, Any]) -> str:
    """Every figure beside its goal, and what was measured besides."""
    lines = ["| measured | | goal | |", "|---|---|---|---|"]
    for part, name, what, goal, more, unit in GOALS:
        value = found.get(part, {}).get(name)
        if value is None:
            lines.append(f"| {what} | not measured | {goal}{unit} | |")
            continue
        met = value >= goal if more else value <= goal
        sign = "≥" if more else "≤"
        lines.append(f"| {what} | {value:,.3g}{unit} | {sign} {goal}{unit} | {'met' if met else 'MISSED'} |")
    for part in PARTS:
        if part in found:
            lines += ["", f"{part}: " + ", ".join(f"{name} {value}" for name, value in found[part].items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
