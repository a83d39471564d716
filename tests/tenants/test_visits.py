"""Operators visit tenants: they manage, they read no content, and the tenant's record names them."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from factories.tenants import make_key, make_membership, make_tenant, make_user, session_client
from fakes.published import published_schema

from assistants.models import Assistant, Conversation, Message
from kernel.errors import PermissionDenied
from knowledge.models import Chunk, Document, KnowledgeBase
from substrate.audit import acts_of_tenant
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import Membership, Tenant, User
from tenants.permissions import CONTENT, ROLE_PERMISSIONS
from tenants.services import authenticate_session
from tenants.services.sign_in import SESSION_MEMBERSHIP
from tenants.types import Role, TenantState

pytestmark = pytest.mark.django_db

JSON = "application/json"
CANARY = "canary-7f3a-nobody-but-members"


@pytest.fixture
def operator() -> Client:
    """The browser of an operator who is an owner at home."""
    home = make_tenant("home")
    return session_client(
        make_membership(home, make_user("op@example.com", is_operator=True), role=Role.OWNER)
    )


@pytest.fixture
def foreign() -> Tenant:
    """A tenant the operator is no member of."""
    tenant = make_tenant("foreign")
    make_membership(tenant, role=Role.OWNER)
    return tenant


def send(client: Client, method: str, path: str, body: object = None, tenant: str = "foreign") -> Any:
    """A request in `tenant`."""
    raw = "" if body is None else json.dumps(body)
    return client.generic(
        method, f"/api/v1{path}", raw, content_type=JSON, headers={"x-atrium-tenant": tenant}
    )


def test_a_visit_has_the_owners_rights_but_those_that_open_content(operator: Client, foreign: Tenant) -> None:
    bound = operator.session[SESSION_MEMBERSHIP]
    answer = send(operator, "GET", "/me")
    me = answer.json()
    assert (me["tenant"]["slug"], me["role"], me["visiting"], me["platform"]) == (
        "foreign",
        "owner",
        True,
        True,
    )
    expected = ROLE_PERMISSIONS[Role.OWNER] - CONTENT | {"platform.operate"}
    assert set(me["permissions"]) == expected
    assert CONTENT.isdisjoint(me["permissions"])
    # The session stays bound as it is: no cookie, and home without the header.
    assert not answer.cookies
    assert operator.session[SESSION_MEMBERSHIP] == bound
    home = operator.get("/api/v1/me").json()
    assert (home["tenant"]["slug"], home["visiting"], home["platform"]) == ("home", False, True)


def test_an_operator_who_is_a_member_acts_as_that_member(operator: Client, foreign: Tenant) -> None:
    user = User.objects.get(email="op@example.com")
    mine = make_membership(foreign, user, role=Role.VIEWER)
    me = send(operator, "GET", "/me").json()
    assert (me["role"], me["visiting"]) == ("viewer", False)
    with tenant_scope(foreign.id):
        Membership.objects.filter(id=mine.id).update(disabled_at="2026-01-01T00:00:00Z")
    me = send(operator, "GET", "/me").json()
    assert (me["role"], me["visiting"]) == ("owner", True)
    assert CONTENT.isdisjoint(me["permissions"])


def test_suspended_tenants_can_be_visited_and_unknown_ones_not(operator: Client, foreign: Tenant) -> None:
    Tenant.objects.filter(id=foreign.id).update(state=TenantState.SUSPENDED)
    assert send(operator, "GET", "/users").status_code == 200
    for slug in ("unknown", "ü", "x" * 300, "' OR 1=1 --"):
        assert send(operator, "GET", "/me", tenant=slug).status_code == 403


@pytest.mark.parametrize("role", list(Role))
def test_nobody_else_visits(foreign: Tenant, role: Role) -> None:
    client = session_client(make_membership(make_tenant("home"), role=role))
    for path in ("/me", "/users", "/api-keys", "/invitations", "/knowledge-bases", "/tenants"):
        answer = send(client, "GET", path)
        assert answer.status_code == 403
        assert not answer.cookies
    refused = send(client, "POST", "/invitations", {"email": "x@example.com", "role": "viewer"})
    assert refused.status_code == 403


def test_a_past_operator_visits_no_more(operator: Client, foreign: Tenant) -> None:
    assert send(operator, "GET", "/me").status_code == 200
    User.objects.filter(email="op@example.com").update(is_operator=False)
    assert send(operator, "GET", "/me").status_code == 403


def test_an_operators_key_does_not_visit(foreign: Tenant) -> None:
    home = make_tenant("home")
    user = make_membership(home, make_user(is_operator=True), role=Role.OWNER).user
    key = make_key(home, role=Role.OWNER, user=user)
    client = Client(headers={"authorization": f"Bearer {key.key}"})
    assert client.get("/api/v1/tenants").status_code == 200
    assert send(client, "GET", "/me").status_code == 403


@pytest.mark.django_db(transaction=True)
async def test_sockets_never_accept_a_visit() -> None:
    user = await run_unit(lambda: make_user(is_operator=True))
    membership = await run_unit(make_membership, await run_unit(make_tenant, "home"), user)
    await run_unit(make_tenant, "foreign")
    client = await run_unit(session_client, membership)
    session_key = client.cookies["atrium_session"].value
    assert (await authenticate_session(session_key, "home")).visiting is False
    with pytest.raises(PermissionDenied):
        await authenticate_session(session_key, "foreign")
    # What tells the console of changes, and carries no content, is part of a visit.
    assert (await authenticate_session(session_key, "foreign", visits=True)).visiting is True
    stranger = await run_unit(session_client, await run_unit(make_membership, await run_unit(make_tenant)))
    with pytest.raises(PermissionDenied):
        await authenticate_session(stranger.cookies["atrium_session"].value, "foreign", visits=True)


def test_a_visit_hands_out_no_keys_but_may_revoke_them(operator: Client, foreign: Tenant) -> None:
    key = make_key(foreign)
    made = send(operator, "POST", "/api-keys", {"name": "mine", "role": "viewer"})
    assert (made.status_code, made.json()["code"]) == (403, "visit")
    assert send(operator, "POST", f"/api-keys/{key.id}/rotate", {}).status_code == 403
    assert send(operator, "DELETE", f"/api-keys/{key.id}").status_code == 204


@pytest.mark.sweep
def test_every_write_of_a_visit_is_in_the_tenants_record(operator: Client, foreign: Tenant) -> None:
    member, key = make_membership(foreign), make_key(foreign)
    writes: list[tuple[str, str, object, int]] = [
        ("POST", "/invitations", {"email": "new@example.com", "role": "owner"}, 201),
        ("POST", "/users", {"email": "added@example.com", "role": "member"}, 201),
        ("PATCH", f"/users/{member.user_id}", {"role": "admin"}, 200),
        ("PATCH", f"/users/{member.user_id}", {"disabled": True}, 200),
        ("DELETE", f"/users/{member.user_id}", None, 204),
        ("DELETE", f"/api-keys/{key.id}", None, 204),
        ("PATCH", f"/tenants/{foreign.id}", {"weight": 9}, 200),
        ("POST", "/assistants", {"slug": "first", "name": "First", "instructions": ""}, 201),
        ("POST", "/knowledge-bases", {"name": "Handbook"}, 201),
    ]
    missing = []
    for method, path, body, status in writes:
        before = len(acts_of_tenant(tenant_id=foreign.id, limit=100))
        answer = send(operator, method, path, body)
        assert answer.status_code == status, (path, answer.content)
        acts = acts_of_tenant(tenant_id=foreign.id, limit=100)
        by_me = [each for each in acts[: len(acts) - before] if each.actor == "op@example.com"]
        if not by_me or by_me[0].actor_kind != "operator":
            missing.append(path)
    assert missing == []
    assert all(CANARY not in each.label for each in acts)


def _fill(tenant: Tenant) -> dict[str, str]:
    """Content in the tenant, and the ids by which its addresses name it."""
    member = make_membership(tenant)
    key = make_key(tenant)
    with tenant_scope(tenant.id):
        base = KnowledgeBase.objects.create(tenant=tenant, name="Handbook")
        document = Document.objects.create(
            tenant=tenant,
            knowledge_base=base,
            title="Rules",
            blob_key="k",
            content_hash="h",
            state="ready",
            live_version=1,
            chunk_count=1,
        )
        Chunk.objects.create(tenant=tenant, document=document, text=CANARY, version=1, position=0)
        Assistant.objects.create(tenant=tenant, slug="desk", name="Desk")
        owner = f"user:{member.user_id}"
        conversation = Conversation.objects.create(tenant=tenant, owner=owner, title=CANARY)
        message = Message.objects.create(
            tenant=tenant,
            conversation=conversation,
            owner=owner,
            position=1,
            role="user",
            content=CANARY,
            state="completed",
        )
    return {
        "base_id": str(base.id),
        "knowledge_base_id": str(base.id),
        "document": str(document.id),
        "document_id": str(document.id),
        "conversation_id": str(conversation.id),
        "message_id": str(message.id),
        "slug": "desk",
        "user_id": str(member.user_id),
        "key_id": str(key.id),
        "tenant_id": str(tenant.id),
    }


@pytest.mark.sweep
def test_a_visit_reads_no_content_over_any_operation(operator: Client, foreign: Tenant) -> None:
    ids = _fill(foreign)
    schema = published_schema()
    walked = allowed = 0
    for path, operations in schema["paths"].items():
        if "get" not in operations or "/live" in path:
            continue
        for name, value in ids.items():
            path = path.replace("{" + name + "}", value)
        parts = [str(uuid.uuid4()) if part.startswith("{") else part for part in path.split("/")]
        for query in ("", "?format=csv", "?q=canary", "?scope=platform"):
            address = "/".join(parts).removeprefix("/api/v1")
            answer = send(operator, "GET", f"{address}{query}")
            walked += 1
            allowed += answer.status_code == 200
            body = answer.getvalue() if answer.streaming else answer.content
            assert CANARY.encode() not in body, address
            assert answer.status_code < 500, address
        if any(word in address for word in ("conversations", "messages")):
            assert answer.status_code == 403, address
    assert walked > 60
    assert allowed > 20
    search = send(operator, "POST", f"/knowledge-bases/{ids['base_id']}/search", {"query": "canary"})
    assert search.status_code == 403
