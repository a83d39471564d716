"""The rows of the table that the simulated pools do not show: W4 on the real gateway, W7 on pools that grow and shrink,
W9 on questions, W10 on real vLLM. What is held by a test is run as that test, and its own words are told.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean

from benchmarks.complexity.texts import Question, built, public
from benchmarks.complexity.w9 import MATCHINGS, matched, won
from benchmarks.routing.measures import interval
from benchmarks.routing.scaling import SHAPES, play
from benchmarks.routing.verdicts import Verdict
from routing.complexity import load_model

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("W4", "W7", "W9", "W10")
# A test of a whole installation, its start and its end included.
TEST_S = 600
RIVALS = ("HPA", "KPA")


def beside(wanted: set[str], *, seeds: int, processes: int, folder: Path | None) -> list[Verdict]:
    """The lines of those of `BESIDE` that are wanted; `folder` holds the public collections of W9."""
    lines: list[Verdict] = []
    if "W4" in wanted:
        lines.append(_killed())
    if "W7" in wanted:
        lines += judge_scaling(play(seeds, set(SHAPES), processes, tuned=False))
    if "W9" in wanted:
        lines += _hard_work(folder)
    if "W10" in wanted:
        lines.append(_probed())
    return lines


def judge_scaling(found: Mapping[str, Mapping[str, Mapping[str, list[float]]]]) -> Iterable[Verdict]:
    """W7: against each rival at its source's default target."""
    for row, arms in found.items():
        own = arms["Atrium"]
        refused = f"{mean(own['refused']):.1%}"
        for rival in RIVALS:
            other = arms[rival]
            kept, cost = mean(own["promise kept"]), mean(own["replica-seconds"])
            yield Verdict(
                f"W7 {row}",
                f"promises kept ≥ {rival} with ≤ its replica-seconds",
                f"{kept:.3f} against {interval(other['promise kept'])}; "
                f"{cost / mean(other['replica-seconds']):.2f} × its replica-seconds",
                kept >= mean(other["promise kept"]) and cost <= mean(other["replica-seconds"]),
                refused,
            )
        yield Verdict(f"W7 {row}", "no flap", str(interval(own["flaps"])), max(own["flaps"]) == 0, refused)


def _killed() -> Verdict:
    whole, said = _passes(
        [sys.executable, "-m", "pytest", "-q", "-s", "tests/gateway/test_replica_killed.py"]
    )
    told = re.findall(r"^\.?(\d+ streams.*|out after .*)$", said, re.MULTILINE)
    return Verdict(
        "W4 one of four engines killed under 100 streams, real gateway",
        "0 requests lost, ≥ 99 % completed by continuation, no character twice, out in ≤ 2 s",
        "; ".join(told) or "the test ended before it could tell",
        whole,
    )


def _probed() -> Verdict:
    workload, wanted = (
        "W10 prefix probe between tenants, real vLLM",
        "not to be told from a new prompt; told without salts",
    )
    home = Path(os.environ.get("ATRIUM_HOME", ROOT / "var"))
    if not (home / "services" / "environment").is_file():
        return Verdict(workload, wanted, "not run: it needs `make services`", None)
    whole, said = _passes(["deploy/test-services.sh", "profile", "-q", "-k", "test_prefix_probe"])
    return Verdict(workload, wanted, f"its test: {said.strip().rpartition(chr(10))[2]}", whole)


def _passes(words: list[str]) -> tuple[bool, str]:
    """Whether the command ended well within its time, and what it said."""
    try:
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=TEST_S, check=False)
    except subprocess.TimeoutExpired:
        return False, ""
    return ended.returncode == 0, ended.stdout


def _hard_work(folder: Path | None) -> Iterable[Verdict]:
    """W9: which share of pairs of equal length the trained score orders rightly, and which length does."""
    model = load_model()
    sets: dict[str, list[Question]] = {"templates, unseen families": built("test", each=60, seed=90)}
    if folder is not None:
        sets["public collections"] = list(public(folder))
    for name, questions in sets.items():
        pairs = [pair for seed in MATCHINGS for pair in matched(questions, seed)]
        own, length = won(pairs, model.score), won(pairs, lambda text: float(len(text)))
        yield Verdict(
            f"W9 light or heavy, {name}",
            "beats length alone within pairs of equal length",
            f"{own:.1%} of {len(pairs) // len(MATCHINGS)} pairs, by length {length:.1%}",
            own > length,
        )
    if folder is None:
        reached = "not run: `--public FOLDER` names no collections"
        yield Verdict("W9 light or heavy, public collections", "beats length alone", reached, None)
