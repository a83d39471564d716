"""Whoever asks for what is not theirs gets nothing: every operation of the published schema, times who may not.

The matrix is generated: each operation, with the ids of a tenant whose every text is a canary, is called with another
tenant's key, by a member of it who names the tenant, by its own viewer, without a credential and with a revoked key. No
answer may hold a canary, no row may change, and every refusal is one of the three that tell nothing.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from factories.rows import make_row
from factories.tenants import key_client, make_key, make_membership, make_tenant, session_client
from fakes.published import published_schema

from substrate.crossing import system_scope
from substrate.models import TenantAct, TenantChain, TenantOwned
from substrate.scoping import tenant_scope
from tenants.models import Tenant
from tenants.services import revoke_api_key
from tenants.types import Role

pytestmark = [pytest.mark.sweep, pytest.mark.django_db, pytest.mark.timeout(300)]

OWNED: list[type[TenantOwned]] = [model for model in apps.get_models() if issubclass(model, TenantOwned)]
METHODS = ("get", "post", "put", "patch", "delete")
# A stream that never ends; tests/console/test_live.py asks it as strangers.
ENDLESS = {"/api/v1/live/"}
# What a path's name stands for: a column of a tenant's row. A new name must be given its row here.
OWNERS = {
    "key_id": ("tenants.ApiKey", "id"),
    "slug": ("assistants.Assistant", "slug"),
    "event": ("substrate.TenantAct", "id"),
    "conversation_id": ("assistants.Conversation", "id"),
    "document": ("knowledge.Document", "id"),
    "invitation_id": ("tenants.Invitation", "id"),
    "job": ("substrate.Job", "id"),
    "knowledge_base_id": ("knowledge.KnowledgeBase", "id"),
    "request_id": ("tenants.RequestTrace", "request_id"),
    "session_id": ("tenants.Membership", "id"),
    "user_id": ("tenants.Membership", "user_id"),
    "role_id": ("tenants.CustomRole", "id"),
    "group_id": ("tenants.Group", "id"),
    "quota_id": ("tenants.Quota", "id"),
    "export_id": ("tenants.TenantExport", "id"),
    "provider_id": ("tenants.IdentityProvider", "id"),
    "grant_id": ("tenants.BreakGlass", "id"),
    "token_id": ("tenants.ScimToken", "id"),
    "account_id": ("tenants.ServiceAccount", "id"),
    "webhook_id": ("tenants.Webhook", "id"),
}
# Things that all tenants share: who may touch them is the operators' business and has its own tests.
SHARED = {
    "deletion_id": "01a20bda-92ef-7578-b7dd-19b7295d71a2",
    "price_id": "01a20bda-92ef-7578-b7dd-19b7295d71a3",
    "backup_id": "atrium-20200101-000000-aaaa",
    "model_id": "m",
    "pool_id": None,
    "replica_id": None,
}
# What a viewer of the tenant itself must not see.
HIDDEN_FROM_VIEWERS = {
    "tenants.ApiKey",
    "tenants.Invitation",
    "tenants.RequestTrace",
    "tenants.ShadowPair",
    "tenants.TenantExport",
    "tenants.UsageRecord",
    "tenants.Webhook",
    "tenants.WebhookDelivery",
    "substrate.TenantAct",
    "assistants.Conversation",
    "assistants.Message",
    "assistants.Run",
}
# What asking itself leaves behind.
MARKS = {"substrate.IdempotencyRecord", "tenants.RequestTrace"}
NOTED = {"last_used_at"}
REFUSED = {401, 403, 404}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the schema, with a body that is valid."""

    method: str
    path: str
    names: tuple[str, ...]
    body: Any
    form: str

    def address(self, ids: dict[str, str]) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: ids[found.group(1)], self.path)


