"""`make bench`: what Atrium adds to a model's answer, and what its streams suffer from its other work.

Everything runs on this machine, so only ratios within one table mean something. The load generator and the upstream
are Go programs of this folder, so that neither is the bottleneck. Results: `var/bench/results.json` and a table.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from disturbance import measure_disturbance  # noqa: E402 - the paths come first
from fakes.live_server import LiveServer, free_port  # noqa: E402
from load_runs import (  # noqa: E402
    Programs,
    build_programs,
    chat_body,
    count_usage,
    machine,
    processor_seconds,
    raise_priority,
    run_load,
    running_upstream,
)
from report import failures, table  # noqa: E402
from sockets import measure_idle_sockets  # noqa: E402

CONNECTIONS = (1, 16, 100)
SOCKETS = 1000


def main() -> int:
    """Run all of it; the exit code is 1 when any request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each load (default 5)")
    parser.add_argument(
        "--only", choices=("load", "sockets", "disturbance", "pages", "limits"), help="one part alone"
    )
    parser.add_argument(
        "--load-seed",
        action="store_true",
        help="pages also over 10 million calls (seeds var/bench/load-home)",
    )
    options = parser.parse_args()
    folder = ROOT / "var" / "bench"
    if options.only in (None, "pages"):
        measure_pages(folder, load_seed=options.load_seed)
    if options.only in (None, "limits"):
        # In processes of their own; a goal that is missed is told and ends nothing.
        subprocess.run([sys.executable, "benchmarks/limits.py"], cwd=ROOT, check=True)
    if options.only in ("pages", "limits"):
        return 0
    programs = build_programs(folder / "bin")
    if programs is None:
        print(
            "make bench needs Go (for a load generator that is not the bottleneck), and there is none on this machine."
        )
        return 1
    raise_priority()
    shutil.rmtree(folder / "home", ignore_errors=True)
    server = LiveServer(home=folder / "home")
    server.start("--no-demo")
    try:
        with running_upstream(programs, free_port()) as upstream:
            results = measure(programs, server, upstream, options.seconds, options.only)
    finally:
        server.stop()
    (folder / "results.json").write_text(json.dumps(results, indent=2))
    text = table(results)
    (folder / "table.md").write_text(text)
    print(text)
    wrong = failures(results)
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0


def measure_pages(folder: Path, *, load_seed: bool) -> None:
    """Times of the calls behind each page, over the demo's data and over the load seed: tables of their own."""
    wanted = [("pages-demo", folder / "demo-home", ("prepare",))]
    if load_seed:
        wanted.append(("pages-load", folder / "load-home", ("seed_load",)))
    for name, home, command in wanted:
        environment = {**os.environ, "ATRIUM_HOME": str(home)}
        new = not (home / "atrium.sqlite3").exists()
        home.mkdir(parents=True, exist_ok=True)
        # One that an earlier version made is brought up to date.
        for step in (("migrate", "-v", "0"), *((command,) if new else ())):
            subprocess.run([sys.executable, "manage.py", *step], cwd=ROOT, env=environment, check=True)
        subprocess.run(
            [sys.executable, "benchmarks/pages.py", "--name", name], cwd=ROOT, env=environment, check=True
        )


def measure(
    programs: Programs, server: LiveServer, upstream: str, seconds: float, only: str | None
) -> dict[str, Any]:
    """All measurements, or the part named `only`."""
    server.manage("create_tenant", "bench", "--name", "Bench")
    key = server.manage("issue_api_key", "--tenant", "bench", "--role", "owner")["key"]
    server.manage(
        *("register_engine", "--pool", "bench", "--model", "bench", "--url", upstream),
        *("--max-concurrency", "1000", "--input-price", "1", "--output-price", "2"),
    )
    server.wait_for_model(key, "bench")
    results: dict[str, Any] = {"machine": machine(), "seconds_per_load": seconds}
    pid = server_pid(server)
    if only in (None, "load"):
        results["load"] = measure_load(programs, server, upstream, key, pid, seconds)
        results["usage"] = count_usage(server.home, sum(row["atrium"]["sent"] for row in results["load"]))
    if only in (None, "sockets"):
        url = server.url.replace("http", "ws") + "/ws/chat"
        results["sockets"] = asyncio.run(measure_idle_sockets(url, key, pid, count=SOCKETS))
    if only in (None, "disturbance"):
        results["disturbance"] = measure_disturbance(
            programs, server.url, key, seconds=max(seconds * 2, 10.0)
        )
    return results


def measure_load(
    programs: Programs, server: LiveServer, upstream: str, key: str, pid: int, seconds: float
) -> list[dict[str, Any]]:
    """Direct and through Atrium, JSON and streams, at each number of connections."""
    rows = []
    for stream in (False, True):
        for connections in CONNECTIONS:
            body = chat_body(stream=stream)
            direct = run_load(programs, upstream, connections=connections, seconds=seconds, body=body)
            before = processor_seconds(pid)
            through = run_load(
                programs, f"{server.url}/v1", connections=connections, seconds=seconds, body=body, key=key
            )
            used = processor_seconds(pid) - before
            through["cpu_ms_per_request"] = used * 1000 / max(through["sent"], 1)
            rows.append({"stream": stream, "connections": connections, "direct": direct, "atrium": through})
            print(progress(rows[-1]), flush=True)
    return rows


def progress(row: dict[str, Any]) -> str:
    """One line while it runs."""
    kind = "stream" if row["stream"] else "JSON"
    rate, direct = row["atrium"]["requests_per_s"], row["direct"]["requests_per_s"]
    return f"  {kind:6} c={row['connections']:<3} direct {direct:8.0f}/s  Atrium {rate:8.0f}/s"


def server_pid(server: LiveServer) -> int:
    """The process that serves HTTP."""
    if server.process is None:
        raise RuntimeError("the server does not run")
    return server.process.pid


if __name__ == "__main__":
    raise SystemExit(main())
