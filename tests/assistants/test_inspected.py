"""Others' conversations are read by an operator's open break-glass grant alone, and each look is in the tenant's audit."""

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from factories.tenants import (
    key_client,
    make_key,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)
from fakes.published import published_schema

from assistants.models import Conversation, Message
from assistants.services import inspect_conversation
from kernel.errors import PermissionDenied
from substrate.audit import ActView, acts_of_tenant
from substrate.scoping import tenant_scope
from tenants.models import BreakGlass, Tenant, User
from tenants.permissions import ALL_PERMISSIONS, INSPECT, ROLE_PERMISSIONS
from tenants.selectors import principal_of_visit
from tenants.services import visit_tenant
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db

LIST = "/inspected-conversations"
CANARY = "canary-5d0e-what-ann-asked"
REASON = "Ticket 4711: an answer is said to be wrong"
CITATION = {
    "index": 1,
    "document_id": "d",
    "knowledge_base_id": "k",
    "title": "Rules",
    "chunk_id": "c",
    "text": "the passage",
    "score": 0.5,
    "url": "",
}


@dataclass
class Scene:
    """A tenant with Ann's conversation and a key's, and the browser of an operator who is no member."""

    tenant: Tenant
    operator: Client
    ann: User
    anns: Conversation
    keys: Conversation

    @property
    def address(self) -> str:
        return f"{LIST}/{self.anns.id}"

    def ask(self, path: str = LIST, *, method: str = "GET", body: object = None, tenant: str = "") -> Any:
        headers = {"x-atrium-tenant": tenant or self.tenant.slug}
        raw = "" if body is None else json.dumps(body)
        return self.operator.generic(
            method, f"/api/v1{path}", raw, content_type="application/json", headers=headers
        )

    def open(self, tenant: str = "") -> str:
        """The id of a grant just opened."""
        body = {"reason": REASON, "minutes": 30}
        answer = self.ask("/break-glass", method="POST", body=body, tenant=tenant)
        assert answer.status_code == 201, answer.content
        return str(answer.json()["id"])

    def looks(self) -> list[ActView]:
        """What the tenant's audit says of the grant's use, the oldest first."""
        acts = acts_of_tenant(tenant_id=self.tenant.id, limit=100)
        return [each for each in reversed(acts) if each.kind == "break_glass" and each.act != "began"]

    def visitor(self) -> Principal:
        """The operator, as a request finds them now."""
        found = visit_tenant(user=User.objects.get(email="op@example.com"), tenant_slug=self.tenant.slug)
        assert found is not None
        return found


def talk(tenant: Tenant, owner: str, title: str, **given: Any) -> Conversation:
    """A conversation of one question and its answer, which cites a passage."""
    with tenant_scope(tenant.id):
        conversation = Conversation.objects.create(owner=owner, title=title, **given)
        common = {"conversation": conversation, "owner": owner, "state": "completed"}
        Message.objects.create(position=1, role="user", content=CANARY, **common)
        Message.objects.create(
            position=2, role="assistant", content="It is so [1].", citations=[CITATION], model="m", **common
        )
        return conversation


@pytest.fixture
def scene() -> Scene:
    home, tenant = make_tenant("home"), make_tenant("foreign")
    make_membership(tenant, make_user("boss@foreign.test"), role=Role.OWNER)
    ann = make_membership(tenant, make_user("ann@foreign.test")).user
    operator = session_client(
        make_membership(home, make_user("op@example.com", is_operator=True), role=Role.OWNER)
    )
    return Scene(
        tenant,
        operator,
        ann,
        talk(tenant, f"user:{ann.id}", "Rules of travel", assistant="desk"),
        talk(tenant, f"key:{make_key(tenant).id}", "By a program"),
    )


def test_nobody_has_the_right_but_by_a_grant() -> None:
    assert INSPECT in ALL_PERMISSIONS
    assert not any(INSPECT in held for held in ROLE_PERMISSIONS.values())
    user = make_user(is_operator=True)
    assert INSPECT not in principal_of_visit(user, make_tenant()).permissions


