"""What a change of rights or limits was, before and after, stands in the audit."""

import json
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from substrate.audit import ActView, acts_of_tenant
from tenants.models import Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    answer = getattr(client, method)(
        f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers
    )
    assert answer.status_code < 300, answer.content
    return answer.json() if answer.content else None


def last(tenant: Tenant) -> ActView:
    return acts_of_tenant(tenant_id=tenant.id, limit=1)[0]


def test_groups() -> None:
    tenant = make_tenant()
    client = key_client(tenant, role=Role.OWNER)
    group = send(client, "post", "/groups", {"name": "Sales"})
    assert last(tenant).after["name"] == "Sales"
    send(client, "patch", f"/groups/{group['id']}", {"name": "Selling"})
    assert (dict(last(tenant).before), dict(last(tenant).after)) == ({"name": "Sales"}, {"name": "Selling"})
    send(client, "delete", f"/groups/{group['id']}")
    assert (last(tenant).act, last(tenant).before["name"]) == ("deleted", "Selling")


def test_roles() -> None:
    tenant = make_tenant()
    client = key_client(tenant, role=Role.OWNER)
    role = send(client, "post", "/roles", {"name": "Auditor", "permissions": ["audit.read"]})
    send(client, "patch", f"/roles/{role['id']}", {"permissions": ["audit.read", "usage.read"]})
    act = last(tenant)
    assert (act.before["permissions"], act.after["permissions"]) == (
        ["audit.read"],
        ["audit.read", "usage.read"],
    )


def test_limits() -> None:
    tenant = make_tenant()
    operator = session_client(make_membership(tenant, make_user(is_operator=True), role=Role.OWNER))
    body = {"level": "tenant", "measure": "requests_per_minute", "limit": 10, "soft_limit": None}
    rule = send(operator, "post", "/quotas", body)
    send(operator, "put", f"/quotas/{rule['id']}", {"limit": 20, "soft_limit": 15})
    act = last(tenant)
    assert (dict(act.before), dict(act.after)) == ({"hard": 10, "soft": None}, {"hard": 20, "soft": 15})
    send(operator, "delete", f"/quotas/{rule['id']}")
    assert (last(tenant).act, dict(last(tenant).before)) == ("deleted", {"hard": 20, "soft": 15})


def test_grants() -> None:
    tenant = make_tenant()
    member = make_membership(tenant, make_user("ann@example.com"))
    client = key_client(tenant, role=Role.OWNER)
    send(client, "post", "/assistants", {"slug": "guide", "name": "Guide", "instructions": "Help."})
    subject = {"kind": "user", "id": str(member.user_id)}
    send(client, "put", "/access?kind=assistant&id=guide", {"restricted": True, "subjects": [subject]})
    act = last(tenant)
    assert (act.act, act.before["restricted"], act.after["restricted"]) == ("shared", False, True)
    assert act.after["subjects"] == ["user: ann@example.com"]


def test_a_change_of_the_calendar() -> None:
    tenant = make_tenant()
    owner = session_client(make_membership(tenant, role=Role.OWNER))
    told = send(owner, "patch", "/tenant", {"timezone": "Europe/Berlin"})
    assert (told["timezone"], owner.get("/api/v1/tenant").json()["timezone"]) == (
        "Europe/Berlin",
        "Europe/Berlin",
    )
    assert (dict(last(tenant).before), dict(last(tenant).after)) == (
        {"timezone": "UTC"},
        {"timezone": "Europe/Berlin"},
    )
    wrong = owner.patch(
        "/api/v1/tenant", json.dumps({"timezone": "Mars/Crater"}), content_type="application/json"
    )
    assert (wrong.status_code, wrong.json()["param"]) == (400, "timezone")
    admin = session_client(make_membership(tenant, role=Role.ADMIN))
    refused = admin.patch("/api/v1/tenant", json.dumps({"timezone": "UTC"}), content_type="application/json")
    assert refused.status_code == 403
    beyond = owner.patch("/api/v1/tenant", json.dumps({"region": "us"}), content_type="application/json")
    assert beyond.status_code == 400
