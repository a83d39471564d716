"""The published schema and the server agree, whoever asks and whatever they send."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.demo import Demo, start_ready_demo
from fuzz.schema import run_schemathesis

# Made up at random, beside some 45 edge cases an operation: together more than 20 of each.
RANDOM_CASES = 5

pytestmark = [pytest.mark.schema, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    started = start_ready_demo(tmp_path_factory.mktemp("schema"))
    yield started
    started.server.stop()


@pytest.mark.parametrize("role", ["operator", "member", "viewer"])
def test_no_answer_is_a_server_error_or_undocumented(demo: Demo, role: str, tmp_path: Path) -> None:
    key = demo.api_key if role == "operator" else demo.issue_key(role)
    outcome = run_schemathesis(base_url=demo.url, key=key, role=role, cases=RANDOM_CASES, folder=tmp_path)
    assert outcome.passed, outcome.text[-6000:]
    assert outcome.server_errors == 0
    assert outcome.cases >= 20 * outcome.operations > 0