def test_a_grant_opens_the_list_one_and_its_messages(scene: Scene) -> None:
    scene.open()
    listed = scene.ask().json()["results"]
    assert [(each["title"], each["owner"]["kind"], each["owner"]["name"]) for each in listed] == [
        ("By a program", "key", listed[0]["owner"]["name"]),
        ("Rules of travel", "user", "ann@foreign.test"),
    ]
    assert listed[0]["owner"]["name"]
    one = scene.ask(scene.address).json()
    assert one == listed[1]
    assert one["owner"]["id"] == str(scene.ann.id)
    question, answer = scene.ask(f"{scene.address}/messages").json()["results"]
    assert (question["role"], question["content"]) == ("user", CANARY)
    assert answer["citations"] == [CITATION]


def test_its_messages_have_the_shape_of_ones_own() -> None:
    paths = published_schema()["paths"]
    shapes = [
        paths[f"/api/v1/{name}/{{conversation_id}}/messages/"]["get"]["responses"]["200"]["content"]
        for name in ("conversations", "inspected-conversations")
    ]
    assert shapes[0] == shapes[1]


def test_the_list_is_narrowed_and_cut_into_pages(scene: Scene) -> None:
    def titles(query: str) -> list[str]:
        answer = scene.ask(f"{LIST}?{query}")
        assert answer.status_code == 200, answer.content
        return [each["title"] for each in answer.json()["results"]]

    scene.open()
    assert titles(f"user={scene.ann.id}") == ["Rules of travel"]
    assert titles("assistant=desk") == ["Rules of travel"]
    assert titles("q=TRAVEL") == ["Rules of travel"]
    assert titles("q=5d0e&sort=title") == ["By a program", "Rules of travel"]
    assert titles("q=nothing-like-it") == []
    assert titles("from=2200-01-01T00:00:00Z") == []
    assert titles("to=2200-01-01T00:00:00Z&sort=-title") == ["Rules of travel", "By a program"]
    first = scene.ask(f"{LIST}?limit=1&total=true").json()
    assert (first["total"], len(first["results"]), first["previous"]) == (2, 1, None)
    second = scene.ask(first["next"].partition("/api/v1")[2]).json()
    assert [each["title"] for each in second["results"]] == ["Rules of travel"]
    for query in ("user=ann", "from=yesterday", "format=csv", "q=%00", "sort=owner"):
        assert scene.ask(f"{LIST}?{query}").status_code == 400, query


def test_each_look_is_in_the_tenants_audit_with_who_what_and_why(scene: Scene) -> None:
    grant = scene.open()
    before = len(scene.looks())
    scene.ask(f"{LIST}?q=travel&assistant=desk")
    scene.ask(scene.address)
    asked = scene.ask(f"{scene.address}/messages")
    acts = scene.looks()[before:]
    assert [each.act for each in acts] == ["conversations_listed", "conversation_seen", "messages_read"]
    for act in acts:
        assert (act.actor_kind, act.actor) == ("operator", "op@example.com")
        assert (act.object_id, act.label) == (grant, REASON)
    whose = {"conversation": str(scene.anns.id), "owner": "ann@foreign.test", "assistant": "desk"}
    assert [each.after for each in acts] == [
        {"q": "travel", "assistant": "desk"},
        whose,
        whose | {"messages": "1–2"},
    ]
    assert acts[2].request_id == asked["x-request-id"]
    assert not any(CANARY in str(each) or "Rules of travel" in str(each) for each in acts)
    boss = key_client(scene.tenant, role=Role.OWNER)
    told = boss.get("/api/v1/audit-events?kind=break_glass&act=messages_read").json()["results"]
    assert [each["after"]["owner"] for each in told] == ["ann@foreign.test"]
    assert boss.get("/api/v1/break-glass").json()["results"][0]["reads"] == before + 3
    assert boss.get("/api/v1/audit-events/verification").json()["whole"] is True


