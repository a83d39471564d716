"""The frame: scope, palette, keyboard, appearance, language."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.browsers import WHOLE_CHROMIUM
from fakes.console import ConsolePage, sign_in
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]


def test_the_palette_goes_to_a_page_by_keyboard_alone(open_console: OpenConsole) -> None:
    console = open_console("operator")
    console.go("/console/")
    console.page.keyboard.press("Control+k")
    field = console.page.get_by_test_id("palette-input")
    expect(field).to_be_focused()
    field.fill("api keys")
    assert console.axe() == []
    console.page.keyboard.press("Enter")
    console.settle()
    expect(console.page).to_have_url(f"{console.url}/console/keys")
    assert console.page.title().startswith("API keys")


def test_the_palette_offers_no_page_that_is_not_allowed(open_console: OpenConsole) -> None:
    console = open_console("viewer")
    console.go("/console/")
    console.page.keyboard.press("Control+k")
    console.page.get_by_test_id("palette-input").fill("api keys")
    palette = console.page.get_by_test_id("palette")
    expect(palette.get_by_role("option", name="API keys")).to_have_count(0)
    console.page.keyboard.press("Escape")
    expect(palette).to_have_count(0)


def test_the_palette_finds_an_assistant(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/")
    console.page.keyboard.press("Control+k")
    console.page.get_by_test_id("palette-input").fill("guide")
    found = (
        console.page.get_by_test_id("palette").get_by_role("group", name="Assistants").get_by_role("option")
    )
    expect(found.first).to_be_visible()
    found.first.click()
    console.settle()
    assert "/console/assistants/" in console.page.url
    assert console.errors == []


def test_the_scope_is_switched_by_search_and_kept_in_the_address(open_console: OpenConsole) -> None:
    console = open_console("operator")
    console.go("/console/keys")
    console.page.get_by_test_id("scope-switch").first.click()
    console.page.get_by_test_id("scope-search").fill("harb")
    choice = console.page.locator('[data-testid="scope-choice"][data-slug="harbour"]')
    choice.click()
    console.settle()
    expect(console.page).to_have_url(f"{console.url}/console/keys?in=harbour")
    expect(console.page.get_by_test_id("scope-name").first).to_have_text("Harbour Authority")
    # Links carry it, a reload keeps it, "back" leaves it.
    console.page.locator('a[data-page="members"]').click()
    console.settle()
    expect(console.page).to_have_url(f"{console.url}/console/members?in=harbour")
    console.page.reload()
    console.settle()
    expect(console.page.get_by_test_id("scope-name").first).to_have_text("Harbour Authority")
    console.page.go_back()
    console.page.go_back()
    expect(console.page.get_by_test_id("scope-name").first).to_have_text("Demo")
    assert console.errors == []


def test_who_has_one_tenant_sees_it_and_has_nothing_to_switch(open_console: OpenConsole) -> None:
    console = open_console("member")
    console.go("/console/")
    switch = console.page.get_by_test_id("scope-switch").first
    expect(switch).to_contain_text("Demo")
    expect(switch).to_contain_text("Member")
    assert switch.evaluate("node => node.tagName") == "DIV"


def test_language_and_appearance_are_chosen_and_kept(open_console: OpenConsole) -> None:
    console = open_console("member")
    console.go("/console/")
    console.page.get_by_test_id("account-menu").click()
    console.page.get_by_role("menuitemradio", name="Deutsch").click()
    expect(console.page.locator("#main h1")).to_have_text("Start")
    console.page.get_by_role("menuitemradio", name="Dunkel").click()
    assert console.page.evaluate("document.documentElement.dataset.theme") == "dark"
    console.page.reload()
    console.settle()
    expect(console.page.locator("#main h1")).to_have_text("Start")
    assert console.page.evaluate("document.documentElement.dataset.theme") == "dark"
    # What the server writes follows the choice too.
    console.page.goto(f"{console.url}/accounts/logout/")
    expect(console.page.locator("h1")).to_have_text("Abmelden?")
    console.page.evaluate("localStorage.clear()")
    console.page.context.clear_cookies(name="atrium_language")


def test_the_phone_has_the_pages_in_a_drawer(open_console: OpenConsole) -> None:
    console = open_console("owner", 360)
    console.go("/console/")
    console.page.get_by_test_id("open-navigation").click()
    assert console.axe() == []
    console.page.locator('dialog a[data-page="members"]').click()
    console.settle()
    expect(console.page).to_have_url(f"{console.url}/console/members")
    expect(console.page.locator("dialog")).to_have_count(0)


def test_the_chat_and_the_console_lead_to_each_other(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/")
    console.page.get_by_test_id("account-menu").click()
    console.page.get_by_test_id("to-chat").click()
    expect(console.page.get_by_test_id("composer")).to_be_visible()
    console.page.get_by_test_id("account-menu").click()
    console.page.get_by_test_id("to-console").click()
    console.settle()
    expect(console.page).to_have_url(f"{console.url}/console/")


def test_an_unknown_address_says_so(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/nowhere/at-all")
    expect(console.page.locator("#main h1")).to_have_text("Nothing here")
    assert console.errors == []


@pytest.mark.skipif(WHOLE_CHROMIUM is None, reason="no whole Chromium on this machine")
def test_pages_that_were_left_hold_no_connection(browser: Browser, installation: Any) -> None:
    """A browser keeps pages whole for "back" and has six connections to a host: a stream on each, and none is left."""
    kept = browser.browser_type.launch(
        executable_path=WHOLE_CHROMIUM,
        args=["--no-sandbox", "--disable-gpu"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    page = kept.new_page()
    sign_in(page, installation.url, installation.people["owner"])
    for number in range(9):
        page.goto(f"{installation.url}/console/{('keys', 'members', 'assistants')[number % 3]}")
        expect(page.locator("#main h1").first).to_be_visible()
        expect(page.locator('[aria-busy="true"]')).to_have_count(0)
    page.go_back(wait_until="commit")
    expect(page.locator("#main h1").first).to_be_visible()
    kept.close()
