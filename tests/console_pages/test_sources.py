"""Where a pool's replicas come from, in the browser: found by DNS, what is refused, what fails, one that vanishes."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fakes.console import ConsolePage, call
from fakes.dns_server import NameServer
from fakes.engine_server import Behaviour, EngineServer, engine_thread
from playwright.sync_api import Locator, expect

from kernel.ids import uuid7

pytestmark = pytest.mark.pages

OpenConsole = Callable[..., ConsolePage]
# The source is followed within seconds, and a name missed after two answers of five.
FOUND_MS = 30_000


class Place:
    """A pool without replicas, a model that nobody serves yet, and a name that nobody has."""

    def __init__(self, pool: dict[str, Any], model: str, names: NameServer) -> None:
        self.pool, self.model, self.names = pool, model, names
        self.name = f"{pool['name']}.test"
        self.path = f"/api/v1/pools/{pool['id']}"

    def has(self, *engines: EngineServer) -> None:
        """The name is that of these engines from now on."""
        ports = [engine.url.split(":")[2].removesuffix("/v1") for engine in engines]
        self.names.records[self.name, "SRV"] = [f"0 0 {port} localhost." for port in ports]


@pytest.fixture
def place(installation: Any, open_console: OpenConsole, name_server: NameServer) -> Iterator[Place]:
    server, key = installation.demo.server, installation.demo.api_key
    mark = uuid7().hex[-8:]
    status, pool = server.request("POST", "/api/v1/pools", key=key, body={"name": f"pool-{mark}"})
    assert status == 201, pool
    status, model = server.request("POST", "/api/v1/models", key=key, body={"id": f"org/found-{mark}"})
    assert status == 201, model
    made = Place(pool, model["id"], name_server)
    yield made
    open_console("operator").go("/console/")
    assert server.request("PUT", f"{made.path}/source", key=key, body={"kind": "static"})[0] == 200
    _, replicas = server.request("GET", f"{made.path}/replicas", key=key)
    for replica in replicas["results"]:
        server.request("DELETE", f"{made.path}/replicas/{replica['id']}", key=key)
    assert server.request("DELETE", made.path, key=key)[0] == 204
    assert server.request("DELETE", f"/api/v1/models/{made.model}", key=key)[0] == 204


@pytest.fixture
def engines(place: Place) -> Iterator[tuple[EngineServer, EngineServer]]:
    # Slow enough that a call is there still when its replica goes.
    slow = Behaviour(words=60, gap_s=0.5)
    with engine_thread(slow) as one, engine_thread(slow) as other:
        one.served_models = other.served_models = (place.model,)
        yield one, other


def begin(console: ConsolePage, place: Place, how: str) -> Locator:
    console.go(f"/console/models/+pool/{place.pool['id']}")
    expect(console.page.get_by_test_id("source")).to_contain_text("registered by hand")
    console.page.get_by_role("button", name=how).click()
    return console.page.get_by_test_id("source-edit")


@pytest.mark.parametrize("width", [1280, 360])
def test_replicas_are_found_and_one_that_vanishes_is_removed(
    installation: Any,
    open_console: OpenConsole,
    place: Place,
    engines: tuple[EngineServer, EngineServer],
    width: int,
) -> None:
    server, key = installation.demo.server, installation.demo.api_key
    place.has(*engines)
    console = open_console("operator", width)
    page = console.page
    drawer = begin(console, place, "Find them by DNS")
    expect(drawer.locator("select[name=kind]")).to_have_value("dns")
    drawer.locator("input[name=name]").fill(place.name)
    drawer.locator("select[name=record]").select_option("srv")
    expect(drawer.locator("input[name=port]")).to_have_count(0)
    drawer.locator("select[name=model]").select_option(place.model)
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"source-edit-{width}")
    drawer.get_by_test_id("save").click()
    expect(drawer).to_have_count(0)
    section, rows = page.get_by_test_id("source"), page.get_by_test_id("replica-row")
    expect(rows).to_have_count(2, timeout=FOUND_MS)
    expect(section).to_have_attribute("data-state", "found", timeout=FOUND_MS)
    expect(section).to_contain_text(f"SRV {place.name}")
    expect(rows.first.get_by_test_id("origin")).to_have_text("found by DNS")
    section.scroll_into_view_if_needed()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"source-found-{width}")
    server.wait_for_model(key, place.model)
    asked = {"model": place.model, "messages": [{"role": "user", "content": "Go on."}], "stream": False}
    with ThreadPoolExecutor(4) as aside:
        for _ in range(4):
            aside.submit(server.request, "POST", "/v1/chat/completions", key=key, body=asked)
        expect(page.get_by_test_id("pool-inside")).to_contain_text("4", timeout=FOUND_MS)
        place.has(engines[0])
        page.get_by_test_id("look-now").click()
        vanished = page.get_by_test_id("vanished")
        expect(vanished).to_contain_text("Named no more since", timeout=FOUND_MS)
        vanished.scroll_into_view_if_needed()
        assert console.axe() == []
        assert console.overflow() == 0
        console.keep(f"source-vanished-{width}")
        vanished.get_by_role("button", name="Remove now").click()
        expect(rows).to_have_count(1, timeout=FOUND_MS)
    assert console.errors == []


@pytest.mark.parametrize("width", [1280, 360])
def test_a_source_that_fails_says_why_and_what_may_help(
    open_console: OpenConsole, place: Place, width: int
) -> None:
    console = open_console("operator", width)
    drawer = begin(console, place, "Find them in Kubernetes")
    drawer.locator("input[name=service]").fill("vllm")
    drawer.locator("select[name=model]").select_option(place.model)
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"source-kubernetes-{width}")
    drawer.get_by_test_id("save").click()
    problem = console.page.get_by_test_id("source-problem")
    expect(problem).to_contain_text("The service account has no namespace", timeout=FOUND_MS)
    expect(problem).to_contain_text("discovery.kubernetes")
    problem.scroll_into_view_if_needed()
    assert console.axe() == []
    assert console.overflow() == 0
    console.keep(f"source-failing-{width}")
    console.go("/console/models")
    expect(console.page.get_by_test_id(f"pool-{place.pool['name']}")).to_contain_text("Nobody says where")
    assert console.overflow() == 0
    console.keep(f"source-failing-card-{width}")
    assert console.errors == []


def test_what_is_wrong_is_said_at_its_field(open_console: OpenConsole, place: Place) -> None:
    console = open_console("operator")
    drawer = begin(console, place, "Find them by DNS")
    drawer.locator("input[name=name]").fill("10.0.0.1")
    drawer.locator("input[name=port]").fill("8000")
    drawer.locator("select[name=model]").select_option(place.model)
    with console.expecting("400"):
        drawer.get_by_test_id("save").click()
        expect(drawer.get_by_test_id("field-error")).to_contain_text("and no address")
    expect(drawer.locator("input[name=name]")).to_have_attribute("aria-invalid", "true")
    console.keep("source-refused")
    assert console.errors == []


def test_of_two_editors_the_second_is_shown_what_the_first_did(
    installation: Any, open_console: OpenConsole, place: Place
) -> None:
    console = open_console("operator")
    drawer = begin(console, place, "Find them by DNS")
    drawer.locator("input[name=name]").fill("mine.test")
    drawer.locator("input[name=port]").fill("8000")
    drawer.locator("select[name=model]").select_option(place.model)
    body = {"kind": "dns", "name": "theirs.test", "port": 9000, "model": place.model}
    status, said = call(console.page, "PUT", f"{place.path}/source", body, installation.demo.tenant)
    assert status == 200, said
    with console.expecting("412", "409"):
        drawer.get_by_test_id("save").click()
        expect(console.page.get_by_test_id("conflict")).to_contain_text("theirs.test")
        console.page.get_by_test_id("conflict-theirs").click()
        expect(drawer.locator("input[name=name]")).to_have_value("theirs.test")
    assert console.errors == []


def test_it_is_said_in_german(open_console: OpenConsole, place: Place) -> None:
    console = open_console("operator", 360)
    console.go(f"/console/models/+pool/{place.pool['id']}")
    console.page.evaluate("() => localStorage.setItem('atrium.language', 'de')")
    try:
        console.go(f"/console/models/+pool/{place.pool['id']}")
        section = console.page.get_by_test_id("source")
        expect(section).to_contain_text("Replikate werden von Hand eingetragen")
        section.scroll_into_view_if_needed()
        assert console.overflow() == 0
        assert console.axe() == []
        console.keep("source-german-360")
    finally:
        console.page.evaluate("() => localStorage.removeItem('atrium.language')")
