"""schemathesis over the published REST schema, as one role of a live server."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Logging out of the session, or revoking the key that is being used, would end the run early.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run found. `passed` is whether every check held; `text` is what schemathesis printed."""

    role: str
    passed: bool
    operations: int
    cases: int
    server_errors: int
    text: str


def run_schemathesis(
    *, base_url: str, key: str, role: str, cases: int, folder: Path, seed: int = 1
) -> Outcome:
    """Generate `cases` requests per operation, examples and edge cases besides, and check every answer."""
    report = folder / f"schemathesis-{role}.ndjson"
    command = [
        str(Path(sys.executable).with_name("st")),
        "run",
        f"{base_url}/api/schema?format=json",
        "--header",
        f"Authorization: Bearer {key}",
        # A stream that does not end by itself; tests/console/test_live.py has it.
        "--exclude-path",
        "/api/v1/live/",
        "--checks",
        CHECKS,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        str(cases),
        "--seed",
        str(seed),
        "--continue-on-failure",
        "--warnings",
        "off",
        "--request-timeout",
        "30",
        "--report",
        "ndjson",
        "--report-ndjson-path",
        str(report),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATRIUM_")}
    environment["SCHEMATHESIS_HOOKS"] = str(Path(__file__).with_name("hooks.py"))
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    text = done.stdout + done.stderr
    statuses = _statuses(report)
    operations = re.search(r"Operations:\s+(\d+)", text) or re.search(r"(\d+) / \d+ selected", text)
    return Outcome(
        role=role,
        passed=done.returncode == 0,
        operations=int(operations.group(1)) if operations else 0,
        cases=len(statuses),
        server_errors=sum(1 for status in statuses if status >= 500),
        text=text,
    )


def _statuses(report: Path) -> list[int]:
    found: list[int] = []
    if report.exists():
        for line in report.read_text().splitlines():
            found += [
                int(status)
                for status in re.findall(r'"status_code":\s*(\d{3})', json.dumps(json.loads(line)))
            ]
    return found
