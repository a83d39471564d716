"""Backups in the browser: take one, watch it, download it, upload it again, restore it after being told what happens."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
WORK_MS = 60_000


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


def test_a_backup_is_taken_kept_elsewhere_and_brought_back(
    open_console: OpenConsole, installation: Any, tmp_path: Path
) -> None:
    # Other tests share the server and its keys: those must be in the backup.
    for role in ("owner", "admin", "member", "viewer"):
        installation.key(role)
    console = open_console("operator")
    console.go("/console/backups")
    page = console.page
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    by(page, "take").first.click()
    first = by(page, "backup").first
    expect(first.get_by_test_id("download")).to_be_visible(timeout=WORK_MS)
    name = str(first.get_attribute("data-id"))
    assert re.fullmatch(r"atrium-\d{8}T\d{6}Z-[0-9a-f]{4}", name)
    console.keep("backups-taken")

    with page.expect_download() as waiting:
        first.get_by_test_id("download").click()
    kept = tmp_path / "kept.zip"
    waiting.value.save_as(kept)
    assert "manifest.json" in zipfile.ZipFile(kept).namelist()

    by(page, "picker").set_input_files(kept)
    expect(by(page, "backup")).to_have_count(2, timeout=WORK_MS)

    # What is written now is undone by the restore.
    status, made = installation.request(
        "POST", "/api/v1/knowledge-bases", role="owner", body={"name": f"After {name}"}
    )
    assert status == 201
    card = page.locator(f'[data-id="{name}"]')
    card.get_by_test_id("restore").click()
    expect(by(page, "plan")).to_be_visible()
    expect(by(page, "losses")).to_have_count(0)
    console.keep("backups-plan")
    by(page, "go-on").click()
    expect(by(page, "confirm")).to_be_disabled()
    by(page, "confirm-name").fill("something else")
    expect(by(page, "confirm")).to_be_disabled()
    by(page, "confirm-name").fill(name)
    by(page, "confirm").click()
    expect(by(page, "restoration")).to_have_attribute("data-state", "done", timeout=WORK_MS)
    expect(by(page, "restoration")).to_contain_text(name)
    console.keep("backups-restored")
    status, _ = installation.request("GET", f"/api/v1/knowledge-bases/{made['id']}", role="owner")
    assert status == 404

    # The session outlived the restore, and what is not needed any more goes.
    for _ in range(2):
        by(page, "backup").first.get_by_test_id("delete").click()
        left = by(page, "backup").count() - 1
        by(page, "confirm").click()
        expect(by(page, "backup")).to_have_count(left)
    assert console.errors == []


def test_a_file_that_is_none_is_refused_in_one_line(open_console: OpenConsole, tmp_path: Path) -> None:
    console = open_console("operator")
    console.go("/console/backups")
    odd = tmp_path / "odd.zip"
    odd.write_bytes(b"no backup at all")
    before = by(console.page, "backup").count()
    by(console.page, "picker").set_input_files(odd)
    expect(console.page.get_by_text("no backup of Atrium")).to_be_visible(timeout=WORK_MS)
    assert by(console.page, "backup").count() == before


@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_nobody_but_operators_is_offered_it_or_may(
    open_console: OpenConsole, installation: Any, role: str
) -> None:
    console = open_console(role)
    console.go("/console/backups")
    expect(by(console.page, "take")).to_have_count(0)
    for method, path in (("GET", "/backups"), ("POST", "/backups"), ("GET", "/backups/restore")):
        status, _ = installation.request(
            method, f"/api/v1{path}", role=role, body={} if method == "POST" else None
        )
        assert status == 403
