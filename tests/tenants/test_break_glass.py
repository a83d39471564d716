"""Break-glass: without it an operator reads nothing, with it each read is audited, after its end nothing again."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from knowledge.models import Chunk, Document, KnowledgeBase
from substrate.audit import acts_of_tenant
from substrate.scoping import tenant_scope
from tenants.models import BreakGlass, Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db
CANARY = "canary-91c2-for-members-alone"
WHY = {"reason": "Ticket 4711: a document does not show", "minutes": 30}


@pytest.fixture
def operator() -> Client:
    home = make_tenant("home")
    return session_client(
        make_membership(home, make_user("op@example.com", is_operator=True), role=Role.OWNER)
    )


@pytest.fixture
def foreign() -> Tenant:
    tenant = make_tenant("foreign")
    make_membership(tenant, make_user("boss@foreign.test"), role=Role.OWNER)
    return tenant


def send(client: Client, method: str, path: str, body: object = None, tenant: str = "foreign") -> Any:
    raw = "" if body is None else json.dumps(body)
    headers = {"x-atrium-tenant": tenant}
    return client.generic(method, f"/api/v1{path}", raw, content_type="application/json", headers=headers)


def content_of(tenant: Tenant) -> str:
    """The address of a document's text."""
    with tenant_scope(tenant.id):
        base = KnowledgeBase.objects.create(name="Handbook")
        document = Document.objects.create(
            knowledge_base=base,
            title="Rules",
            blob_key="k",
            content_hash="h",
            state="ready",
            live_version=1,
            chunk_count=1,
            metadata={"secret": CANARY},
        )
        Chunk.objects.create(document=document, text=CANARY, version=1, position=0)
    return f"/documents/{document.id}"


def reads(tenant: Tenant) -> list[str]:
    acts = acts_of_tenant(tenant_id=tenant.id, limit=50)
    return [each.label for each in acts if (each.kind, each.act) == ("break_glass", "read")]


def test_content_is_shut_open_audited_and_shut_again(operator: Client, foreign: Tenant) -> None:
    path = content_of(foreign)
    chunks = f"{path}/passages"
    assert send(operator, "GET", chunks).status_code == 403
    assert CANARY not in send(operator, "GET", path).content.decode()

    opened = send(operator, "POST", "/break-glass", WHY)
    assert opened.status_code == 201, opened.content
    assert reads(foreign) == []
    shown = send(operator, "GET", chunks)
    assert shown.status_code == 200
    assert CANARY in shown.content.decode()
    assert CANARY in send(operator, "GET", path).content.decode()
    assert reads(foreign) == [f"GET /api/v1{path}", f"GET /api/v1{chunks}"]
    assert all(
        (each.actor_kind, each.actor) == ("operator", "op@example.com")
        for each in acts_of_tenant(tenant_id=foreign.id, limit=50)
        if each.kind == "break_glass"
    )

    boss = key_client(foreign, role=Role.ADMIN)
    listed = boss.get("/api/v1/break-glass").json()["results"]
    assert [(each["operator"], each["state"], each["reads"], each["reason"]) for each in listed] == [
        ("op@example.com", "open", 2, WHY["reason"])
    ]
    ended = boss.delete(f"/api/v1/break-glass/{listed[0]['id']}")
    assert ended.json()["state"] == "ended"
    assert send(operator, "GET", chunks).status_code == 403
    assert CANARY not in send(operator, "GET", path).content.decode()
    assert len(reads(foreign)) == 2


def test_the_first_page_names_who_may_read_now(operator: Client, foreign: Tenant) -> None:
    """To those who may end it; not to the operator, who knows, nor when it is over."""
    boss = key_client(foreign, role=Role.OWNER)
    assert boss.get("/api/v1/overview").json()["open_grants"] == {"count": 0, "items": []}
    opened = send(operator, "POST", "/break-glass", WHY).json()
    found = boss.get("/api/v1/overview").json()["open_grants"]
    assert found["count"] == 1
    assert found["items"][0]["operator"] == "op@example.com"
    assert found["items"][0]["reason"] == WHY["reason"]
    assert send(operator, "GET", "/overview").json()["open_grants"]["count"] == 0
    assert key_client(foreign, role=Role.MEMBER).get("/api/v1/overview").json()["open_grants"] is None
    assert boss.delete(f"/api/v1/break-glass/{opened['id']}").status_code < 300
    assert boss.get("/api/v1/overview").json()["open_grants"]["count"] == 0


