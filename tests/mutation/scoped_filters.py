"""Takes away each filter that keeps tenants apart, one at a time, and looks whether a test notices.

A site is a query's own `tenant…=` argument, which is left out, or a `tenant_scope(…)`, which becomes a scope of the whole
system. Tests run once to learn which of them come by each site; then, for each site, a fork of this process puts the
changed code in the place of the old one (nothing is written to disk) and runs those tests until one fails. A site that
no test notices is printed, with the reason where one was given in `kept.toml`: behind another wall nothing shows.

    PYTHONPATH=tests:platform:. python tests/mutation/scoped_filters.py [--sample N --seed S] [--only PATH] TESTS…
"""

import argparse
import ast
import copy
import gc
import json
import os
import random
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("tenants", "assistants", "knowledge", "inference", "routing", "platform")
QUERIES = ("filter", "exclude", "get", "get_or_create", "update_or_create", "aggregate")
KEPT = Path(__file__).with_name("kept.toml")
MOST_TESTS = 400
MOST_S = 240.0


@dataclass(frozen=True)
class Site:
    """One filter: where it is, in which function, and what it says. `kind` is `filter` or `scope`."""

    path: str
    line: int
    column: int
    function: str
    kind: str
    text: str

    @property
    def name(self) -> str:
        """How `kept.toml` calls it: lines move, functions and words seldom do."""
        return f"{self.path}:{self.function}: {self.text}"


@dataclass
class Outcome:
    """What became of a site without its filter: `noticed` by `test`, `missed`, or `unreached` by any test."""

    site: Site
    state: str
    test: str = ""
    tests: int = 0
    seconds: float = 0.0
    reason: str = ""


def find_sites(roots: Sequence[str] = ROOTS) -> list[Site]:
    """Every filter of the source, in order."""
    found = []
    for root in roots:
        for path in sorted((ROOT / root).rglob("*.py")):
            if "migrations" not in path.parts:
                found += list(_sites_of(path))
    return found


def _sites_of(path: Path) -> Iterator[Site]:
    relative = str(path.relative_to(ROOT))
    for function, call in _calls(ast.parse(path.read_text()), ""):
        kind = _kind(call)
        if kind and function:
            text = ast.unparse(call)
            yield Site(
                relative,
                call.lineno,
                call.col_offset,
                function,
                kind,
                text if len(text) < 120 else text[:117] + "...",
            )


