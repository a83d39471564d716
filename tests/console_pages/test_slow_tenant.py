"""Which tenant is slow is seen by an operator at first sight, on a desktop and on a phone, in both languages."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(180)]

OpenConsole = Callable[..., ConsolePage]
SLOW, QUICK = "slow-tenant", "quick-tenant"
WIDTHS = (1280, 360)

# The slow one uses far less than the others, as it is in life: nobody would look for it among the large ones.
_TRAFFIC = """
import json
from datetime import UTC, datetime, timedelta
from kernel.ids import uuid7
from tenants.services import create_tenant, store_usage
from tenants.types import UsageEntry, UsageState

def calls(tenant, count, first_ms):
    began = datetime.now(UTC) - timedelta(minutes=5)
    return [
        UsageEntry(
            record_id=uuid7(), request_id="slow-tenant", tenant_id=tenant.id, user_id=None, api_key_id=None,
            model="slow-tenant-model", pool="main", replica="one", origin="v1", state=UsageState.COMPLETED,
            prompt_tokens=100, completion_tokens=50, cost_nano=1_000, started_at=began,
            first_token_ms=first_ms, total_ms=first_ms + 900,
        )
        for _ in range(count)
    ]

rows = calls(create_tenant(slug={slow!r}, name="Slow"), 25, 8_000)
for number, name in enumerate([{quick!r}, {quick!r} + "-2", {quick!r} + "-3"]):
    rows += calls(create_tenant(slug=name, name=name), 200, 300 + number)
store_usage(rows)
print(json.dumps(len(rows)))
"""


@pytest.fixture(scope="module", autouse=True)
def traffic(installation: Any) -> None:
    """Calls of three tenants as they should be, and of one that waits."""
    assert installation.demo.server.run_code(_TRAFFIC.format(slow=SLOW, quick=QUICK)) == 625


@pytest.mark.parametrize("width", WIDTHS)
def test_home_names_the_slow_tenant_and_leads_to_why(open_console: OpenConsole, width: int) -> None:
    console = open_console("operator", width)
    console.go("/console/?in=*&range=24h")
    page = console.page
    need = page.get_by_test_id("need").filter(has_text=SLOW)
    expect(need).to_have_attribute("data-kind", "slow")
    expect(need).to_contain_text("p95")
    first = page.get_by_test_id("top-slowest").get_by_role("listitem").first
    expect(first).to_contain_text(SLOW)
    expect(first).to_contain_text("slow")
    assert first.locator(".value").inner_text().endswith(" s")
    # Nothing of a line is cut off.
    cut = (
        page.get_by_test_id("top-slowest")
        .locator(".name")
        .evaluate_all("(names) => names.filter((each) => each.scrollWidth > each.clientWidth + 1).length")
    )
    assert (cut, console.overflow()) == (0, 0)
    assert console.axe() == []
    console.keep(f"slow-home-{width}")
    need.get_by_role("link").click()
    console.settle()
    expect(page.get_by_test_id("scope-name").first).to_have_text("Slow")
    expect(page.get_by_test_id("usage-table")).to_contain_text("slow-tenant-model")
    assert console.errors == []


@pytest.mark.parametrize("width", WIDTHS)
def test_usage_is_ordered_by_who_waits_longest(open_console: OpenConsole, width: int) -> None:
    console = open_console("operator", width)
    console.go("/console/usage?in=*&range=7d")
    table = console.page.get_by_test_id("usage-table")
    if width < 700:
        table.get_by_test_id("table-sort").click()
        console.page.get_by_role("menuitemradio", name="First token").click()
        table.get_by_test_id("table-sort").click()
        console.page.get_by_role("menuitemradio", name="First token").click()
    else:
        table.get_by_role("button", name="First token").click()
        table.get_by_role("button", name="First token").click()
    expect(console.page).to_have_url(re.compile("sort=-first"))
    row = table.get_by_test_id("row").first
    expect(row).to_contain_text(SLOW)
    expect(row.get_by_text("slow", exact=True)).to_be_visible()
    expect(
        table.get_by_test_id("row").filter(has_text=QUICK).first.get_by_text("slow", exact=True)
    ).to_have_count(0)
    assert console.overflow() == 0
    console.keep(f"slow-usage-{width}")
    assert console.errors == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_tenants_page_shows_how_long_it_waits(open_console: OpenConsole, width: int) -> None:
    console = open_console("operator", width)
    console.go("/console/tenants?in=*&q=slow-tenant")
    console.page.get_by_test_id("row").get_by_role("link", name="Slow").click()
    console.settle()
    usage = console.page.get_by_test_id("tenant-usage")
    expect(usage.get_by_test_id("usage-totals")).to_contain_text("8")
    expect(usage.locator("canvas")).to_have_count(2)
    usage.get_by_role("button", name="Show as table: Time to first token").click()
    expect(usage.get_by_role("columnheader", name="p95")).to_be_visible()
    assert console.overflow() == 0
    assert console.axe() == []
    console.keep(f"slow-tenant-{width}")
    usage.get_by_role("link", name="All usage").click()
    console.settle()
    expect(console.page.get_by_test_id("usage-table")).to_contain_text("slow-tenant-model")
    assert console.errors == []


def test_it_is_said_in_german_too(open_console: OpenConsole) -> None:
    console = open_console("operator", 360)
    console.page.evaluate("() => localStorage.setItem('atrium.language', 'de')")
    try:
        console.go("/console/?in=*&range=24h")
        expect(console.page.get_by_test_id("need").filter(has_text=SLOW)).to_contain_text("Langsamer Mandant")
        expect(console.page.get_by_test_id("top-slowest")).to_contain_text("langsam")
        assert console.overflow() == 0
    finally:
        console.page.evaluate("() => localStorage.removeItem('atrium.language')")