@dataclass
class Victim:
    """A tenant with a row in every table; `canaries` are its texts by model."""

    tenant: Tenant
    ids: dict[str, str]
    canaries: dict[str, set[str]] = field(default_factory=dict)

    def every_canary(self) -> set[str]:
        return set().union(*self.canaries.values())


@cache
def operations() -> tuple[Operation, ...]:
    schema = published_schema()
    found = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if method in METHODS and path not in ENDLESS:
                names = tuple(re.findall(r"\{(\w+)\}", path))
                form, body = _body(operation, schema)
                found.append(Operation(method, path, names, body, form))
    return tuple(found)


def _body(operation: dict[str, Any], schema: dict[str, Any]) -> tuple[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        return "application/json", _example(content["application/json"]["schema"], schema)
    if "application/x-ndjson" in content:
        return "application/x-ndjson", {"title": "t", "text": "t"}
    return next(iter(content), "application/json"), {}


def _example(part: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A value that the schema allows: what is required, else the first thing there is."""
    if "$ref" in part:
        return _example(schema["components"]["schemas"][part["$ref"].rpartition("/")[2]], schema)
    for several in ("allOf", "oneOf", "anyOf"):
        if several in part:
            return _example(part[several][0], schema)
    if "enum" in part:
        return part["enum"][0]
    kind = part.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = part.get("properties", {})
        wanted = (
            part.get("required") or [name for name in properties if not properties[name].get("readOnly")][:1]
        )
        return {name: _example(properties[name], schema) for name in wanted if name in properties}
    if kind == "array":
        return [_example(part.get("items", {}), schema)]
    formats = {
        "uuid": "01a20bda-92ef-7578-b7dd-19b7295d71a2",
        "date-time": "2030-01-01T00:00:00Z",
        "email": "somebody@example.com",
        "uri": "http://127.0.0.1:9/v1",
    }
    plain = {"integer": part.get("minimum", 1), "number": 1, "boolean": True}
    return formats.get(part.get("format", ""), plain.get(kind, "slug"))


@pytest.fixture
def victim() -> Victim:
    tenant = make_tenant()
    rows = {}
    with tenant_scope(tenant.id):
        for model in OWNED:
            if model not in (TenantAct, TenantChain):
                rows[model._meta.label] = make_row(model, tenant)
        rows["substrate.TenantAct"] = TenantAct.objects.order_by("-id").first() or make_row(TenantAct, tenant)
    ids = {name: str(getattr(rows[label], column)) for name, (label, column) in OWNERS.items()}
    ids["tenant_id"] = str(tenant.id)
    with system_scope("tests"):
        for name, label in (("pool_id", "inference.Pool"), ("replica_id", "inference.Replica")):
            ids[name] = str(make_row(apps.get_model(label), tenant).pk)
    ids |= {name: value for name, value in SHARED.items() if value is not None}
    found = Victim(tenant, ids)
    for label, row in rows.items():
        texts = {
            value
            for each in row._meta.concrete_fields
            if isinstance(value := getattr(row, each.attname), str)
        }
        found.canaries[label] = {text for text in texts if re.fullmatch(r"row-\d+-[0-9a-f]{16,}.*", text)}
    assert len(found.every_canary()) > 30
    return found


def ask(client: Client, operation: Operation, ids: dict[str, str]) -> tuple[int, str]:
    """Status, and everything that came back: headers and body."""
    call = getattr(client, operation.method)
    body = json.dumps(operation.body)
    if operation.method == "get":
        answer = call(operation.address(ids))
    elif operation.form.startswith("multipart"):
        answer = call(operation.address(ids), {})
    else:
        answer = call(operation.address(ids), body, content_type=operation.form)
    raw = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, f"{dict(answer.items())} {raw.decode(errors='replace')}"


def told(text: str, victim: Victim, ids: dict[str, str], canaries: set[str]) -> list[str]:
    """Canaries in an answer, but for those that the question itself named."""
    return [canary for canary in canaries if canary in text and canary not in ids.values()]


def rows_of(tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Every row of the tenant."""
    with system_scope("tests", read_only=True):
        found = {
            model._meta.label: [
                {name: value for name, value in row.items() if name not in NOTED}
                for row in model.objects.filter(tenant_id=tenant.id).order_by("pk").values()
            ]
            for model in OWNED
            if model._meta.label not in MARKS
        }
        found["tenants.Tenant"] = list(Tenant.objects.filter(id=tenant.id).values())
        return found


def test_every_name_in_a_path_is_known() -> None:
    named = {name for operation in operations() for name in operation.names}
    assert named <= {*OWNERS, *SHARED, "tenant_id"}
    assert len(operations()) >= 100


def walk(client: Client, victim: Victim) -> Iterator[tuple[Operation, int, str]]:
    for operation in operations():
        status, text = ask(client, operation, victim.ids)
        yield operation, status, text


@pytest.mark.parametrize("caller", ["key", "session"])
def test_another_tenant_reaches_nothing(
    victim: Victim, caller: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_tenant()
    if caller == "key":
        client = key_client(other, role=Role.OWNER)
    else:
        client = session_client(make_membership(other, role=Role.OWNER))
        client.defaults["HTTP_X_ATRIUM_TENANT"] = victim.tenant.slug
    before, counted, wrong = rows_of(victim.tenant), Counter[int](), []
    for operation, status, text in walk(client, victim):
        counted[status] += 1
        leaked = told(text, victim, victim.ids, victim.every_canary())
        foreign = caller == "session" or set(operation.names) & {*OWNERS, "tenant_id"}
        if leaked or status >= 500 or (foreign and status not in REFUSED):
            wrong.append(f"{operation.method} {operation.path}: {status} {leaked} {text[-300:]}")
    assert wrong == [], "\n".join(wrong)
    assert rows_of(victim.tenant) == before
    with capsys.disabled():
        sys.stdout.write(
            f"\nisolation: another tenant's {caller}: {counted.total()} operations, {dict(counted)}\n"
        )


@pytest.mark.parametrize("caller", ["anonymous", "revoked"])
def test_without_a_credential_that_is_valid_nothing_is_reached(victim: Victim, caller: str) -> None:
    client = Client()
    if caller == "revoked":
        key = make_key(victim.tenant, role=Role.OWNER)
        revoke_api_key(prefix=key.prefix)
        client = Client(headers={"authorization": f"Bearer {key.key}"})
        # The tenant's audit tells of it once; what comes later adds nothing.
        assert client.get("/api/v1/me").status_code == 401
    before, wrong = rows_of(victim.tenant), []
    for operation, status, text in walk(client, victim):
        leaked = told(text, victim, victim.ids, victim.every_canary())
        if leaked or status != 401:
            wrong.append(f"{operation.method} {operation.path}: {status} {leaked} {text[-200:]}")
    assert wrong == [], "\n".join(wrong)
    assert rows_of(victim.tenant) == before


def test_a_viewer_changes_nothing_and_sees_no_credential_nor_others_conversations(victim: Victim) -> None:
    client = key_client(victim.tenant, role=Role.VIEWER)
    before, wrong = rows_of(victim.tenant), []
    hidden = set().union(*(victim.canaries.get(label, set()) for label in HIDDEN_FROM_VIEWERS))
    assert hidden
    for operation, status, text in walk(client, victim):
        leaked = told(text, victim, victim.ids, hidden)
        if leaked or status >= 500:
            wrong.append(f"{operation.method} {operation.path}: {status} {leaked} {text[-200:]}")
    assert wrong == [], "\n".join(wrong)
    after = rows_of(victim.tenant)
    changed = {label for label in before if [row for row in before[label] if row not in after[label]]}
    assert changed == set()
    made = {label for label in after if len(after[label]) > len(before[label])}
    # One's own conversations are everybody's right.
    assert made <= {"assistants.Conversation", "assistants.Message"}
