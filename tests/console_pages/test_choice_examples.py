"""Examples of easy and hard work, and the platform's default, in the browser: said, tried, inherited and declined."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fakes.console import ConsolePage
from fakes.engine_server import Behaviour, engine_thread
from playwright.sync_api import Page, expect

from kernel.ids import uuid7

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
OWN, DEFAULT = "/routing/policy", "/routing/default"
EASY = ["Where do I find the travel form?", "Wann öffnet die Kantine?"]
HARD = ["Which of these clauses bind us after the merger?", "Weigh both offers against each other."]


@contextmanager
def both_tiers(installation: Any) -> Iterator[None]:
    """A light and a heavy model, so that there is something to decide."""
    mark = uuid7().hex[-8:]
    with engine_thread(Behaviour(words=2)) as light, engine_thread(Behaviour(words=2)) as heavy:
        try:
            for engine, tier in ((light, "light"), (heavy, "heavy")):
                model = f"org/{tier}-{mark}"
                engine.served_models = (model,)
                installation.register(engine.url, model, f"p-{tier}-{mark}", tier=tier)
            yield
        finally:
            for engine in (light, heavy):
                installation.take_out(engine.url)


def save(page: Page, form: str, path: str) -> int:
    """Save a form and wait until that was answered: examples are embedded first."""
    with page.expect_response(
        lambda answer: answer.request.method == "PUT" and answer.url.split("?")[0].endswith(path),
        timeout=60_000,
    ) as answered:
        page.get_by_test_id(form).get_by_test_id("save").click()
    return answered.value.status


def test_examples_are_tried_saved_and_told(open_console: OpenConsole, installation: Any) -> None:
    with both_tiers(installation):
        console = open_console("operator")
        console.go(f"/console/choice?in={installation.second}")
        page = console.page
        examples = page.get_by_test_id("examples")
        page.get_by_test_id("dial-on").check()
        examples.get_by_label("Easy").fill("\n".join(EASY))
        examples.get_by_label("Hard").fill("\n".join([*HARD, "", "  "]))
        expect(examples).to_contain_text("2 of 40")
        # Nothing is saved yet: the draft is tried with its examples.
        page.get_by_label("What is asked").fill(HARD[1])
        page.get_by_test_id("try").click()
        expect(page.get_by_test_id("likeness")).to_contain_text(HARD[1], timeout=30_000)
        assert console.axe() == []
        assert console.overflow() == 0
        console.keep("choice-examples")
        assert save(page, "policy", OWN) == 200
        page.reload()
        expect(examples.get_by_label("Easy")).to_have_value("\n".join(EASY))
        expect(examples.get_by_label("Hard")).to_have_value("\n".join(HARD))
        expect(page.get_by_test_id("examples-stale")).to_have_count(0)
        # One kind alone is refused where it is typed.
        examples.get_by_label("Easy").fill("")
        assert save(page, "policy", OWN) == 400
        expect(examples.get_by_role("alert")).to_contain_text("both kinds")
        # As it was before.
        examples.get_by_label("Hard").fill("")
        page.get_by_test_id("dial-on").uncheck()
        assert save(page, "policy", OWN) == 200
        assert [error for error in console.errors if "400" not in error] == []


@pytest.mark.parametrize("width", [1280, 360])
def test_a_default_is_said_seen_by_a_tenant_and_declined(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    console = open_console("operator", width)
    page = console.page
    console.go("/console/choice")
    page.get_by_test_id("see-default").click()
    page.get_by_test_id("dial-on").check()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"choice-default-{width}")
    assert save(page, "default", DEFAULT) == 200
    try:
        console.go("/console/choice")
        told = page.get_by_test_id("from-platform-heavy_percent")
        expect(told).to_contain_text("it holds here")
        expect(told).to_contain_text("30")
        told.get_by_role("switch").uncheck()
        expect(told).to_contain_text("does not hold here")
        assert console.axe() == []
        assert console.overflow() == 0
        assert save(page, "policy", OWN) == 200
        page.reload()
        expect(told).to_contain_text("does not hold here")
        # Its own word stands in place of it.
        page.get_by_test_id("dial-on").check()
        expect(told).to_contain_text("in place of the platform's")
        page.get_by_test_id("dial-on").uncheck()
        told.get_by_role("switch").check()
        assert save(page, "policy", OWN) == 200
    finally:
        console.go("/console/choice/platform")
        page.get_by_test_id("dial-on").uncheck()
        assert save(page, "default", DEFAULT) == 200
    assert console.errors == []
