"""Knowledge bases in the browser: documents handed in, why they fail, trying again, searching, deleting with a way back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from factories.files import encrypt_pdf, make_pdf
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
LEAVE = "Every employee has thirty days of paid leave a year, and asks for it two weeks ahead."
SLOW = 30_000


@pytest.fixture
def base(installation: Any) -> Iterator[dict[str, Any]]:
    """A knowledge base of its own."""
    status, made = installation.request(
        "POST", "/api/v1/knowledge-bases", body={"name": f"Policies {uuid4().hex[:6]}"}
    )
    assert status == 201
    yield made
    installation.request("DELETE", f"/api/v1/knowledge-bases/{made['id']}")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A good document, one behind a password, and one that is not what its name says."""
    good, locked, mislabelled = (tmp_path / name for name in ("leave.txt", "locked.pdf", "report.pdf"))
    good.write_text(LEAVE)
    locked.write_bytes(encrypt_pdf(make_pdf(LEAVE), "secret"))
    mislabelled.write_text("<html><body>no PDF at all</body></html>")
    return [good, locked, mislabelled]


def row(page: Any, text: str) -> Any:
    return page.get_by_role("row").filter(has_text=text)


@pytest.fixture
def handbook(installation: Any) -> Iterator[str]:
    """The name of a knowledge base that is not there yet, and goes in the end."""
    name = f"Handbook {uuid4().hex[:6]}"
    yield name
    _, found = installation.request("GET", f"/api/v1/knowledge-bases?q={name.split()[1]}")
    for base in found["results"]:
        installation.request("DELETE", f"/api/v1/knowledge-bases/{base['id']}")


def test_a_base_is_made_filled_searched_and_its_failures_explained(
    open_console: OpenConsole, files: list[Path], handbook: str
) -> None:
    console = open_console("owner")
    page = console.page
    name = handbook
    console.go("/console/knowledge")
    page.get_by_role("button", name="New knowledge base").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_test_id("upload").set_input_files(files)
    expect(row(page, "leave.txt")).to_contain_text("Ready", timeout=SLOW)
    expect(row(page, "locked.pdf")).to_contain_text("Protected by a password", timeout=SLOW)
    expect(row(page, "report.pdf")).to_contain_text("Not the type its name says", timeout=SLOW)
    console.keep("knowledge-documents")

    page.get_by_text("locked.pdf").first.click()
    drawer = page.get_by_test_id("document")
    expect(drawer).to_contain_text("Save a copy without the password")
    assert console.axe() == []
    drawer.get_by_role("button", name="Try again").click()
    expect(drawer.get_by_text("Failed", exact=True)).to_be_visible(timeout=SLOW)
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Search test").click()
    page.get_by_label("Question").fill("how many days of leave")
    page.keyboard.press("Enter")
    hit = page.get_by_test_id("hit").first
    expect(hit).to_contain_text("thirty days", timeout=SLOW)
    expect(hit).to_contain_text("found by both")
    expect(hit).to_contain_text("place 1")
    assert console.axe() == []
    console.keep("knowledge-search")
    assert console.overflow() == 0
    assert console.errors == []


def test_a_deleted_document_comes_back(
    open_console: OpenConsole, installation: Any, base: dict[str, Any]
) -> None:
    path = f"/api/v1/knowledge-bases/{base['id']}/documents"
    installation.request("POST", path, body={"title": "Leave", "text": LEAVE})
    console = open_console("owner")
    page = console.page
    console.go(f"/console/knowledge/{base['id']}")
    expect(row(page, "Leave")).to_contain_text("Ready", timeout=SLOW)
    page.get_by_role("button", name="Delete: Leave").click()
    page.get_by_test_id("confirm").click()
    expect(row(page, "Leave")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "Leave")).to_contain_text("Ready", timeout=SLOW)
    assert console.errors == []


def test_a_deleted_base_asks_for_its_name_and_comes_back(
    open_console: OpenConsole, base: dict[str, Any], installation: Any
) -> None:
    console = open_console("owner")
    page = console.page
    console.go(f"/console/knowledge/{base['id']}?tab=settings")
    page.get_by_role("button", name="Delete knowledge base").click()
    dialog = page.get_by_role("dialog")
    act = dialog.get_by_role("button", name="Delete knowledge base")
    expect(act).to_be_disabled()
    dialog.get_by_role("textbox").fill(base["name"])
    act.click()
    expect(page.get_by_role("heading", name="Knowledge bases", exact=True)).to_be_visible()
    assert installation.request("GET", f"/api/v1/knowledge-bases/{base['id']}")[0] == 404
    console.go("/console/knowledge?deleted=true")
    row(page, base["name"]).get_by_role("button", name="Restore").click()
    expect(row(page, base["name"])).to_have_count(0)
    assert installation.request("GET", f"/api/v1/knowledge-bases/{base['id']}")[0] == 200
    assert console.errors == []


def test_two_who_rename_a_base(open_console: OpenConsole, base: dict[str, Any], installation: Any) -> None:
    console = open_console("owner")
    page = console.page
    console.go(f"/console/knowledge/{base['id']}?tab=settings")
    field = page.get_by_label("Name", exact=True)
    field.fill("Mine")
    installation.request(
        "PATCH", f"/api/v1/knowledge-bases/{base['id']}", body={"name": f"{base['name']} too"}
    )
    with console.expecting("412"):
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog")).to_contain_text(f"{base['name']} too")
    assert installation.request("GET", f"/api/v1/knowledge-bases/{base['id']}")[1]["name"].endswith("too")
    page.keyboard.press("Escape")
    field.fill(f"{base['name']} too")


def test_a_viewer_is_offered_no_change(open_console: OpenConsole, base: dict[str, Any]) -> None:
    console = open_console("viewer")
    page = console.page
    console.go("/console/knowledge")
    expect(page.get_by_role("button", name="New knowledge base")).to_have_count(0)
    console.go(f"/console/knowledge/{base['id']}")
    expect(page.get_by_test_id("upload")).to_have_count(0)
    expect(page.get_by_role("tab", name="Settings")).to_have_count(0)
    assert console.errors == []


def test_a_file_that_is_too_large_is_told_before_it_is_sent(
    open_console: OpenConsole, base: dict[str, Any], tmp_path: Path
) -> None:
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(50 * 1024 * 1024 + 1)
    console = open_console("owner", width=360)
    console.go(f"/console/knowledge/{base['id']}")
    console.page.get_by_test_id("upload").set_input_files([large])
    expect(console.page.get_by_text("larger than 50 MB")).to_be_visible()
    assert console.overflow() == 0