def test_it_ends_by_itself(operator: Client, foreign: Tenant) -> None:
    chunks = f"{content_of(foreign)}/passages"
    send(operator, "POST", "/break-glass", WHY)
    with tenant_scope(foreign.id):
        BreakGlass.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert send(operator, "GET", chunks).status_code == 403
    assert send(operator, "GET", "/break-glass").json()["results"][0]["state"] == "over"
    # And may be asked for anew.
    assert send(operator, "POST", "/break-glass", WHY).status_code == 201
    assert send(operator, "POST", "/break-glass", WHY).status_code == 409


def test_it_opens_reading_alone_and_one_tenant_alone(operator: Client, foreign: Tenant) -> None:
    other = make_tenant("other")
    make_membership(other, role=Role.OWNER)
    theirs = content_of(other)
    send(operator, "POST", "/break-glass", WHY)
    assert send(operator, "GET", f"{theirs}/passages", tenant="other").status_code == 403
    assert send(operator, "GET", f"{theirs}/passages").status_code == 404
    assert send(operator, "POST", "/api-keys", {"name": "mine"}).status_code == 403
    assert send(operator, "GET", "/conversations").status_code == 403
    body = {"name": "Reader", "permissions": ["knowledge.read"]}
    assert send(operator, "POST", "/roles", body).status_code == 403


def test_another_operators_grant_is_not_mine(operator: Client, foreign: Tenant) -> None:
    chunks = f"{content_of(foreign)}/passages"
    send(operator, "POST", "/break-glass", WHY)
    colleague = session_client(make_membership(make_tenant(), make_user(is_operator=True)))
    assert send(colleague, "GET", chunks).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": "short", "minutes": 30},
        {"reason": "x" * 600, "minutes": 30},
        {"reason": "long enough reason", "minutes": 0},
        {"reason": "long enough reason", "minutes": 100_000},
        {"reason": "long enough reason", "minutes": 30, "operator": "somebody"},
    ],
)
def test_what_is_no_reason_or_no_time(operator: Client, foreign: Tenant, body: dict[str, Any]) -> None:
    assert send(operator, "POST", "/break-glass", body).status_code == 400
    with tenant_scope(foreign.id):
        assert not BreakGlass.objects.exists()


def test_who_may_ask_see_and_end(operator: Client, foreign: Tenant) -> None:
    grant = send(operator, "POST", "/break-glass", WHY).json()
    owner, member = key_client(foreign, role=Role.OWNER), key_client(foreign, role=Role.MEMBER)
    stranger = key_client(make_tenant(), role=Role.OWNER)
    body = json.dumps(WHY)
    assert owner.post("/api/v1/break-glass", body, content_type="application/json").status_code == 403
    assert member.get("/api/v1/break-glass").status_code == 403
    assert member.delete(f"/api/v1/break-glass/{grant['id']}").status_code == 403
    assert stranger.delete(f"/api/v1/break-glass/{grant['id']}").status_code == 404
    assert send(operator, "POST", "/break-glass", WHY, tenant="home").status_code == 409
    assert owner.delete("/api/v1/break-glass/nothing").status_code == 404


def test_owners_are_told_by_mail(operator: Client, foreign: Tenant, settings: Any) -> None:
    settings.MAIL_CONFIGURED = True
    send(operator, "POST", "/break-glass", WHY)
    assert [each.to for each in mail.outbox] == [["boss@foreign.test"]]
    assert WHY["reason"] in mail.outbox[0].body
