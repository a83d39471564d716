"""REST of assistants and conversations: shapes, rights, other people's things, bad input."""

import uuid
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant

from assistants.models import Conversation, Message
from inference.services import ensure_built_in_models
from substrate.scoping import tenant_scope
from substrate.units import close_units
from tenants.models import Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db(transaction=True)
ASSISTANT = {"slug": "legal", "name": "Legal"}


@pytest.fixture
def tenant(transactional_db: None) -> Any:
    """A tenant, and the built-in models."""
    ensure_built_in_models()
    yield make_tenant()
    close_units()


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    """An admin's key."""
    return key_client(tenant, role=Role.ADMIN)


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    """POST JSON."""
    return client.post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)


def patch(client: Client, path: str, body: Any) -> Any:
    """PATCH JSON."""
    return client.patch(f"/api/v1/{path}", body, content_type="application/json")


def get(client: Client, path: str) -> Any:
    """GET."""
    return client.get(f"/api/v1/{path}")


def conversation(client: Client, **body: Any) -> dict[str, Any]:
    """A new conversation."""
    made: dict[str, Any] = post(client, "conversations", body).json()
    return made


def test_an_assistant_lives_and_dies(admin: Client) -> None:
    """Made with defaults, listed, changed, deleted; with and without a trailing slash."""
    made = post(admin, "assistants/", ASSISTANT | {"suggestions": ["What is due?"]})
    assert made.status_code == 201
    assert made.json()["model"] == "auto"
    assert made.json()["knowledge_base_ids"] == []
    assert post(admin, "assistants", ASSISTANT).status_code == 409
    assert [row["slug"] for row in get(admin, "assistants").json()["results"]] == ["legal"]
    changed = patch(admin, "assistants/legal", {"instructions": "Be exact.", "name": "Law"}).json()
    assert (changed["instructions"], changed["name"]) == ("Be exact.", "Law")
    assert changed["suggestions"] == ["What is due?"]
    assert get(admin, "assistants/legal/").json() == changed
    assert admin.delete("/api/v1/assistants/legal").status_code == 204
    assert get(admin, "assistants/legal").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"slug": "Legal", "name": "x"},
        {"slug": "a b", "name": "x"},
        {"slug": "-a", "name": "x"},
        {"slug": "a" * 65, "name": "x"},
        {"slug": "a", "name": ""},
        {"slug": "a", "name": "x\x00"},
        {"slug": "a", "name": "x", "surprise": 1},
        {"slug": "a", "name": "x", "knowledge_base_ids": ["nope"]},
        {"slug": "a", "name": "x", "knowledge_base_ids": [str(uuid.uuid4())]},
        {"slug": "a", "name": "x", "knowledge_base_ids": "all"},
        {"slug": "a", "name": "x", "suggestions": [""]},
        {"slug": "a", "name": "x", "instructions": "\ud800"},
        [],
        "text",
    ],
)
def test_bad_assistants_are_refused(admin: Client, body: Any) -> None:
    """400 with a problem document, and nothing made."""
    refused = post(admin, "assistants", body)
    assert refused.status_code == 400, refused.content
    assert refused["Content-Type"] == "application/problem+json"
    assert get(admin, "assistants").json()["results"] == []


def test_roles(tenant: Tenant, admin: Client) -> None:
    """Members and viewers read assistants; only admins write them; only members ask."""
    post(admin, "assistants", ASSISTANT)
    for role in (Role.MEMBER, Role.VIEWER):
        client = key_client(tenant, role=role)
        assert get(client, "assistants/legal").status_code == 200
        assert post(client, "assistants", {"slug": "x", "name": "x"}).status_code == 403
        assert patch(client, "assistants/legal", {"name": "x"}).status_code == 403
        assert client.delete("/api/v1/assistants/legal").status_code == 403
    viewer = key_client(tenant, role=Role.VIEWER)
    own = conversation(viewer)
    assert post(viewer, f"conversations/{own['id']}/messages", {"content": "hi"}).status_code == 403
    assert get(Client(), "assistants").status_code == 401


def test_conversations_are_their_owners(tenant: Tenant, admin: Client) -> None:
    """Another key of the tenant, and another tenant's, find nothing; a person's keys share theirs."""
    mine = conversation(admin, title="Mine")
    path = f"conversations/{mine['id']}"
    others = [key_client(tenant, role=Role.OWNER), key_client(make_tenant(), role=Role.OWNER)]
    for other in others:
        assert get(other, path).status_code == 404
        assert get(other, f"{path}/messages").status_code == 404
        assert patch(other, path, {"title": "x"}).status_code == 404
        assert post(other, f"{path}/messages", {"content": "hi"}).status_code == 404
        assert other.delete(f"/api/v1/{path}").status_code == 404
        assert get(other, "conversations").json()["results"] == []
    assert get(admin, path).json()["title"] == "Mine"
    person = make_membership(tenant).user
    one, two = (key_client(tenant, user=person) for _ in range(2))
    shared = conversation(one)
    assert get(two, f"conversations/{shared['id']}").status_code == 200


