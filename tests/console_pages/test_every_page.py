"""Each page of the page table, as each role: offered when allowed, refused otherwise, sound at both widths."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.console import ROLES, ConsolePage
from playwright.sync_api import expect

from tenants.permissions import permissions_of
from tenants.types import Role

pytestmark = pytest.mark.pages

WEB = Path(__file__).resolve().parents[2] / "web"
_ENTRY = re.compile(
    r'id: "(?P<id>\w+)",\s+path: "(?P<path>[^"]+)",.*?permission: (?P<permission>null|OPERATE|"[\w.]+"),'
    r'\s+scope: "(?P<scope>\w+)"',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A row of the page table."""

    id: str
    path: str
    permission: str | None
    scope: str

    def opens_for(self, role: str) -> bool:
        """Whether `role` may open it in its own tenant."""
        granted = (
            permissions_of(Role.OWNER, is_operator=True) if role == "operator" else permissions_of(Role(role))
        )
        needed = "platform.operate" if self.scope == "platform" else self.permission
        return needed is None or needed in granted


def page_table() -> list[PageEntry]:
    """The rows of `web/src/console/pages.ts`."""
    text = (WEB / "src/console/pages.ts").read_text()
    permission = {"null": None, "OPERATE": "platform.operate"}
    return [
        PageEntry(
            found["id"],
            found["path"],
            permission.get(found["permission"], found["permission"].strip('"')),
            found["scope"],
        )
        for found in _ENTRY.finditer(text)
    ]


PAGES = page_table()
OpenConsole = Callable[..., ConsolePage]


def test_the_table_is_read_whole() -> None:
    text = (WEB / "src/console/pages.ts").read_text()
    assert len(PAGES) == text.count("load: () => import(") >= 14
    assert len({page.path for page in PAGES}) == len(PAGES)


@pytest.mark.parametrize("role", ROLES)
def test_a_page_is_offered_exactly_when_it_is_allowed(open_console: OpenConsole, role: str) -> None:
    console = open_console(role)
    console.go("/console/")
    offered = set(
        console.page.locator("aside nav a[data-page]").evaluate_all("all => all.map(one => one.dataset.page)")
    )
    assert offered == {page.id for page in PAGES if page.opens_for(role)}
    assert console.errors == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
@pytest.mark.parametrize("role", ROLES)
def test_a_page_opens_or_says_why_not(open_console: OpenConsole, role: str, page: PageEntry) -> None:
    console = open_console(role)
    console.follow(page.path)
    refused = console.page.get_by_test_id("not-allowed")
    if page.opens_for(role):
        expect(refused).to_have_count(0)
        expect(console.page.locator(f'a[data-page="{page.id}"]')).to_have_attribute("aria-current", "page")
    else:
        expect(refused).to_be_visible()
    assert console.page.locator("#main h1").count() == 1
    assert console.errors == []
    assert console.foreign == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
def test_a_page_fits_and_passes_axe(open_console: OpenConsole, page: PageEntry) -> None:
    console = open_console("operator")
    console.go(page.path)
    faults: list[str] = []
    for width in (1280, 360):
        console.resize(width)
        console.settle()
        if console.overflow() > 0:
            faults.append(f"{width}: wider than its window by {console.overflow()} px")
        for appearance in ("light", "dark"):
            console.wear(appearance)
            faults += [f"{width} {appearance} {one}" for one in console.axe()]
            console.keep(f"{page.id}-{width}-{appearance}")
    assert faults == []
    assert console.errors == []
    assert console.foreign == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.id)
def test_a_page_speaks_german(open_console: OpenConsole, page: PageEntry) -> None:
    console = open_console("operator", 360)
    console.page.evaluate("localStorage.setItem('atrium.language', 'de')")
    loaded: list[str] = []
    console.page.on("request", lambda request: loaded.append(request.url))
    try:
        console.go(page.path)
        assert console.page.locator("html").get_attribute("lang") == "de"
        assert console.overflow() <= 0
        assert [url for url in loaded if re.search(r"/\w+\.en-", url)] == []
        assert console.errors == []
    finally:
        console.page.evaluate("localStorage.removeItem('atrium.language')")
        console.go(page.path)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.scope != "platform"], ids=lambda page: page.id
)
def test_an_operator_sees_all_tenants_or_chooses_one(open_console: OpenConsole, page: PageEntry) -> None:
    console = open_console("operator")
    console.go(f"{page.path}?in=*")
    expect(console.page.get_by_test_id("scope-name").first).to_have_text("All tenants")
    choose = console.page.get_by_test_id("choose-tenant")
    expect(choose).to_have_count(1 if page.scope == "tenant" else 0)
    assert console.axe() == []
    assert console.errors == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.scope != "platform"], ids=lambda page: page.id
)
def test_an_operator_visits_another_tenant(open_console: OpenConsole, page: PageEntry) -> None:
    console = open_console("operator")
    console.go(f"{page.path}?in=harbour")
    expect(console.page.get_by_test_id("scope-name").first).to_have_text("Harbour Authority")
    assert console.overflow() <= 0
    assert console.errors == []


def test_a_stranger_is_sent_to_the_sign_in(open_console: OpenConsole) -> None:
    console = open_console("owner")
    context = console.page.context.browser.new_context()  # type: ignore[union-attr]
    page = context.new_page()
    page.goto(f"{console.url}/console/keys")
    expect(page.locator("input[name=password]")).to_be_visible()
    assert "next=/console/keys" in page.url
    context.close()


def test_a_member_of_one_tenant_cannot_enter_another(open_console: OpenConsole) -> None:
    console = open_console("member")
    with console.expecting("403", "404"):
        console.go("/console/?in=harbour")
        expect(console.page.get_by_test_id("scope-name").first).to_have_text("Demo")
        console.go("/console/?in=*")
        expect(console.page.get_by_test_id("scope-name").first).to_have_text("Demo")
    assert console.errors == []


def test_the_policy_of_the_page_is_strict(open_console: OpenConsole) -> None:
    console = open_console("viewer")
    response = console.page.goto(f"{console.url}/console/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
