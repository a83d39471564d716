"""No asyncio client of Redis sends under a timeout of the library's own without hearing cancellations."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("platform", "tenants", "inference", "routing", "knowledge", "assistants")


def clients() -> list[tuple[str, ast.Call, list[ast.AST]]]:
    """Each call that makes one: where it is, the call, and what stands around it from the outside in."""
    found = []

    def walk(node: ast.AST, around: list[ast.AST], file: str) -> None:
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name.startswith("redis.asyncio.") and name.endswith(".from_url"):
            found.append((f"{file}:{node.lineno}", node, around))
        for child in ast.iter_child_nodes(node):
            walk(child, [*around, node], file)

    for place in PLACES:
        for file in sorted((ROOT / place).rglob("adapters/*.py")):
            walk(ast.parse(file.read_text()), [], str(file.relative_to(ROOT)))
    return found


def is_heard(call: ast.Call, around: list[ast.AST]) -> bool:
    without = any(
        each.arg == "socket_timeout" and isinstance(each.value, ast.Constant) and each.value.value is None
        for each in call.keywords
    )
    return without or any(
        isinstance(each, ast.Call) and ast.unparse(each.func) == "hearing" for each in around
    )


def test_each_client_hears_cancellations() -> None:
    found = clients()
    # Those of the caches are made by `kernel.cache_clients`, which has a test of its own.
    assert len(found) >= 8
    assert [where for where, call, around in found if not is_heard(call, around)] == []
