"""Models and pools in the browser: an engine is tested, put into service, watched, drained, edited, removed."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.console import ConsolePage
from fakes.engine_server import Behaviour, EngineServer, engine_thread
from playwright.sync_api import expect

from kernel.ids import uuid7

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]
SOON_MS = 15_000


@pytest.fixture
def engine(installation: Any, open_console: OpenConsole) -> Iterator[EngineServer]:
    """An engine that is taken out of service in the end: `auto` of later tests would choose one that is gone."""
    with engine_thread(Behaviour(words=2, context=2048)) as made:
        made.served_models = (f"org/model-{uuid7().hex[-8:]}",)
        yield made
        open_console("operator").leave()
        installation.take_out(made.url)


def tell_address(console: ConsolePage, url: str, key: str = "") -> Any:
    """Fill the first step in and press the button."""
    console.go("/console/models/+connect")
    page = console.page
    page.fill("input[name=url]", url)
    page.fill("input[name=api_key]", key)
    page.get_by_test_id("save").click()
    report = page.get_by_test_id("report")
    expect(report).to_be_visible(timeout=SOON_MS)
    return report


def connect(console: ConsolePage, engine: EngineServer, pool: str, *, price: str = "0") -> str:
    """Go the whole way; the id of the model."""
    page = console.page
    tell_address(console, engine.url)
    page.get_by_test_id("choose-models").click()
    page.fill("input[name=pool]", pool)
    page.get_by_label("Input price").fill(price)
    page.get_by_test_id("save").click()
    expect(page.get_by_test_id("made")).to_have_attribute("data-state", "healthy", timeout=SOON_MS)
    return engine.served_models[0]


def pool_card(console: ConsolePage, pool: str) -> Any:
    console.go("/console/models")
    return console.page.get_by_test_id(f"pool-{pool}")


@pytest.mark.parametrize("width", [1280, 360])
def test_an_engine_is_connected_and_turns_green(
    open_console: OpenConsole, engine: EngineServer, width: int
) -> None:
    console = open_console("operator", width)
    pool = f"pool-{uuid7().hex[-8:]}"
    report = tell_address(console, engine.url.removesuffix("/v1"))
    expect(report).to_contain_text("vLLM 0.0-fake")
    expect(report).to_contain_text(engine.served_models[0])
    expect(report).to_contain_text("2,048")
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"connect-report-{width}")
    console.page.get_by_test_id("choose-models").click()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"connect-models-{width}")
    model = connect(console, engine, pool, price="0.25")
    card = pool_card(console, pool)
    expect(card).to_contain_text("All well")
    expect(card).to_contain_text(model)
    expect(card.get_by_test_id("replica")).to_have_attribute("data-state", "healthy")
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"pools-{width}")
    assert console.errors == []


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (Behaviour(api_key="secret"), "refuses the key"),
        (Behaviour(listing="html"), "not as an OpenAI-compatible server"),
        (Behaviour(listing="rubbish"), "not as an OpenAI-compatible server"),
        (Behaviour(listing="redirect"), "redirects elsewhere"),
        (Behaviour(listing="empty"), "serves no model yet"),
        (Behaviour(status=500, context=2048), "status 500"),
    ],
)
def test_what_is_wrong_is_said(
    open_console: OpenConsole, engine: EngineServer, behaviour: Behaviour, said: str
) -> None:
    engine.behaviour = behaviour
    console = open_console("operator")
    report = tell_address(console, engine.url, "wrong")
    expect(report).to_contain_text(said)
    assert console.errors == []


def test_nobody_there_slow_ones_and_metadata(open_console: OpenConsole, engine: EngineServer) -> None:
    console = open_console("operator")
    expect(tell_address(console, "127.0.0.1:1")).to_contain_text("Nothing listens")
    engine.behaviour = Behaviour(listing_s=30)
    expect(tell_address(console, engine.url)).to_contain_text("did not answer in time")
    console.go("/console/models/+connect")
    with console.expecting("400"):
        console.page.fill("input[name=url]", "http://169.254.169.254/v1")
        console.page.get_by_test_id("save").click()
        expect(console.page.get_by_test_id("field-error")).to_contain_text("metadata")
    assert console.errors == []


def test_live_state_drain_edit_and_removal(open_console: OpenConsole, engine: EngineServer) -> None:
    console = open_console("operator")
    page = console.page
    pool = f"pool-{uuid7().hex[-8:]}"
    connect(console, engine, pool)
    card = pool_card(console, pool)
    replica = card.get_by_test_id("replica")
    engine.behaviour = Behaviour(healthy=False)
    expect(replica).to_have_attribute("data-state", "unhealthy", timeout=SOON_MS)
    expect(card).to_contain_text("No replica is well")
    engine.behaviour = Behaviour(context=2048)
    expect(replica).to_have_attribute("data-state", "healthy", timeout=SOON_MS)

    menu = card.get_by_test_id("replica-menu")
    menu.click()
    page.get_by_role("menuitem", name="Drain").click()
    expect(replica).to_have_attribute("data-state", "draining")
    page.get_by_role("button", name="Undo").click()
    expect(replica).to_have_attribute("data-state", "healthy")

    menu.click()
    page.get_by_role("menuitem", name="Edit").click()
    page.get_by_label("Calls at once").fill("0")
    drawer = page.get_by_test_id("replica-edit")
    page.get_by_label("Calls at once").fill("7")
    drawer.get_by_test_id("save").click()
    expect(drawer).to_have_count(0)
    expect(card).to_contain_text("0 of 7")

    menu.click()
    page.get_by_role("menuitem", name="Remove").click()
    confirm = page.get_by_test_id("confirm")
    expect(confirm).to_be_disabled()
    page.get_by_test_id("confirm-name").fill(engine.url.removeprefix("http://").removesuffix("/v1"))
    confirm.click()
    expect(card).to_contain_text("This pool has no engine.")
    card.get_by_role("button", name="Remove the empty pool").click()
    expect(card).to_have_count(0)
    assert console.errors == []


def test_prices_access_and_two_editors(
    open_console: OpenConsole, engine: EngineServer, installation: Any
) -> None:
    console = open_console("operator")
    page = console.page
    model = connect(console, engine, f"pool-{uuid7().hex[-8:]}", price="1")
    console.go(f"/console/models/{model}")
    page.fill("input[name=input_price]", "2.5")
    page.get_by_test_id("model-settings").get_by_test_id("save").click()
    expect(page.get_by_test_id("model-prices")).to_contain_text("2.5")
    with console.expecting("400"):
        page.fill("input[name=input_price]", "-1")
        page.get_by_test_id("model-settings").get_by_test_id("save").click()
        expect(page.get_by_test_id("field-error")).to_be_visible()
    page.fill("input[name=input_price]", "3")
    # Somebody else is quicker.
    status, _ = installation_patch(console, model, {"output_price": "9"})
    assert status == 200
    with console.expecting("412"):
        page.get_by_test_id("model-settings").get_by_test_id("save").click()
        conflict = page.get_by_role("dialog")
        expect(conflict).to_be_visible()
    console.keep("model-conflict")
    page.keyboard.press("Escape")
    console.go(f"/console/models/{model}")
    expect(page.locator("input[name=output_price]")).to_have_value("9")

    page.get_by_label("Only for some tenants").check()
    page.get_by_role("combobox", name="Tenants").click()
    page.locator("[role=option]", has_text="Harbour").click()
    page.keyboard.press("Escape")
    page.get_by_test_id("model-settings").get_by_test_id("save").click()
    expect(page.get_by_text("The model is saved.")).to_be_visible()
    assert console.axe() == []
    member = open_console("member")
    member.go("/console/models")
    expect(member.page.locator("#main")).not_to_contain_text(model)
    other = open_console("harbour")
    other.go("/console/models")
    expect(other.page.locator("#main")).to_contain_text(model)
    assert console.errors == []


def test_answers_may_be_given_again_and_what_that_saved_is_seen(
    open_console: OpenConsole, engine: EngineServer, installation: Any
) -> None:
    console = open_console("operator")
    page = console.page
    model = connect(console, engine, f"pool-{uuid7().hex[-8:]}", price="1000")
    console.go(f"/console/models/{model}")
    expect(page.get_by_test_id("model-savings")).to_have_count(0)
    page.fill("input[name=cache_seconds]", "600")
    page.fill("input[name=cached_price_percent]", "10")
    page.get_by_test_id("model-settings").get_by_test_id("save").click()
    expect(page.get_by_text("The model is saved.")).to_be_visible()
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    server, key = installation.demo.server, installation.demo.api_key
    answers = [server.request("POST", "/v1/chat/completions", key=key, body=body) for _ in range(12)]
    # The first ones may have come before the change had: from then on one is made and all others are the same.
    assert {status for status, _ in answers} == {200}
    saved = page.get_by_test_id("model-savings")
    for _ in range(30):
        console.go(f"/console/models/{model}")
        expect(saved).to_be_visible()
        if "Givenagain0" not in "".join((saved.text_content() or "").split()):
            break
        server.request("POST", "/v1/chat/completions", key=key, body=body)
        page.wait_for_timeout(500)
    expect(saved).to_contain_text("Tokens saved")
    expect(saved).to_contain_text("%")
    for width, appearance in ((1440, "light"), (360, "dark")):
        console.resize(width)
        console.wear(appearance)
        assert console.overflow() <= 0
        console.keep(f"model-savings-{width}-{appearance}")
    assert console.axe() == []
    assert console.errors == []


def test_a_price_is_planned_changed_and_withdrawn(open_console: OpenConsole, engine: EngineServer) -> None:
    console = open_console("operator")
    page = console.page
    model = connect(console, engine, f"pool-{uuid7().hex[-8:]}", price="1")
    console.go(f"/console/models/{model}")
    prices = page.get_by_test_id("model-prices")
    expect(prices).to_contain_text("no other is planned")

    def plan(moment: str, price: str) -> None:
        page.fill("input[name=valid_from]", moment)
        page.get_by_test_id("price-plan").locator("input[name=input_price]").fill(price)
        page.get_by_test_id("price-plan").get_by_test_id("save").click()

    page.get_by_test_id("plan-price").click()
    with console.expecting("400"):
        plan("2020-01-01T10:00", "2.5")
        expect(page.get_by_test_id("price-plan").get_by_test_id("field-error")).to_contain_text("10 seconds")
    moment = datetime.now(UTC) + timedelta(days=30)
    plan(moment.strftime("%Y-%m-%dT10:00"), "2.5")
    expect(page.get_by_text("The price is planned.")).to_be_visible()
    planned = prices.get_by_test_id("price-planned")
    expect(planned).to_contain_text("2.5")
    expect(prices.get_by_test_id("price-in_force")).to_contain_text("1")
    for width, appearance in ((1440, "light"), (360, "dark")):
        console.resize(width)
        console.wear(appearance)
        prices.scroll_into_view_if_needed()
        assert console.overflow() <= 0
        console.keep(f"model-prices-{width}-{appearance}")
    assert console.axe() == []
    page.get_by_role("button", name="Change the price planned").click()
    console.keep("price-plan-360-dark")
    page.get_by_test_id("price-plan").locator("input[name=input_price]").fill("3")
    page.get_by_test_id("price-plan").get_by_test_id("save").click()
    expect(planned).to_contain_text("3")
    page.get_by_role("button", name="Withdraw the price planned").click()
    expect(planned).to_have_count(0)
    expect(prices).to_contain_text("no other is planned")
    assert console.errors == []


def installation_patch(console: ConsolePage, model: str, body: Any) -> tuple[int, Any]:
    """A change by somebody else, in the same session."""
    found: list[Any] = console.page.evaluate(
        """async ([path, body]) => {
          const token = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="))?.slice(10) ?? "";
          const response = await fetch(path, {
            method: "PATCH",
            headers: { "X-CSRFToken": token, "Content-Type": "application/json" },
            body: JSON.stringify(body),
          });
          return [response.status, await response.json()];
        }""",
        [f"/api/v1/models/{model}", body],
    )
    return int(found[0]), found[1]


def test_members_see_models_and_no_engines(open_console: OpenConsole) -> None:
    console = open_console("member")
    console.go("/console/models")
    expect(console.page.get_by_role("tab")).to_have_count(0)
    expect(console.page.get_by_test_id("connect")).to_have_count(0)
    console.go("/console/models/atrium-extractive")
    expect(console.page.get_by_test_id("model-settings")).to_have_count(0)
    expect(console.page.locator("#main")).to_contain_text("atrium-extractive")
    assert console.errors == []


def stream(url: str, key: str, body: dict[str, Any]) -> bytes:
    """A streamed chat, read to its end."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    raw = json.dumps(body | {"stream": True}).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", data=raw, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("width", "appearance"), [(1440, "light"), (360, "dark")])
