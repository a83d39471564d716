"""A tenant that has a row in every table of tenants, each of its texts a canary, and files and points besides."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from django.db import connection, models
from factories.rows import make_row
from factories.tenants import make_tenant, make_user

from kernel.backends import backends
from knowledge.ports import VectorStore
from knowledge.types import ChunkPoint, Collection
from substrate.audit import record_act
from substrate.models import Job, TenantAct, TenantChain
from substrate.participation import owned_models
from substrate.scoping import tenant_scope
from tenants.models import Membership, Session, Tenant, User
from tenants.services.exporting import participants

DIMENSIONS = 4


def furnish_rows(canary: str, slug: str | None = None) -> Tenant:
    """A tenant with a row in each table; texts, addresses and JSON hold `canary`."""
    tenant = make_tenant(slug)
    with tenant_scope(tenant.id):
        for model in owned_models():
            if model in (TenantAct, TenantChain):
                continue
            given: dict[str, Any] = {}
            for field in model._meta.local_concrete_fields:
                text = f"{canary}-{uuid.uuid4().hex[:12]}"
                if field.choices or field.remote_field is not None or isinstance(field, models.UUIDField):
                    continue
                if isinstance(field, models.EmailField):
                    given[field.name] = f"{text}@example.com"
                elif isinstance(field, models.JSONField):
                    given[field.name] = [text]
                elif isinstance(field, models.CharField | models.TextField):
                    given[field.name] = text[: field.max_length or 200]
            if model is Job:
                # Nobody is to run it.
                given |= {"state": Job.State.CANCELLED}
            make_row(model, tenant, **given)
        record_act(act="made", kind="tests", object_id=canary, label=canary, tenant_id=tenant.id)
        person = make_user(f"{canary}-alone@example.com")
        alone = Membership.objects.create(tenant=tenant, user=person)
        # A service account that was deleted: its user alone is left.
        User.objects.create(email=f"service:{canary}/gone", service_of=tenant.id)
    session = Session(session_key=f"{canary}-key", session_data=canary, expire_date="2099-01-01T00:00Z")
    session.membership_id, session.user_id = alone.id, person.id
    session.save()
    return tenant


async def furnish_stores(tenant_id: uuid.UUID, canary: str) -> None:
    """A file and two points."""

    async def content() -> AsyncIterator[bytes]:
        yield f"a file that says {canary}".encode()

    await backends["blob_store"].put(f"{tenant_id}/{canary}.txt", content())
    store: VectorStore = backends["vector_store"]
    points = [
        ChunkPoint(
            chunk_id=uuid.uuid4(),
            document_id=uuid.uuid4(),
            knowledge_base_id=uuid.uuid4(),
            version=1,
            vector=[1.0, 0.0, 0.0, float(number)],
            search_text=f"{canary.replace('-', '')} point",
        )
        for number in range(2)
    ]
    await store.upsert(Collection(tenant_id, "test-embedder", DIMENSIONS), points)


async def counts_of(tenant_id: uuid.UUID) -> dict[str, int]:
    """What every participant counts."""
    found: dict[str, int] = {}
    for each in participants().values():
        found |= await each.count(tenant_id)
    return found


def tables_with(text: str) -> dict[str, int]:
    """In how many rows of each table of the database any column holds the text: schema-driven, by plain SQL."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            needle = text.encode()
            count = sum(any(needle in _bytes(value) for value in row) for row in cursor.fetchall())
            if count:
                found[table] = count
    return found


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    return str(value).encode(errors="replace")
