"""The console has words of its own for what the server names by codes: rights, and the acts of the record."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenants.permissions import TENANT_PERMISSIONS

ROOT = Path(__file__).resolve().parents[2]
WORDS = ROOT / "web/src/console/i18n"
APPS = ("tenants", "assistants", "knowledge", "inference", "routing", "platform")


def block(catalogue: str, name: str) -> set[str]:
    """The keys of one object of a catalogue."""
    text = (WORDS / catalogue).read_text()
    found = re.search(rf"^( +){name}: \{{\n(.*?)^\1\}}", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{catalogue} has no {name}"
    return set(re.findall(r'^ +"?([a-z_.]+)"?:', found[2], re.MULTILINE))


def test_every_right_that_a_role_may_have_is_told_in_german() -> None:
    assert TENANT_PERMISSIONS - block("access.de.ts", "allows") == set()


def written_acts() -> Iterator[tuple[str, str]]:
    """`act` and `kind` of the acts that code writes with texts of its own."""
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text()
            if "record_act(" not in text:
                continue
            for call in ast.walk(ast.parse(text)):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "record_act":
                    for each in call.keywords:
                        if each.arg in ("act", "kind") and isinstance(each.value, ast.Constant):
                            yield each.arg, str(each.value.value)


@pytest.mark.parametrize("language", ["en", "de"])
def test_acts_of_the_record_have_words(language: str) -> None:
    known = {
        "act": block(f"audit.{language}.ts", "verbs"),
        "kind": block(f"audit.{language}.ts", "kinds"),
    }
    written = set(written_acts())
    assert len(written) > 30
    assert sorted(pair for pair in written if pair[1] not in known[pair[0]]) == []
