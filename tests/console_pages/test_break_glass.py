"""Break-glass in the browser: opened by a visitor, others' conversations read under a banner, ended, seen by the tenant."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.console import ConsolePage, call, sign_in
from playwright.sync_api import Page, expect

from kernel.ids import uuid7

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
GLASS = "/console/break-glass?in=harbour"
OTHERS = "/console/inspected-conversations?in=harbour"
REASON = "Ticket 4711: the harbour master says that an answer is wrong"
HOSTILE = "<img src=x onerror='window.hit=1'>"

_TALK = """
import json
from assistants.models import Conversation, Message
from substrate.scoping import tenant_scope
from tenants.models import Tenant, User
tenant = Tenant.objects.get(slug="harbour")
owner = "user:" + str(User.objects.get(email="harbour@people.test").id)
cited = dict(index=1, document_id="d", knowledge_base_id="k", title="Tide tables", chunk_id="c",
             text="High water is at noon.", score=0.9, url="")
with tenant_scope(tenant.id):
    Conversation.objects.all().delete()
    talk = Conversation.objects.create(
        id={id!r}, owner=owner, title="When is high water?", assistant="pilot")
    for number in range(1, 103):
        asked = number % 2 == 1
        Message.objects.create(
            conversation=talk, owner=owner, position=number, state="completed",
            role="user" if asked else "assistant", model="" if asked else "m",
            content="Question " + str(number) + " {hostile}" if asked else "At **noon** [1].",
            citations=[] if asked else [cited])
print(json.dumps("made"))
"""
_NO_TALK = """
import json
from assistants.models import Conversation
from substrate.scoping import tenant_scope
from tenants.models import Tenant
with tenant_scope(Tenant.objects.get(slug="harbour").id):
    Conversation.objects.all().delete()
print(json.dumps("gone"))
"""
TALK = str(uuid7())


def make_talk(installation: Any) -> None:
    """The only conversation of the second tenant: its owner's, with 102 messages."""
    assert installation.demo.server.run_code(_TALK.format(id=TALK, hostile=HOSTILE)) == "made"


@pytest.fixture(scope="module")
def talk(installation: Any) -> Iterator[str]:
    """The id of a conversation of the second tenant's owner, with 102 messages."""
    make_talk(installation)
    yield TALK
    assert installation.demo.server.run_code(_NO_TALK) == "gone"


@pytest.fixture
def no_talk(installation: Any, talk: str) -> Iterator[None]:
    """No conversation is kept for as long as the test takes."""
    assert installation.demo.server.run_code(_NO_TALK) == "gone"
    yield
    make_talk(installation)


@pytest.fixture
def visitor(open_console: OpenConsole) -> Iterator[ConsolePage]:
    """The operator's page; whatever is open in the second tenant is ended afterwards."""
    console = open_console("operator")
    end_all(console.page)
    yield console
    console.resize(1280)
    end_all(console.page)


def end_all(page: Page) -> None:
    for each in grants(page):
        if each["state"] == "open":
            assert call(page, "DELETE", f"/api/v1/break-glass/{each['id']}", None, "harbour")[0] == 200


def grants(page: Page) -> Any:
    status, found = call(page, "GET", "/api/v1/break-glass", None, "harbour")
    assert status == 200
    return found["results"]


def open_grant(console: ConsolePage) -> None:
    """By the form, as a person does."""
    console.go(GLASS)
    form = console.page.get_by_test_id("break-glass-form")
    form.locator("[name=reason]").fill(REASON)
    form.get_by_test_id("save").click()
    expect(console.page.get_by_test_id("visit-banner")).to_contain_text(
        "You are reading Harbour Authority's content"
    )


@pytest.mark.parametrize("width", [1280, 360])
def test_a_conversation_is_read_under_the_banner_and_the_tenant_sees_it(
    visitor: ConsolePage, talk: str, width: int
) -> None:
    visitor.resize(width)
    page = visitor.page
    open_grant(visitor)
    banner = page.get_by_test_id("visit-banner")
    expect(banner).to_contain_text(REASON)
    expect(banner).to_contain_text(re.compile(r"until \d\d:\d\d"))
    page.get_by_role("link", name="Read conversations").click()
    visitor.settle()
    table = page.get_by_test_id("table-inspected")
    expect(table).to_contain_text("harbour@people.test")
    assert visitor.overflow() <= 0
    visitor.keep(f"inspected-{width}")
    assert visitor.axe() == []
    table.get_by_role("button", name="When is high water?").click()
    drawer = page.get_by_test_id("inspected")
    expect(drawer).to_contain_text("You are reading Harbour Authority's content")
    expect(drawer.get_by_test_id("inspected-message")).to_have_count(100)
    drawer.get_by_test_id("more-messages").click()
    expect(drawer.get_by_test_id("inspected-message")).to_have_count(102)
    expect(drawer.get_by_test_id("more-messages")).to_have_count(0)
    answer = drawer.get_by_test_id("inspected-message").nth(1)
    answer.get_by_test_id("sources").locator("summary").click()
    expect(answer).to_contain_text("High water is at noon.")
    expect(answer.locator("strong")).to_have_text("noon")
    assert page.evaluate("window.hit") is None
    assert drawer.locator("textarea, input").count() == 0
    visitor.keep(f"inspected-drawer-{width}")
    assert visitor.axe() == []
    assert visitor.overflow() <= 0
    status, audit = call(page, "GET", "/api/v1/audit-events?kind=break_glass&limit=10", None, "harbour")
    assert status == 200
    looks = [each["act"] for each in audit["results"]]
    assert looks[0] == "messages_read"
    assert {"conversations_listed", "conversation_seen", "began"} <= set(looks)
    assert visitor.errors == []


