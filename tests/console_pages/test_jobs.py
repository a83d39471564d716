"""Background jobs and one's own conversations in the browser."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fakes.console import ConsolePage, call
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]

# A job for tomorrow, so that no worker takes it meanwhile.
_QUEUED = """
import json
from datetime import timedelta
from tenants.models import Tenant
from substrate.jobs import enqueue_job
tenant = Tenant.objects.get(slug={tenant!r})
job = enqueue_job(
    tenant_id=tenant.id, kind="knowledge.ingest",
    payload={{"document_id": {document!r}, "version": 1}}, delay=timedelta(minutes=30),
)
print(json.dumps(str(job)))
"""


def row(page: Any, text: str) -> Any:
    return page.get_by_role("row").filter(has_text=text)


def test_a_failed_job_tells_why_and_is_tried_again(open_console: OpenConsole, installation: Any) -> None:
    name = f"Broken {uuid4().hex[:6]}"
    _, base = installation.request("POST", "/api/v1/knowledge-bases", body={"name": name})
    path = f"/api/v1/knowledge-bases/{base['id']}/documents"
    _, document = installation.request("POST", path, body={"title": name, "text": "   \n  "})
    console = open_console("owner")
    page = console.page
    console.go("/console/jobs")
    expect(row(page, name).first).to_contain_text("Failed", timeout=30_000)
    row(page, name).first.get_by_role("button").first.click()
    drawer = page.get_by_test_id("job")
    expect(drawer).to_contain_text("holds no text")
    expect(drawer.get_by_role("link", name=name)).to_have_attribute(
        "href", f"/console/knowledge/{base['id']}/{document['id']}"
    )
    drawer.get_by_role("button", name="Try again").click()
    expect(drawer.get_by_role("button", name="Try again")).to_be_visible(timeout=30_000)
    console.keep("jobs")
    assert console.axe() == []
    installation.request("DELETE", f"/api/v1/knowledge-bases/{base['id']}")


def test_a_queued_job_is_cancelled(open_console: OpenConsole, installation: Any) -> None:
    code = _QUEUED.format(tenant=installation.demo.tenant, document=str(uuid4()))
    job = installation.demo.server.run_code(code)
    console = open_console("owner")
    page = console.page
    console.go(f"/console/jobs/{job}")
    drawer = page.get_by_test_id("job")
    expect(drawer).to_contain_text("Queued")
    drawer.get_by_role("button", name="Cancel", exact=True).click()
    expect(drawer).to_contain_text("Cancelled before it began.")
    expect(drawer.get_by_role("button", name="Try again")).to_be_visible()
    assert console.axe() == []
    assert console.errors == []


def test_a_job_appears_by_itself(open_console: OpenConsole, installation: Any) -> None:
    console = open_console("owner")
    console.go("/console/jobs?state=queued&sort=-created_at")
    # The live stream is open once its first ping came.
    console.page.wait_for_timeout(1500)
    before = console.page.get_by_role("row").count()
    code = _QUEUED.format(tenant=installation.demo.tenant, document=str(uuid4()))
    job = installation.demo.server.run_code(code)
    # The first row brings the table's head along.
    expect(console.page.get_by_role("row")).to_have_count(before + 1 if before else 2, timeout=10_000)
    installation.request("POST", f"/api/v1/jobs/{job}/cancel")


def test_a_member_does_not_see_the_queue(open_console: OpenConsole) -> None:
    console = open_console("member")
    console.go("/console/jobs")
    expect(console.page.get_by_test_id("not-allowed")).to_be_visible()


def test_own_conversations_are_renamed_saved_and_deleted_with_a_way_back(
    open_console: OpenConsole, installation: Any
) -> None:
    console = open_console("member")
    page = console.page
    title = f"Fog {uuid4().hex[:6]}"
    console.go("/console/conversations")
    made, _ = call(page, "POST", "/api/v1/conversations", {"title": title}, installation.demo.tenant)
    assert made == 201
    page.reload()
    console.settle()
    more = page.get_by_role("button", name=f"More: {title}")
    more.click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Title", exact=True).fill(f"{title} signals")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name=f"{title} signals")).to_be_visible()
    page.get_by_role("button", name=f"More: {title} signals").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export as Markdown").click()
    assert download.value.suggested_filename.endswith(".md")
    page.get_by_role("button", name=f"More: {title} signals").click()
    page.get_by_role("menuitem", name="Delete", exact=True).click()
    page.get_by_role("button", name="Undo").first.click()
    expect(page.get_by_role("link", name=f"{title} signals")).to_be_visible()
    assert console.axe() == []
    assert console.errors == []
