"""Signing in, from the console: a provider is connected, tested, tried and used; sessions of members are ended."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.console import ConsolePage
from fakes.oidc_server import CLIENT_ID, CLIENT_SECRET, oidc_server
from playwright.sync_api import Browser, expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


def sound(console: ConsolePage, name: str) -> None:
    """Nothing is wider than a phone, and axe finds nothing."""
    console.keep(f"{name}-wide")
    assert console.axe() == []
    console.resize(360)
    assert console.overflow() <= 0
    console.keep(f"{name}-phone")
    console.resize(1280)


def test_a_provider_is_connected_tested_and_tried(open_console: OpenConsole) -> None:
    """The server refuses loopback to tenants, and the page says so in words; nothing is half stored."""
    console = open_console("owner")
    with oidc_server() as provider:
        console.go("/console/sign-in")
        sound(console, "sign-in-empty")
        by(console.page, "add-provider").click()
        drawer = by(console.page, "provider-drawer")
        # The provider asks for it before it gives a client id.
        expect(by(drawer, "redirect")).to_contain_text(f"{console.url}/accounts/sso/callback/")
        drawer.locator("[name=name]").fill("Acme <img src=x onerror=hit()>")
        drawer.locator("[name=issuer]").fill(provider.issuer)
        drawer.locator("[name=client_id]").fill(CLIENT_ID)
        drawer.locator("[name=client_secret]").fill(CLIENT_SECRET)
        drawer.locator("[name=domains]").fill("acme.test\nnot a domain")
        by(drawer, "save").click()
        expect(drawer.get_by_text("is no domain")).to_be_visible()
        drawer.locator("[name=domains]").fill("acme.test")
        sound(console, "sign-in-drawer")
        by(drawer, "save").click()
        row = by(console.page, "provider")
        expect(row).to_contain_text("Acme <img")
        by(row, "test-provider").click()
        expect(by(row, "report")).to_contain_text("expected https")
        sound(console, "sign-in-report")
        by(row, "edit-provider").click()
        expect(by(drawer.page, "provider-drawer").locator("[name=client_secret]")).to_have_value("")
        console.page.keyboard.press("Escape")
        by(row, "remove-provider").click()
        console.page.get_by_role("button", name="Remove").last.click()
        expect(by(console.page, "provider")).to_have_count(0)
    assert console.foreign == []


def test_a_saml_provider_is_made_before_it_says_anything(open_console: OpenConsole) -> None:
    """It asks for our metadata first; the list then has it, and says what comes next."""
    console = open_console("owner")
    console.go("/console/sign-in")
    by(console.page, "add-provider").click()
    drawer = by(console.page, "provider-drawer")
    drawer.locator("[name=name]").fill("Okta")
    drawer.locator("[name=protocol]").select_option("saml")
    by(drawer, "save").click()
    row = by(console.page, "provider")
    expect(by(row, "provider-next")).to_be_visible()
    expect(row).to_contain_text("/metadata/")
    sound(console, "sign-in-saml-draft")
    by(row, "remove-provider").click()
    console.page.get_by_role("button", name="Remove").last.click()
    expect(by(console.page, "provider")).to_have_count(0)


def test_nobody_locks_themselves_out_by_the_rules(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/sign-in")
    console.page.get_by_label("Everybody needs a second factor").click()
    expect(console.page.get_by_text("You would lock yourself out")).to_be_visible()


def test_sessions_of_a_member_are_seen_and_ended(
    open_console: OpenConsole, installation: Any, browser: Browser
) -> None:
    made = {"email": "roamer@people.test", "role": "member", "password": "a long enough secret 9"}
    assert installation.request("POST", "/api/v1/users", body=made)[0] == 201
    page = browser.new_context().new_page()
    page.goto(installation.url + "/accounts/login/")
    page.fill("[name=login]", made["email"])
    page.fill("[name=password]", made["password"])
    by(page, "login-submit").click()
    page.wait_for_url(installation.url + "/")

    console = open_console("owner")
    console.go("/console/members?q=roamer")
    by(console.page, "member-actions").first.click()
    by(console.page, "sessions").click()
    drawer = by(console.page, "member-sessions")
    expect(drawer.get_by_text("Chrome · Linux")).to_be_visible()
    sound(console, "member-sessions")
    by(drawer, "end-session").click()
    expect(drawer.get_by_text("Not signed in")).to_be_visible()
    page.reload()
    page.wait_for_url("**/accounts/login/**")


def test_a_token_of_a_directory_is_made_rotated_and_revoked(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/provisioning")
    sound(console, "provisioning-empty")
    expect(console.page.get_by_text("/scim/v2/").first).to_be_visible()
    by(console.page, "add-token").click()
    dialog = by(console.page, "token-dialog")
    dialog.locator("[name=name]").fill("Entra <img src=x onerror=hit()>")
    sound(console, "provisioning-new")
    by(dialog, "save").click()
    first = by(dialog, "secret").input_value()
    assert first.startswith("scim_")
    by(dialog, "token-done").click()
    rows = by(console.page, "token")
    expect(rows).to_have_count(1)
    by(rows.first, "rotate-token").click()
    turning = by(console.page, "rotate-token-dialog")
    turning.locator("[name=grace_hours]").select_option("0")
    by(turning, "save").click()
    second = by(turning, "secret").input_value()
    assert second.startswith("scim_")
    assert second != first
    by(turning, "token-done").click()
    expect(rows).to_have_count(2)
    sound(console, "provisioning-two")
    assert first not in console.page.content()
    by(rows.first, "revoke-token").click()
    console.page.get_by_role("button", name="Revoke").last.click()
    expect(by(console.page, "revoke-token")).to_have_count(0)
    assert console.foreign == []
