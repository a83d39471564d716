"""Second factors in a browser: a passkey added and signed in with, an app asked for, pages that fit a phone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from axe_playwright_python.sync_playwright import Axe
from fakes.browsers import CHROMIUM, launch_chromium
from fakes.live_server import LiveServer
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

PASSWORD = "correct-horse-battery-9"

pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

_PEOPLE = """
from tenants.services import create_tenant, create_user
create_tenant(slug="acme", name="Acme")
for name in ("key", "app"):
    create_user(email=name + "@people.test", tenant_slug="acme", role="member", password={password!r})
print('"made"')
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with two people."""
    started = LiveServer(home=tmp_path_factory.mktemp("factors") / "home")
    started.start("--no-demo")
    try:
        assert started.run_code(_PEOPLE.format(password=PASSWORD)) == "made"
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium."""
    with sync_playwright() as playwright:
        running = launch_chromium(playwright)
        yield running
        running.close()


class Person:
    """A browser of its own, which notices what its console complains about. Passkeys want `localhost`."""

    def __init__(self, browser: Browser, server: LiveServer, pictures: Path) -> None:
        """Not signed in."""
        self.context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page: Page = self.context.new_page()
        self.url = f"http://localhost:{server.port}"
        self.errors: list[str] = []
        self._pictures = pictures
        self.page.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def sign_in(self, email: str) -> None:
        """By password."""
        self.page.goto(self.url + "/accounts/login/")
        self.page.fill("[name=login]", email)
        self.page.fill("[name=password]", PASSWORD)
        self.page.get_by_test_id("login-submit").click()

    def sign_out(self) -> None:
        """By the page."""
        self.page.goto(self.url + "/accounts/logout/")
        self.page.get_by_role("button", name="Sign out").click()
        self.page.wait_for_url("**/accounts/login/**")

    def confirm(self) -> None:
        """The password again."""
        self.page.fill("[name=password]", PASSWORD)
        self.page.get_by_role("button", name="Confirm").click()

    def look(self, name: str) -> None:
        """The page is sound: axe finds nothing, nothing is wider than a phone, the console is quiet."""
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        self.page.screenshot(path=str(self._pictures / f"{name}-wide.png"))
        self.page.set_viewport_size({"width": 360, "height": 740})
        wider = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        self.page.screenshot(path=str(self._pictures / f"{name}-phone.png"), full_page=True)
        self.page.set_viewport_size({"width": 1280, "height": 800})
        assert wider <= 0, name
        assert self.errors == [], name


@pytest.fixture
def person(browser: Browser, server: LiveServer, tmp_path: Path) -> Iterator[Person]:
    """Somebody with a fresh browser."""
    made = Person(browser, server, tmp_path)
    yield made
    made.context.close()


def test_a_passkey_is_added_and_signs_in_by_itself(person: Person) -> None:
    page = person.page
    devices = person.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device = devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    person.sign_in("key@people.test")
    page.wait_for_url(person.url + "/")
    page.goto(person.url + "/accounts/2fa/")
    person.look("factors")
    page.get_by_role("link", name="Add a passkey").click()
    person.look("confirm")
    person.confirm()
    person.look("add")
    page.fill("[name=name]", "Desk <b>")
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/accounts/2fa/recovery-codes/")
    assert len(page.get_by_test_id("codes").inner_text().split()) == 10
    person.look("codes")
    [credential] = devices.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
    assert credential["isResidentCredential"]

    person.sign_out()
    person.look("sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(person.url + "/")
    page.goto(person.url + "/accounts/2fa/webauthn/")
    expect(page.get_by_text("Desk <b>")).to_be_visible()
    person.look("keys")

    # After the password the same key is asked for.
    person.sign_out()
    person.sign_in("key@people.test")
    page.wait_for_url("**/accounts/2fa/authenticate/")
    person.look("second")
    page.get_by_role("button", name="Use a passkey or security key").click()
    page.wait_for_url(person.url + "/")

    # Somebody who cancels is told so, in words.
    person.sign_out()
    devices.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": device})
    bare = {**options, "isUserVerified": False}
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": bare})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("That did not work")).to_be_visible()


def test_an_app_is_set_up_by_its_secret_and_asked_for(person: Person) -> None:
    page = person.page
    person.sign_in("app@people.test")
    page.wait_for_url(person.url + "/")
    page.goto(person.url + "/accounts/2fa/totp/activate/")
    person.confirm()
    secret = page.get_by_label(re.compile("Secret")).input_value()
    drawn = page.get_by_role("img", name="QR code").evaluate(
        "image => image.complete && image.naturalWidth > 0"
    )
    assert drawn, "the content policy lets the code be drawn"
    person.look("app")
    page.fill("[name=code]", "12")
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_label(re.compile("Secret"))).to_have_value(secret)
    code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
    page.fill("[name=code]", code)
    page.get_by_role("button", name="Turn on").click()
    page.wait_for_url("**/accounts/2fa/recovery-codes/")
    codes = page.get_by_test_id("codes").inner_text().split()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert codes[0] in Path(download.value.path()).read_text()

    person.sign_out()
    person.sign_in("app@people.test")
    page.wait_for_url("**/accounts/2fa/authenticate/")
    page.fill("[name=code]", codes[0])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(person.url + "/")
    page.goto(person.url + "/accounts/sessions/")
    person.look("sessions")
    assert json.loads(page.evaluate("fetch('/api/v1/me').then(each => each.text())"))["role"] == "member"
