"""What every table and form does, tried on the page of API keys."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]


@pytest.fixture(scope="module")
def names(installation: Any) -> list[str]:
    """Thirty keys: more than one page of a table."""
    made = [f"kit-{number:02}" for number in range(30)]
    for name in made:
        status, _ = installation.request("POST", "/api/v1/api-keys", body={"name": name, "role": "viewer"})
        assert status == 201
    return made


def shown(console: ConsolePage) -> list[str]:
    console.settle()
    cells: list[str] = console.page.locator('[data-testid="row"] td.main').all_inner_texts()
    return [cell.strip() for cell in cells]


def test_sort_search_and_pages_live_in_the_address(open_console: OpenConsole, names: list[str]) -> None:
    console = open_console("owner")
    console.go("/console/keys")
    page = console.page
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?sort=name$"))
    page.get_by_test_id("table-search").fill("kit-")
    expect(page).to_have_url(re.compile("q=kit-"))
    expect(page.get_by_test_id("table-total")).to_have_text("30 rows")
    assert shown(console) == names[:25]
    page.get_by_test_id("table-next").click()
    expect(page.locator('[data-testid="row"]')).to_have_count(5)
    assert shown(console) == names[25:]
    # What stands in the address is all there is to it: a reload shows the same, "back" the page before.
    page.reload()
    assert shown(console) == names[25:]
    page.go_back()
    expect(page.locator('[data-testid="row"]')).to_have_count(25)
    assert shown(console) == names[:25]
    page.get_by_role("button", name="Name", exact=True).click()
    expect(page.locator('[data-testid="row"] td.main').first).to_have_text("kit-29")
    page.get_by_test_id("table-search").fill("no such key")
    expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").last.click()
    expect(page.locator('[data-testid="row"]').first).to_be_visible()
    assert console.errors == []


def test_columns_are_chosen_and_remembered(open_console: OpenConsole, names: list[str]) -> None:
    console = open_console("owner")
    console.go("/console/keys")
    page = console.page
    heading = page.get_by_role("columnheader", name="Created by", exact=True)
    expect(heading).to_have_count(0)
    page.get_by_test_id("columns").click()
    assert console.axe() == []
    page.get_by_role("menuitemcheckbox", name="Created by").click()
    page.keyboard.press("Escape")
    expect(heading).to_be_visible()
    page.reload()
    console.settle()
    expect(heading).to_be_visible()
    page.evaluate("localStorage.clear()")


def test_the_list_is_saved_as_a_file(open_console: OpenConsole, names: list[str]) -> None:
    console = open_console("owner")
    console.go("/console/keys?q=kit-1&sort=name")
    with console.page.expect_download() as download:
        console.page.get_by_test_id("table-csv").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert download.value.suggested_filename.endswith(".csv")
    assert [next(name for name in names if name in line) for line in lines[1:]] == names[10:20]


def test_cards_of_a_phone_are_sorted_too(open_console: OpenConsole, names: list[str]) -> None:
    console = open_console("owner", 360)
    console.go("/console/keys?q=kit-")
    console.page.get_by_test_id("table-sort").click()
    console.page.get_by_role("menuitemradio", name="Name", exact=True).click()
    expect(console.page.locator('[data-testid="row"] td.main').first).to_have_text("kit-00")
    assert console.overflow() <= 0


def test_a_form_says_what_is_wrong_at_its_field(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/keys/new")
    field = console.page.get_by_label("Name", exact=True)
    field.fill("x" * 200)
    field.evaluate("node => node.removeAttribute('maxlength')")
    field.fill("x" * 5000)
    with console.expecting("400"):
        console.page.get_by_test_id("save").click()
        expect(console.page.get_by_test_id("field-error")).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    assert console.axe() == []
    field.fill("x")
    expect(console.page.get_by_test_id("field-error")).to_have_count(0)
    assert console.errors == []
    console.page.evaluate("location.assign('/console/keys')")


def test_unsaved_changes_are_asked_about(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/keys")
    page = console.page
    page.get_by_test_id("new-key").click()
    console.settle()
    page.get_by_label("Name", exact=True).fill("half written")
    page.locator('a[data-page="members"]').click()
    question = page.get_by_test_id("unsaved")
    expect(question).to_be_visible()
    assert console.axe() == []
    question.get_by_role("button", name="Stay here").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("half written")
    # The browser's own "back" is no way around it.
    page.go_back()
    expect(question).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Name", exact=True)).to_have_value("half written")
    expect(page).to_have_url(f"{console.url}/console/keys/new")
    page.go_back()
    page.get_by_test_id("unsaved-leave").click()
    expect(page).to_have_url(f"{console.url}/console/keys")
    assert console.errors == []


def test_a_change_elsewhere_appears_by_itself(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("owner")
    console.go("/console/keys?q=live-")
    console.page.wait_for_timeout(500)
    installation.request("POST", "/api/v1/api-keys", body={"name": "live-made-elsewhere", "role": "viewer"})
    expect(console.page.locator('[data-testid="row"] td.main')).to_have_text(
        "live-made-elsewhere", timeout=8000
    )


def test_a_failure_is_told_with_its_request_id(open_console: OpenConsole) -> None:
    console = open_console("owner")
    page = console.page
    page.route(
        "**/api/v1/api-keys?*",
        lambda route: route.fulfill(
            status=503,
            headers={"x-request-id": "req-7", "content-type": "application/problem+json"},
            body='{"title": "The database is not available.", "status": 503, "code": "unavailable"}',
        ),
    )
    with console.expecting("503"):
        console.go("/console/keys")
        expect(page.get_by_role("alert")).to_contain_text("The database is not available.")
        expect(page.get_by_role("alert")).to_contain_text("req-7")
        assert console.axe() == []
    page.unroute("**/api/v1/api-keys?*")
    page.get_by_role("button", name="Try again").click()
    console.settle()
    expect(page.locator('[data-testid="row"]').first).to_be_visible()
    assert console.errors == []


def test_what_is_wrong_by_itself_stands_at_its_field(open_console: OpenConsole) -> None:
    console = open_console("operator")
    console.go("/console/tenants")
    console.follow("/console/tenants/new")
    page = console.page
    name, weight = page.locator("input[name=name]"), page.locator("input[name=weight]")
    expect(name).to_be_focused()
    weight.fill("1001")
    page.get_by_test_id("save").click()
    expect(page.get_by_test_id("field-error").first).to_have_text("This field is needed.")
    expect(page.get_by_test_id("field-error").last).to_have_text("Give 1000 or less.")
    expect(name).to_be_focused()
    assert console.axe() == []
    name.fill("Quay")
    weight.fill("1.5")
    page.get_by_test_id("save").click()
    expect(page.get_by_test_id("field-error")).to_have_text(["Give a whole number."])
    weight.fill("2")
    page.get_by_test_id("save").click()
    owner = page.locator("input[name=owner_email]")
    expect(owner).to_be_focused()
    owner.fill("nobody")
    page.get_by_test_id("save").click()
    expect(page.get_by_test_id("field-error")).to_have_text(
        ["This is no e-mail address, such as name@example.com."]
    )
    assert console.errors == []


def test_the_focus_stays_in_a_form_that_was_saved(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/keys/new")
    page = console.page
    page.locator("input[name=name]").fill("focus")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Done")).to_be_visible()
    expect(page.locator("#main")).to_be_focused()
