"""Retention and the system page in the browser: nothing goes unseen, two who edit, who may, and no secret."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(180)]

OpenConsole = Callable[..., ConsolePage]


_OLD = """
import datetime, json
from django.utils import timezone
from tenants.models import Tenant
from substrate.scoping import tenant_scope
from assistants.models import Conversation
tenant = Tenant.objects.get(slug={tenant!r})
with tenant_scope(tenant.id):
    for days in {days!r}:
        row = Conversation.objects.create(tenant=tenant, owner="user:nobody", title="old")
        Conversation.objects.filter(id=row.id).update(updated_at=timezone.now() - datetime.timedelta(days=days))
print(json.dumps(len({days!r})))
"""
KEEP_ALL = {"conversations_days": None, "files_days": None, "requests_days": None}


def by(page: Any, name: str) -> Any:
    """The element of a test id."""
    return page.get_by_test_id(name)


@pytest.fixture
def rules(installation: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """Sets the demo tenant's rules over REST; afterwards everything is kept again."""

    def put(**days: int | None) -> dict[str, Any]:
        status, body = installation.request("PUT", "/api/v1/retention", body={**KEEP_ALL, **days})
        assert status == 200
        return dict(body)

    put()
    yield put
    put()


@pytest.fixture
def old(installation: Any) -> None:
    """Three conversations that nobody wrote in for more than a year, and one of yesterday."""
    code = _OLD.format(tenant=installation.demo.tenant, days=[900, 800, 700, 1])
    assert installation.demo.server.run_code(code) == 4


def saved(installation: Any) -> dict[str, Any]:
    status, body = installation.request("GET", "/api/v1/retention")
    assert status == 200
    return {name: body[name] for name in KEEP_ALL}


class TestRetention:
    def test_what_would_go_is_shown_before_anything_goes(
        self, open_console: OpenConsole, installation: Any, rules: Any, old: None
    ) -> None:
        console = open_console("owner")
        console.go("/console/retention")
        page = console.page
        expect(by(page, "going-conversations")).to_contain_text("Nothing")

        page.fill("[name=conversations_days]", "365")

        expect(by(page, "going-conversations")).to_contain_text("the oldest from")
        by(page, "save").click()
        dialog = by(page, "confirm-by-name")
        expect(dialog).to_contain_text("conversations are deleted within the hour")
        expect(by(dialog, "confirm")).to_be_disabled()
        # Leaving the dialog saves nothing.
        page.keyboard.press("Escape")
        assert saved(installation) == KEEP_ALL
        by(page, "save").click()
        by(page, "confirm-name").fill(installation.demo.tenant)
        by(page, "confirm").click()
        expect(page.get_by_text("The rules are saved.")).to_be_visible()
        assert saved(installation) == {**KEEP_ALL, "conversations_days": 365}
        console.keep("retention-saved")
        assert console.errors == []

    def test_a_rule_that_deletes_nothing_needs_no_name(
        self, open_console: OpenConsole, installation: Any, rules: Any
    ) -> None:
        console = open_console("owner", width=360)
        console.go("/console/retention")

        console.page.fill("[name=files_days]", "3650")
        by(console.page, "save").click()

        expect(console.page.get_by_text("The rules are saved.")).to_be_visible()
        assert saved(installation)["files_days"] == 3650
        assert console.overflow() <= 0

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("files_days", "0", "greater than or equal to 1"),
            ("files_days", "-3", "greater than or equal to 1"),
            ("files_days", "99999999999999999999", "less than or equal to 3650"),
            ("requests_days", "15", "less than or equal to 14"),
        ],
    )
    def test_wrong_days_are_said_at_their_field(
        self,
        open_console: OpenConsole,
        installation: Any,
        rules: Any,
        field: str,
        value: str,
        said: str,
    ) -> None:
        console = open_console("owner")
        console.go("/console/retention")

        with console.expecting("400"):
            console.page.fill(f"[name={field}]", value)
            by(console.page, "save").click()
            error = by(console.page, "field-error")
            expect(error).to_contain_text(said)
        assert console.page.locator(f"[name={field}]").get_attribute("aria-invalid") == "true"
        assert saved(installation) == KEEP_ALL
        console.page.fill(f"[name={field}]", "")
        expect(error).to_have_count(0)

    def test_nothing_is_overwritten_in_silence(
        self, open_console: OpenConsole, installation: Any, rules: Any
    ) -> None:
        console = open_console("owner")
        console.go("/console/retention")
        page = console.page
        page.fill("[name=files_days]", "3000")
        rules(files_days=3500)
        # Heard of live by now, and still not taken over what is being written.
        page.wait_for_timeout(1500)
        with console.expecting("412"):
            by(page, "save").click()
            dialog = by(page, "conflict")
            expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("3500")
        by(page, "conflict-overwrite").click()
        expect(page.get_by_text("The rules are saved.")).to_be_visible()
        assert saved(installation)["files_days"] == 3000

    def test_a_change_elsewhere_arrives_by_itself(
        self, open_console: OpenConsole, installation: Any, rules: Any
    ) -> None:
        console = open_console("owner")
        console.go("/console/retention")
        console.page.wait_for_timeout(1500)

        rules(requests_days=9)

        expect(console.page.locator("[name=requests_days]")).to_have_value("9", timeout=10_000)

    @pytest.mark.parametrize("role", ["member", "viewer"])
    def test_who_may_not_is_not_offered_it(self, open_console: OpenConsole, role: str) -> None:
        console = open_console(role)
        console.go("/console/retention")

        expect(console.page.locator("nav a[href*='/console/retention']")).to_have_count(0)
        expect(console.page.locator("[name=files_days]")).to_have_count(0)


