"""The audit in the browser: what was done is found, read with before and after, verified, taken as a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_change_is_found_and_read_and_the_chain_verified(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    name = f"Base {uuid4().hex[:8]}"
    _, base = installation.request("POST", "/api/v1/knowledge-bases", body={"name": name})
    path = f"/api/v1/knowledge-bases/{base['id']}"
    status, _ = installation.request("PATCH", path, body={"description": "other words", "alpha": 0.25})
    assert status == 200
    console = open_console("owner", width=width)
    page = console.page
    console.go(f"/console/audit?q={name.replace(' ', '%20')}")
    rows = page.get_by_test_id("table-audit").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Weight of meaning: 0.5 → 0.25")
    rows.first.click()
    drawer = page.get_by_test_id("audit-event")
    expect(drawer.get_by_test_id("audit-changes")).to_contain_text("other words")
    expect(drawer.get_by_role("link", name=name)).to_be_visible()
    assert console.axe() == []
    assert not console.overflow()
    page.keyboard.press("Escape")
    page.get_by_test_id("verify").click()
    expect(page.get_by_test_id("verified")).to_contain_text("Whole")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON lines").click()
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [line["after"].get("alpha") for line in lines] == [0.25, None]
    assert console.errors == []


def test_who_may_not_read_it_is_not_offered_it(open_console: OpenConsole) -> None:
    console = open_console("member")
    console.go("/console/")
    expect(console.page.get_by_role("navigation").get_by_role("link", name="Audit")).to_have_count(0)
