"""How many replicas a pool has, in the browser: a dry run, what is refused, two editors, a pool that sleeps and wakes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fakes.console import ConsolePage, call
from fakes.scaler_program import ScalerProgram
from playwright.sync_api import Locator, expect

from kernel.ids import uuid7

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]
# A pool is looked at every five seconds.
DECIDED_MS = 20_000


@pytest.fixture
def pool(installation: Any, open_console: OpenConsole) -> Iterator[dict[str, Any]]:
    """A pool without replicas; it goes in the end, when nobody looks at it any more."""
    server, key = installation.demo.server, installation.demo.api_key
    body = {"name": f"pool-{uuid7().hex[-8:]}"}
    status, made = server.request("POST", "/api/v1/pools", key=key, body=body)
    assert status == 201, made
    yield made
    open_console("operator").go("/console/")
    path = f"/api/v1/pools/{made['id']}"
    status, replicas = server.request("GET", f"{path}/replicas", key=key)
    for replica in replicas["results"]:
        server.request("DELETE", f"{path}/replicas/{replica['id']}", key=key)
    assert server.request("DELETE", path, key=key)[0] == 204


def edit(console: ConsolePage) -> Locator:
    console.page.get_by_test_id("edit-scaling").click()
    return console.page.get_by_test_id("scaling-edit")


@pytest.mark.parametrize("width", [1280, 360])
def test_a_dry_run_is_begun_and_tells_what_it_would_do(
    open_console: OpenConsole, pool: dict[str, Any], width: int
) -> None:
    console = open_console("operator", width)
    page = console.page
    console.go(f"/console/models/+pool/{pool['id']}")
    section = page.get_by_test_id("scaling")
    expect(section).to_contain_text("Nothing is decided about this pool")
    page.get_by_role("button", name="Begin a dry run").click()
    drawer = page.get_by_test_id("scaling-edit")
    expect(drawer.locator("select[name=mode]")).to_have_value("dry_run")
    drawer.locator("input[name=minimum]").fill("2")
    drawer.locator("input[name=maximum]").fill("4")
    drawer.get_by_role("button", name="Add a schedule").click()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"scaling-edit-{width}")
    drawer.get_by_test_id("save").click()
    expect(drawer).to_have_count(0)
    decision = section.get_by_test_id("decision").first
    expect(decision).to_contain_text("0 → 2", timeout=DECIDED_MS)
    expect(decision).to_contain_text("the minimum 2")
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"scaling-{width}")
    assert console.errors == []


def test_bounds_that_contradict_each_other_are_said_at_their_field(
    open_console: OpenConsole, pool: dict[str, Any]
) -> None:
    console = open_console("operator")
    console.go(f"/console/models/+pool/{pool['id']}")
    drawer = edit(console)
    drawer.locator("input[name=minimum]").fill("5")
    drawer.locator("input[name=maximum]").fill("2")
    with console.expecting("400"):
        drawer.get_by_test_id("save").click()
        expect(drawer.get_by_test_id("field-error")).to_be_visible()
    expect(drawer.locator("input[name=minimum]")).to_have_value("5")
    assert console.errors == []


def test_of_two_editors_the_second_is_shown_what_the_first_did(
    installation: Any, open_console: OpenConsole, pool: dict[str, Any]
) -> None:
    console = open_console("operator")
    console.go(f"/console/models/+pool/{pool['id']}")
    drawer = edit(console)
    drawer.locator("input[name=maximum]").fill("3")
    path = f"/api/v1/pools/{pool['id']}/scaling"
    status, said = call(
        console.page, "PUT", path, {"mode": "dry_run", "maximum": 9}, installation.demo.tenant
    )
    assert status == 200, said
    with console.expecting("412", "409"):
        drawer.get_by_test_id("save").click()
        expect(console.page.get_by_test_id("conflict")).to_contain_text("9")
        console.page.get_by_test_id("conflict-theirs").click()
        expect(drawer.locator("input[name=maximum]")).to_have_value("9")
    status, said = call(console.page, "GET", path, None, installation.demo.tenant)
    assert said["maximum"] == 9, "nothing was overwritten in silence"
    assert console.errors == []


def test_a_pool_that_sleeps_is_woken_by_a_call_before_the_operator_s_eyes(
    installation: Any, open_console: OpenConsole, pool: dict[str, Any], scaler: ScalerProgram
) -> None:
    server, key = installation.demo.server, installation.demo.api_key
    model = f"org/sleeper-{uuid7().hex[-8:]}"
    path = f"/api/v1/pools/{pool['id']}/scaling"
    scaler.models[pool["name"]], scaler.start_s = model, 6.0
    try:
        body = {"mode": "on", "minimum": 0, "maximum": 2, "wake_s": 60}
        status, said = server.request("PUT", path, key=key, body=body)
        assert status == 200, said
        server.wait_for_model(key, model)
        console = open_console("operator")
        console.go(f"/console/models/+pool/{pool['id']}")
        page = console.page
        expect(page.get_by_test_id("asleep")).to_contain_text("wakes at the first call", timeout=DECIDED_MS)
        assert console.axe() == []
        console.keep("scaling-asleep")
        asked = {"model": model, "messages": [{"role": "user", "content": "Wake up."}], "max_tokens": 6}
        with ThreadPoolExecutor(1) as aside:
            answered = aside.submit(server.request, "POST", "/v1/chat/completions", key=key, body=asked)
            expect(page.get_by_test_id("asleep")).to_contain_text("is waking", timeout=DECIDED_MS)
            console.keep("scaling-waking")
            status, said = answered.result(60)
        assert status == 200, said
        expect(page.get_by_test_id("asleep")).to_have_count(0, timeout=DECIDED_MS)
        expect(page.get_by_test_id("replica-row")).to_have_count(1, timeout=DECIDED_MS)
        expect(page.get_by_test_id("scaling")).to_contain_text("a call for a pool that slept")
        console.keep("scaling-awake")
        assert console.errors == []
    finally:
        server.request("PUT", path, key=key, body={"mode": "off"})
        del scaler.models[pool["name"]]
