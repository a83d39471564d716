"""The benchmark's table, its expectations, and what of it failed."""

from typing import Any

# What is expected on two cores in one run.
LEAST_SHARE = 0.15
MOST_ADDED_P50_MS = 1.0
LEAST_CHUNKS_PER_S = 50_000
MOST_GAP_RATIO = 2.0


def table(results: dict[str, Any]) -> str:
    """Everything that was measured, as markdown."""
    machine = results["machine"]
    lines = [
        f"{machine['cores']} cores, Python {machine['python']}, one Atrium process, key and usage accounting on; "
        f"load average {machine['load_average_at_start']:.1f} at the start, niceness {machine['priority']}.",
        "",
    ]
    if "load" in results:
        lines += _load_table(results["load"])
    if "usage" in results:
        usage = results["usage"]
        lines.append(f"Usage rows: {usage['usage_rows']} for {usage['requests_sent']} requests.")
    if "sockets" in results:
        sockets = results["sockets"]
        lines.append(
            f"Idle WebSockets: {sockets['kb_per_idle_socket']:.1f} KB each over {sockets['sockets']}, "
            f"{sockets['connects_per_s']:.0f} connects/s."
        )
    if "disturbance" in results:
        lines += _disturbance_lines(results["disturbance"])
    lines += ["", *(_expectation(*each) for each in expectations(results))]
    return "\n".join(lines) + "\n"


def _load_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| | connections | direct req/s | Atrium req/s | share | chunks/s | p50 direct → Atrium | p99 direct → Atrium "
        "| CPU ms/request | errors |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        direct, through = row["direct"], row["atrium"]
        chunks = f"{through['chunks_per_s']:,.0f}" if row["stream"] else ""
        lines.append(
            f"| {'stream' if row['stream'] else 'JSON'} | {row['connections']} | {direct['requests_per_s']:,.0f} "
            f"| {through['requests_per_s']:,.0f} | {through['requests_per_s'] / direct['requests_per_s']:.0%} "
            f"| {chunks} | {direct['p50_ms']:.2f} → {through['p50_ms']:.2f} ms "
            f"| {direct['p99_ms']:.2f} → {through['p99_ms']:.2f} ms | {through['cpu_ms_per_request']:.3f} "
            f"| {through['errors'] + direct['errors']} |"
        )
    return [*lines, ""]


def _disturbance_lines(found: dict[str, Any]) -> list[str]:
    return [
        f"Chunk gap of {found['streams']} streams paced at {found['paced_gap_ms']:.0f} ms: p99 "
        f"{found['idle']['gap_p99_ms']:.1f} ms idle, {found['busy']['gap_p99_ms']:.1f} ms while "
        f"{found['documents']} documents are ingested ({found['documents_per_s']:.1f}/s, "
        f"{found['documents_ready_at_the_end']} ready at the end) and REST lists are loaded "
        f"({found['list_loads_per_s']:.0f}/s); longest {found['idle']['gap_max_ms']:.0f} and "
        f"{found['busy']['gap_max_ms']:.0f} ms."
    ]


def expectations(results: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """(what, measured, expected, whether it is met) for each expectation that was measured."""
    found = []
    for row in results.get("load", ()):
        direct, through = row["direct"], row["atrium"]
        if not row["stream"] and row["connections"] == 16:
            share = through["requests_per_s"] / direct["requests_per_s"]
            found.append(
                ("share of direct JSON req/s at 16 connections", share, LEAST_SHARE, share >= LEAST_SHARE)
            )
        if not row["stream"] and row["connections"] == 1:
            added = through["p50_ms"] - direct["p50_ms"]
            found.append(
                ("added p50 at 1 connection, ms", added, MOST_ADDED_P50_MS, added <= MOST_ADDED_P50_MS)
            )
        if row["stream"] and row["connections"] == 16:
            rate = through["chunks_per_s"]
            found.append(("chunks/s at 16 connections", rate, LEAST_CHUNKS_PER_S, rate >= LEAST_CHUNKS_PER_S))
    if "disturbance" in results:
        ratio = results["disturbance"]["ratio_p99"] or 0.0
        found.append(("chunk gap p99, busy over idle", ratio, MOST_GAP_RATIO, ratio <= MOST_GAP_RATIO))
    return found


def _expectation(what: str, measured: float, expected: float, met: bool) -> str:
    return f"- {what}: {measured:,.2f} (expected {expected:,.2f}): {'met' if met else 'NOT MET'}"


def failures(results: dict[str, Any]) -> list[str]:
    """Requests that failed, and usage that was lost or counted twice: these are defects, not slowness."""
    wrong = []
    for row in results.get("load", ()):
        for side in ("direct", "atrium"):
            if row[side]["errors"]:
                wrong.append(f"{row[side]['errors']} errors of {side}: {row[side]['example_error'][:200]}")
    usage = results.get("usage")
    if usage and usage["usage_rows"] != usage["requests_sent"]:
        wrong.append(f"{usage['usage_rows']} usage rows for {usage['requests_sent']} requests")
    for side in ("idle", "busy"):
        found = results.get("disturbance", {}).get(side)
        if found and found["errors"]:
            wrong.append(
                f"{found['errors']} errors of paced streams ({side}): {found['example_error'][:200]}"
            )
    if results.get("disturbance", {}).get("list_errors"):
        wrong.append(f"REST lists: {results['disturbance']['list_errors'][0]}")
    return wrong
