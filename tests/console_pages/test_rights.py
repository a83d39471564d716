"""Groups, roles and sharing in the browser: made, filled, given, explained, and taken away again."""

import re
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(180)]

OpenConsole = Callable[..., ConsolePage]
HOSTILE = '<img src=x onerror="window.hit=1">'
_numbers = count(int(time.time()))


def unique(word: str) -> str:
    """A name nobody else has."""
    return f"{word} {next(_numbers)}"


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


def pick(scope: Any, typed: str) -> None:
    """Type into the combo box of the form and take the first that is offered."""
    scope.get_by_role("combobox").fill(typed)
    scope.get_by_role("option").filter(has_text=typed).first.click()


def make_group(console: ConsolePage, name: str) -> None:
    """A new group, whose page is open afterwards."""
    console.go("/console/groups")
    by(console.page, "new-group").first.click()
    dialog = by(console.page, "group-dialog")
    dialog.locator("[name=name]").fill(name)
    dialog.locator("[name=description]").fill(HOSTILE)
    dialog.get_by_test_id("save").click()
    expect(console.page.locator("#main h1")).to_have_text(name)
    console.settle()


def test_a_group_is_made_filled_and_emptied(open_console: OpenConsole) -> None:
    console = open_console("owner")
    name = unique("Sales")
    make_group(console, name)
    expect(console.page.get_by_text("Nobody is in this group yet")).to_be_visible()
    by(console.page, "add-members").first.click()
    form = by(console.page, "group-members-form")
    pick(form, "viewer@people.test")
    form.get_by_test_id("save").click()
    table = by(console.page, "table-group-members")
    expect(table).to_contain_text("viewer@people.test")
    console.keep("group")
    by(console.page, "remove-member").first.click()
    expect(console.page.get_by_text("Nobody is in this group yet")).to_be_visible()
    console.page.get_by_role("button", name="Undo").click()
    expect(by(console.page, "table-group-members")).to_contain_text("viewer@people.test")
    assert console.page.evaluate("window.hit") is None
    assert console.axe() == []
    by(console.page, "delete-group").click()
    by(console.page, "confirm").click()
    expect(console.page).to_have_url(re.compile(r"/console/groups(\?|$)"))
    console.settle()
    expect(console.page.locator("#main")).not_to_contain_text(name)
    assert console.errors == []


def test_a_name_that_is_taken_is_said_at_the_field(open_console: OpenConsole) -> None:
    console = open_console("owner")
    name = unique("Twice")
    make_group(console, name)
    console.go("/console/groups")
    by(console.page, "new-group").first.click()
    dialog = by(console.page, "group-dialog")
    dialog.locator("[name=name]").fill(name)
    with console.expecting("409"):
        dialog.get_by_test_id("save").click()
        expect(dialog.get_by_test_id("field-error")).to_contain_text("already")


def test_a_role_is_made_given_and_shown_in_the_table(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("owner")
    name = unique("Support")
    console.go("/console/roles")
    by(console.page, "new-role").first.click()
    form = by(console.page, "role-form")
    form.locator("[name=name]").fill(name)
    form.get_by_label("Ask assistants and models", exact=False).check()
    form.get_by_label("See how requests went", exact=False).check()
    form.get_by_test_id("save").click()
    expect(by(console.page, "own-roles")).to_contain_text(name)
    table = by(console.page, "permission-table")
    expect(table.locator("thead")).to_contain_text(name)
    console.settle()
    console.keep("roles")
    assert console.axe() == []
    status, roles = installation.request("GET", f"/api/v1/roles?q={name.replace(' ', '%20')}")
    assert status == 200
    assert roles["results"][0]["permissions"] == ["chat.use", "requests.read"]
    console.go("/console/keys/new")
    key_form = by(console.page, "new-key-form")
    key_form.locator("[name=name]").fill(unique("bot"))
    key_form.locator("[name=role]").select_option(label=name)
    key_form.get_by_test_id("save").click()
    expect(by(console.page, "secret")).to_be_visible()
    console.go("/console/roles")
    row = by(console.page, "own-roles").locator("li").filter(has_text=name)
    expect(row).to_contain_text("1 key")
    expect(row.get_by_test_id("delete-role")).to_be_disabled()
    assert console.errors == []


def test_a_knowledge_base_is_restricted_and_the_decision_explained(
    open_console: OpenConsole, installation: Any
) -> None:
    console, other = open_console("owner"), open_console("member")
    name = unique("Payroll")
    status, base = installation.request("POST", "/api/v1/knowledge-bases", body={"name": name})
    assert status == 201
    other.go("/console/knowledge")
    expect(other.page.locator("#main")).to_contain_text(name)
    console.go(f"/console/knowledge/{base['id']}?tab=sharing")
    expect(by(console.page, "sharing-now")).to_contain_text("Everybody")
    form = by(console.page, "sharing-form")
    form.get_by_label("Restrict it").check()
    pick(form, "viewer@people.test")
    form.get_by_test_id("save").click()
    expect(by(console.page, "sharing-now")).to_contain_text("One person or group")
    explain = by(console.page, "explain-form")
    pick(explain, "member@people.test")
    explain.get_by_test_id("save").click()
    answer = by(console.page, "explanation")
    expect(answer).to_contain_text("May not use it")
    expect(answer.locator("li.reason")).to_contain_text("granted neither to them")
    console.keep("sharing")
    assert console.axe() == []
    assert console.overflow() == 0
    other.go("/console/knowledge")
    expect(other.page.locator("#main")).not_to_contain_text(name)
    with other.expecting("404"):
        other.go(f"/console/knowledge/{base['id']}")
        expect(other.page.locator("#main")).not_to_contain_text(name)
    form.get_by_label("Restrict it").uncheck()
    form.get_by_test_id("save").click()
    expect(by(console.page, "sharing-now")).to_contain_text("Everybody")
    assert console.errors == []


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("path", ["/console/groups", "/console/roles", "/console/models/atrium-extractive"])
def test_the_pages_fit_and_can_be_used_by_all(open_console: OpenConsole, path: str, width: int) -> None:
    console = open_console("owner", width=width)
    console.go(path)
    console.keep(f"{path.split('/')[2]}-{width}")
    assert console.overflow() == 0
    assert console.axe() == []
    assert console.errors == []
