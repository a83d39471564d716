"""Which model answers, in the browser: the dial and a rule are tried before they are saved, and found again after."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.console import ConsolePage
from fakes.engine_server import Behaviour, engine_thread
from playwright.sync_api import expect

from kernel.ids import uuid7

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]
POLICY = "/api/v1/routing/policy"


@pytest.fixture(autouse=True)
def nothing_said(installation: Any) -> Iterator[None]:
    """No policy outlives its test."""
    yield
    for role in ("owner", "harbour"):
        assert installation.request("PUT", POLICY, role=role, body={})[0] == 200


def tiers_of(installation: Any) -> set[str]:
    """Tiers of which there is a chat model that can be called: other tests have models of theirs."""
    _, said = installation.request("GET", "/api/v1/models?limit=200", role="harbour")
    return {
        each["tier"] for each in said["results"] if each["kind"] == "chat" and each["state"] == "in_service"
    }


@pytest.mark.parametrize("width", [1280, 360])
def test_a_rule_is_tried_then_saved(open_console: OpenConsole, installation: Any, width: int) -> None:
    console = open_console("operator", width)
    console.go(f"/console/choice?in={installation.second}")
    page = console.page
    name = f"Everything at {width}"
    page.get_by_test_id("dial-on").check()
    # A choice between tiers of which one is missing chooses nothing, which is said.
    expect(page.get_by_test_id("one-tier")).to_have_count(1 if len(tiers_of(installation)) < 2 else 0)
    page.get_by_test_id("new-rule").click()
    dialog = page.get_by_test_id("rule-dialog")
    dialog.locator("input[name=name]").fill(name)
    dialog.locator("select[name=use]").select_option("light")
    dialog.get_by_test_id("save").click()
    expect(dialog).to_have_count(0)
    page.get_by_test_id("try").click()
    expect(page.get_by_test_id("tried")).to_contain_text(name)
    assert console.axe() == []
    assert console.overflow() == 0
    page.get_by_test_id("policy").get_by_test_id("save").click()
    expect(page.get_by_test_id("policy").get_by_test_id("save")).to_be_disabled()
    page.reload()
    expect(page.get_by_test_id("rule")).to_have_count(1)
    expect(page.get_by_test_id("dial")).to_have_value("30")
    # As it was before.
    page.get_by_role("button", name=f"Delete the rule {name}").click()
    page.get_by_test_id("dial-on").uncheck()
    page.get_by_test_id("policy").get_by_test_id("save").click()
    expect(page.get_by_test_id("policy").get_by_test_id("save")).to_be_disabled()
    assert console.errors == []


def test_a_stand_in_and_a_trial_are_kept_and_taken_back(open_console: OpenConsole, installation: Any) -> None:
    with engine_thread(Behaviour(words=2, context=2048)) as engine:
        model = f"org/model-{uuid7().hex[-8:]}"
        engine.served_models = (model,)
        installation.register(engine.url, model, f"p-{model[-8:]}")
        try:
            console = open_console("operator")
            console.go(f"/console/choice?in={installation.second}")
            page = console.page
            page.get_by_test_id("new-chain").click()
            page.get_by_test_id("chain").get_by_label("In place of").select_option(model)
            page.get_by_test_id("chain").get_by_label("answers").select_option("atrium-extractive")
            page.get_by_test_id("new-canary").click()
            trial = page.get_by_test_id("canary")
            trial.get_by_label("Instead of").select_option("atrium-extractive")
            trial.get_by_label("try").select_option(model)
            trial.get_by_label("Percent of conversations").fill("140")
            trial.get_by_label("Percent of conversations").press("Tab")
            assert console.axe() == []
            page.get_by_test_id("policy").get_by_test_id("save").click()
            expect(page.get_by_test_id("policy").get_by_test_id("save")).to_be_disabled()
            page.reload()
            chain = page.get_by_test_id("chain")
            expect(chain.get_by_label("In place of")).to_have_value(model)
            expect(chain.get_by_label("answers")).to_have_value("atrium-extractive")
            expect(page.get_by_test_id("canary").get_by_label("Percent of conversations")).to_have_value("99")
            # As it was before.
            page.get_by_role("button", name=f"Delete the stand-ins of {model}").click()
            page.get_by_role("button", name="End the trial for atrium-extractive").click()
            page.get_by_test_id("policy").get_by_test_id("save").click()
            expect(page.get_by_test_id("policy").get_by_test_id("save")).to_be_disabled()
            expect(page.get_by_test_id("chain")).to_have_count(0)
            assert console.errors == []
        finally:
            open_console("operator").leave()
            installation.take_out(engine.url)


@pytest.mark.parametrize("width", [1440, 360])
def test_answers_given_again_are_declined_for_all_and_asked_for_by_a_key(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    console = open_console("owner", width)
    console.go("/console/choice")
    page = console.page
    saved = page.get_by_test_id("policy").get_by_test_id("save")
    page.get_by_test_id("caching").get_by_label("Calls of this tenant").select_option("never")
    page.get_by_test_id("new-key-caching").click()
    key = page.get_by_test_id("key-caching")
    key.get_by_label("Answers given again").select_option("always")
    page.get_by_test_id("try").click()
    expect(page.get_by_test_id("tried")).to_contain_text("as said of the tenant: Never")
    assert console.axe() == []
    assert console.overflow() == 0
    page.get_by_test_id("key-caching").scroll_into_view_if_needed()
    console.keep(f"choice-caching-{width}")
    saved.click()
    expect(saved).to_be_disabled()
    page.reload()
    expect(page.get_by_test_id("caching").get_by_label("Calls of this tenant")).to_have_value("never")
    expect(key.get_by_label("Answers given again")).to_have_value("always")
    # As it was before.
    key.get_by_role("button").click()
    page.get_by_test_id("caching").get_by_label("Calls of this tenant").select_option("asked")
    saved.click()
    expect(saved).to_be_disabled()
    assert console.errors == []


@pytest.mark.parametrize("width", [1440, 360])
def test_a_second_opinion_is_set_by_a_confidence_or_a_share(
    open_console: OpenConsole, installation: Any, width: int
) -> None:
    console = open_console("owner", width)
    console.go("/console/choice")
    page = console.page
    saved = page.get_by_test_id("policy").get_by_test_id("save")
    page.get_by_test_id("cascade-on").check()
    cascade = page.get_by_test_id("cascade")
    expect(cascade.get_by_label("Confidence below")).to_have_value("50")
    cascade.get_by_label("What counts as not sure").select_option("share")
    cascade.get_by_label("Percent of calls").fill("30")
    cascade.get_by_label("Tokens that are looked at").fill("900")
    cascade.get_by_label("Tokens that are looked at").press("Tab")
    assert console.axe() == []
    assert console.overflow() == 0
    cascade.scroll_into_view_if_needed()
    console.keep(f"choice-cascade-{width}")
    saved.click()
    expect(saved).to_be_disabled()
    page.reload()
    expect(cascade.get_by_label("Percent of calls")).to_have_value("30")
    expect(cascade.get_by_label("Tokens that are looked at")).to_have_value("64")
    # As it was before.
    page.get_by_test_id("cascade-on").uncheck()
    saved.click()
    expect(saved).to_be_disabled()
    assert console.errors == []
