"""The usage page: what was called is counted, grouped, narrowed, kept in the address and saved as a file."""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(180)]

OpenConsole = Callable[..., ConsolePage]
MODEL = "atrium-extractive"
IN_LEDGER_S = 20.0


@pytest.fixture
def used(installation: Any) -> int:
    """A call of the demo tenant, waited for until it is summed; how many there are by now."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "What is the baggage allowance?"}]}
    status, answer = installation.request("POST", "/v1/chat/completions", body=body)
    assert status == 200, answer
    deadline = time.monotonic() + IN_LEDGER_S
    while True:
        _, found = installation.request("GET", "/api/v1/usage?group_by=model")
        count = sum(int(row["requests"]) for row in found["results"] if row["group"] == MODEL)
        if count or time.monotonic() > deadline:
            return count
        time.sleep(0.3)


def test_usage_is_shown_narrowed_and_kept_in_the_address(used: int, open_console: OpenConsole) -> None:
    assert used > 0
    console = open_console("owner")
    console.go("/console/usage?range=7d")
    table = console.page.get_by_test_id("usage-table")
    row = table.get_by_role("link", name=MODEL)
    expect(row).to_be_visible()
    assert console.axe() == []
    row.click()
    console.settle()
    assert f"model={MODEL}" in console.page.url
    assert "range=7d" in console.page.url
    chip = console.page.get_by_role("button", name=f"Show all again, not only {MODEL}")
    expect(chip).to_be_visible()
    console.page.reload()
    console.settle()
    chip.click()
    console.settle()
    assert "model=" not in console.page.url
    assert console.overflow() == 0
    assert console.errors == []


def test_an_export_holds_what_the_table_shows(used: int, open_console: OpenConsole, tmp_path: Path) -> None:
    console = open_console("owner")
    console.go("/console/usage?by=model")
    console.page.get_by_test_id("usage-export").click()
    with console.page.expect_download() as download:
        console.page.get_by_role("menuitem", name="Table as CSV").click()
    file = tmp_path / "usage.csv"
    download.value.save_as(file)
    with file.open() as lines:
        rows = {row["group"]: int(row["requests"]) for row in csv.DictReader(lines)}
    assert rows[MODEL] >= used > 0


def test_days_without_usage_say_what_to_do(open_console: OpenConsole) -> None:
    console = open_console("owner")
    console.go("/console/usage?from=2021-01-01&to=2021-01-02")
    expect(console.page.get_by_text("No usage in these days")).to_be_visible()
    console.go("/console/usage?model=nothing")
    console.page.get_by_role("button", name="Clear filters").click()
    console.settle()
    assert "model=" not in console.page.url


def test_the_platform_is_shown_by_tenant_and_leads_into_one(used: int, open_console: OpenConsole) -> None:
    console = open_console("operator")
    console.go("/console/usage?in=*")
    link = console.page.get_by_test_id("usage-table").get_by_role("link").first
    name = link.inner_text()
    link.click()
    console.settle()
    expect(console.page.get_by_role("heading", level=1)).to_be_visible()
    assert name
    assert "in=*" not in console.page.url


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_who_does_not_administer_sees_their_own_usage(
    used: int, open_console: OpenConsole, role: str
) -> None:
    assert used > 0
    console = open_console(role)
    page = console.page
    console.go("/console/usage")
    expect(page.get_by_text("What you used, and what it cost.")).to_be_visible()
    # The tenant's calls are not theirs.
    expect(page.get_by_text("No usage in these days")).to_be_visible()
    expect(page.get_by_text("My own usage only")).to_have_count(0)
    page.get_by_test_id("usage-export").click()
    expect(page.get_by_role("menuitem", name="Days as CSV")).to_be_visible()
    expect(page.get_by_test_id("chargeback")).to_have_count(0)
    page.keyboard.press("Escape")
    console.resize(360)
    assert console.overflow() <= 0
    assert console.axe() == []
    assert console.errors == []
