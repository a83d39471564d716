"""Takes away each filter that keeps tenants apart, one at a time, and looks whether a test notices.

Tests run once to learn which of them come by each site (`sites.py`); then, for each site, a fork of this process runs
them without it until one fails. That test must pass in another fork with the filter, and fail there once more without
it: what fails by itself, or cannot run twice in a process, has noticed nothing. A site that no test notices is printed,
with the reason where one was given in `kept.toml`: behind another wall nothing shows.

    PYTHONPATH=tests:platform:. python tests/mutation/scoped_filters.py [--sample N --seed S] [--only PATH] TESTS…
"""

import argparse
import json
import os
import random
import re
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mutation.forks import in_a_fork
from mutation.sites import ROOT, LivingFunctions, Site, find_sites

KEPT = Path(__file__).with_name("kept.toml")
# Of one site: tests, seconds for each of its forks and of its tests.
MOST_TESTS = 400
MOST_S = 300.0
TEST_S = 60
MOST_DOUBTS = 6
# Tests of these names look at two tenants more often than others: they go first.
TELLING = re.compile("foreign|other|stranger|own|isolat|tenant|cross|nobody|belong|only", re.IGNORECASE)


@dataclass
class Outcome:
    """What became of a site without its filter.

    `noticed` by `test`, `missed`, `unreached` by any test, `stuck` in tests that never ended, or `broken`: no function
    was found to change. `nested`: tests came by a scope within that of a tenant alone. `doubted`: tests that failed
    without the filter and do not fail for its sake.
    """

    site: Site
    state: str
    test: str = ""
    why: str = ""
    tests: int = 0
    seconds: float = 0.0
    reason: str = ""
    nested: bool = False
    doubted: list[str] = field(default_factory=list)


@dataclass
class Reach:
    """The tests that come by a site, with the seconds each took."""

    tests: dict[str, float] = field(default_factory=dict)
    nested: bool = True


class Mutants:
    """Takes the place of pytest's loop: learns, then forks."""

    def __init__(
        self, sites: list[Site], kept: dict[str, str], *, most_s: float = 90.0, out: Path | None = None
    ) -> None:
        """`kept`: reasons by a site's name. `out`: a file for the outcomes, written as they come.

        Of a site those tests are run that took `most_s` seconds together.
        """
        self.outcomes: list[Outcome] = []
        self.learned_s = 0.0
        self._sites, self._kept, self._most_s, self._out = sites, kept, most_s, out
        self._noticed: dict[str, set[str]] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run each test once, then each site's tests without its filter."""
        began = time.monotonic()
        functions = LivingFunctions(self._sites)
        functions.mark(self._sites)
        reached = self._learn(session)
        self.learned_s = time.monotonic() - began
        _write(f"learned from {len(session.items)} tests in {self.learned_s:.0f} s\n")
        items = {item.nodeid: item for item in session.items}
        for site in self._sites:
            reach = reached.get((site.name, site.line), Reach(nested=False))
            tests = [items[each] for each in self._chosen(site, reach)]
            outcome = _try(functions, site, tests) if tests else Outcome(site, "unreached")
            outcome.reason, outcome.nested = (
                self._kept.get(site.name, ""),
                reach.nested and site.kind == "scope",
            )
            self._note(outcome)
        return True

    def _learn(self, session: pytest.Session) -> dict[tuple[str, int], Reach]:
        """Which tests come by which site; those that fail by themselves are left out."""
        from mutation.marks import seen

        items = session.items
        reached: dict[tuple[str, int], Reach] = {}
        for number, item in enumerate(items):
            seen.clear()
            began = time.monotonic()
            # What is kept for the last one's successor would be in the way of the first that runs in a fork.
            after = items[number + 1] if number + 1 < len(items) else _Until([session])
            fine = not _failure(item, after)
            for key, alone in list(seen.items()) if fine else ():
                reach = reached.setdefault(key, Reach())
                reach.tests[item.nodeid] = time.monotonic() - began
                reach.nested = reach.nested and not alone
        return reached

    def _chosen(self, site: Site, reach: Reach) -> Iterator[str]:
        """Those that noticed something in the same file first, then telling names, then the quick ones."""
        before = self._noticed.get(site.path, set())
        total = 0.0
        order = sorted(
            reach.tests.items(),
            key=lambda each: (each[0] not in before, not TELLING.search(each[0].partition("::")[2]), each[1]),
        )
        for number, (test, seconds) in enumerate(order):
            total += seconds
            if number and (number == MOST_TESTS or total > self._most_s):
                return
            yield test

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.state == "noticed":
            self._noticed.setdefault(outcome.site.path, set()).add(outcome.test)
        site = outcome.site
        by = f" by {outcome.test.rpartition('/')[2]}: {outcome.why[:80]}" if outcome.test else ""
        nested = " nested" if outcome.nested else ""
        _write(
            f"{outcome.state:9} {site.path}:{site.line} {site.text[:70]}{by} ({outcome.tests} tests, "
            f"{outcome.seconds:.0f} s{nested})\n"
        )
        if self._out is not None:
            self._out.write_text(json.dumps([_told(each) for each in self.outcomes], indent=1))


