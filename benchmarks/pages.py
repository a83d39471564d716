"""How long the calls behind each page of the console take: `python benchmarks/pages.py`.

Over the database of the environment (`ATRIUM_HOME`, `ATRIUM_DATABASE_URL`), in this process, without a network between:
what is measured is the server's own time, the median and the worst of some tries after a first one. As the operator
over the whole platform, and as a visit to the largest tenant of the load seed where there is one.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402 - the paths come first

django.setup()

from django.apps import apps  # noqa: E402 - the setup comes first
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from kernel.errors import AtriumError  # noqa: E402
from tenants.services import (  # noqa: E402
    create_tenant,
    create_user,
    find_tenant,
    issue_api_key,
    revoke_api_key,
)
from tenants.types import IssuedKey  # noqa: E402

MOST_MS = 1_000.0
MOST_OVERVIEW_MS = 300.0
TRIES = 5
PRIORITY = -15
LARGEST = "load-00001"

PLATFORM = (
    *(("home", f"/overview?range={period}&scope=platform") for period in ("1h", "24h", "7d", "30d")),
    ("usage", "/usage?scope=platform&group_by=tenant"),
    ("usage", "/usage?scope=platform&group_by=model"),
    ("usage", "/usage?scope=platform&group_by=day&tz=Europe/Berlin"),
    ("tenants", "/tenants?limit=50&sort=name&total=true"),
    ("tenants", "/tenants?limit=50&q=load-09"),
    ("jobs", "/jobs?scope=platform&limit=50"),
    ("requests", "/requests?scope=platform&limit=50"),
    ("models", "/models"),
    ("home", "/audit-events?scope=platform"),
    ("palette", "/palette?q=load"),
)
TENANT = (
    *(("home", f"/overview?range={period}") for period in ("1h", "24h", "7d", "30d")),
    *(
        ("usage", f"/usage?group_by={group}")
        for group in ("day", "model", "user", "key", "assistant", "origin")
    ),
    ("usage", "/usage?group_by=day&tz=Europe/Berlin&model=atlas-large"),
    ("members", "/users?limit=50&total=true"),
    ("keys", "/api-keys?limit=50&total=true"),
    ("assistants", "/assistants"),
    ("knowledge", "/knowledge-bases"),
    ("knowledge", "{documents}?limit=50&total=true"),
    ("knowledge", "{documents}?limit=50&sort=title&q=pump"),
    ("knowledge", "{documents}?limit=50&state=failed"),
    ("conversations", "/conversations?limit=50"),
    ("jobs", "/jobs?limit=50&total=true"),
    ("requests", "/requests?limit=50"),
)


def main() -> int:
    """Measure, print the table, write `var/bench/pages.json`; the exit code is 1 when a call failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="pages", help="of the results' file")
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    results = measure()
    folder = ROOT / "var" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{options.name}.json").write_text(json.dumps(results, indent=2))
    text = table(results)
    (folder / f"{options.name}.md").write_text(text)
    print(text)
    return 1 if any(row["status"] != 200 for row in results["calls"]) else 0


def measure() -> dict[str, Any]:
    """All calls that a page makes, each some times. The keys that are made for it are revoked again."""
    with contextlib.ExitStack() as made:
        keys = [key for key in (operator_key(), largest_key()) if key]
        for key in keys:
            made.callback(revoke_api_key, prefix=key.prefix)
        return calls_as(keys[0].key, keys[-1].key)


def calls_as(operator: str, owner: str) -> dict[str, Any]:
    """All calls, with the keys of an operator and of a tenant's owner."""
    client = Client(headers={"authorization": f"Bearer {operator}"}, SERVER_NAME="127.0.0.1")
    rows = [timed(client, page, path, "platform") for page, path in PLATFORM]
    client = Client(headers={"authorization": f"Bearer {owner}"}, SERVER_NAME="127.0.0.1")
    bases = client.get("/api/v1/knowledge-bases").json().get("results", [])
    for page, path in TENANT:
        if bases or "{documents}" not in path:
            real = path.replace(
                "{documents}", f"/knowledge-bases/{bases[0]['id']}/documents" if bases else ""
            )
            rows.append(timed(client, page, real, "tenant"))
    return {"database": connection.vendor, "load_average": os.getloadavg()[0], "calls": rows}


def operator_key() -> IssuedKey:
    """A key of an operator made for this, in the demo's tenant or the first there is."""
    try:
        tenant = find_tenant(slug="bench-pages")
    except AtriumError:
        tenant = create_tenant(slug="bench-pages", name="Bench")
        create_user(email="bench-pages@example.com", tenant_slug="bench-pages", role="owner")
    user = apps.get_model("tenants", "User").objects.get(email="bench-pages@example.com")
    user.is_operator = True
    user.save()
    return issue_api_key(tenant_id=tenant.id, name="bench", role="owner", user_id=user.id)


def largest_key() -> IssuedKey | None:
    """A key of an owner in the load seed's largest tenant, else in the demo's; None where there is neither."""
    for slug in (LARGEST, "demo"):
        with contextlib.suppress(AtriumError):
            return issue_api_key(tenant_id=find_tenant(slug=slug).id, name="bench", role="owner")
    return None


def timed(client: Any, page: str, path: str, scope: str) -> dict[str, Any]:
    """One call, some times."""
    times, worked = [], []
    for _ in range(TRIES + 1):
        begun, processor = time.perf_counter(), time.process_time()
        answer = client.get(f"/api/v1{path}")
        size = len(b"".join(answer.streaming_content) if answer.streaming else answer.content)
        times.append((time.perf_counter() - begun) * 1000)
        worked.append((time.process_time() - processor) * 1000)
    return {
        "page": page,
        "call": path,
        "scope": scope,
        "status": answer.status_code,
        "bytes": size,
        "first_ms": times[0],
        "median_ms": statistics.median(times[1:]),
        "best_ms": min(times[1:]),
        "worst_ms": max(times[1:]),
        # On a busy machine this is what the call itself takes, where the database works in this process.
        "processor_ms": statistics.median(worked[1:]),
    }


def table(results: dict[str, Any]) -> str:
    """As markdown, with what is slower than it may be."""
    lines = [
        f"{results['database']}, load average {results['load_average']:.1f}.",
        "",
        "| page | call | status | median ms | best ms | worst ms | first ms | processor ms | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["calls"]:
        most = MOST_OVERVIEW_MS if row["page"] == "home" else MOST_MS
        late = "" if row["median_ms"] <= most else f"over {most:.0f}"
        lines.append(
            f"| {row['page']} | {row['call'][:90]} | {row['status']} | {row['median_ms']:.0f} | {row['best_ms']:.0f} "
            f"| {row['worst_ms']:.0f} | {row['first_ms']:.0f} | {row['processor_ms']:.0f} | {late} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
