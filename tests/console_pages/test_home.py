"""The first page: what needs somebody leads to where one acts; each role sees what it may."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.console import PASSWORD, ConsolePage, Person, sign_in
from playwright.sync_api import Browser, expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(400)]

OpenConsole = Callable[..., ConsolePage]
FAILED_S = 240.0


@pytest.fixture(scope="module")
def broken(installation: Any) -> Iterator[str]:
    """A document that cannot be taken in: its title."""
    _, base = installation.request("POST", "/api/v1/knowledge-bases", body={"name": "Broken at home"})
    path = f"/api/v1/knowledge-bases/{base['id']}/documents"
    status, made = installation.request("POST", path, body={"title": "home-empty.txt", "text": " "})
    if status == 400:
        pytest.fail(f"the document was refused: {made}")
    deadline = time.monotonic() + FAILED_S
    row = made
    while row["state"] != "failed":
        if time.monotonic() > deadline:
            pytest.fail(f"the document did not fail: {row}")
        time.sleep(0.2)
        _, row = installation.request("GET", f"{path}/{made['id']}")
    yield str(row["title"])
    installation.request("DELETE", f"/api/v1/knowledge-bases/{base['id']}")


@pytest.fixture(scope="module")
def ending(installation: Any) -> str:
    """A key that ends in three days: its name."""
    end = (datetime.now(UTC) + timedelta(days=3, hours=1)).isoformat()
    body = {"name": "home-ending", "role": "viewer", "expires_at": end}
    assert installation.request("POST", "/api/v1/api-keys", body=body)[0] == 201
    return "home-ending"


def test_what_needs_me_leads_to_where_i_act(open_console: OpenConsole, broken: str, ending: str) -> None:
    console = open_console("owner")
    console.go("/console/")
    page = console.page
    expect(page.get_by_test_id("health")).to_contain_text("Database")
    failed = page.get_by_test_id("need").filter(has_text=broken)
    expect(failed).to_have_attribute("data-kind", "document")
    expect(failed.locator(".reason")).not_to_be_empty()
    key = page.get_by_test_id("need").filter(has_text=ending)
    expect(key).to_contain_text("in 3 days")
    key.get_by_role("link").click()
    console.settle()
    expect(page.locator("#main h1")).to_have_text(ending)
    page.go_back()
    console.settle()
    page.get_by_test_id("need").filter(has_text=broken).get_by_role("link").click()
    console.settle()
    assert "/console/knowledge/" in page.url
    expect(page.locator("body")).to_contain_text(broken)
    assert console.errors == []


def test_the_range_is_in_the_address(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/")
    console.page.get_by_role("button", name="7 days").click()
    expect(console.page).to_have_url(f"{console.url}/console/?range=7d")
    console.page.reload()
    console.settle()
    expect(console.page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")


def test_each_sees_what_they_may(open_console: OpenConsole) -> None:
    for role, usage, acts in (("owner", 1, 1), ("member", 0, 0), ("viewer", 0, 0)):
        console = open_console(role)
        console.go("/console/")
        expect(console.page.get_by_test_id("health")).to_be_visible()
        expect(console.page.get_by_role("group", name="Range")).to_have_count(usage)
        expect(console.page.get_by_test_id("acts")).to_have_count(acts)
        assert console.errors == []


def test_an_operator_sees_the_platform(open_console: OpenConsole, broken: str) -> None:
    console = open_console("operator")
    console.go("/console/?in=*")
    need = console.page.get_by_test_id("need").filter(has_text=broken)
    expect(need).to_contain_text("demo")
    # The link leads into the tenant of the document, not just to a page.
    need.get_by_role("link").click()
    console.settle()
    expect(console.page.get_by_test_id("scope-name").first).to_have_text("Demo")
    assert console.errors == []


def test_the_figures_of_a_plot_can_be_read(open_console: OpenConsole, installation: Any) -> None:
    body = {"model": "atrium-extractive", "messages": [{"role": "user", "content": "Hello"}]}
    assert installation.request("POST", "/v1/chat/completions", body=body)[0] == 200
    console = open_console("owner")
    console.go("/console/?range=1h")
    page = console.page
    show = page.get_by_role("button", name="Show as table: Requests")
    expect(show).to_be_visible(timeout=20_000)
    expect(page.locator("canvas").first).to_be_visible()
    show.click()
    expect(page.get_by_role("columnheader", name="Completed")).to_be_visible()
    assert console.axe() == []
    assert console.errors == []


_BEGINNER = """
import json
from tenants.services import create_tenant, create_user
create_tenant(slug="beginner", name="Beginner")
create_user(email="beginner@people.test", tenant_slug="beginner", role="owner", password={password!r})
print(json.dumps("made"))
"""


@pytest.fixture
def beginner(installation: Any, browser: Browser, pictures: Path) -> Iterator[ConsolePage]:
    """The page of the owner of a tenant in which nothing has been done."""
    assert installation.demo.server.run_code(_BEGINNER.format(password=PASSWORD)) == "made"
    context = browser.new_context(locale="en-GB", reduced_motion="reduce")
    page = context.new_page()
    sign_in(page, installation.url, Person("beginner@people.test", PASSWORD))
    yield ConsolePage(page, installation.url, pictures)
    context.close()


def test_a_tenant_that_has_just_begun_is_led_on(beginner: ConsolePage) -> None:
    console = beginner
    console.go("/console/")
    needs = console.page.get_by_test_id("need")
    step = needs.filter(has_text="Make a knowledge base")
    expect(step).to_have_attribute("data-kind", "knowledge")
    expect(needs.filter(has_text="Make an assistant")).to_be_visible()
    for width in (1440, 360):
        console.resize(width)
        assert console.overflow() <= 0
        assert console.axe() == []
        console.keep(f"home-begun-{width}")
    step.get_by_role("link").click()
    console.settle()
    expect(console.page.locator("#main h1")).to_have_text("Knowledge bases")
    assert console.errors == []
