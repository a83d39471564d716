"""`make fuzz`: the long runs. Figures as JSON and a table under `$ATRIUM_HOME/fuzz`."""

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from fakes.demo import start_ready_demo
from fakes.redis_server import REDIS
from fuzz.queues import compare_queues
from fuzz.schema import Outcome, run_schemathesis

CASES = int(os.environ.get("FUZZ_CASES", "200"))
ROLES = ("operator", "member", "viewer")


# Both queues over 110,000 operations.
QUEUE_RUNS, QUEUE_STEPS = 22, 5_000


def main() -> int:
    """Run the queues against each other and schemathesis as three roles; 0 when every check held."""
    folder = Path(os.environ.get("ATRIUM_HOME", "var")) / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    if REDIS is not None:
        agreed = compare_queues(runs=QUEUE_RUNS, steps=QUEUE_STEPS)
        (folder / "queues.json").write_text(json.dumps(asdict(agreed), indent=2))
        sys.stdout.write(f"queues    {agreed.steps} operations, Python and Redis the same\n")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        outcomes = list(threads.map(lambda role: fuzz_schema(role, folder), ROLES))
    rows = [{name: value for name, value in asdict(each).items() if name != "text"} for each in outcomes]
    (folder / "fuzz.json").write_text(json.dumps(rows, indent=2))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def fuzz_schema(role: str, folder: Path) -> Outcome:
    """schemathesis as one role against a server of its own; what it printed is kept as `ROLE.txt` in `folder`."""
    with tempfile.TemporaryDirectory() as home:
        demo = start_ready_demo(Path(home))
        try:
            key = demo.api_key if role == "operator" else demo.issue_key(role)
            outcome = run_schemathesis(base_url=demo.url, key=key, role=role, cases=CASES, folder=folder)
        finally:
            demo.server.stop()
    (folder / f"{role}.txt").write_text(outcome.text)
    sys.stdout.write(
        f"{role:9} {outcome.operations:4} operations {outcome.cases:7} cases "
        f"{outcome.server_errors:3} server errors  {'held' if outcome.passed else 'FAILED'}\n"
    )
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
