"""One server and one browser for all tests of the console that a process runs; a signed-in page of each role for a file.

The server goes from file to file with what was left in it: a test counts on nothing but what it made itself, under a
name of its own, and sets back what there is only one of (a tenant's policy, its limits, a page's language).
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.browsers import CHROMIUM, launch_chromium
from fakes.console import PASSWORD, ROLES, ConsolePage, Person, sign_in
from fakes.demo import Demo, start_ready_demo
from fakes.dns_server import NameServer, name_server_thread
from fakes.scaler_program import SECRET, ScalerProgram, scaler_program
from playwright.sync_api import Browser, Page, StorageState, sync_playwright

SECOND = "harbour"
BUILT = Path(__file__).resolve().parents[2] / "platform/config/static/web"

_PEOPLE = """
import json
from tenants.services import create_tenant, create_user, find_tenant, issue_api_key
second, demo = create_tenant(slug={second!r}, name="Harbour Authority"), find_tenant(slug={tenant!r})
create_user(email="harbour@people.test", tenant_slug={second!r}, role="owner", password={password!r})
for role in ("owner", "member", "viewer"):
    create_user(email=role + "@people.test", tenant_slug={tenant!r}, role=role, password={password!r})
keys = {{"harbour": issue_api_key(tenant_id=second.id, name="harbour", role="owner").key}}
for role in ("owner", "admin", "member", "viewer"):
    keys[role] = issue_api_key(tenant_id=demo.id, name=role, role=role).key
print(json.dumps(keys))
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """The first test of a process may have to wait until the demo's documents are read."""
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(400))


@dataclass(slots=True)
class Installation:
    """A server with a demo tenant, a second tenant (`harbour`), and people of each role in the demo tenant.

    `people` maps `operator`, `owner`, `member`, `viewer` (and `harbour`, the owner of the second tenant) to their
    sign-in; `operator` also owns the demo tenant, whose documents are read. `keys` has API keys of the demo tenant with
    the rights of `owner`, `admin`, `member`, `viewer`, and one of the second tenant's owner under `harbour`.
    """

    demo: Demo
    people: dict[str, Person]
    keys: dict[str, str]
    second: str = SECOND
    # What a browser of each role keeps once signed in.
    signed_in: dict[str, StorageState] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self.demo.url

    def key(self, role: str = "owner") -> str:
        """The API key of `role`."""
        return self.keys[role]

    def request(self, method: str, path: str, *, role: str = "owner", body: Any = None) -> tuple[int, Any]:
        """A REST call with the key of `role`: status and parsed answer."""
        return self.demo.server.request(method, path, key=self.key(role), body=body)

    def operate(self, method: str, path: str, body: Any = None) -> Any:
        """A REST call of the operator's that must succeed: the parsed answer."""
        status, answer = self.demo.server.request(method, path, key=self.demo.api_key, body=body)
        assert status < 300, answer
        return answer

    def register(self, url: str, model: str, pool: str, **more: Any) -> None:
        """Put an engine into service, with `more` said of it, and wait until its model is listed."""
        body = {"pool": pool, "model": model, "url": url, "max_concurrency": 8, **more}
        self.operate("POST", "/api/v1/engines", body)
        self.demo.server.wait_for_model(self.demo.api_key, model)

    def take_out(self, url: str) -> None:
        """Remove the replicas at an engine's address, and the pools and models that this leaves without any."""
        replicas = self.operate("GET", "/api/v1/replicas?limit=200")["results"]
        gone = [each for each in replicas if each["url"] == url]
        left = [each for each in replicas if each["url"] != url]
        for each in gone:
            self.operate("DELETE", f"/api/v1/pools/{each['pool_id']}/replicas/{each['id']}")
        for pool in {each["pool_id"] for each in gone} - {each["pool_id"] for each in left}:
            self.operate("DELETE", f"/api/v1/pools/{pool}")
        for model in {each["model"] for each in gone} - {each["model"] for each in left}:
            self.operate("DELETE", f"/api/v1/models/{model}")


@pytest.fixture(scope="session")
def scaler() -> Iterator[ScalerProgram]:
    """What starts and stops the engines of the pools that it is told of."""
    with scaler_program() as program:
        yield program


@pytest.fixture(scope="session")
def name_server() -> Iterator[NameServer]:
    """Whom the server asks where replicas are."""
    with name_server_thread() as server:
        yield server


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, scaler: ScalerProgram, name_server: NameServer
) -> Iterator[Installation]:
    """The server. `ATRIUM_TEST_WEB` names another build of the front end than the checkout's."""
    home = tmp_path_factory.mktemp("console") / "home"
    built = os.environ.get("ATRIUM_TEST_WEB")
    if built:
        shutil.copytree(built, home / "static" / "web")
    elif not (BUILT / ".vite/manifest.json").is_file():
        pytest.skip("the front end has not been built: run `make test-pages`")
    told = tmp_path_factory.mktemp("scaler") / "scaler.toml"
    told.write_text(f'kind = "webhook"\nurl = "{scaler.url}"\nsecret = "{SECRET}"\n')
    # Tests receive webhooks on loopback.
    environment = {
        "ATRIUM_WEBHOOK_HOSTS": "127.0.0.1",
        "ATRIUM_SCALER": str(told),
        "ATRIUM_NAME_SERVERS": f"127.0.0.1:{name_server.port}",
    }
    demo = start_ready_demo(home, environment=environment)
    made = _PEOPLE.format(second=SECOND, tenant=demo.tenant, password=PASSWORD)
    keys = demo.server.run_code(made)
    people = {role: Person(f"{role}@people.test", PASSWORD) for role in (*ROLES[1:], "harbour")}
    people["operator"] = Person(demo.admin_email, demo.admin_password)
    yield Installation(demo, people, keys)
    demo.server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the whole run."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        running = launch_chromium(playwright)
        yield running
        running.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: `ATRIUM_TEST_SCREENSHOTS`, else a folder of the run."""
    named = os.environ.get("ATRIUM_TEST_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def enter(page: Page, installation: Installation, role: str) -> None:
    """Open the console as `role`: signed in still by what was kept of an earlier page, else anew."""
    page.goto(f"{installation.url}/console/")
    if "/accounts/login/" in page.url:
        sign_in(page, installation.url, installation.people[role])
    installation.signed_in[role] = page.context.storage_state()


@pytest.fixture(scope="module")
def _console_pages(
    browser: Browser, installation: Installation, pictures: Path
) -> Iterator[Callable[[str], ConsolePage]]:
    opened: dict[str, ConsolePage] = {}

    def page_of(role: str) -> ConsolePage:
        if role not in opened:
            context = browser.new_context(
                viewport={"width": 1280, "height": 800},
                locale="en-GB",
                timezone_id="Europe/Berlin",
                reduced_motion="reduce",
                accept_downloads=True,
                storage_state=installation.signed_in.get(role),
            )
            page = context.new_page()
            enter(page, installation, role)
            opened[role] = ConsolePage(page, installation.url, pictures)
        return opened[role]

    yield page_of
    for console in opened.values():
        console.page.context.close()


@pytest.fixture
def open_console(_console_pages: Callable[[str], ConsolePage]) -> Callable[..., ConsolePage]:
    """`open_console(role, width=1280)`: the signed-in page of `role`, made once a file, errors counted anew."""

    def open_as(role: str = "owner", width: int = 1280) -> ConsolePage:
        console = _console_pages(role)
        console.forget()
        console.resize(width)
        console.wear("light")
        return console

    return open_as