def test_the_list_is_searched_and_filtered(visitor: ConsolePage, talk: str) -> None:
    page = visitor.page
    open_grant(visitor)
    visitor.go(f"{OTHERS}&q=high%20water")
    expect(page.get_by_test_id("table-inspected").locator("tbody tr")).to_have_count(1)
    visitor.go(f"{OTHERS}&assistant=nobody")
    expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()
    assert visitor.errors == []


def test_the_list_is_empty_when_nothing_is_kept(visitor: ConsolePage, no_talk: None) -> None:
    page = visitor.page
    open_grant(visitor)
    visitor.go(OTHERS)
    expect(page.get_by_text("Nobody of this tenant has a conversation that is kept.")).to_be_visible()
    assert visitor.axe() == []
    assert visitor.errors == []


def test_it_is_offered_only_while_a_grant_is_open_and_ends_where_one_reads(
    visitor: ConsolePage, talk: str
) -> None:
    page = visitor.page
    visitor.go(OTHERS)
    expect(page.get_by_test_id("not-allowed")).to_contain_text("No grant is open")
    expect(page.locator("aside nav a[data-page=inspected]")).to_have_count(0)
    expect(page.get_by_test_id("visit-banner")).to_contain_text("no content of this tenant is shown")
    assert visitor.axe() == []
    page.get_by_test_id("not-allowed").get_by_role("link", name="Operators' access").click()
    open_grant(visitor)
    expect(page.locator("aside nav a[data-page=inspected]")).to_have_count(1)
    visitor.go(f"/console/inspected-conversations/{talk}?in=harbour")
    expect(page.get_by_test_id("inspected")).to_contain_text("Question 1")
    page.get_by_role("button", name="Close").first.click()
    page.get_by_test_id("end-grant").click()
    expect(page.get_by_test_id("not-allowed")).to_contain_text("No grant is open")
    expect(page.locator("aside nav a[data-page=inspected]")).to_have_count(0)
    assert [each["state"] for each in grants(page)].count("open") == 0
    assert visitor.errors == []


def test_who_reads_is_shut_out_at_once_when_the_tenant_ends_it(
    visitor: ConsolePage, talk: str, installation: Any
) -> None:
    page = visitor.page
    open_grant(visitor)
    visitor.go(f"/console/inspected-conversations/{talk}?in=harbour")
    expect(page.get_by_test_id("inspected")).to_contain_text("Question 1")
    context = page.context.browser.new_context(locale="de-DE")  # type: ignore[union-attr]
    boss = context.new_page()
    sign_in(boss, installation.url, installation.people["harbour"])
    boss.goto(f"{installation.url}/console/audit?kind=break_glass&act=messages_read")
    # In the owner's own language: who looked at whose conversation, why, and which messages.
    row = boss.get_by_test_id("table-audit").locator("tbody tr").first
    expect(row).to_contain_text("Nachrichten einer Unterhaltung gelesen")
    expect(row).to_contain_text(REASON)
    expect(row).to_contain_text("Von wem: harbour@people.test")
    expect(row).to_contain_text("Nachrichten: 1–100")
    boss.goto(f"{installation.url}/console/break-glass")
    boss.get_by_test_id("end-break-glass").click()
    expect(page.get_by_test_id("inspected")).to_have_count(0)
    expect(page.get_by_test_id("not-allowed")).to_contain_text("No grant is open")
    context.close()
    assert visitor.errors == []


def test_the_banner_and_the_page_go_when_the_time_is_up(visitor: ConsolePage, talk: str) -> None:
    page = visitor.page
    open_grant(visitor)
    page.clock.install()
    try:
        visitor.go(OTHERS)
        expect(page.get_by_test_id("table-inspected")).to_contain_text("When is high water?")
        # The server is told to end it in silence: as when its time is up, no page hears of it.
        end_all(page)
        page.clock.fast_forward(61 * 60 * 1000)
        expect(page.get_by_test_id("not-allowed")).to_contain_text("No grant is open")
        expect(page.get_by_test_id("visit-banner")).to_contain_text("no content of this tenant is shown")
    finally:
        page.clock.resume()
    assert visitor.errors == []


@pytest.mark.parametrize("width", [1280, 360])
def test_it_speaks_german_in_the_dark(visitor: ConsolePage, talk: str, width: int) -> None:
    page = visitor.page
    open_grant(visitor)
    visitor.resize(width)
    visitor.wear("dark")
    page.evaluate("localStorage.setItem('atrium.language', 'de')")
    try:
        visitor.go(f"/console/inspected-conversations/{talk}?in=harbour")
        expect(page.get_by_test_id("inspected")).to_contain_text("Antwort von m")
        visitor.keep(f"inspected-german-{width}")
        assert visitor.axe() == []
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("visit-banner")).to_contain_text("Sie lesen Inhalte von Harbour Authority")
        assert visitor.overflow() <= 0
        assert visitor.axe() == []
    finally:
        page.evaluate("localStorage.removeItem('atrium.language')")
        visitor.wear("light")
    assert visitor.errors == []
