"""Assistants in the browser: tried while they are drafted, saved, changed by two, copied, deleted and brought back."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.console import ConsolePage
from fakes.demo import KNOWLEDGE_BASE
from playwright.sync_api import expect

from kernel.ids import uuid7

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]


def unique() -> str:
    return f"Bot {uuid7().hex[-8:]}"


def slug_of(name: str) -> str:
    return name.lower().replace(" ", "-")


def ask(console: ConsolePage, question: str) -> Any:
    """Ask in the pane; the answer."""
    console.page.get_by_test_id("trial-question").fill(question)
    console.page.get_by_test_id("trial-ask").click()
    return console.page.get_by_test_id("trial-answer").last


def drafted(console: ConsolePage, name: str) -> None:
    """A new assistant with the demo's knowledge, not saved yet."""
    page = console.page
    console.go("/console/assistants/+new")
    page.fill("input[name=name]", name)
    page.fill("textarea[name=instructions]", "Quote the documentation.")
    page.select_option("select[name=model]", "atrium-extractive")
    page.get_by_role("combobox", name="Knowledge bases").click()
    page.get_by_role("option").filter(has_text=KNOWLEDGE_BASE).click()
    page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [1280, 360])
def test_a_draft_is_tried_then_saved(open_console: OpenConsole, installation: Any, width: int) -> None:
    console = open_console("owner", width)
    page = console.page
    name = unique()
    drafted(console, name)
    answer = ask(console, "How do I get an API key?")
    expect(answer).to_have_attribute("data-state", "completed")
    expect(answer.get_by_test_id("sources")).to_be_visible()
    # Nothing of it was stored.
    _, stored = installation.request("GET", f"/api/v1/assistants?q={name.split()[1]}")
    assert stored["results"] == []
    page.fill("textarea[name=instructions]", "Quote it all.")
    expect(page.get_by_test_id("trial")).to_contain_text("The form has changed")
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"assistant-trial-{width}")
    page.get_by_test_id("save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_test_id("how-to-call")).to_contain_text(f"assistant/{slug_of(name)}")
    console.settle()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"assistant-{width}")
    _, usage = installation.request("GET", f"/api/v1/assistants/{slug_of(name)}")
    assert usage["instructions"] == "Quote it all."
    assert console.errors == []


