"""A tenant is opened with its calendar and its region; domains that wait for an operator are seen, verified, taken back."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]
_numbers = itertools.count(1)


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


def looks_right(console: ConsolePage, name: str) -> None:
    """At both widths: nothing runs over, axe finds nothing."""
    for width in (360, 1280):
        console.resize(width)
        assert console.overflow() <= 0
        assert console.axe() == []
        console.keep(f"{name}-{width}")


@pytest.fixture
def pool(installation: Any) -> Iterator[Any]:
    """A pool in a region of its own."""
    made = installation.operate("POST", "/api/v1/pools", {"name": "far-away", "region": "eu-north"})
    yield made
    installation.operate("DELETE", f"/api/v1/pools/{made['id']}")


def test_a_tenant_is_opened_in_a_region_that_engines_have(
    open_console: OpenConsole, installation: Any, pool: Any
) -> None:
    console = open_console("operator")
    page = console.page
    slug = f"fjord-{next(_numbers)}"
    console.go("/console/tenants/new?in=*")
    form = by(page, "tenant-wizard")
    expect(form.locator("[name=timezone]")).to_have_value("UTC")
    # The reader's own zone is near at hand.
    assert form.locator("[name=timezone] option").all_inner_texts()[:2] == ["UTC", "Europe/Berlin"]
    region = form.locator("[name=region]")
    expect(region.locator("option")).to_have_text(["Anywhere: any engine may", pool["region"]])
    looks_right(console, "tenant-wizard")
    form.locator("[name=name]").fill("Fjord AS")
    form.locator("[name=slug]").fill(slug)
    form.locator("[name=timezone]").select_option("Europe/Oslo")
    region.select_option(pool["region"])
    by(page, "save").click()
    summary = by(page, "tenant-summary")
    for told in ("Fjord AS", slug, "Europe/Oslo", pool["region"]):
        expect(summary).to_contain_text(told)
    looks_right(console, "tenant-wizard-summary")
    by(page, "save").click()
    expect(by(page, "tenant-made")).to_contain_text("Europe/Oslo")
    expect(by(page, "tenant-made")).to_contain_text(pool["region"])
    [found] = installation.operate("GET", f"/api/v1/tenants?q={slug}")["results"]
    assert (found["timezone"], found["region"]) == ("Europe/Oslo", pool["region"])

    # A region that its last engine has left is still the tenant's, and is told apart.
    installation.operate("PATCH", f"/api/v1/pools/{pool['id']}", {"region": ""})
    console.go(f"/console/tenants/{found['id']}?in=*")
    settings = by(page, "tenant-settings").locator("[name=region]")
    expect(settings).to_have_value(pool["region"])
    expect(settings.locator("option:checked")).to_have_text("eu-north (no engine is in it)")
    expect(by(page, "tenant-settings")).to_contain_text("No engine names a region yet")
    assert console.errors == []


def test_domains_that_wait_are_seen_verified_and_taken_back(
    open_console: OpenConsole, installation: Any
) -> None:
    number = next(_numbers)
    domain = f"harbour-{number}.test"
    body = {
        "name": f"Entra {number}",
        "issuer": "https://login.harbour.test",
        "client_id": "c",
        "client_secret": "s",
        "domains": [domain],
    }
    path = "/api/v1/identity-providers"
    status, made = installation.request("POST", path, role="harbour", body=body)
    assert status == 201, made

    owner = open_console("harbour")
    owner.go("/console/")
    need = owner.page.locator('[data-kind="domains"]')
    expect(need).to_contain_text(domain)
    expect(need).to_contain_text("Ask an operator of the platform")
    need.get_by_role("link").click()
    expect(by(owner.page, "provider")).to_contain_text("ask one to")
    expect(by(owner.page, "verify-domains")).to_have_count(0)
    looks_right(owner, "domains-owner")

    console = open_console("operator")
    page = console.page
    console.go("/console/?in=*")
    need = page.locator('[data-kind="domains"]')
    expect(need).to_contain_text(installation.second)
    expect(need).to_contain_text("Until you verify them")
    looks_right(console, "domains-operator")
    console.go(f"/console/tenants?in=*&q={installation.second}")
    page.get_by_role("link", name="Harbour Authority").click()
    notice = by(page, "domains-wait")
    expect(notice).to_contain_text(domain)
    looks_right(console, "domains-tenant")
    notice.get_by_role("link").click()
    by(page, "verify-domains").click()
    expect(by(page, "confirm-dialog")).to_contain_text("Harbour Authority")
    looks_right(console, "domains-confirm")
    by(page, "confirm").click()
    expect(by(page, "provider")).to_contain_text("domains verified")
    page.get_by_role("button", name="Undo").click()
    expect(by(page, "verify-domains")).to_be_visible()
    by(page, "verify-domains").click()
    by(page, "confirm").click()
    by(page, "unverify-domains").click()
    expect(by(page, "verify-domains")).to_be_visible()
    assert installation.request("DELETE", f"{path}/{made['id']}", role="harbour")[0] == 204
    assert (console.errors, owner.errors) == ([], [])


def test_an_archive_that_is_refused_keeps_the_reason_and_says_what_comes_first(
    open_console: OpenConsole, installation: Any
) -> None:
    slug = f"archived-{next(_numbers)}"
    body = {"slug": slug, "name": "Archived Ltd", "owner_email": f"{slug}@people.test"}
    made = installation.operate("POST", "/api/v1/tenants", body)
    console = open_console("operator")
    page = console.page
    console.go(f"/console/tenants/{made['id']}?in=*")
    expect(page.get_by_text(f"Nobody is in yet. Invited: {slug}@people.test.")).to_be_visible()
    form = by(page, "operator-archive")
    by(form, "save").click()
    expect(by(form, "field-error")).to_have_text("This field is needed.")
    form.locator("[name=reason]").fill("Ticket 4711")
    with console.expecting("403"):
        by(form, "save").click()
        expect(by(form, "form-problem")).to_contain_text("open break-glass in that tenant first")
    expect(form.locator("[name=reason]")).to_have_value("Ticket 4711")
    looks_right(console, "operator-archive")
    by(page, "tenant-limits").click()
    expect(page).to_have_url(f"{console.url}/console/limits?in={slug}")
    console.page.go_back()
    console.settle()
    page.get_by_role("link", name="Operators' access").click()
    expect(page).to_have_url(f"{console.url}/console/break-glass?in={slug}")
    assert console.errors == []