def test_a_look_that_shows_nothing_leaves_nothing(scene: Scene) -> None:
    scene.open()
    before = len(scene.looks())
    for path in (f"{LIST}/{uuid.uuid4()}", f"{LIST}/nothing", f"{LIST}?cursor=nothing"):
        assert scene.ask(path).status_code == 404, path
    assert scene.ask(f"{scene.address}/messages?cursor=nothing").status_code == 404
    assert len(scene.looks()) == before


def test_what_cannot_be_written_down_is_not_shown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open()

    def refuse(**_: object) -> None:
        raise PermissionDenied("The audit is away.")

    monkeypatch.setattr("tenants.looks.record_act", refuse)
    for path in (LIST, scene.address, f"{scene.address}/messages"):
        answer = scene.ask(path)
        assert (answer.status_code, CANARY in answer.content.decode()) == (403, False)
    with tenant_scope(scene.tenant.id):
        assert BreakGlass.objects.get().reads == 0


@pytest.mark.parametrize("ending", ["none", "over", "ended", "elsewhere", "colleague"])
def test_without_an_open_grant_of_this_operator_in_this_tenant_it_is_shut(scene: Scene, ending: str) -> None:
    other = make_tenant("other")
    make_membership(other, role=Role.OWNER)
    if ending == "elsewhere":
        scene.open("other")
    elif ending != "none":
        grant = scene.open()
        assert scene.ask(scene.address).status_code == 200
    if ending == "over":
        with tenant_scope(scene.tenant.id):
            BreakGlass.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif ending == "ended":
        boss = key_client(scene.tenant, role=Role.OWNER)
        assert boss.delete(f"/api/v1/break-glass/{grant}").status_code == 200
    elif ending == "colleague":
        scene.operator = session_client(make_membership(make_tenant(), make_user(is_operator=True)))
    before = len(scene.looks())
    for path in (LIST, scene.address, f"{scene.address}/messages"):
        answer = scene.ask(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "break_glass_needed"), path
        assert "no grant of yours is open" in answer.json()["detail"]
    assert len(scene.looks()) == before


def test_a_grant_of_one_tenant_shows_no_other(scene: Scene) -> None:
    other = make_tenant("other")
    make_membership(other, role=Role.OWNER)
    theirs = talk(other, f"user:{uuid.uuid4()}", "Theirs")
    scene.open()
    assert scene.ask(f"{LIST}/{theirs.id}").status_code == 404
    assert scene.ask(f"{LIST}/{theirs.id}/messages").status_code == 404
    assert scene.ask(f"{LIST}/{theirs.id}", tenant="other").status_code == 403
    assert "Theirs" not in scene.ask(f"{LIST}?q=Theirs").content.decode()


def test_a_grant_that_ends_while_the_request_is_under_way_shows_nothing(scene: Scene) -> None:
    grant = scene.open()
    asking = scene.visitor()
    assert INSPECT in asking.permissions
    assert inspect_conversation(principal=asking, conversation_id=scene.anns.id).title == "Rules of travel"
    key_client(scene.tenant, role=Role.OWNER).delete(f"/api/v1/break-glass/{grant}")
    before = len(scene.looks())
    with pytest.raises(PermissionDenied, match="no grant of yours is open"):
        inspect_conversation(principal=asking, conversation_id=scene.anns.id)
    assert len(scene.looks()) == before


