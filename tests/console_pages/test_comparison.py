"""Copies of answered calls, in the browser: set in the policy, and both models side by side once there are some."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fakes.console import ConsolePage
from fakes.engine_server import Behaviour, engine_thread
from playwright.sync_api import expect

from kernel.ids import uuid7

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
POLICY = "/api/v1/routing/policy"
ASKED = {"messages": [{"role": "user", "content": "Where do ships wait?"}]}


@contextmanager
def two_models(installation: Any) -> Iterator[tuple[str, str]]:
    """Two chat models, each with an engine that says something else."""
    fast = Behaviour(text="ships wait at the outer berth until the pilot comes", first_byte_s=0.02)
    slow = Behaviour(text="a ship waits at the outer berth until its pilot comes aboard", first_byte_s=0.15)
    with engine_thread(fast) as one, engine_thread(slow) as other:
        names = []
        for engine, kind in ((one, "now"), (other, "next")):
            model = f"org/{kind}-{uuid7().hex[-6:]}"
            engine.served_models = (model,)
            names.append(model)
        try:
            for engine, model in zip((one, other), names, strict=True):
                installation.register(engine.url, model, f"p-{model[4:]}")
            yield names[0], names[1]
        finally:
            for engine in (one, other):
                installation.take_out(engine.url)


def ask(installation: Any, model: str, times: int) -> None:
    for _ in range(times):
        status, _ = installation.request("POST", "/v1/chat/completions", body={**ASKED, "model": model})
        assert status == 200


def wait_for_pairs(installation: Any, model: str, count: int) -> None:
    deadline = time.monotonic() + 30
    seen = 0
    while seen < count and time.monotonic() < deadline:
        _, found = installation.request("GET", "/api/v1/routing/shadows?range=1h")
        seen = sum(each["compared"] for each in found["results"] if each["model"] == model)
        time.sleep(0.3)
    assert seen >= count


@pytest.mark.parametrize("width", [1280, 360])
def test_without_any_copy_the_page_says_what_to_do(open_console: OpenConsole, width: int) -> None:
    console = open_console("harbour", width)
    console.go("/console/choice/comparison")
    page = console.page
    expect(page.get_by_text("Nothing is compared yet")).to_be_visible()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"comparison-empty-{width}")
    page.get_by_role("link", name="Set what is copied").click()
    expect(page.get_by_test_id("new-shadow")).to_be_visible()
    assert console.errors == []


@pytest.mark.parametrize("width", [1280, 360])
def test_copies_are_set_and_compared(open_console: OpenConsole, installation: Any, width: int) -> None:
    with two_models(installation) as (now, later):
        console = open_console("owner", width)
        console.go("/console/choice")
        page = console.page
        page.get_by_test_id("new-shadow").click()
        shadow = page.get_by_test_id("shadow")
        shadow.get_by_label("Calls of").select_option(now)
        shadow.get_by_label("also to").select_option(later)
        shadow.get_by_label("Percent of calls").fill("400")
        shadow.get_by_label("Percent of calls").press("Tab")
        expect(shadow.get_by_label("Percent of calls")).to_have_value("100")
        assert console.axe() == []
        assert console.overflow() == 0
        shadow.scroll_into_view_if_needed()
        console.keep(f"choice-copies-{width}")
        save = page.get_by_test_id("policy").get_by_test_id("save")
        save.click()
        expect(page.get_by_text("Saved. In force everywhere").first).to_be_visible()
        try:
            page.get_by_test_id("see-comparison").click()
            comparison = page.get_by_test_id("comparison").filter(has_text=later)
            expect(comparison).to_contain_text("No copy in this range")
            time.sleep(2.5)
            ask(installation, now, 3)
            wait_for_pairs(installation, now, 3)
            page.reload()
            table = comparison.get_by_test_id("comparison-table")
            expect(table).to_contain_text("stop 100%")
            expect(comparison).to_contain_text("of 3: too few for bounds")
            console.settle()
            assert console.axe() == []
            assert console.overflow() == 0
            console.keep(f"comparison-{width}")
            page.get_by_role("button", name="7 days").click()
            expect(page).to_have_url(re.compile("range=7d"))
            expect(table).to_contain_text("stop 100%")
        finally:
            installation.request("PUT", POLICY, body={})
    assert console.errors == []
