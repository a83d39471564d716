"""Requests in the browser: a failed one is found, its way is read, any metered one is looked up by its id."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]


def ask(installation: Any, model: str, request_id: str) -> int:
    """One chat request; its status."""
    body = {"model": model, "messages": [{"role": "user", "content": "What is a Run?"}]}
    request = urllib.request.Request(
        f"{installation.url}/v1/chat/completions", data=json.dumps(body).encode()
    )
    request.add_header("authorization", f"Bearer {installation.key('owner')}")
    request.add_header("x-request-id", request_id)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait_for(installation: Any, request_id: str, model: str | None = None) -> Any:
    """The request, once the spool is drained; with `model`, once its call is there and not the search's alone."""
    deadline = time.monotonic() + 20
    while True:
        status, way = installation.request("GET", f"/api/v1/requests/{request_id}")
        there = status == 200 and (model is None or way["summary"]["model"] == model)
        if there or time.monotonic() > deadline:
            return way
        time.sleep(0.2)


def test_a_refused_request_is_found_in_the_list(open_console: OpenConsole, installation: Any) -> None:
    request_id = f"refused-{uuid4().hex[:12]}"
    assert ask(installation, "no-such-model", request_id) == 404
    assert wait_for(installation, request_id)["summary"]["state"] == "refused"
    console = open_console("owner")
    page = console.page
    console.go(f"/console/requests?q={request_id}")
    row = page.get_by_role("row").filter(has_text="model_not_found")
    expect(row).to_contain_text("refused")
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(request_id)
    way = page.get_by_test_id("waterfall")
    expect(way.get_by_text("Who asks")).to_be_visible()
    expect(way.get_by_text("Reading the request")).to_be_visible()
    expect(page.get_by_text("model_not_found").first).to_be_visible()
    assert console.axe() == []
    console.keep("requests-one")
    page.get_by_role("link", name="All requests").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Requests")
    assert console.errors == []


def test_any_metered_request_is_looked_up(open_console: OpenConsole, installation: Any) -> None:
    request_id = f"metered-{uuid4().hex[:12]}"
    assert ask(installation, "assistant/guide", request_id) == 200
    way = wait_for(installation, request_id, "atrium-extractive")
    assert way["summary"]["model"] == "atrium-extractive"
    console = open_console("owner", width=360)
    page = console.page
    console.go("/console/requests")
    page.get_by_role("textbox", name="Request id", exact=True).fill(request_id)
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(request_id)
    expect(page.get_by_text("atrium-extractive").first).to_be_visible()
    expect(page.get_by_test_id("waterfall").first).to_be_visible()
    assert not console.overflow()
    console.keep("requests-metered-phone")


def test_an_unknown_id_says_so(open_console: OpenConsole) -> None:
    console = open_console("owner")
    with console.expecting("404"):
        console.go("/console/requests/never-was-anything")
        expect(console.page.get_by_text("There is no such request").first).to_be_visible()


def test_members_are_not_offered_the_page(open_console: OpenConsole) -> None:
    console = open_console("member")
    console.go("/console/")
    expect(console.page.get_by_role("link", name="Requests")).to_have_count(0)
