"""Webhooks in the browser: made, tested against a receiver that verifies, given another secret, switched off, deleted."""

import base64
import hmac
import re
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(400)]

OpenConsole = Callable[..., ConsolePage]


class Receiver:
    """Takes webhooks on loopback and keeps what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        outer = self

        class Taking(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/in"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join(10)


def signatures(secret: str, headers: dict[str, str], body: bytes) -> list[bool]:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
    return [hmac.compare_digest(wanted, each) for each in headers["webhook-signature"].split()]


def look(console: ConsolePage, name: str) -> None:
    for width in (1280, 390):
        console.resize(width)
        console.settle()
        assert console.overflow() <= 0
        for appearance in ("light", "dark"):
            console.wear(appearance)
            assert console.axe() == []
            console.keep(f"{name}-{width}-{appearance}")
    console.resize(1280)
    console.wear("light")


def test_a_webhook_is_made_tested_given_another_secret_and_deleted(
    open_console: OpenConsole, receiver: Receiver
) -> None:
    console = open_console("owner")
    page = console.page
    name = f"on-call-{int(time.time())}"
    console.go("/console/webhooks")
    look(console, "webhooks-empty")
    page.get_by_test_id("new-webhook").first.click()
    dialog = page.get_by_test_id("webhook-dialog")
    dialog.locator("[name=name]").fill(name)
    dialog.locator("[name=url]").fill("https://10.0.0.1/in")
    with console.expecting("400 (Bad Request)"):
        dialog.get_by_test_id("save").click()
        expect(dialog).to_contain_text("private network")
    dialog.locator("[name=url]").fill(receiver.url)
    dialog.get_by_label(re.compile("A document failed")).check()
    look(console, "webhook-new")
    dialog.get_by_test_id("save").click()
    secret = dialog.get_by_test_id("secret").input_value()
    assert secret.startswith("whsec_")
    look(console, "webhook-secret")
    dialog.get_by_test_id("secret-done").click()
    expect(page.locator("#main h1")).to_have_text(name)
    console.settle()

    table = page.get_by_test_id("table-webhook-deliveries")
    page.get_by_test_id("test-webhook").click()
    expect(table).to_contain_text("delivered", timeout=30_000)
    expect(table).to_contain_text("204")
    assert signatures(secret, *receiver.seen[0]) == [True]

    page.get_by_test_id("rotate-webhook").click()
    dialog = page.get_by_test_id("rotate-secret-dialog")
    dialog.get_by_test_id("save").click()
    fresh = dialog.get_by_test_id("secret").input_value()
    dialog.get_by_test_id("secret-done").click()
    console.settle()
    receiver.status = 500
    page.get_by_test_id("test-webhook").click()
    expect(table).to_contain_text("500", timeout=30_000)
    # Both sign: the new one first.
    assert signatures(fresh, *receiver.seen[1]) == [True, False]
    assert signatures(secret, *receiver.seen[1]) == [False, True]
    look(console, "webhook")

    page.get_by_test_id("turn-webhook").click()
    page.get_by_role("button", name="Switch off").last.click()
    expect(page.get_by_text("it hears of nothing.")).to_be_visible()
    console.settle()
    look(console, "webhook-off")
    page.get_by_test_id("turn-webhook").click()
    expect(page.get_by_text("it hears of nothing.")).to_have_count(0)
    console.go("/console/webhooks")
    expect(page.get_by_test_id("webhook").filter(has_text=name)).to_contain_text("on")
    look(console, "webhooks")
    page.get_by_role("link", name=name).click()
    console.settle()
    page.get_by_test_id("delete-webhook").click()
    page.get_by_role("button", name="Delete").last.click()
    expect(page).to_have_url(re.compile(r"/console/webhooks(\?|$)"))
    console.settle()
    assert console.errors == []
    assert console.foreign == []


def test_the_page_speaks_german(open_console: OpenConsole) -> None:
    console = open_console("owner")
    page = console.page
    page.evaluate("localStorage.setItem('atrium.language', 'de')")
    try:
        console.go("/console/webhooks")
        expect(page.locator("#main")).to_contain_text("Programme von Ihnen")
        console.keep("webhooks-german")
    finally:
        page.evaluate("localStorage.removeItem('atrium.language')")
