"""The command: installs what is not there, measures, writes `$ATRIUM_HOME/bench/peers.json` and the table beside it."""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.load_runs import PRIORITY, build_programs, machine, raise_priority
from benchmarks.peers.report import failures, table
from benchmarks.peers.turns import install_all, measure

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run it; the exit code is 1 when a request of Atrium's or of the upstream's failed, or its record is missing."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="of each cell by each side (default 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each load (default 2)")
    parser.add_argument(
        "--priority", type=int, default=PRIORITY, help=f"niceness of all of it (default {PRIORITY})"
    )
    options = parser.parse_args()
    folder = Path(os.environ.get("ATRIUM_HOME", ROOT / "var")) / "bench"
    programs = build_programs(folder / "bin")
    if programs is None:
        print(
            "make bench-peers needs Go, for its load generator and its upstream, and there is none on this machine."
        )
        return 1
    missing = install_all(folder / "peers")
    raise_priority(options.priority)
    where = machine()
    results = {
        "machine": where,
        "turns_of_each": options.turns,
        "seconds_per_load": options.seconds,
        **measure(programs, folder / "peers", missing, turns=options.turns, seconds=options.seconds),
    }
    (folder / "peers.json").write_text(json.dumps(results, indent=2))
    text = table(results)
    (folder / "peers.md").write_text(text)
    sys.stdout.write(text)
    ours, theirs = failures(results)
    for line in theirs:
        print(f"a peer's errors: {line}")
    for line in ours:
        print(f"FAILED: {line}")
    return 1 if ours else 0


if __name__ == "__main__":
    raise SystemExit(main())
