"""Own conversations as a list and as a file: sorted, searched, saved; never another's."""

import json
from typing import Any

import pytest
from django.test import Client
from factories.tenants import make_membership, make_tenant, session_client

from assistants.models import Conversation, Message
from substrate.scoping import tenant_scope
from tenants.models import Membership
from tenants.types import Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> Membership:
    return make_membership(make_tenant("acme"), role=Role.MEMBER)


@pytest.fixture
def client(member: Membership) -> Client:
    return session_client(member)


def talk(member: Membership, title: str, *said: tuple[str, str]) -> str:
    """A conversation of the member: (role, content) each."""
    owner = f"user:{member.user_id}"
    common = {"tenant_id": member.tenant_id, "owner": owner}
    with tenant_scope(member.tenant_id):
        row = Conversation.objects.create(title=title, **common)
        for position, (role, content) in enumerate(said, start=1):
            citations: list[dict[str, Any]] = []
            if role == "assistant":
                citations = [
                    {
                        "index": 1,
                        "document_id": str(row.id),
                        "knowledge_base_id": str(row.id),
                        "title": "Leave policy",
                        "chunk_id": str(row.id),
                        "text": "Thirty days.",
                        "score": 0.9,
                        "url": "",
                    }
                ]
            Message.objects.create(
                conversation=row,
                position=position,
                role=role,
                content=content,
                state="completed",
                citations=citations,
                **common,
            )
    return str(row.id)


def titles(client: Client, query: str) -> list[str]:
    answer = client.get(f"/api/v1/conversations{query}")
    assert answer.status_code == 200, answer.content
    return [each["title"] for each in answer.json()["results"]]


def test_the_list_is_sorted_searched_and_counted(client: Client, member: Membership) -> None:
    talk(member, "Beta", ("user", "about lighthouses"))
    talk(member, "Alpha", ("user", "about leave"))
    assert titles(client, "") == ["Alpha", "Beta"]
    assert titles(client, "?sort=-title") == ["Beta", "Alpha"]
    assert titles(client, "?q=lighthouse") == ["Beta"]
    first = client.get("/api/v1/conversations?sort=title&limit=1&total=true").json()
    assert first["total"] == 2
    assert [each["title"] for each in client.get(first["next"]).json()["results"]] == ["Beta"]
    assert client.get("/api/v1/conversations?sort=owner").status_code == 400


def test_a_conversation_is_saved_for_people(client: Client, member: Membership) -> None:
    conversation = talk(member, "Leave: 30/days?", ("user", "How many?"), ("assistant", "Thirty [1]."))
    answer = client.get(f"/api/v1/conversations/{conversation}/export")
    text = answer.content.decode()
    assert text.startswith("# Leave: 30/days?\n\n## You, ")
    assert "How many?" in text
    assert text.endswith("Thirty [1].\n\n[1] Leave policy\n")
    assert answer["content-disposition"] == "attachment; filename*=UTF-8''Leave-30-days.md"
    assert answer["x-content-type-options"] == "nosniff"


def test_a_conversation_is_saved_for_programs(client: Client, member: Membership) -> None:
    conversation = talk(member, "", ("user", "How many?"), ("assistant", "Thirty [1]."))
    answer = client.get(f"/api/v1/conversations/{conversation}/export?format=json")
    saved = json.loads(answer.content)
    assert saved["conversation"]["id"] == conversation
    assert [(each["role"], each["content"]) for each in saved["messages"]] == [
        ("user", "How many?"),
        ("assistant", "Thirty [1]."),
    ]
    assert saved["messages"][1]["citations"][0]["title"] == "Leave policy"
    assert "conversation.json" in answer["content-disposition"]


@pytest.mark.parametrize("query", ["?format=pdf", "?format="])
def test_other_formats_are_refused(client: Client, member: Membership, query: str) -> None:
    conversation = talk(member, "x")
    assert client.get(f"/api/v1/conversations/{conversation}/export{query}").status_code == 400


def test_anothers_conversation_is_unknown(client: Client, member: Membership) -> None:
    colleague = make_membership(member.tenant, role=Role.OWNER)
    theirs = talk(colleague, "Secret plans", ("user", "hush"))
    assert titles(client, "?q=Secret") == []
    assert client.get(f"/api/v1/conversations/{theirs}/export").status_code == 404
