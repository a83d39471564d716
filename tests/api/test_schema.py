"""The published schema and the server agree, whoever asks and whatever they send."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.demo import Demo, place_ready_home, start_ready_demo
from fakes.live_server import LiveServer
from fuzz.schema import Outcome, run_schemathesis, run_within

# Made up at random, beside some 45 edge cases an operation: together more than 20 of each.
RANDOM_CASES = 5

pytestmark = [pytest.mark.schema, pytest.mark.timeout(2400)]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = start_ready_demo(tmp_path / "home")
    yield started
    started.server.stop()


def check(outcome: Outcome) -> None:
    assert outcome.passed, outcome.text[-6000:]
    assert outcome.server_errors == 0
    assert outcome.cases >= 20 * outcome.operations > 0


def test_no_answer_to_an_operator_is_a_server_error_or_undocumented(demo: Demo, tmp_path: Path) -> None:
    """Who may most, at a server: what stands before Django gets all these requests too."""
    asked = {"base_url": demo.url, "key": demo.api_key, "role": "operator", "folder": tmp_path}
    check(run_schemathesis(**asked, cases=RANDOM_CASES))


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_no_answer_to_who_may_less_is_a_server_error_or_undocumented(role: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    place_ready_home(home)
    installation = LiveServer(home)
    key = installation.manage("issue_api_key", "--tenant", "demo", "--name", role, "--role", role)["key"]
    asked = {"variables": installation.variables(), "key": key, "role": role, "folder": tmp_path}
    check(run_within(**asked, cases=RANDOM_CASES))
