"""A person at the console: one page of a browser that notices what goes wrong on it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import ConsoleMessage, Page, Request, expect

PASSWORD = "correct-horse-battery-9"
ROLES = ("operator", "owner", "member", "viewer")
WAIT_MS = 20_000
_AXE = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
}"""


@dataclass(frozen=True, slots=True)
class Person:
    """Who signs in."""

    email: str
    password: str = field(repr=False)


# Transitions alone: an animation that goes on for ever, as a skeleton's, is no reason to wait.
_STILL = """() => document.getAnimations().every(
  (each) => each.playState !== "running" || !(each instanceof CSSTransition))"""


class ConsolePage:
    """`go` opens an address of the console and waits for its data; `errors` and `foreign` must stay empty."""

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        """`page` is signed in; `url` has no slash at the end; `pictures` is where screenshots are kept."""
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self._pictures = pictures
        self._expected: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._see)

    def go(self, path: str) -> None:
        """Open `path` (as `/console/keys`) and wait until it has its data."""
        self.page.goto(self.url + path)
        self.settle()

    def follow(self, path: str) -> None:
        """Go on to `path` without loading the page anew, as a link does."""
        self.page.evaluate(
            """(path) => {
              const link = document.createElement("a");
              link.href = path;
              document.getElementById("main").append(link);
              link.click();
              link.remove();
            }""",
            path,
        )
        self.settle()

    def leave(self) -> None:
        """Leave the console: from now on this page asks for nothing and hears of nothing."""
        self.page.goto("about:blank")

    def settle(self) -> None:
        """Wait until nothing is being loaded any more."""
        expect(self.page.locator("#main h1").first).to_be_visible(timeout=WAIT_MS)
        expect(self.page.locator('[aria-busy="true"]')).to_have_count(0, timeout=WAIT_MS)

    def resize(self, width: int) -> None:
        """As wide as a desktop (1280) or a phone (360)."""
        self.page.set_viewport_size({"width": width, "height": 800 if width > 500 else 740})

    def wear(self, appearance: str) -> None:
        """`light` or `dark`."""
        self.page.emulate_media(color_scheme="dark" if appearance == "dark" else "light")

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window, once it has taken notice of the window's width."""
        wider: int = self.page.evaluate(
            """async () => {
              for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
              const main = document.getElementById("main");
              const root = document.documentElement;
              return Math.max(root.scrollWidth - root.clientWidth, main ? main.scrollWidth - main.clientWidth : 0);
            }"""
        )
        return wider

    def axe(self) -> list[str]:
        """What axe finds, each with where, once colours have stopped changing: half-way ones fail its contrast."""
        self.page.wait_for_function(_STILL)
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        found: list[str] = self.page.evaluate(_AXE)
        return found

    def keep(self, name: str) -> Path:
        """Keep a screenshot."""
        path = self._pictures / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    @contextlib.contextmanager
    def expecting(self, *texts: str) -> Iterator[None]:
        """Within, console errors that contain one of `texts` (as "404") are part of the test."""
        self._expected = list(texts)
        try:
            yield
        finally:
            self._expected = []

    def forget(self) -> None:
        """Begin counting errors anew; what a test had put in the way of requests is gone."""
        self.page.unroute_all()
        self.errors.clear()
        self.foreign.clear()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type != "error" or any(text in message.text for text in self._expected):
            return
        self.errors.append(f"{message.text} at {message.location.get('url', '')}")

    def _see(self, request: Request) -> None:
        own = (self.url, self.url.replace("http:", "ws:"), "data:", "blob:")
        if not request.url.startswith(own):
            self.foreign.append(request.url)


def sign_in(page: Page, url: str, person: Person) -> None:
    """Sign in and open the console."""
    page.goto(f"{url}/console/")
    page.fill("input[name=login]", person.email)
    page.fill("input[name=password]", person.password)
    page.click("button[type=submit]")
    expect(page.locator("#main h1").first).to_be_visible(timeout=WAIT_MS)


def call(page: Page, method: str, path: str, body: Any, tenant: str) -> tuple[int, Any]:
    """A REST call with the page's session: status and parsed answer."""
    answer: list[Any] = page.evaluate(
        """async ([method, path, body, tenant]) => {
          const token = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="))?.slice(10) ?? "";
          const response = await fetch(path, {
            method,
            headers: { "X-Atrium-Tenant": tenant, "X-CSRFToken": token, "Content-Type": "application/json" },
            ...(body === null ? {} : { body: JSON.stringify(body) }),
          });
          const text = await response.text();
          return [response.status, text ? JSON.parse(text) : null];
        }""",
        [method, path, body, tenant],
    )
    return int(answer[0]), answer[1]