def test_bad_values_stand_at_their_fields(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("owner")
    page = console.page
    name = unique()
    installation.request("POST", "/api/v1/assistants", body={"slug": slug_of(name), "name": name})
    console.go("/console/assistants/+new")
    page.fill("input[name=name]", name)
    with console.expecting("409", "400"):
        page.get_by_test_id("save").click()
        expect(page.get_by_test_id("field-error")).to_contain_text("exists")
        page.fill("input[name=slug]", "Not a slug")
        page.get_by_test_id("save").click()
        expect(page.get_by_test_id("field-error")).to_be_visible()
        page.fill("input[name=slug]", f"{slug_of(name)}-2")
        page.fill("textarea[name=suggestions]", "\n".join(f"{number}?" for number in range(9)))
        page.get_by_test_id("save").click()
        expect(page.get_by_test_id("field-error")).to_be_visible()
    page.fill("textarea[name=suggestions]", "<script>alert(1)</script>")
    page.get_by_test_id("save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.locator("textarea[name=suggestions]")).to_have_value("<script>alert(1)</script>")
    assert console.errors == []


def test_two_editors_and_unsaved_changes(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("owner")
    page = console.page
    name = unique()
    path = f"/api/v1/assistants/{slug_of(name)}"
    installation.request("POST", "/api/v1/assistants", body={"slug": slug_of(name), "name": name})
    console.go(f"/console/assistants/{slug_of(name)}")
    page.fill("textarea[name=instructions]", "Mine.")
    installation.request("PATCH", path, body={"description": "Theirs."})
    with console.expecting("412"):
        page.get_by_test_id("assistant-form").get_by_test_id("save").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("Theirs.")
    console.keep("assistant-conflict")
    _, now = installation.request("GET", path)
    assert (now["instructions"], now["description"]) == ("", "Theirs.")
    page.keyboard.press("Escape")
    # Leaving asks first.
    page.locator("a", has_text="Assistants").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("textarea[name=instructions]")).to_have_value("Mine.")
    page.once("dialog", lambda dialog: dialog.accept())
    console.page.goto(f"{console.url}/console/assistants")
    console.settle()
    assert console.errors == []


def test_copies_deletion_and_the_way_back(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("owner")
    page = console.page
    name = unique()
    slug = slug_of(name)
    installation.request("POST", "/api/v1/assistants", body={"slug": slug, "name": name})
    console.go(f"/console/assistants/{slug}")
    page.get_by_role("button", name="Duplicate").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{name} (copy)")
    page.get_by_test_id("delete").click()
    expect(page).to_have_url(f"{console.url}/console/assistants")
    status, _ = installation.request("GET", f"/api/v1/assistants/{slug}-copy")
    assert status == 404
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("is back")).to_be_visible()
    status, _ = installation.request("GET", f"/api/v1/assistants/{slug}-copy")
    assert status == 200
    installation.request("DELETE", f"/api/v1/assistants/{slug}-copy")
    console.go(f"/console/assistants?tab=deleted&q={slug}")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#main")).to_contain_text("Nothing matches")
    status, _ = installation.request("GET", f"/api/v1/assistants/{slug}-copy")
    assert status == 200
    assert console.errors == []


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_readers_change_and_try_nothing(open_console: OpenConsole, installation: Any, role: str) -> None:
    name = unique()
    installation.request("POST", "/api/v1/assistants", body={"slug": slug_of(name), "name": name})
    console = open_console(role)
    console.go("/console/assistants")
    expect(console.page.get_by_test_id("new-assistant")).to_have_count(0)
    console.go(f"/console/assistants/{slug_of(name)}")
    expect(console.page.get_by_test_id("trial")).to_have_count(0)
    expect(console.page.get_by_test_id("save")).to_be_disabled()
    expect(console.page.locator("input[name=name]")).to_be_disabled()
    assert console.errors == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_answers_to_alike_questions_are_allowed_and_cleared(
    open_console: OpenConsole, installation: Any, width: int, dark: bool
) -> None:
    name = unique()
    body = {"slug": slug_of(name), "name": name, "model": "atrium-extractive"}
    installation.request("POST", "/api/v1/assistants", body=body)
    console = open_console("owner", width)
    if dark:
        console.wear("dark")
    page = console.page
    console.go(f"/console/assistants/{slug_of(name)}")
    cache = page.get_by_test_id("answer-cache")
    expect(cache.locator("select")).to_have_count(1)
    expect(page.get_by_test_id("clear-answers")).to_have_count(0)
    cache.locator("select[name=semantic_cache_seconds]").select_option("900")
    expect(cache.locator("select[name=semantic_cache_threshold]")).to_have_value("0.95")
    cache.locator("select[name=semantic_cache_threshold]").select_option("0.9")
    page.get_by_test_id("assistant-form").get_by_test_id("save").click()
    expect(page.get_by_test_id("clear-answers")).to_be_visible()
    _, saved = installation.request("GET", f"/api/v1/assistants/{slug_of(name)}")
    assert (saved["semantic_cache_seconds"], saved["semantic_cache_threshold"]) == (900, 0.9)
    page.get_by_test_id("clear-answers").click()
    expect(page.get_by_text("Kept answers are cleared.")).to_be_visible()
    console.settle()
    cache.scroll_into_view_if_needed()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"assistant-cache-{width}")
    _, same = installation.request("GET", f"/api/v1/assistants/{slug_of(name)}")
    assert same["version"] == saved["version"]