def test_asking_by_rest(admin: Client) -> None:
    """201 with the whole answer; both messages are listed in order; the title comes from the question."""
    own = conversation(admin)
    path = f"conversations/{own['id']}/messages"
    asked = post(admin, path, {"content": "Is anybody there?", "model": "atrium-extractive"})
    assert asked.status_code == 201, asked.content
    told = asked.json()
    assert (told["role"], told["state"], told["model"]) == ("assistant", "completed", "atrium-extractive")
    assert told["error"] is None
    assert told["usage"]["total_tokens"] > 0
    rows = get(admin, path).json()["results"]
    assert [row["role"] for row in rows] == ["user", "assistant"]
    assert rows[1] == told
    assert get(admin, f"conversations/{own['id']}").json()["title"] == "Is anybody there?"


def test_asking_once(admin: Client) -> None:
    """The same Idempotency-Key answers the same again."""
    own = conversation(admin)
    path = f"conversations/{own['id']}/messages"
    first = post(admin, path, {"content": "hi"}, **{"Idempotency-Key": "k1"})
    again = post(admin, path, {"content": "hi"}, **{"Idempotency-Key": "k1"})
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert len(get(admin, path).json()["results"]) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"content": ""}, 400),
        ({"content": "   "}, 400),
        ({"content": "a\x00"}, 400),
        ({"content": "hi", "assistant": "nobody"}, 404),
        ({"content": "hi", "model": "nothing"}, 404),
        ({"content": "hi", "assistant": "a", "model": "b"}, 400),
        ({"content": "hi", "stream": True}, 400),
    ],
)
def test_bad_questions_leave_nothing(admin: Client, body: dict[str, Any], status: int) -> None:
    """Refused with a problem, the conversation stays empty."""
    own = conversation(admin)
    path = f"conversations/{own['id']}/messages"
    assert post(admin, path, body).status_code == status
    assert get(admin, path).json()["results"] == []


def test_pages_and_search(tenant: Tenant) -> None:
    """The newest conversation first, in cursor pages; messages the oldest first; words of both are found."""
    client = key_client(tenant, user=make_membership(tenant).user)
    made = [conversation(client, title=f"Talk {n}")["id"] for n in range(5)]
    page = get(client, "conversations?limit=2").json()
    assert [row["id"] for row in page["results"]] == [made[4], made[3]]
    following = client.get(page["next"]).json()
    assert [row["id"] for row in following["results"]] == [made[2], made[1]]
    with tenant_scope(tenant.id):
        talk = Conversation.objects.get(id=made[0])
        for position in range(1, 6):
            Message.objects.create(
                tenant=tenant,
                conversation=talk,
                owner=talk.owner,
                position=position,
                role="user",
                state="completed",
                content=f"line {position}" + (" über Gärten" if position == 3 else ""),
            )
    lines = get(client, f"conversations/{made[0]}/messages?limit=3").json()
    assert [row["content"][:6] for row in lines["results"]] == ["line 1", "line 2", "line 3"]
    rest = client.get(lines["next"]).json()["results"]
    assert [row["content"] for row in rest] == ["line 4", "line 5"]
    assert [row["id"] for row in get(client, "conversations?q=Gärten").json()["results"]] == [made[0]]
    assert [row["id"] for row in get(client, "conversations?q=talk 3").json()["results"]] == [made[3]]
    assert get(client, "conversations?q=nowhere").json()["results"] == []


@pytest.mark.parametrize(
    "path",
    [
        "conversations?q=%00",
        f"conversations?q={'x' * 201}",
        "conversations?cursor=cD1ub3QtYS1kYXRl",
        "conversations?cursor=cD0lMDA=",
        "assistants?cursor=cD0lMDA=",
        "conversations/%00",
        "conversations/1",
        "assistants/%00",
        "assistants/A%20b",
    ],
)
def test_odd_addresses_are_client_errors(admin: Client, path: str) -> None:
    """Nothing of this reaches the database."""
    assert 400 <= get(admin, path).status_code < 500


def test_odd_cursors_of_messages(admin: Client) -> None:
    """A position that is no number."""
    own = conversation(admin)
    for cursor in ("cD1hYmM=", "cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="):
        assert get(admin, f"conversations/{own['id']}/messages?cursor={cursor}").status_code == 404


def test_renaming_and_deleting(admin: Client) -> None:
    """A title stays under it; deleting takes the messages along."""
    assert post(admin, "conversations", {"assistant": "nobody"}).status_code == 400
    own = conversation(admin, assistant="")
    assert own["assistant"] is None
    post(admin, f"conversations/{own['id']}/messages", {"content": "hi"})
    renamed = patch(admin, f"conversations/{own['id']}", {"title": "New"})
    assert renamed.json()["title"] == "New"
    assert patch(admin, f"conversations/{own['id']}", {"title": ""}).status_code == 400
    assert admin.delete(f"/api/v1/conversations/{own['id']}").status_code == 204
    assert get(admin, f"conversations/{own['id']}/messages").status_code == 404
