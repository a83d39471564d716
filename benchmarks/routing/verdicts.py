"""The table of what was wanted and what was reached, from the figures of all runs. Rejections stand beside latencies."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean

from msgspec import Struct, structs

from benchmarks.routing.measures import interval, paired
from benchmarks.routing.runs import ATRIUM, ORACLE, OVER_REDIS
from benchmarks.routing.scenarios import ALONE, FLOODED, HELD, INTERACTIVE_SLO_S

# table → row → figure → arm → a value for each seed.
Values = Mapping[str, Sequence[float]]
Found = Mapping[str, Mapping[str, Mapping[str, Values]]]
P50, P99, GOODPUT = "p50 TTFT s", "p99 TTFT s", "goodput/s"
# A run of W1 may lose a tenth of the best arm's goodput by chance of its seeds.
KNEE = 0.5
# An oracle that is beaten by more is none.
BEATEN = 1.05


class Verdict(Struct, frozen=True):
    """One line: `met` is None where nothing was shown. `refused` is the share of Atrium's calls that were."""

    workload: str
    wanted: str
    reached: str
    met: bool | None
    refused: str = ""


def judge(found: Found) -> list[Verdict]:
    """All lines that the figures give; those of Atrium's queue in a Redis after those of its queue in the process."""
    lines = _judge(_of(found, ATRIUM))
    again = {
        table: rows
        for table, rows in found.items()
        if any(OVER_REDIS in values for figures in rows.values() for values in figures.values())
    }
    over = _judge(_of(again, OVER_REDIS))
    return lines + [structs.replace(each, workload=f"{each.workload}, over Redis") for each in over]


def _of(found: Found, own: str) -> Found:
    """The figures with one form of Atrium alone, under its name."""
    others = {ATRIUM, OVER_REDIS} - {own}
    return {
        table: {
            row: {
                name: {
                    (ATRIUM if arm == own else arm): each for arm, each in values.items() if arm not in others
                }
                for name, values in figures.items()
            }
            for row, figures in rows.items()
        }
        for table, rows in found.items()
    }


def _judge(found: Found) -> list[Verdict]:
    lines: list[Verdict] = []
    rules: tuple[tuple[str, Callable[[Found], Iterable[Verdict]]], ...] = (
        ("W1", _shared),
        ("W2", _noisy),
        ("W2 service", _service),
        ("W3", _mixed),
        ("W5", _gray),
        ("W6", _speeds),
        ("W8", _gateways),
    )
    for table, rule in rules:
        if table in found:
            lines += rule(found)
    for table, rule in (("W2 profiles", _noisy), ("W3 profiles", _mixed), ("W6 profiles", _speeds)):
        for title in dict.fromkeys(row.split(": ")[0] for row in found.get(table, ())):
            rows = {
                row.split(": ")[1]: figures
                for row, figures in found[table].items()
                if row.startswith(f"{title}: ")
            }
            for each in rule({table.split(" ")[0]: rows}):
                lines.append(
                    Verdict(f"{each.workload}, {title}", each.wanted, each.reached, each.met, each.refused)
                )
    return lines


def as_markdown(lines: Iterable[Verdict]) -> str:
    """The lines as a table."""
    words = {True: "met", False: "**missed**", None: "not shown"}
    rows = [
        f"| {each.workload} | {each.wanted} | {each.reached} | {each.refused} | {words[each.met]} |"
        for each in lines
    ]
    return "\n".join(["| workload | wanted | reached | refused | |", "|---|---|---|---|---|", *rows])


def _shared(found: Found) -> Iterable[Verdict]:
    ratios, worse, refused = {}, [], []
    kept = True
    for row, figures in found["W1"].items():
        own = mean(figures[P50][ATRIUM])
        ratios[row] = own / mean(figures[P50]["round robin"])
        refused.append(mean(figures["rejected"][ATRIUM]))
        for name, sign in ((P50, 1), (P99, 1), (GOODPUT, -1)):
            values = figures[name]
            best = min((arm for arm in values if arm != ATRIUM), key=lambda arm: sign * _mean(values[arm]))
            gap = paired(values[ATRIUM], values[best])
            if sign * gap.mean > gap.half and not math.isclose(gap.mean, 0, abs_tol=0.005):
                worse.append(
                    f"{row}, {name}: {_mean(values[ATRIUM]):.3g} against {_mean(values[best]):.3g} ({best})"
                )
        if mean(figures[GOODPUT][ATRIUM]) < KNEE * max(
            _mean(values) for arm, values in figures[GOODPUT].items() if arm != ATRIUM
        ):
            kept = False
    half = {row: ratio for row, ratio in ratios.items() if ratio > 0.5}
    lowest, highest = min(ratios.values()), max(ratios.values())
    refusals = f"{min(refused):.1%}–{max(refused):.1%}"
    reached = f"{lowest:.3g}–{highest:.3g} ×" + (f"; above in {', '.join(half)}" if half else "")
    yield Verdict("W1 shared prefix", "p50 TTFT ≤ 0.5 × round robin", reached, not half, refusals)
    yield Verdict(
        "W1 shared prefix",
        "nowhere worse than the best arm beyond the 95 % interval",
        "; ".join(worse) or "nowhere",
        not worse,
        refusals,
    )
    yield Verdict(
        "W1 shared prefix",
        "no earlier knee: at least half of the best arm's goodput at every load",
        "at every load" if kept else "not at every load",
        kept,
        refusals,
    )


