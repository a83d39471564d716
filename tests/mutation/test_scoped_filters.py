"""The tool that takes filters away finds them all and changes what it says; and a fixed sample is noticed."""

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mutation import scoped_filters
from mutation.marks import widened
from mutation.scoped_filters import Outcome, conclude
from mutation.sites import Site, find_sites, mutated_code

from substrate.scoping import tenant_scope

ROOT = Path(__file__).resolve().parents[2]
SITE = Site("app/services.py", 1, 0, "act", "scope", "tenant_scope(tenant_id)")


def names(site: Site) -> set[str]:
    """The words that the changed function uses."""
    code = mutated_code(site)[site.function]
    return {*code.co_names, *(str(each) for each in code.co_consts)}


@pytest.mark.sweep
def test_filters_of_every_app_are_found() -> None:
    sites = find_sites()
    assert {site.path.partition("/")[0] for site in sites} >= {
        "tenants",
        "assistants",
        "knowledge",
        "inference",
        "platform",
    }
    assert {site.kind for site in sites} == {"filter", "scope"}
    assert len(sites) > 200
    assert any(site.path == "platform/substrate/scoping.py" and site.kind == "filter" for site in sites)


@pytest.mark.sweep
def test_the_changed_code_lacks_the_filter_and_nothing_else() -> None:
    for site in find_sites()[::12]:
        assert site.function in mutated_code(site)
    [central] = [site for site in find_sites() if site.function == "ScopedManager.get_queryset"]
    code = mutated_code(central)[central.function]
    assert "filter" in code.co_names
    assert ("tenant_id",) not in code.co_consts
    scope = next(
        site for site in find_sites() if site.kind == "scope" and site.path.endswith("services/groups.py")
    )
    assert "widened" in names(scope)
    assert "tenant_scope" not in names(scope)


def test_a_missed_filter_fails_unless_a_reason_was_given() -> None:
    assert conclude([Outcome(SITE, "noticed", "a test")]) == 0
    assert conclude([Outcome(SITE, "missed")]) == 1
    assert conclude([Outcome(SITE, "missed", reason="behind another wall")]) == 0
    assert conclude([]) == 1


@dataclass
class Item:
    """A test by its name."""

    nodeid: str


def tried(monkeypatch: pytest.MonkeyPatch, *said: dict[str, str]) -> Outcome:
    """What becomes of a site with the tests a and b, when forks say one after the other what is given."""
    answers = iter(said)
    monkeypatch.setattr(scoped_filters, "in_a_fork", lambda work, most_s: next(answers))
    items: Any = [Item("a"), Item("b")]
    functions: Any = None
    return scoped_filters._try(functions, SITE, items)


def test_what_fails_with_the_filter_too_has_noticed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = ({"state": "noticed", "test": name, "why": "x"} for name in "ab")
    alone, both = {"state": "fails by itself: x"}, {"state": "noticed"}
    assert (tried(monkeypatch, a, both).state, tried(monkeypatch, a, both).test) == ("noticed", "a")
    found = tried(monkeypatch, a, alone, b, both)
    assert (found.state, found.test, found.doubted) == ("noticed", "b", ["a: fails by itself: x"])
    assert tried(monkeypatch, a, alone, {"state": "missed"}).state == "missed"
    assert tried(monkeypatch, a, alone, b, {}).state == "missed"
    assert tried(monkeypatch, {}).state == "stuck"


@pytest.mark.django_db
def test_a_scope_that_is_taken_away_shows_all_but_within_another_one() -> None:
    with widened(read_only=True) as scope:
        assert scope.tenant_id is None
    tenant = uuid.uuid4()
    with tenant_scope(tenant, read_only=True), widened(read_only=True) as scope:
        assert scope.tenant_id == tenant


@pytest.mark.schema
@pytest.mark.timeout(900)
def test_a_sample_is_noticed(tmp_path: Path) -> None:
    """The scoped manager's own filter, groups and limits; all the others are `make test-filters`."""
    command = [
        *(sys.executable, "tests/mutation/scoped_filters.py", "--out", str(tmp_path / "outcomes.json")),
        *("--only", "platform/substrate/scoping.py", "--only", "tenants/services/groups"),
        *("tests/tenants/test_groups.py", "tests/tenants/test_scoping.py"),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        # Options of the run that this is a part of are not its own: it knows no cache.
        env={**os.environ, "PYTHONPATH": "tests:platform:.", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