def test_an_operator_sees_inside_a_pool_and_asks_where_a_call_would_go(
    installation: Any, open_console: OpenConsole, width: int, appearance: str
) -> None:
    server, key = installation.demo.server, installation.demo.api_key
    model, pool = f"org/pair-{uuid7().hex[-8:]}", f"pair-{uuid7().hex[-8:]}"
    with (
        engine_thread(Behaviour(words=6, gap_s=0.01)) as one,
        engine_thread(Behaviour(words=6, gap_s=0.02)) as two,
    ):
        try:
            for engine in (one, two):
                engine.served_models = (model,)
                installation.register(engine.url, model, pool)
            console = open_console("operator", width)
            console.wear(appearance)
            console.go("/console/models")
            console.page.get_by_test_id(f"pool-{pool}").get_by_test_id("look").click()
            rows = console.page.get_by_test_id("replica-row")
            expect(rows).to_have_count(2, timeout=SOON_MS)
            for number in range(8):
                asked = {"model": model, "messages": [{"role": "user", "content": f"{number} " * 400}]}
                assert b"[DONE]" in stream(server.url, key, asked)
            # What the calls taught is there with the next look: the time to the first token, of both.
            expect(rows.nth(0)).to_contain_text(" ms", timeout=SOON_MS)
            console.page.get_by_test_id("explain").click()
            expect(console.page.get_by_test_id("explained")).to_contain_text("at once", timeout=SOON_MS)
            expect(console.page.get_by_test_id("explained").get_by_role("listitem")).to_have_count(2)
            # Where the calls went, and why. Of quick ones ten a minute of a tenant are kept: another test may have had them.
            went = console.page.get_by_test_id("table-decisions").get_by_text(model).first
            deadline = time.monotonic() + 75
            while not went.is_visible() and time.monotonic() < deadline:
                stream(server.url, key, asked)
                console.page.wait_for_timeout(3000)
            expect(went).to_be_visible()
            console.page.wait_for_timeout(4500)
            console.keep(f"pool-{width}")
            assert console.axe() == []
            assert console.overflow() == 0
        finally:
            open_console("operator").leave()
            for engine in (one, two):
                installation.take_out(engine.url)
