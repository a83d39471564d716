"""Backups in the browser: take one, watch it, download it, upload it again, restore it after being told what happens."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.console import ConsolePage, Person, sign_in
from fakes.demo import start_demo
from playwright.sync_api import Browser, expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
WORK_MS = 60_000
PASSPHRASE = "vier Züge ohne Bremse"


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


def confirm_oneself(page: Any, password: str, within: Any = None) -> None:
    """Give the password again, asked for `within` a part of the page, and come back to the page."""
    by(within or page, "reauthenticate").click()
    page.locator("input[name=password]").fill(password)
    page.locator("form button[type=submit]").first.click()
    page.wait_for_url("**/console/backups*")


def test_a_backup_is_taken_kept_elsewhere_and_brought_back(
    open_console: OpenConsole, installation: Any, tmp_path: Path
) -> None:
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

    # Who finds the screen unlocked takes nothing away and restores nothing.
    first.get_by_test_id("restore").click()
    expect(by(page, "plan")).to_be_visible()
    expect(by(page, "plan").get_by_test_id("reauthenticate")).to_be_visible()
    expect(by(page, "go-on")).to_be_disabled()
    console.keep("backups-restore-asks")
    assert console.axe() == []
    page.keyboard.press("Escape")
    first.get_by_test_id("download").click()
    expect(first.get_by_test_id("confirm-yourself")).to_be_visible()
    console.keep("backups-download-asks")
    confirm_oneself(page, installation.people["operator"].password, within=first)
    console.settle()
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
    # Of a name this long its end is enough.
    by(page, "confirm-name").fill("".join(sign for sign in name if sign.isalnum())[-6:].upper())
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


def test_the_whole_drill_without_the_shell(
    open_console: OpenConsole, installation: Any, browser: Browser, pictures: Path, tmp_path: Path
) -> None:
    """Backup and keyring leave one installation by the browser and come into an empty one by the browser."""
    key = installation.key("owner")
    console = open_console("operator")
    console.go("/console/backups")
    page = console.page
    for width, appearance in ((1280, "light"), (390, "dark")):
        console.resize(width)
        console.wear(appearance)
        assert console.axe() == []
        assert console.overflow() == 0
        console.keep(f"keyring-asked-{width}-{appearance}")
    console.resize(1280)
    console.wear("light")
    # The session is that of the test before, which may have confirmed itself a moment ago.
    if by(page, "reauthenticate").count():
        confirm_oneself(page, installation.people["operator"].password)
        console.settle()
    by(page, "keyring-open").click()
    form = by(page, "keyring-form")
    form.locator("input[name=passphrase]").fill(PASSPHRASE)
    form.locator("input[name=again]").fill("something else")
    form.get_by_test_id("save").click()
    expect(form.get_by_text("The two are not the same.").first).to_be_visible()
    form.locator("input[name=again]").fill(PASSPHRASE)
    console.keep("keyring-passphrase")
    with page.expect_download() as waiting:
        form.get_by_test_id("save").click()
    ring = tmp_path / "keyring.json"
    waiting.value.save_as(ring)
    expect(by(page, "keyring")).to_contain_text("Last saved")
    assert PASSPHRASE not in ring.read_text()

    by(page, "take").first.click()
    first = by(page, "backup").first
    expect(first.get_by_test_id("download")).to_be_visible(timeout=WORK_MS)
    with page.expect_download() as waiting:
        first.get_by_test_id("download").click()
    kept = tmp_path / "kept.zip"
    waiting.value.save_as(kept)
    first.get_by_test_id("delete").click()
    by(page, "confirm").click()
    assert console.errors == []

    other = start_demo(tmp_path / "other", documents=False)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    try:
        assert other.server.request("GET", "/api/v1/me", key=key)[0] == 401
        stranger = Person(other.admin_email, other.admin_password)
        there = ConsolePage(context.new_page(), other.url, pictures)
        sign_in(there.page, other.url, stranger)
        there.go("/console/backups")
        page = there.page
        by(page, "picker").set_input_files(kept)
        expect(by(page, "backup")).to_have_count(1, timeout=WORK_MS)
        confirm_oneself(page, stranger.password)
        there.settle()
        by(page, "backup").first.get_by_test_id("restore").click()
        expect(by(page, "losses")).to_contain_text("API keys of the backup will not work")
        by(page, "keyring-file").set_input_files(ring)
        given = by(page, "give-keyring")
        there.keep("keyring-give")
        with there.expecting("400"):
            given.locator("input[name=passphrase]").fill("not this one, surely")
            given.get_by_test_id("save").click()
            expect(given.get_by_text("does not open").first).to_be_visible()
        given.locator("input[name=passphrase]").fill(PASSPHRASE)
        given.get_by_test_id("save").click()
        expect(by(page, "losses")).to_have_count(0)
        assert there.axe() == []
        there.keep("keyring-given")
        by(page, "go-on").click()
        name = str(by(page, "backup").first.get_attribute("data-id"))
        by(page, "confirm-name").fill(name)
        by(page, "confirm").click()
        # The stranger's account is not in the backup: they are out, and whoever was there before is in.
        expect(page.locator("input[name=login]")).to_be_visible(timeout=WORK_MS)
        sign_in(page, other.url, installation.people["operator"])
        there.go("/console/backups")
        expect(by(page, "restoration")).to_have_attribute("data-state", "done", timeout=WORK_MS)
        expect(by(page, "restoration")).to_contain_text("keyring is in place")
        there.keep("keyring-restored")
        # The server that runs uses the keyring that came: nobody restarted it.
        status, me = other.server.request("GET", "/api/v1/me", key=key)
        assert status == 200, me
    finally:
        context.close()
        other.server.stop()