@pytest.mark.parametrize("role", list(Role))
def test_no_member_and_no_key_reads_what_others_wrote(scene: Scene, role: Role) -> None:
    scene.open()
    people = [
        key_client(scene.tenant, role=role),
        session_client(make_membership(scene.tenant, role=role)),
        # An operator who is a member acts as that member.
        session_client(make_membership(scene.tenant, make_user(is_operator=True), role=role)),
        key_client(scene.tenant, role=role, user=make_user(is_operator=True)),
    ]
    for client in people:
        client.defaults["HTTP_X_ATRIUM_TENANT"] = scene.tenant.slug
        for path in (LIST, scene.address, f"{scene.address}/messages"):
            assert client.get(f"/api/v1{path}").status_code == 403
    with pytest.raises(PermissionDenied):
        inspect_conversation(principal=make_principal(scene.tenant, role=role), conversation_id=scene.anns.id)
    key = key_client(make_tenant(), role=Role.OWNER, user=User.objects.get(email="op@example.com"))
    assert key.get(f"/api/v1{LIST}", headers={"x-atrium-tenant": scene.tenant.slug}).status_code == 403


def test_it_reads_and_does_nothing_else(scene: Scene) -> None:
    scene.open()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in (LIST, scene.address, f"{scene.address}/messages"):
            assert scene.ask(path, method=method, body={}).status_code in (403, 405), (method, path)
    for path in (f"/conversations/{scene.anns.id}", f"/conversations/{scene.anns.id}/export"):
        assert scene.ask(path).status_code == 403
    question = {"content": "And?"}
    own = f"/conversations/{scene.anns.id}/messages"
    assert scene.ask(own, method="POST", body=question).status_code == 403
    body = {"name": "Reader", "permissions": [INSPECT]}
    assert scene.ask("/roles", method="POST", body=body).status_code in (400, 403)
    with tenant_scope(scene.tenant.id):
        assert Message.objects.filter(conversation=scene.anns).count() == 2


def test_who_asks_learns_of_the_grant_until_it_ends(scene: Scene) -> None:
    assert scene.ask("/me").json()["break_glass"] is None
    grant = scene.open()
    me = scene.ask("/me").json()
    assert (me["break_glass"]["id"], me["break_glass"]["reason"]) == (grant, REASON)
    assert INSPECT in me["permissions"]
    scene.ask(f"/break-glass/{grant}", method="DELETE")
    me = scene.ask("/me").json()
    assert me["break_glass"] is None
    assert INSPECT not in me["permissions"]


def test_who_has_left_has_no_name_but_their_conversations_are_there(scene: Scene) -> None:
    gone = talk(scene.tenant, f"user:{uuid.uuid4()}", "Of one who left")
    scene.open()
    one = scene.ask(f"{LIST}/{gone.id}").json()
    assert (one["owner"]["kind"], one["owner"]["name"]) == ("user", "")
    assert scene.looks()[-1].after["owner"] == gone.owner


def test_a_page_needs_few_queries_however_many_owners(
    scene: Scene, django_assert_max_num_queries: Any
) -> None:
    scene.open()
    with django_assert_max_num_queries(24) as few:
        scene.ask()
    for number in range(12):
        person = make_membership(scene.tenant).user
        talk(scene.tenant, f"user:{person.id}", f"Talk {number}")
    with django_assert_max_num_queries(24) as many:
        assert len(scene.ask().json()["results"]) == 14
    assert len(many) == len(few)


@pytest.mark.sweep
def test_under_a_grant_conversations_are_at_these_addresses_alone(scene: Scene) -> None:
    scene.open()
    shown = set()
    for path, operations in published_schema()["paths"].items():
        if "get" not in operations or "/live" in path:
            continue
        named = path.replace("{conversation_id}", str(scene.anns.id))
        parts = [str(uuid.uuid4()) if part.startswith("{") else part for part in named.split("/")]
        for query in ("", "?q=canary", "?scope=platform"):
            answer = scene.ask("/".join(parts).removeprefix("/api/v1") + query)
            body = answer.getvalue() if answer.streaming else answer.content
            if CANARY.encode() in body or b"Rules of travel" in body:
                shown.add(path.removeprefix("/api/v1").rstrip("/"))
    assert shown == {LIST, f"{LIST}/{{conversation_id}}", f"{LIST}/{{conversation_id}}/messages"}