def _noisy(found: Found) -> Iterable[Verdict]:
    rows = found["W2"]
    flooded, held = rows[FLOODED], rows[HELD]
    over = [one / other for one, other in zip(flooded[P99][ATRIUM], held[P99][ATRIUM], strict=True)]
    ratio = mean(flooded[P99][ATRIUM]) / mean(held[P99][ATRIUM])
    queued = [arm for arm in flooded[P99] if arm != ATRIUM]
    best = min(queued, key=lambda arm: _mean(flooded[P99][arm]))
    alone = ""
    if ALONE in rows:
        alone = f", {mean(flooded[P99][ATRIUM]) / mean(rows[ALONE][P99][ATRIUM]):.2f} × without it"
    yield Verdict(
        "W2 noisy neighbour ×10",
        "polite p99 TTFT ≤ 1.2 × that with the flooder at its share",
        f"{ratio:.2f} × ({interval(flooded[P99][ATRIUM])} s against {interval(held[P99][ATRIUM])}; by seed {interval(over)}){alone}; "
        f"best other {interval(flooded[P99][best])} s ({best})",
        ratio <= 1.2,
        f"polite {mean(flooded['rejected'][ATRIUM]):.1%}, flooder {mean(flooded['flooder rejected'][ATRIUM]):.1%}",
    )


def _service(found: Found) -> Iterable[Verdict]:
    for row, figures in found["W2 service"].items():
        own = figures["Jain"][ATRIUM]
        yield Verdict(
            f"W2, all backlogged, {row}",
            "Jain ≥ 0.97 on weighted service",
            str(interval(own)),
            mean(own) >= 0.97,
        )
        gap, bound = figures["largest gap, tokens"][ATRIUM], figures["bound of VTC, tokens"][ATRIUM]
        yield Verdict(
            f"W2, all backlogged, {row}",
            "largest difference of service within the bound of VTC",
            f"{interval(gap)} of {mean(bound):.3g} tokens",
            all(one <= most for one, most in zip(gap, bound, strict=True)),
        )


def _mixed(found: Found) -> Iterable[Verdict]:
    for figures in found["W3"].values():
        refused = f"interactive {mean(figures['rejected'][ATRIUM]):.1%}, batch {mean(figures['batch rejected'][ATRIUM]):.1%}"
        own, done = figures[P99][ATRIUM], figures["admitted batch done"][ATRIUM]
        best = min((arm for arm in figures[P99] if arm != ATRIUM), key=lambda arm: _mean(figures[P99][arm]))
        yield Verdict(
            "W3 interactive + batch at 130 %",
            f"interactive p99 TTFT ≤ {INTERACTIVE_SLO_S:g} s",
            f"{interval(own)} s; best other {interval(figures[P99][best])} ({best})",
            mean(own) <= INTERACTIVE_SLO_S,
            refused,
        )
        yield Verdict(
            "W3 interactive + batch at 130 %",
            "≥ 99 % of the admitted batch done",
            f"{mean(done):.1%}; longest wait {interval(figures['longest batch wait s'][ATRIUM])} s",
            min(done) >= 0.99,
            refused,
        )


def _gray(found: Found) -> Iterable[Verdict]:
    for figures in found["W5"].values():
        share, false = figures["to the slow one"][ATRIUM], figures["false ejections"][ATRIUM]
        yield Verdict(
            "W5 gray failure",
            "≤ 2 % to the bad replica after 10 s, at most one false ejection",
            f"{100 * mean(share):.2g} %; at most {max(false):.0f}",
            mean(share) <= 0.02 and max(false) <= 1,
            f"{mean(figures['rejected'][ATRIUM]):.1%}",
        )


def _speeds(found: Found) -> Iterable[Verdict]:
    for row, figures in found["W6"].items():
        values = figures[GOODPUT]
        part = mean(values[ATRIUM]) / mean(values[ORACLE])
        best = max((arm for arm in values if arm not in (ATRIUM, ORACLE)), key=lambda arm: _mean(values[arm]))
        yield Verdict(
            f"W6 {row}",
            "goodput ≥ 95 % of an oracle",
            f"{part:.1%} ({interval(values[ATRIUM])} of {interval(values[ORACLE])}/s); "
            f"best other {mean(values[best]) / mean(values[ORACLE]):.1%} ({best})",
            None if part > BEATEN else part >= 0.95,
            f"{mean(figures['rejected'][ATRIUM]):.1%}",
        )


def _gateways(found: Found) -> Iterable[Verdict]:
    one = mean(found["W8"]["one process"][GOODPUT][ATRIUM])
    for row in ("four processes", "one process, no metrics"):
        figures = found["W8"].get(row)
        if figures is not None:
            part = mean(figures[GOODPUT][ATRIUM]) / one
            yield Verdict(
                f"W8 {row}",
                "≥ 95 % of one process's goodput; all answered",
                f"{part:.1%}; unanswered {mean(figures['unanswered'][ATRIUM]):.1%}",
                part >= 0.95 and max(figures["unanswered"][ATRIUM]) == 0,
                f"{mean(figures['rejected'][ATRIUM]):.1%}",
            )


def _mean(values: Sequence[float]) -> float:
    return interval(values).mean
