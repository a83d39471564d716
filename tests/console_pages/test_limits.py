"""Limits in the browser: one is set, hit and seen; where each comes from; who may set which."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.console import ConsolePage, call
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
EFFECT_S = 10.0


@pytest.fixture
def harbour_key(installation: Any) -> str:
    """A key of the second tenant, whose limits disturb no other test."""
    return str(installation.key("harbour"))


@pytest.fixture(autouse=True)
def nothing_limited(installation: Any, open_console: OpenConsole) -> Iterator[None]:
    """No limit of the second tenant outlives its test."""
    yield
    page, tenant = open_console("operator").page, installation.second
    status, found = call(page, "GET", "/api/v1/quotas", None, tenant)
    assert status == 200
    for rule in found["results"]:
        assert call(page, "DELETE", f"/api/v1/quotas/{rule['id']}", None, tenant)[0] == 204


def ask(installation: Any, key: str) -> tuple[int, str]:
    """One small call of the built-in model: its status, and the code of an error."""
    body = {"model": "atrium-extractive", "messages": [{"role": "user", "content": "Hello?"}]}
    request = urllib.request.Request(
        f"{installation.url}/v1/chat/completions", data=json.dumps(body).encode()
    )
    request.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(json.loads(error.read())["error"]["code"])


def ask_until_refused(installation: Any, key: str) -> str:
    """The code of the refusal, which comes once the limit is in force everywhere."""
    deadline = time.monotonic() + EFFECT_S
    while time.monotonic() < deadline:
        status, code = ask(installation, key)
        if status != 200:
            return code
    raise AssertionError("no call was refused")


def set_limit(console: ConsolePage, level: str, measure: str, amount: int, warn: int | None = None) -> None:
    """Set a limit as a person does."""
    page = console.page
    page.get_by_test_id("new-limit").first.click()
    dialog = page.get_by_test_id("limit-dialog")
    dialog.get_by_label("For whom").select_option(label=level)
    dialog.get_by_label("What is limited").select_option(label=measure)
    dialog.locator("input[name=limit]").fill(str(amount))
    if warn is not None:
        dialog.locator("input[name=soft_limit]").fill(str(warn))
    dialog.get_by_test_id("save").click()
    expect(dialog).to_have_count(0)


def remove_first(console: ConsolePage) -> None:
    """Take the first limit of the page away."""
    page = console.page
    left = page.get_by_test_id("limit").count() - 1
    page.get_by_test_id("limit").first.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_test_id("limit")).to_have_count(left)


@pytest.mark.parametrize("width", [1280, 360])
def test_a_limit_of_a_tenant_is_set_hit_and_seen(
    open_console: OpenConsole, installation: Any, harbour_key: str, width: int
) -> None:
    console = open_console("operator", width)
    page = console.page
    console.go(f"/console/limits?in={installation.second}")
    expect(page.get_by_text("Nothing is limited")).to_be_visible()
    set_limit(console, "The whole tenant", "Requests a minute", 2, warn=1)
    set_limit(console, "API keys", "Tokens a day", 1_000_000)
    # Each stands under where it comes from.
    expect(page.get_by_text("Set by the platform.")).to_be_visible()
    expect(page.get_by_text("Each API key by itself.")).to_be_visible()
    limit = page.get_by_test_id("limit").first
    expect(limit).to_contain_text("Requests a minute")
    expect(limit).to_contain_text("Warns at 1")
    expect(page.get_by_test_id("limit").nth(1)).to_contain_text("1,000,000 for each")

    assert ask_until_refused(installation, harbour_key) == "rate_limit_exceeded"
    console.go(f"/console/limits?in={installation.second}")
    expect(page.get_by_test_id("limit").first).to_contain_text("2 of 2 used")
    expect(page.get_by_test_id("limit").first).to_contain_text("Used up")
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"limits-reached-{width}")

    page.get_by_test_id("limit").first.get_by_role("button", name="Edit").click()
    dialog = page.get_by_test_id("limit-dialog")
    dialog.locator("input[name=soft_limit]").fill("9")
    with console.expecting("400"):
        dialog.get_by_test_id("save").click()
        expect(dialog).to_contain_text("The soft limit is not above the hard one.")
    page.keyboard.press("Escape")
    remove_first(console)
    remove_first(console)
    expect(page.get_by_text("Nothing is limited")).to_be_visible()
    assert console.errors == []


def test_an_owner_sets_what_is_below_the_tenant(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("harbour")
    page = console.page
    console.go("/console/limits")
    page.get_by_test_id("new-limit").first.click()
    levels = page.get_by_test_id("limit-dialog").get_by_label("For whom").locator("option")
    expect(levels).to_have_text(["Groups", "Users", "API keys", "Models"])
    page.keyboard.press("Escape")
    set_limit(console, "Users", "Requests a minute", 600)
    expect(page.get_by_test_id("limit")).to_contain_text("600 for each")
    # What that is for one person, and where it comes from.
    holds = page.get_by_test_id("limits-of")
    holds.get_by_role("combobox").fill("harbour@")
    page.get_by_role("option", name="harbour@people.test").click()
    holds.get_by_role("button", name="Show").click()
    line = holds.get_by_test_id("limit-of")
    expect(line).to_contain_text("Inherited from “Every user”")
    expect(line).to_contain_text("of 600 used")
    assert console.axe() == []
    remove_first(console)
    assert console.errors == []


def test_members_see_their_own_and_set_none(open_console: OpenConsole, installation: Any) -> None:
    status, made = installation.request(
        "POST", "/api/v1/quotas", body={"level": "user", "measure": "tokens_per_month", "limit": 700_000}
    )
    assert status == 201
    console = open_console("member")
    console.go("/console/limits")
    expect(console.page.get_by_test_id("limit")).to_contain_text("Inherited from “Every user”")
    expect(console.page.get_by_test_id("limit")).to_contain_text("of 700,000 used")
    expect(console.page.get_by_test_id("new-limit")).to_have_count(0)
    expect(console.page.get_by_role("button", name="Delete")).to_have_count(0)
    expect(console.page.get_by_test_id("limits-of")).to_have_count(0)
    assert installation.request("DELETE", f"/api/v1/quotas/{made['id']}")[0] == 204
    assert console.errors == []


@pytest.mark.parametrize("width", [1280, 360])
def test_what_is_kept_is_limited_for_a_person_and_not_for_a_key(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    console = open_console("operator", width)
    page = console.page
    console.go(f"/console/limits?in={installation.second}")
    set_limit(console, "Users", "Storage of documents", 5, warn=4)
    set_limit(console, "Groups", "Documents", 50)
    # In the order of the levels: groups, then users.
    expect(page.get_by_test_id("limit").nth(0)).to_contain_text("50 for each")
    expect(page.get_by_test_id("limit").nth(1)).to_contain_text("5 MB for each")
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"limits-kept-{width}")

    page.get_by_test_id("new-limit").first.click()
    dialog = page.get_by_test_id("limit-dialog")
    measure = dialog.get_by_label("What is limited")
    dialog.get_by_label("For whom").select_option(label="Users")
    measure.select_option(label="Documents")
    dialog.get_by_label("For whom").select_option(label="API keys")
    # What a key cannot be limited by is not offered, and not kept from before.
    expect(measure).to_have_value("requests_per_minute")
    expect(measure.locator("option", has_text="Documents")).to_have_count(0)
    page.keyboard.press("Escape")
    remove_first(console)
    remove_first(console)
    assert console.errors == []


@pytest.mark.parametrize("width", [1280, 360])
def test_a_member_of_a_group_sees_that_its_limit_is_close(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    console = open_console("harbour", width)
    page, tenant = console.page, installation.second

    def done(method: str, path: str, body: Any = None) -> Any:
        status, answer = call(page, method, f"/api/v1/{path}", body, tenant)
        assert status < 300, answer
        return answer

    group = done("POST", "groups", {"name": f"Dockers {width}"})
    done("POST", f"groups/{group['id']}/members", {"user_ids": [done("GET", "me")["user"]["id"]]})
    # What is kept warns from its soft limit on, which is 0 here.
    rule = {"level": "group", "subject": group["id"], "measure": "documents", "limit": 9, "soft_limit": 0}
    made = done("POST", "quotas", rule)
    for path in ("/console/limits", "/"):
        console.go(path) if path != "/" else page.goto(f"{installation.url}/")
        banner = page.get_by_test_id("limit-banner")
        expect(banner).to_contain_text(
            f"Close to a limit of your group Dockers {width}: number of documents."
        )
        console.keep(f"limit-of-a-group-{path.strip('/').replace('/', '-') or 'chat'}-{width}")
    console.go("/console/limits")
    assert console.axe() == []
    assert console.overflow() == 0
    done("DELETE", f"quotas/{made['id']}")
    done("DELETE", f"groups/{group['id']}")
    assert console.errors == []


@pytest.mark.parametrize("width", [1280, 360])
def test_who_is_refused_in_the_chat_is_told_which_limit_and_when_it_begins_anew(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    console = open_console("harbour", width)
    page, tenant = console.page, installation.second
    page.goto(f"{installation.url}/")
    asked = page.get_by_label("Your message")
    asked.fill("Is quay 4 free?")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("answer-error").or_(page.get_by_text("not a language model"))).to_be_visible()
    me = call(page, "GET", "/api/v1/me", None, tenant)[1]["user"]["id"]
    rule = {"level": "user", "subject": me, "measure": "tokens_per_day", "limit": 1, "soft_limit": None}
    status, made = call(page, "POST", "/api/v1/quotas", rule, tenant)
    assert status == 201, made
    refused, banner = page.get_by_test_id("answer-error"), page.get_by_test_id("limit-banner")
    deadline = time.monotonic() + EFFECT_S
    while refused.count() == 0 and time.monotonic() < deadline:
        asked.fill("Which quay is free?")
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
    expect(refused.last).to_contain_text("A limit leaves no room")
    # Without a reload: the refusal itself makes the page ask how limits stand.
    expect(banner).to_contain_text("A limit of yours is used up: tokens of this day.")
    expect(banner).to_contain_text("It begins anew")
    console.keep(f"limit-in-the-chat-{width}")
    banner.get_by_role("link", name="Show limits").click()
    row = page.get_by_test_id("limit").filter(has_text="Tokens a day")
    expect(row).to_contain_text("Used up")
    expect(row.locator(".fill.danger")).to_be_visible()
    expect(banner.get_by_role("link")).to_have_count(0)
    assert console.axe() == []
    assert console.overflow() == 0
    call(page, "DELETE", f"/api/v1/quotas/{made['id']}", None, tenant)
    # In force everywhere within two seconds: the next test of this person must not be refused.
    page.wait_for_timeout(2500)
    assert console.errors == []


def test_a_name_that_was_typed_and_not_chosen_limits_nobody(open_console: OpenConsole) -> None:
    console = open_console("harbour")
    page = console.page
    console.go("/console/limits")
    page.get_by_test_id("new-limit").first.click()
    dialog = page.get_by_test_id("limit-dialog")
    dialog.get_by_label("For whom").select_option(label="Users")
    which = dialog.get_by_role("combobox", name="Which one")
    which.fill("nobody of this name")
    expect(dialog.get_by_text("Nothing found")).to_be_visible()
    which.press("Enter")
    dialog.locator("input[name=limit]").fill("5")
    page.get_by_test_id("save").click()
    expect(dialog.get_by_test_id("field-error")).to_have_text("Choose one of the list, or empty this field.")
    expect(which).to_be_focused()
    assert console.axe() == []
    which.fill("harbour")
    dialog.get_by_role("option", name="harbour@people.test").click()
    expect(dialog.get_by_test_id("field-error")).to_have_count(0)
    page.get_by_test_id("save").click()
    expect(page.get_by_test_id("limit")).to_contain_text("harbour@people.test")
    assert console.errors == []
