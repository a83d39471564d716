"""`/palette`: things by name, each under the caller's own rights."""

from typing import Any

import pytest
from django.test import Client
from factories.tenants import (
    key_client,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)

from assistants.services import create_assistant, create_conversation
from inference.services import ensure_built_in_models
from knowledge.models import Document, KnowledgeBase
from knowledge.services import create_knowledge_base
from substrate.scoping import tenant_scope
from substrate.units import close_units
from tenants.models import Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Any:
    ensure_built_in_models()
    tenant = make_tenant("acme")
    owner = make_principal(tenant, role=Role.OWNER)
    base = create_knowledge_base(principal=owner, name="Atrium manuals")
    create_assistant(principal=owner, slug="atrium-help", name="Helper of Atrium")
    documents(tenant, base.id, "The Atrium way", "atrium first", "other")
    yield tenant
    close_units()


def documents(tenant: Tenant, base_id: Any, *titles: str) -> None:
    with tenant_scope(tenant.id):
        base = KnowledgeBase.objects.get(id=base_id)
        Document.objects.bulk_create(
            [
                Document(
                    tenant_id=tenant.id, knowledge_base=base, title=title, blob_key="x", content_hash="x"
                )
                for title in titles
            ]
        )


def ask(client: Client, query: str, status: int = 200) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/palette?{query}")
    assert answer.status_code == status, answer.content[:500]
    found: list[dict[str, Any]] = answer.json().get("results", [])
    return found


def test_names_that_begin_with_it_come_first(tenant: Tenant) -> None:
    found = ask(key_client(tenant, role=Role.ADMIN), "q=ATRIUM")
    assert [(each["kind"], each["label"]) for each in found] == [
        ("assistant", "Helper of Atrium"),
        ("knowledge_base", "Atrium manuals"),
        ("document", "atrium first"),
        ("model", "atrium-embedding"),
        ("model", "atrium-extractive"),
        ("document", "The Atrium way"),
    ]
    document = next(each for each in found if each["label"] == "atrium first")
    base = next(each for each in found if each["kind"] == "knowledge_base")
    assert document["href"] == f"/console/knowledge/{base['id']}/{document['id']}"
    assert document["hint"] == "Atrium manuals"


def test_other_tenants_things_are_not_found(tenant: Tenant) -> None:
    found = ask(key_client(make_tenant(), role=Role.OWNER), "q=atrium")
    assert {each["kind"] for each in found} == {"model"}


def test_operators_find_tenants_and_in_the_platform_scope_no_names_of_theirs(tenant: Tenant) -> None:
    home = make_membership(make_tenant("home"), make_user(is_operator=True), role=Role.OWNER)
    operator = session_client(home)
    assert [(each["kind"], each["id"]) for each in ask(operator, "q=acm")] == [("tenant", "acme")]
    found = ask(operator, "q=atrium&scope=platform")
    assert {each["kind"] for each in found} == {"model"}


def test_tenants_are_the_operators_alone(tenant: Tenant) -> None:
    client = key_client(tenant, role=Role.OWNER)
    assert ask(client, "q=acme") == []
    ask(client, "q=acme&scope=platform", 403)


def test_conversations_are_ones_own(tenant: Tenant) -> None:
    mine, theirs = make_membership(tenant, role=Role.MEMBER), make_principal(tenant)
    create_conversation(principal=theirs, title="Zebra of theirs")
    client = session_client(mine)
    assert ask(client, "q=zebra") == []
    client.post("/api/v1/conversations", {"title": "Zebra of mine"}, content_type="application/json")
    assert [each["label"] for each in ask(client, "q=zebra")] == ["Zebra of mine"]


def test_nothing_typed_finds_nothing_and_too_much_is_refused(tenant: Tenant) -> None:
    client = key_client(tenant)
    assert ask(client, "q=") == []
    assert ask(client, "q=%25") == []
    ask(client, f"q={'x' * 101}", 400)
    ask(client, "q=%00", 400)


def test_no_more_than_twenty(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        base = KnowledgeBase.objects.get()
    documents(tenant, base.id, *(f"atrium {number}" for number in range(50)))
    assert len(ask(key_client(tenant, role=Role.ADMIN), "q=atrium")) <= 20
