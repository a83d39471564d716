"""The lists that the console's tables ask for: each takes what a table asks with."""

import re
from pathlib import Path

import pytest
from django.urls import resolve

from substrate.queries import declared_parameters

CONSOLE = Path(__file__).resolve().parents[2] / "web/src/console"
TABLE = re.compile(r'<(?:DataTable|ListPage)\b[^>]*?\spath="(/[a-z/-]+)"', re.DOTALL)
PATHS = sorted({path for file in CONSOLE.rglob("*.svelte") for path in TABLE.findall(file.read_text())})
# What `listAddress` of `kit/table.svelte.ts` always says.
ASKED = {"limit", "total"}


def test_the_tables_are_found() -> None:
    assert {"/audit-events", "/users", "/jobs"} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_a_list_of_a_table_takes_what_the_table_asks_with(path: str) -> None:
    view = resolve(f"/api/v1{path}").func.view_class  # type: ignore[attr-defined]
    assert set(declared_parameters(view, "GET")) >= ASKED | {"cursor"}
