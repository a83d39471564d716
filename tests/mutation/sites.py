"""Where filters keep tenants apart in the source, and the same code without one of them, or with a mark at each.

A site is a query's own `tenant…=` argument, which is left out, or a `tenant_scope(…)`, in whose place `marks.widened`
shows the rows of all tenants. Nothing is written to disk: living functions are given other code.
"""

import ast
import gc
import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("tenants", "assistants", "knowledge", "inference", "routing", "platform")
QUERIES = ("filter", "exclude", "get", "get_or_create", "update_or_create", "aggregate")
TENANT = ("tenant", "tenant_id", "tenant_id__in", "tenant__slug", "tenant__id")
TOLD = 120


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
            told = text if len(text) < TOLD else text[: TOLD - 3] + "..."
            yield Site(relative, call.lineno, call.col_offset, function, kind, told)


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
    return (keyword.arg or "") in TENANT


def _mark(call: str) -> ast.Call:
    # No new name is needed in the module: `__import__` is a builtin.
    tree = ast.parse(f"__import__('mutation.marks', fromlist=['x']).{call}", mode="eval").body
    assert isinstance(tree, ast.Call)
    return tree


class _Without(ast.NodeTransformer):
    """The tree without the filter of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        place = (node.lineno, node.col_offset, _kind(node))
        if place != (self._site.line, self._site.column, self._site.kind):
            return node
        if self._site.kind == "filter":
            node.keywords = [each for each in node.keywords if not _is_tenant(each)]
            return node
        wide = _mark("widened()")
        wide.keywords = [each for each in node.keywords if each.arg == "read_only"]
        return ast.copy_location(wide, node)


class _Marked(ast.NodeTransformer):
    """The tree with a mark before each of the sites: `(passed(n), call)[1]`."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self._sites = {(site.line, site.column, site.kind): site for site in sites}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        site = self._sites.get((node.lineno, node.col_offset, _kind(node)))
        if site is None:
            return node
        both = ast.Tuple([_mark(f"passed({site.name!r}, {site.line})"), node], ast.Load())
        return ast.copy_location(ast.Subscript(both, ast.Constant(1), ast.Load()), node)


def mutated_code(site: Site) -> dict[str, CodeType]:
    """Code of the functions of the site's file, by qualified name, without the site's filter."""
    return _codes_of(site.path, _Without(site))


def _codes_of(path: str, change: ast.NodeTransformer) -> dict[str, CodeType]:
    tree = change.visit(ast.parse((ROOT / path).read_text()))
    module = compile(ast.fix_missing_locations(tree), str(ROOT / path), "exec", dont_inherit=True)
    return dict(_codes(module))


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes(constant)


class LivingFunctions:
    """The functions of the sites' files that this process holds, and the code that each has had."""

    def __init__(self, sites: Iterable[Site]) -> None:
        """Import the files and look through all there is: some hundred milliseconds."""
        self._of: dict[str, list[FunctionType]] = {site.path: [] for site in sites}
        for path in self._of:
            importlib.import_module(path.removeprefix("platform/").removesuffix(".py").replace("/", "."))
        files = {str(ROOT / path): path for path in self._of}
        # What is frozen is not told, and the tests' own session freezes all that it has collected.
        gc.unfreeze()
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename in files:
                self._of[files[each.__code__.co_filename]].append(each)
        gc.freeze()

    def mark(self, sites: Sequence[Site]) -> None:
        """Let each function tell `marks` when it comes by one of its sites."""
        for path in self._of:
            codes = _codes_of(path, _Marked(site for site in sites if site.path == path))
            for each in self._of[path]:
                _give(each, codes)

    def take_away(self, site: Site) -> int:
        """Give every function that holds the site the code without it; how many there were."""
        codes = mutated_code(site)
        return sum(_give(each, codes) for each in self._of[site.path] if _holds(each, site))


def _holds(function: FunctionType, site: Site) -> bool:
    name = function.__code__.co_qualname
    return site.function == name or site.function.startswith(f"{name}.")


def _give(function: FunctionType, codes: dict[str, CodeType]) -> bool:
    fresh = codes.get(function.__code__.co_qualname)
    if fresh is None or len(fresh.co_freevars) != len(function.__code__.co_freevars):
        return False
    function.__code__ = fresh
    return True
