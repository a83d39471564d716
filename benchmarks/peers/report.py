"""What the turns say: the best of each, ratios first, and what each side does for a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.sides import ABSENT, ATRIUM_DOES, PEERS, Does
from benchmarks.peers.turns import ATRIUM, CELLS, DIRECT

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Best:
    """The best that a side did in a cell over its turns; each figure from the turn that was kindest to it."""

    requests_per_s: float
    chunks_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None
    sent: int
    errors: int
    example: str

    @property
    def sound(self) -> bool:
        """Whether there is anything to compare: answers came, and not one was refused or cut."""
        return self.requests_per_s > 0 and not self.errors


def best_of(turns: list[dict[str, Any]]) -> Best:
    """The best of several turns. A turn without a single whole answer has no rates or times to give."""
    answered = [turn for turn in turns if turn["requests"]]
    used = [turn["cpu_ms_per_request"] for turn in answered if "cpu_ms_per_request" in turn]
    return Best(
        requests_per_s=max((turn["requests_per_s"] for turn in answered), default=0.0),
        chunks_per_s=max((turn["chunks_per_s"] for turn in answered), default=0.0),
        p50_ms=min((turn["p50_ms"] for turn in answered), default=0.0),
        p99_ms=min((turn["p99_ms"] for turn in answered), default=0.0),
        cpu_ms=min(used, default=None),
        sent=sum(turn["sent"] for turn in turns),
        errors=sum(turn["errors"] for turn in turns),
        example=next((turn["example_error"] for turn in turns if turn["errors"]), ""),
    )


Found = dict[tuple[str, bool, int], Best]


def best_of_all(results: Mapping[str, Any]) -> Found:
    """By side, stream and connections."""
    grouped: dict[tuple[str, bool, int], list[dict[str, Any]]] = {}
    for turn in results["turns"]:
        grouped.setdefault((turn["side"], turn["stream"], turn["connections"]), []).append(turn)
    return {cell: best_of(turns) for cell, turns in grouped.items()}


def table(results: Mapping[str, Any]) -> str:
    """Everything, as markdown."""
    found = best_of_all(results)
    sides = list(dict.fromkeys(turn["side"] for turn in results["turns"]))
    loads = [turn["load_average"] for turn in results["turns"]]
    machine = results["machine"]
    lines = [
        f"{machine['when']}, {machine['cores']} cores, Python {machine['python']}, niceness {machine['priority']}, "
        f"load average {min(loads):.1f} to {max(loads):.1f} (its own load included); best of "
        f"{results['turns_of_each']} turns of {results['seconds_per_load']:g} s.",
        "",
        *_ratios(found, sides),
        *_figures(found, sides),
        *_what_each_does(results, sides),
    ]
    for title, reason in {**results["missing"], **ABSENT}.items():
        lines.append(f"- **Not measured: {title}**: {reason}.")
    usage = results["usage"]
    lines += ["", f"Atrium's ledger: {usage['usage_rows']} records for {usage['requests_sent']} requests."]
    return "\n".join(lines) + "\n"


def _ratios(found: Found, sides: list[str]) -> list[str]:
    others = [side for side in sides if side not in (DIRECT, ATRIUM)]
    lines = [
        "Requests a second, Atrium ÷ each (above 1: Atrium does more):",
        "",
        f"| | connections | {' | '.join(f'÷ {side}' for side in (DIRECT, *others))} |",
        f"|---|---|{'---|' * (len(others) + 1)}",
    ]
    for stream, connections in CELLS:
        ours = found[ATRIUM, stream, connections]
        shown = [ratio(ours, found[side, stream, connections]) for side in (DIRECT, *others)]
        lines.append(f"| {_kind(stream)} | {connections} | {' | '.join(shown)} |")
    return [*lines, ""]


def ratio(ours: Best, theirs: Best) -> str:
    """Ours ÷ theirs; a dash where one of the two refused or cut answers, which is no speed."""
    if not (ours.sound and theirs.sound):
        return "–"
    return f"{ours.requests_per_s / theirs.requests_per_s:.2f}"


def _figures(found: Found, sides: list[str]) -> list[str]:
    lines = [
        "| | connections | | requests/s | chunks/s | p50 ms (added) | p99 ms (added) | CPU ms/request | errors |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for stream, connections in CELLS:
        direct = found[DIRECT, stream, connections]
        for side in sides:
            best = found[side, stream, connections]
            chunks = f"{best.chunks_per_s:,.0f}" if stream else ""
            used = "" if best.cpu_ms is None else f"{best.cpu_ms:.3f}"
            times = [f"{best.p50_ms:.2f}", f"{best.p99_ms:.2f}"] if best.requests_per_s else ["–", "–"]
            if side != DIRECT and best.sound:
                times[0] += f" (+{best.p50_ms - direct.p50_ms:.2f})"
                times[1] += f" (+{best.p99_ms - direct.p99_ms:.2f})"
            wrong = f"{best.errors} of {best.sent}" if best.errors else "0"
            lines.append(
                f"| {_kind(stream)} | {connections} | {side} | {best.requests_per_s:,.0f} | {chunks} "
                f"| {' | '.join(times)} | {used} | {wrong} |"
            )
    return [*lines, ""]


def _what_each_does(results: Mapping[str, Any], sides: list[str]) -> list[str]:
    does: dict[str, tuple[Does, str]] = {ATRIUM: (ATRIUM_DOES, "")}
    does |= {peer.title: (peer.does, peer.licence) for peer in PEERS}
    lines = [
        "| | memory of the process, with its children, MB | key | usage | besides |",
        "|---|---|---|---|---|",
    ]
    for side in sides:
        if side == DIRECT:
            continue
        what, licence = does[side]
        memory = results["memory"][side]
        size = (
            f"{memory['process'] / MEGABYTE:.0f}, {memory['family'] / MEGABYTE:.0f}" if memory else "it ended"
        )
        name = f"{side} ({licence})" if licence else side
        lines.append(f"| {name} | {size} | {what.key} | {what.usage} | {what.more} |")
    return [*lines, ""]


def _kind(stream: bool) -> str:
    return "stream" if stream else "JSON"


def failures(results: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What Atrium or the measurement did wrong, which is a defect; and what peers did, which is told."""
    ours: list[str] = []
    theirs: list[str] = []
    for (side, stream, connections), best in best_of_all(results).items():
        if best.errors:
            line = f"{side}, {_kind(stream)}, {connections} connections: {best.errors} errors, {best.example[:200]}"
            (ours if side in (DIRECT, ATRIUM) else theirs).append(line)
    usage = results["usage"]
    if usage["usage_rows"] != usage["requests_sent"]:
        ours.append(f"{usage['usage_rows']} usage rows for {usage['requests_sent']} requests")
    return ours, theirs
