"""Models and assistants where SQLite is lenient: row-level security beside platform rows, JSON columns, partial uniqueness."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_principal, make_tenant
from fakes.postgresql import fresh_database

from assistants.services import (
    create_assistant,
    delete_assistant,
    forget_deleted_assistants,
    restore_assistant,
    update_assistant,
)
from inference.selectors import load_specs
from inference.services import change_model, register_engine, require_answering_model
from kernel.errors import BadInput, Conflict, Stale
from knowledge.services import create_knowledge_base, delete_knowledge_base
from substrate.audit_keeping import let_go_chain
from substrate.crossing import system_scope
from substrate.versions import version_of
from tenants.models import Tenant
from tenants.types import Role

pytestmark = pytest.mark.services
URL = "http://127.0.0.1:8101/v1"


@pytest.fixture(scope="module", autouse=True)
def database(django_db_blocker: Any) -> Iterator[None]:
    """A new database for this module."""
    with fresh_database(django_db_blocker):
        yield


def tenant() -> Tenant:
    return make_tenant(f"t-{uuid.uuid4().hex[:8]}")


def slugs(client: Client, query: str) -> list[str]:
    return [each["slug"] for each in client.get(f"/api/v1/assistants{query}").json()["results"]]


def test_access_is_held_beside_row_level_security() -> None:
    mine, other = tenant(), tenant()
    register_engine(pool="gpu", model="secret", url=URL, tenants=[mine.slug])
    spec = next(each for each in load_specs() if each.id == "secret")
    assert (spec.open_to(mine.id), spec.open_to(other.id)) == (True, False)
    create_assistant(principal=make_principal(mine, role=Role.ADMIN), slug="a", name="A", model="secret")
    with pytest.raises(BadInput):
        create_assistant(principal=make_principal(other, role=Role.ADMIN), slug="a", name="A", model="secret")
    with pytest.raises(BadInput):
        require_answering_model(model_id="secret", tenant_id=other.id)
    listed = {
        each["id"] for each in key_client(other).get("/api/v1/models?sort=-input_price").json()["results"]
    }
    assert "secret" not in listed
    change_model(model_id="secret", restricted=False, input_price="2")
    assert key_client(other).get("/api/v1/models/secret").json()["input_price"] == "2"
    # A tenant that goes takes its grants along.
    change_model(model_id="secret", restricted=True, tenants=[other.slug])
    with system_scope("a tenant goes"):
        let_go_chain(tenant_id=other.id)
        Tenant.objects.filter(id=other.id).delete()
    assert next(each for each in load_specs() if each.id == "secret").tenants == frozenset()


def test_assistants_come_and_go() -> None:
    owner = tenant()
    admin = make_principal(owner, role=Role.ADMIN)
    base = create_knowledge_base(principal=admin, name="Handbook")
    made = create_assistant(principal=admin, slug="legal", name="One", knowledge_base_ids=[base.id])
    client = key_client(owner, role=Role.ADMIN)
    assert slugs(client, f"?knowledge_base={base.id}&sort=-updated_at") == ["legal"]
    assert slugs(client, f"?knowledge_base={uuid.uuid4()}") == []
    update_assistant(principal=admin, slug="legal", name="Two", expected=version_of(made.updated_at))
    with pytest.raises(Stale):
        update_assistant(principal=admin, slug="legal", name="Three", expected=version_of(made.updated_at))
    delete_knowledge_base(principal=admin, knowledge_base_id=base.id)
    assert client.get("/api/v1/assistants/legal").json()["knowledge_base_ids"] == []
    delete_assistant(principal=admin, slug="legal")
    create_assistant(principal=admin, slug="legal", name="Other")
    with pytest.raises(Conflict):
        restore_assistant(principal=admin, slug="legal")
    delete_assistant(principal=admin, slug="legal")
    assert restore_assistant(principal=admin, slug="legal").name == "Other"
    assert slugs(client, "?deleted=true") == ["legal"]
    assert forget_deleted_assistants() == 0