def _told(outcome: Outcome) -> dict[str, object]:
    return {"name": outcome.site.name, "kind": outcome.site.kind, **asdict(outcome)}


def _try(functions: LivingFunctions, site: Site, tests: list[pytest.Item]) -> Outcome:
    """Run the tests without the filter until one fails that passes with it."""
    began = time.monotonic()
    outcome = Outcome(site, "missed", tests=len(tests))
    left = tests
    for _ in range(MOST_DOUBTS):
        told = in_a_fork(partial(_first_failure, functions, site, left), MOST_S)
        outcome.state = told.get("state", "stuck")
        if outcome.state != "noticed":
            break
        failed = next(item for item in left if item.nodeid == told["test"])
        again = in_a_fork(partial(_with_and_without, functions, site, failed), MOST_S)
        if again.get("state") == "noticed":
            outcome.test, outcome.why = told["test"], told["why"]
            break
        outcome.state = "missed"
        outcome.doubted.append(f"{told['test']}: {again.get('state', 'stuck')}")
        left = left[left.index(failed) + 1 :]
        if not left:
            break
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _first_failure(functions: LivingFunctions, site: Site, tests: list[pytest.Item]) -> dict[str, str]:
    """The first test that fails without the site's filter."""
    if not functions.take_away(site):
        return {"state": "broken"}
    for number, item in enumerate(tests):
        why = _failure(item, tests[(number + 1) % len(tests)])
        if why:
            return {"state": "noticed", "test": item.nodeid, "why": why}
    return {"state": "missed"}


def _with_and_without(functions: LivingFunctions, site: Site, item: pytest.Item) -> dict[str, str]:
    """Whether the test passes with the filter and then fails without it, in one process."""
    after = _Until(item.listchain()[:-1])
    why = _failure(item, after)
    if why:
        return {"state": f"fails by itself: {why}"}
    functions.take_away(site)
    return {"state": "noticed" if _failure(item, after) else "passes alone"}


@dataclass
class _Until:
    """In the place of the next test: after this one, everything is torn down but the nodes of the chain."""

    chain: list[Any]

    def listchain(self) -> list[Any]:
        """As of a test."""
        return self.chain


def _failure(item: pytest.Item, after: Any) -> str:
    """Why the test fails, in a line; empty when it passes. What it shares with `after` stays for that."""
    from _pytest.runner import runtestprotocol

    for report in runtestprotocol(item, log=False, nextitem=after):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            return str(crash.message if crash else report.longrepr).strip().split("\n")[0][:300] or "failed"
    return ""


def _write(line: str) -> None:
    sys.__stdout__.write(line)
    sys.__stdout__.flush()


def main() -> int:
    """Try them; the exit code is 1 when a filter is missed without a reason."""
    options = _options()
    kept = tomllib.loads(KEPT.read_text()) if KEPT.exists() else {}
    reasons = {name: str(reason) for name, reason in kept.items()}
    mutants = Mutants(_chosen_sites(options), reasons, most_s=options.seconds, out=options.out)
    plain = ["-q", "-n", "0", "-p", "no:cacheprovider", "-o", f"timeout={TEST_S}", "-m", _MARKS]
    pytest.main([*plain, *options.tests], plugins=[mutants])
    return conclude(mutants.outcomes)


_MARKS = "not services and not schema and not pages and not stack"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", nargs="+", help="files or folders of tests")
    parser.add_argument("--sample", type=int, help="so many sites, drawn by --seed")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="sites whose path begins so")
    parser.add_argument("--kind", choices=("filter", "scope"))
    parser.add_argument("--out", type=Path, help="a file for the outcomes as JSON, written as they come")
    parser.add_argument(
        "--seconds", type=float, default=90.0, help="tests of one site, as long as they ran with it"
    )
    parser.add_argument("--again", type=Path, help="such a file: those that it says nobody noticed")
    return parser.parse_args()


def _chosen_sites(options: argparse.Namespace) -> list[Site]:
    left = None
    if options.again:
        left = {each["name"] for each in json.loads(options.again.read_text()) if each["state"] != "noticed"}
    sites = [
        site
        for site in find_sites()
        if (not options.only or site.path.startswith(tuple(options.only)))
        and options.kind in (None, site.kind)
        and (left is None or site.name in left)
    ]
    if options.sample:
        chosen = random.Random(options.seed).sample(sites, min(options.sample, len(sites)))
        return sorted(chosen, key=lambda each: each.name)
    return sites


def conclude(outcomes: Sequence[Outcome]) -> int:
    """Print the sums, and say whether something was missed without a reason."""
    counts: dict[str, int] = {}
    for each in outcomes:
        state = f"{each.state}, with a reason" if each.reason and each.state != "noticed" else each.state
        counts[state] = counts.get(state, 0) + 1
    sums = ", ".join(f"{n} {state}" for state, n in counts.items())
    _write(f"{len(outcomes)} filters in {sum(each.seconds for each in outcomes):.0f} s: {sums}\n")
    return int(not outcomes or any(each.state != "noticed" and not each.reason for each in outcomes))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "platform"), str(ROOT)]
    os.chdir(ROOT)
    raise SystemExit(main())
