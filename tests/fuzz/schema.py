"""schemathesis over the published REST schema, as one role of a live server, or of the application without one."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakes.published import published_schema

ROOT = Path(__file__).resolve().parents[2]
HOOKS = Path(__file__).with_name("hooks.py")
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
    """Generate `cases` requests per operation, examples and edge cases besides, and check every answer of a server."""
    return _run([f"{base_url}/api/schema?format=json"], {}, key, role, cases, folder, seed)


def run_within(
    *, variables: Mapping[str, str], key: str, role: str, cases: int, folder: Path, seed: int = 1
) -> Outcome:
    """As `run_schemathesis`, of Django alone: it answers in the process that asks, in half of the processor's time.

    `variables` is the environment of the installation, which nobody serves. What stands before Django (the parser of
    HTTP, the door that counts) is not asked.
    """
    published = folder / "schema.json"
    published.write_text(json.dumps(published_schema(), default=str))
    inside = {
        **variables,
        "PYTHONPATH": os.pathsep.join(str(ROOT / each) for each in ("", "platform", "tests")),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SCHEMATHESIS_HOOKS": str(HOOKS.with_name("within.py")),
    }
    return _run([str(published), "--url", "http://localhost"], inside, key, role, cases, folder, seed)


def _run(
    where: Sequence[str],
    variables: Mapping[str, str],
    key: str,
    role: str,
    cases: int,
    folder: Path,
    seed: int,
) -> Outcome:
    report = folder / f"schemathesis-{role}.ndjson"
    command = [
        str(Path(sys.executable).with_name("st")),
        "run",
        *where,
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
    environment |= {"SCHEMATHESIS_HOOKS": str(HOOKS), **variables}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    # The application within this process writes a line there for each request.
    text = done.stdout + done.stderr[-4000:]
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
