"""How many queries the address behind each list and page needs: few, and as many for many rows as for few."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from factories.rows import make_row
from factories.tenants import key_client, make_membership, make_tenant, make_user
from factories.usage import make_entry

from assistants.models import Assistant, Conversation
from inference.models import Model
from knowledge.models import Document, KnowledgeBase
from substrate.crossing import system_scope
from substrate.models import Job, TenantAct
from tenants.models import Tenant
from tenants.services import issue_api_key, store_usage
from tenants.types import Role

pytestmark = [pytest.mark.django_db, pytest.mark.sweep]

FEW, MANY = 3, 23
BASE = uuid.UUID("01a20bda-92ef-7578-b7dd-19b7295d71a2")
# The most queries each may need; who asks is found by the first ones. More is a step back: say why.
MOST = {
    "/tenants": 6,
    "/tenants?total=true&sort=name": 7,
    "/users": 5,
    "/api-keys": 8,
    "/audit-events": 5,
    "/audit-events?scope=platform": 7,
    "/assistants": 6,
    "/conversations": 6,
    "/knowledge-bases": 6,
    f"/knowledge-bases/{BASE}/documents": 7,
    f"/knowledge-bases/{BASE}/documents?total=true&q=row": 8,
    "/jobs": 8,
    "/jobs?scope=platform": 9,
    "/requests": 8,
    "/models": 8,
    "/pools": 9,
    "/usage?group_by=day": 8,
    "/usage?group_by=model": 16,
    "/usage?group_by=user": 16,
    "/usage?group_by=key": 16,
    "/usage?scope=platform&group_by=tenant": 16,
    "/overview?range=1h": 45,
    "/overview?range=24h": 45,
    "/overview?range=30d": 60,
    "/overview?range=30d&scope=platform": 50,
}


def fill(tenant: Tenant, count: int) -> None:
    """So many rows of everything, in the tenant and beside it."""
    now = datetime.now(UTC)
    with system_scope("tests"):
        base = KnowledgeBase.objects.filter(id=BASE).first() or make_row(KnowledgeBase, tenant, id=BASE)
        for number in range(count):
            make_row(Document, tenant, knowledge_base=base, state="failed")
            make_row(KnowledgeBase, tenant)
            make_row(Assistant, tenant)
            make_row(Conversation, tenant)
            make_row(Job, tenant, state="failed", kind="knowledge.ingest", run_after=now)
            make_row(TenantAct, tenant)
            make_row(Model, tenant)
            other = make_tenant()
            make_membership(tenant)
            issue_api_key(tenant_id=tenant.id, name=f"key {number}", expires_at=now + timedelta(days=2))
            store_usage([_call(tenant, number, now), _call(other, number, now)])


def _call(tenant: Tenant, number: int, now: datetime) -> Any:
    values = {"model": f"m{number}", "user_id": uuid.uuid4(), "assistant": f"a{number}", "started_at": now}
    return make_entry(tenant.id, **values)


def counted(client: Client, path: str) -> tuple[int, str]:
    """Queries of one GET, and what they were."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = client.get(f"/api/v1{path}")
    assert answer.status_code == 200, (path, answer.content)
    return len(captured), "\n".join(each["sql"][:160] for each in captured.captured_queries)


def test_every_page_needs_few_queries_however_many_rows_there_are() -> None:
    tenant = make_tenant()
    operator = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    client = key_client(tenant, role=Role.OWNER, user=operator.user)
    fill(tenant, FEW)
    for path in MOST:
        client.get(f"/api/v1{path}")
    few = {path: counted(client, path) for path in MOST}
    fill(tenant, MANY)
    grown, costly = [], []
    for path, most in MOST.items():
        count, queries = counted(client, path)
        if count > few[path][0]:
            grown.append(f"{path}: {few[path][0]} → {count}\n{queries}")
        if count > most:
            costly.append(f"{path}: {count} > {most}\n{queries}")
    assert not grown, "\n".join(grown)
    assert not costly, "\n".join(costly)
