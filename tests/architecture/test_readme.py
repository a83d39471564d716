"""The README tells the truth: its map is the tree, its commands exist, its links lead somewhere."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Made by running things, never part of the project.
MADE = {"var", "dist", "build", "node_modules", "__pycache__"}


def folders_of_the_map() -> set[str]:
    drawn = README.split("<!-- map -->")[1].split("<!-- /map -->")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", drawn, re.MULTILINE))


def folders_of_the_tree() -> set[str]:
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    rooms = {f"platform/{path.parent.name}" for path in ROOT.glob("platform/*/__init__.py")}
    return {name for name in top - MADE - {"platform"} if has_files(ROOT / name)} | rooms


def has_files(folder: Path) -> bool:
    return any(path.is_file() and not MADE & set(path.parts) for path in folder.rglob("*"))


def test_the_map_is_the_tree() -> None:
    assert folders_of_the_map() == folders_of_the_tree()


def named_in(pattern: str) -> set[str]:
    return {name for path in DOCUMENTS for name in re.findall(pattern, path.read_text())}


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = named_in(r"(?:`|\$ |\b)make ([a-z]+(?:-[a-z]+)*)(?:`|$|\s+#)")
    assert {"run", "test", "check", "services", "run-production", "test-services", "bench"} <= named
    assert named <= targets


def test_every_make_target_is_told() -> None:
    told = set(re.findall(r"`make ([a-z-]+)`", README))
    said = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert said <= told


def test_every_management_command_that_is_named_exists() -> None:
    named = named_in(r"manage\.py ([a-z_]+)")
    table = README.split("`.venv/bin/python manage.py …`")[1].split("\n\n")[0]
    for row in table.splitlines():
        named |= set(re.findall(r"`([a-z_]+)(?: [^`]*)?`", row.split("|")[1] if "|" in row else ""))
    assert {"create_tenant", "register_engine", "issue_api_key", "ingest"} <= named
    assert named <= set(get_commands())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        aimed = (document.parent / path).resolve() if path else document
        assert aimed.exists(), f"{document.name} → {target}"
        if anchor:
            assert anchor in anchors_of(aimed), f"{document.name} → {target}"


def anchors_of(document: Path) -> set[str]:
    """The anchors that the usual renderers make of headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    folders = "platform|tenants|inference|routing|knowledge|assistants|tests|deploy"
    for named in re.findall(rf"`((?:{folders})/[\w/]+\.py)`", document.read_text()):
        assert (ROOT / named).is_file(), f"{document.name} names {named}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_environment_variable_that_is_named_is_read(document: Path) -> None:
    read = set(
        re.findall(
            r'"((?:ATRIUM_\w+|HOST|PORT|WORKERS))"',
            (ROOT / "platform/config/settings/environment.py").read_text(),
        )
    )
    named = set(re.findall(r"\b(ATRIUM_[A-Z_]*[A-Z])\b", document.read_text()))
    assert named - {"ATRIUM_KEY", "ATRIUM_TEST_SERVICES"} <= read


def test_every_environment_variable_is_told() -> None:
    source = (ROOT / "platform/config/settings/environment.py").read_text()
    read = set(re.findall(r'"((?:ATRIUM_\w+|HOST|PORT|WORKERS))"', source))
    told = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs/operations.md").read_text()))
    assert read <= told


def test_decisions_are_numbered_listed_and_whole() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("0*.md"))
    # A number is used once; one may be missing while the decision that it was kept for is being made.
    numbers = [page.name[:4] for page in pages]
    assert len(numbers) == len(set(numbers))
    listed = (ROOT / "docs/decisions/README.md").read_text()
    for page in pages:
        text = page.read_text()
        assert f"]({page.name})" in listed
        assert text.startswith(f"# {page.name[:4]}: ")
        parts = re.findall(r"^## (\w+)", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Rejected", "Consequences"], page.name
