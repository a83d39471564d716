"""Beside other gateways: what counts as a comparison, what as a failure, and what is said of whoever does less."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.living import NotHere, family, install, used_bytes
from benchmarks.peers.report import best_of, failures, ratio, table
from benchmarks.peers.sides import ABSENT, PEERS, Peer
from benchmarks.peers.turns import ATRIUM, CELLS, DIRECT

LITELLM = PEERS[0].title


def turn(
    side: str, rate: float, *, stream: bool = False, connections: int = 16, errors: int = 0
) -> dict[str, Any]:
    return {
        **{"side": side, "stream": stream, "connections": connections, "load_average": 1.0},
        **{"sent": 100, "requests": int(rate), "errors": errors, "example_error": "500 no" if errors else ""},
        **{"requests_per_s": rate, "chunks_per_s": rate * 33, "p50_ms": 1000 / rate if rate else 0},
        **{"p99_ms": 5000 / rate if rate else 0, "cpu_ms_per_request": 0.5},
    }


def results(*, errors: int = 0, rows: int = 600) -> dict[str, Any]:
    rates = {DIRECT: 1000.0, ATRIUM: 500.0, LITELLM: 50.0}
    turns = [
        turn(side, rate, stream=stream, connections=connections, errors=errors if side == LITELLM else 0)
        for side, rate in rates.items()
        for stream, connections in CELLS
    ]
    memory = {"process": 200_000_000, "family": 300_000_000}
    return {
        "machine": {"when": "now", "cores": 2, "python": "3.11", "priority": 0},
        **{"turns_of_each": 1, "seconds_per_load": 2.0, "turns": turns},
        **{"memory": {ATRIUM: memory, LITELLM: None}, "missing": {"Portkey gateway 9": "no npm"}},
        "usage": {"usage_rows": rows, "requests_sent": 600},
    }


def test_the_best_of_each_figure_is_taken_and_errors_of_all_turns_are_added() -> None:
    slow, quick = turn(ATRIUM, 100.0, errors=2), turn(ATRIUM, 200.0, errors=1) | {"cpu_ms_per_request": 0.25}
    best = best_of([slow, quick])
    assert (best.requests_per_s, best.p50_ms, best.p99_ms, best.cpu_ms) == (200.0, 5.0, 25.0, 0.25)
    assert (best.errors, best.sent, best.example) == (3, 200, "500 no")


def test_a_turn_without_a_whole_answer_lends_no_best_time() -> None:
    best = best_of([turn(ATRIUM, 0.0), turn(ATRIUM, 100.0)])
    assert (best.p50_ms, best.requests_per_s) == (10.0, 100.0)
    assert not best_of([turn(ATRIUM, 0.0)]).sound


def test_who_refuses_or_cuts_answers_is_no_yardstick() -> None:
    ours = best_of([turn(ATRIUM, 100.0)])
    assert ratio(ours, best_of([turn(LITELLM, 50.0)])) == "2.00"
    assert ratio(ours, best_of([turn(LITELLM, 50.0, errors=1)])) == "–"


def test_the_table_says_ratios_first_what_each_does_and_who_is_missing() -> None:
    text = table(results())
    assert text.index("÷ direct") < text.index("requests/s") < text.index(PEERS[0].does.key)
    assert "| JSON | 16 | 0.50 | 10.00 |" in text
    assert f"| stream | 100 | {LITELLM} | 50 | 1,650 | 20.00 (+19.00) | 100.00 (+95.00) | 0.500 | 0 |" in text
    assert "| Atrium | 200, 300 |" in text
    assert "| it ended |" in text
    assert "Not measured: Portkey gateway 9**: no npm." in text
    assert all(f"Not measured: {name}**" in text for name in ABSENT)


def test_errors_of_a_peer_are_told_and_lost_usage_of_atrium_fails() -> None:
    assert failures(results()) == ([], [])
    ours, theirs = failures(results(errors=3, rows=599))
    assert ours == ["599 usage rows for 600 requests"]
    assert len(theirs) == len(CELLS)
    assert "3 errors, 500 no" in theirs[0]


def test_processes_that_a_side_started_are_counted_with_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in family(os.getpid())
        assert used_bytes(child.pid)
    finally:
        child.communicate(b"\n")
    assert used_bytes(child.pid) is None


def test_a_tool_that_is_not_there_is_told_and_nothing_counts_as_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    peer = Peer("Some gateway", "1", "MIT", node={"some-gateway": "1"})
    with pytest.raises(NotHere, match="no npm on this machine"):
        install(peer, tmp_path / "peer")
    assert not (tmp_path / "peer" / "installed.json").exists()


def test_what_is_installed_stays_until_another_version_is_pinned(tmp_path: Path) -> None:
    folder, kept = tmp_path / "peer", tmp_path / "peer" / "kept"
    install(Peer("Some gateway", "1", "MIT"), folder)
    kept.touch()
    install(Peer("Some gateway", "1", "MIT"), folder)
    assert kept.exists()
    (folder / "installed.json").write_text("another version")
    install(Peer("Some gateway", "1", "MIT"), folder)
    assert not kept.exists()


def test_versions_are_pinned() -> None:
    for peer in PEERS:
        pinned = [*peer.python, *(f"{name}=={version}" for name, version in peer.node.items())]
        assert pinned
        assert all(each.endswith(f"=={peer.version}") for each in pinned)