def _calls(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{function}.{child.name}" if function else child.name
        if isinstance(child, ast.Call) and function:
            yield function, child
        yield from _calls(child, inside)


def _kind(call: ast.Call) -> str:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "tenant_scope" and call.args:
        return "scope"
    if (
        isinstance(call.func, ast.Attribute)
        and name in QUERIES
        and any(_is_tenant(each) for each in call.keywords)
    ):
        return "filter"
    return ""


def _is_tenant(keyword: ast.keyword) -> bool:
    name = keyword.arg or ""
    return name in ("tenant", "tenant_id", "tenant_id__in", "tenant__slug", "tenant__id")


class _Without(ast.NodeTransformer):
    """The tree without the filter of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if (node.lineno, node.col_offset) != (self._site.line, self._site.column) or _kind(
            node
        ) != self._site.kind:
            return node
        if self._site.kind == "filter":
            node.keywords = [each for each in node.keywords if not _is_tenant(each)]
            return node
        # No new name is needed in the module: `__import__` is a builtin.
        module = ast.parse(
            "__import__('substrate.crossing', fromlist=['x']).system_scope('mutant')", mode="eval"
        ).body
        assert isinstance(module, ast.Call)
        module.keywords = [each for each in node.keywords if each.arg == "read_only"]
        return ast.copy_location(module, node)


def mutated_code(site: Site) -> dict[str, CodeType]:
    """Code of the functions of the site's file, by qualified name, without the site's filter."""
    tree = _Without(site).visit(ast.parse((ROOT / site.path).read_text()))
    module = compile(
        ast.fix_missing_locations(copy.deepcopy(tree)), str(ROOT / site.path), "exec", dont_inherit=True
    )
    return dict(_codes(module))


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes(constant)


def put_in_place(site: Site) -> int:
    """Give every living function of the site's file that holds it the code without it; how many there were."""
    codes = mutated_code(site)
    changed = 0
    # What is frozen is not told, and the tests' own session freezes all that it has collected.
    gc.unfreeze()
    for each in gc.get_objects():
        if type(each) is not FunctionType or each.__code__.co_filename != str(ROOT / site.path):
            continue
        fresh = codes.get(each.__code__.co_qualname)
        holds = site.function == each.__code__.co_qualname or site.function.startswith(
            f"{each.__code__.co_qualname}."
        )
        if holds and fresh is not None and len(fresh.co_freevars) == len(each.__code__.co_freevars):
            each.__code__ = fresh
            changed += 1
    return changed


@dataclass
class Mutants:
    """Takes the place of pytest's loop: learns, then forks."""

    sites: list[Site]
    kept: dict[str, str]
    outcomes: list[Outcome] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run each test once, then each site's tests without its filter."""
        items = session.items
        reached = self._learn(items)
        for site in self.sites:
            tests = [item for item in items if item.nodeid in reached.get(site, ())][:MOST_TESTS]
            outcome = self._try(site, tests) if tests else Outcome(site, "unreached")
            outcome.reason = self.kept.get(site.name, "")
            self.outcomes.append(outcome)
            _say(outcome)
        return True

    def _learn(self, items: list[pytest.Item]) -> dict[Site, list[str]]:
        """Which tests come by which site; those that fail by themselves are left out."""
        by_code: dict[tuple[str, str], list[Site]] = {}
        for site in self.sites:
            by_code.setdefault((str(ROOT / site.path), site.function), []).append(site)
        passed: set[tuple[str, str]] = set()

        def look(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                key = (frame.f_code.co_filename, frame.f_code.co_qualname)
                if key in by_code:
                    passed.add(key)

        reached: dict[Site, list[str]] = {}
        for number, item in enumerate(items):
            passed.clear()
            threading.setprofile(look)
            sys.setprofile(look)
            fine = _run(item, items[(number + 1) % len(items)])
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
            for key in passed if fine else ():
                for site in by_code[key]:
                    reached.setdefault(site, []).append(item.nodeid)
        return reached

    def _try(self, site: Site, tests: list[pytest.Item]) -> Outcome:
        from django.db import connections

        from substrate.units import close_units

        close_units()
        connections.close_all()
        began = time.monotonic()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                os.write(writing, _first_failure(site, tests).encode())
            finally:
                # Whatever happened: nothing of this process may go on in the child.
                os._exit(0)
        os.close(writing)
        told = _answer(child, reading)
        state = "missed" if not told else "broken" if told == "broken" else "noticed"
        return Outcome(site, state, told, len(tests), round(time.monotonic() - began, 1))


def _first_failure(site: Site, tests: list[pytest.Item]) -> str:
    """The first test that fails without the site's filter; empty when none does."""
    if not put_in_place(site):
        return "broken"
    return next((item.nodeid for item, after in _pairs(tests) if not _run(item, after)), "")


def _pairs(tests: list[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item]]:
    for number, item in enumerate(tests):
        yield item, tests[(number + 1) % len(tests)]


def _run(item: pytest.Item, after: pytest.Item) -> bool:
    """Whether the test passes; what the session shares stays for `after`."""
    from _pytest.runner import runtestprotocol

    return all(not report.failed for report in runtestprotocol(item, log=False, nextitem=after))


def _answer(child: int, reading: int) -> str:
    """What the child told; a child that takes too long has noticed in its way."""
    timer = threading.Timer(MOST_S, os.kill, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    return told if os.WIFEXITED(status) else "it took too long"


def _say(outcome: Outcome) -> None:
    site = outcome.site
    by = f" by {outcome.test.rpartition('/')[2]}" if outcome.test else ""
    sys.__stdout__.write(
        f"{outcome.state:9} {site.path}:{site.line} {site.text[:70]}{by} ({outcome.tests} tests)\n"
    )
    sys.__stdout__.flush()


def main() -> int:
    """Try them; the exit code is 1 when a filter is missed without a reason."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", nargs="+", help="files or folders of tests")
    parser.add_argument("--sample", type=int, help="so many sites, drawn by --seed")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="sites whose path begins so")
    parser.add_argument("--kind", choices=("filter", "scope"))
    parser.add_argument("--out", type=Path, help="a file for the outcomes as JSON")
    options = parser.parse_args()
    sites = [
        site
        for site in find_sites()
        if (not options.only or site.path.startswith(tuple(options.only)))
        and options.kind in (None, site.kind)
    ]
    if options.sample:
        sites = sorted(
            random.Random(options.seed).sample(sites, min(options.sample, len(sites))),
            key=lambda each: each.name,
        )
    kept = tomllib.loads(KEPT.read_text()) if KEPT.exists() else {}
    mutants = Mutants(sites, {name: str(reason) for name, reason in kept.items()})
    pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", "-m", _MARKS, *options.tests], plugins=[mutants])
    return conclude(mutants.outcomes, options.out)


_MARKS = "not services and not schema and not pages and not stack"


def conclude(outcomes: Sequence[Outcome], out: Path | None) -> int:
    """Print the sums, write them, and say whether something was missed without a reason."""
    counts: dict[str, int] = {}
    for each in outcomes:
        state = f"{each.state}, with a reason" if each.reason and each.state != "noticed" else each.state
        counts[state] = counts.get(state, 0) + 1
    sys.__stdout__.write(
        f"{len(outcomes)} filters: " + ", ".join(f"{n} {state}" for state, n in counts.items()) + "\n"
    )
    if out is not None:
        told: list[dict[str, Any]] = [
            {
                "name": each.site.name,
                "kind": each.site.kind,
                "state": each.state,
                "test": each.test,
                "reason": each.reason,
            }
            for each in outcomes
        ]
        out.write_text(json.dumps(told, indent=1))
    return int(not outcomes or any(each.state != "noticed" and not each.reason for each in outcomes))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "platform"), str(ROOT)]
    os.chdir(ROOT)
    raise SystemExit(main())
