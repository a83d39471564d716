"""A tenant's own page, its archives and its end, in the browser."""

import io
import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.console import PASSWORD, ConsolePage, Person, sign_in
from playwright.sync_api import Browser, expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(400)]

OpenConsole = Callable[..., ConsolePage]
_numbers = itertools.count(1)


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


def looks_right(console: ConsolePage, name: str) -> None:
    """At both widths and in both appearances: nothing runs over, nothing is out of reach."""
    for width, appearance in itertools.product((1440, 360), ("light", "dark")):
        console.resize(width)
        console.wear(appearance)
        assert console.overflow() <= 0
        assert console.axe() == []
        console.keep(f"{name}-{width}-{appearance}")
    console.resize(1440)


def test_an_owner_sets_the_calendar_and_takes_out_an_archive(
    open_console: OpenConsole, installation: Any, tmp_path: Path
) -> None:
    console = open_console("owner")
    page = console.page
    console.go("/console/tenant")
    form = by(page, "own-tenant")
    form.locator("[name=timezone]").select_option("Europe/Berlin")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The tenant is saved.")).to_be_visible()
    status, body = installation.request("GET", "/api/v1/tenant")
    assert (status, body["timezone"]) == (200, "Europe/Berlin")

    by(page, "export").click()
    row = by(page, "archive").first
    expect(row).to_have_attribute("data-state", "ready", timeout=120_000)
    with page.expect_download() as waiting:
        row.get_by_test_id("download").click()
    waiting.value.save_as(tmp_path / "a.zip")
    archive = zipfile.ZipFile(io.BytesIO((tmp_path / "a.zip").read_bytes()))
    assert "manifest.json" in archive.namelist()
    looks_right(console, "tenant")
    assert console.errors == []


def test_an_operator_deletes_a_tenant_thinks_better_of_it_and_sees_the_proof(
    open_console: OpenConsole, installation: Any
) -> None:
    console = open_console("operator")
    page = console.page
    slug = f"leaving-{next(_numbers)}"
    made = installation.operate("POST", "/api/v1/tenants", {"slug": slug, "name": "Leaving Ltd"})
    console.go(f"/console/tenants/{made['id']}?in=*")
    by(page, "delete-tenant").click()
    expect(by(page, "confirm")).to_be_disabled()
    by(page, "confirm-name").fill(slug)
    by(page, "confirm").click()
    expect(page.get_by_text("This tenant will be deleted")).to_be_visible()
    looks_right(console, "tenant-deleting")
    by(page, "withdraw").click()
    expect(by(page, "delete-tenant")).to_be_visible()

    by(page, "grace").select_option("0")
    by(page, "delete-tenant").click()
    by(page, "confirm-name").fill(slug)
    by(page, "confirm").click()
    expect(page.get_by_text("be deleted").first).to_be_visible()
    console.go("/console/tenants?in=*")
    row = by(page, "deletion").filter(has_text=slug).first
    expect(row).to_have_attribute("data-state", "done", timeout=90_000)
    expect(row).to_contain_text("and not found")
    looks_right(console, "tenants-deleted")
    assert console.errors == []


def test_an_owner_has_their_tenant_deleted_and_thinks_better_of_it(open_console: OpenConsole) -> None:
    console = open_console("harbour")
    page = console.page
    console.go("/console/tenant")
    by(page, "delete-tenant").click()
    by(page, "confirm-name").fill("harbour")
    by(page, "confirm").click()
    # Every door is shut; this page is left.
    expect(page.get_by_role("heading", name="What is to be deleted")).to_be_visible()
    expect(page.get_by_text("Harbour Authority")).to_be_visible()
    looks_right(console, "own-deletion")
    page.goto(f"{console.url}/accounts/login/")
    expect(page.get_by_role("heading", name="No way in at the moment")).to_be_visible()
    looks_right(console, "own-deletion-no-way-in")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="It is kept")).to_be_visible()
    looks_right(console, "own-deletion-kept")
    page.get_by_role("link", name="Open the console").click()
    expect(page.locator("#main h1").first).to_be_visible()
    console.go("/console/tenant")
    expect(by(page, "delete-tenant")).to_be_visible()


def test_it_speaks_german(open_console: OpenConsole) -> None:
    console = open_console("owner")
    page = console.page
    page.evaluate("localStorage.setItem('atrium.language', 'de')")
    try:
        console.go("/console/tenant")
        expect(page.get_by_role("heading", name="Mandant löschen")).to_be_visible()
        console.keep("tenant-german")
    finally:
        page.evaluate("localStorage.removeItem('atrium.language')")


def test_open_pages_say_that_their_tenant_is_suspended(installation: Any, browser: Browser) -> None:
    """The console leaves what is no longer theirs to see, and the chat says why its connection is refused."""
    made = installation.operate("POST", "/api/v1/tenants", {"slug": "shut-out", "name": "Shut Out"})
    installation.demo.server.run_code(
        "from tenants.services import create_user\n"
        f"create_user(email='shut@people.test', tenant_slug='shut-out', role='owner', password={PASSWORD!r})\n"
        "print('null')"
    )
    context = browser.new_context(locale="en-GB")
    console, chat = context.new_page(), context.new_page()
    sign_in(console, installation.url, Person("shut@people.test", PASSWORD))
    chat.goto(installation.url + "/")
    expect(chat.get_by_role("textbox").first).to_be_visible()
    installation.operate("PATCH", f"/api/v1/tenants/{made['id']}", {"state": "suspended"})
    expect(console.get_by_text("This tenant is suspended.")).to_be_visible()
    expect(chat.get_by_text("This tenant is suspended.").first).to_be_visible()
    context.close()
