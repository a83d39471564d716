"""A person's first hour: sign in, upload a document, ask about it, watch the answer stream in, open a citation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from fakes.browsers import CHROMIUM, launch_chromium
from fakes.demo import Demo, start_ready_demo
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

HANDBOOK = """# Lighthouse handbook

## Fog signals

The fog signal of the Skerryvore lighthouse sounds three blasts every ninety seconds. It is tested each Tuesday at noon.

## Lamp

The lamp is changed after 2,400 hours of service. Spare lamps are kept in the north store room.
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = launch_chromium(playwright)
        yield running
        running.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    started = start_ready_demo(tmp_path_factory.mktemp("browser"))
    yield started
    started.server.stop()


class Watched:
    """A page with what went wrong on it: console errors, and requests to other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self._url = url
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _see(self, request: Request) -> None:
        own = (self._url, self._url.replace("http:", "ws:"), "data:", "blob:")
        if not request.url.startswith(own):
            self.foreign.append(request.url)


@pytest.fixture(params=[1280, 360], ids=["desktop", "phone"])
def watched(request: pytest.FixtureRequest, browser: Browser, demo: Demo) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": request.param, "height": 800})
    context.set_default_timeout(20_000)
    page = context.new_page()
    yield Watched(page, demo.url)
    context.close()


def sign_in(page: Page, server: Demo) -> None:
    page.goto(server.url)
    page.fill("input[name=login]", server.admin_email)
    page.fill("input[name=password]", server.admin_password)
    page.click("button[type=submit]")
    expect(page.get_by_test_id("composer")).to_be_visible()


def test_the_main_job(watched: Watched, demo: Demo, tmp_path: Path) -> None:
    page = watched.page
    sign_in(page, demo)

    document = tmp_path / "handbook.md"
    document.write_text(HANDBOOK)
    page.goto(f"{demo.url}/k/")
    page.get_by_test_id("kb-item").first.click()
    page.get_by_test_id("upload-input").set_input_files(str(document))
    row = page.get_by_test_id("document-row").filter(has_text="handbook").first
    expect(row).to_have_attribute("data-state", "ready", timeout=60_000)

    page.goto(demo.url)
    page.get_by_test_id("composer").fill("How often does the fog signal of the Skerryvore lighthouse sound?")
    page.keyboard.press("Enter")
    answer = page.get_by_test_id("answer").last
    expect(answer).to_contain_text("three blasts every ninety seconds", timeout=60_000)
    citation = answer.get_by_test_id("citation").first
    expect(citation).to_be_visible()
    citation.click()
    panel = page.get_by_test_id("citation-panel")
    expect(panel).to_contain_text("three blasts every ninety seconds")

    assert watched.errors == []
    assert watched.foreign == []


def test_the_chat_fits_its_window_and_passes_axe(watched: Watched, demo: Demo) -> None:
    page = watched.page
    sign_in(page, demo)
    for path in ("/", "/k/"):
        page.goto(f"{demo.url}{path}")
        page.wait_for_load_state("networkidle")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0
        found: dict[str, Any] = Axe().run(page).response
        assert [violation["id"] for violation in found["violations"]] == []
    assert watched.errors == []


def test_a_reload_while_the_answer_streams_shows_it_whole(watched: Watched, demo: Demo) -> None:
    page = watched.page
    sign_in(page, demo)
    page.get_by_test_id("composer").fill("How do I connect a vLLM server?")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("answer").last).to_be_visible()
    page.reload()
    expect(page.get_by_test_id("answer").last).to_contain_text("register its OpenAI base URL", timeout=60_000)
    assert watched.errors == []


def test_content_policy_is_strict(watched: Watched, demo: Demo) -> None:
    response = watched.page.goto(f"{demo.url}/accounts/login/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