class TestSystem:
    def test_an_operator_sees_what_runs(self, open_console: OpenConsole) -> None:
        console = open_console("operator")
        console.go("/console/system?in=*")

        page = console.page
        expect(page.get_by_role("row", name="worker runs")).to_be_visible(timeout=40_000)
        expect(page.get_by_text("SQLite").first).to_be_visible()
        expect(by(page, "schema-problem")).to_have_count(0)
        assert console.errors == []
        console.keep("system-overview")

    def test_each_value_has_its_origin_and_no_secret_is_told(
        self, open_console: OpenConsole, installation: Any
    ) -> None:
        console = open_console("operator")
        console.go("/console/system?in=*&tab=configuration")
        page = console.page

        by(page, "find-variable").fill("PORT")
        rows = by(page, "variable")
        expect(rows.filter(has_text=str(installation.demo.server.port))).to_contain_text("environment")
        by(page, "find-variable").fill("KEYRING")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("set")
        expect(rows).to_contain_text("made at the first start")
        by(page, "find-variable").fill("")
        keyring = (installation.demo.server.home / "keyring").read_text().strip()
        secret = (installation.demo.server.home / "secret-key").read_text().strip()
        assert keyring not in page.content()
        assert secret not in page.content()
        by(page, "find-variable").fill("<img src=x onerror=alert(1)>")
        expect(page.get_by_text("Nothing matches")).to_be_visible()
        assert console.errors == []

    def test_licences_are_found(self, open_console: OpenConsole) -> None:
        console = open_console("operator", width=360)
        console.go("/console/system?in=*&tab=licences")

        by(console.page, "find-licence").fill("django-unfold")
        expect(by(console.page, "licence")).to_have_count(1)
        expect(by(console.page, "licence")).to_contain_text("MIT")
        by(console.page, "find-licence").fill("svelte")
        expect(by(console.page, "licence").first).to_contain_text("npm")
        assert console.overflow() <= 0

    @pytest.mark.parametrize("role", ["owner", "member", "viewer"])
    def test_it_is_the_operators_alone(self, open_console: OpenConsole, installation: Any, role: str) -> None:
        console = open_console(role)
        console.go("/console/system")

        expect(console.page.locator("nav a[href*='/console/system']")).to_have_count(0)
        expect(by(console.page, "variable")).to_have_count(0)
        status, _ = installation.request("GET", "/api/v1/system", role=role)
        assert status == 403

    @pytest.mark.parametrize("path", ["/console/retention", "/console/system?in=*"])
    @pytest.mark.parametrize("tab", ["", "configuration", "licences"])
    def test_everyone_can_use_it(self, open_console: OpenConsole, path: str, tab: str) -> None:
        if tab and "system" not in path:
            return
        console = open_console("operator")
        console.go(f"{path}&tab={tab}" if tab else path)
        assert console.axe() == []
        console.wear("dark")
        assert console.axe() == []
