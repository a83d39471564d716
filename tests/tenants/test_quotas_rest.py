"""`/quotas` over REST: what is used of what, where it comes from, who sees and sets it."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from factories.usage import make_entry

from substrate.scoping import tenant_scope
from tenants.limit_types import Measure
from tenants.models import Quota, Tenant
from tenants.services import set_tenant_limits, store_usage
from tenants.types import Role

pytestmark = pytest.mark.django_db(transaction=True)


def post(client: Client, **body: Any) -> Any:
    return client.post("/api/v1/quotas", json.dumps(body), content_type="application/json")


def put(client: Client, quota_id: str, body: dict[str, Any], **headers: str) -> Any:
    path = f"/api/v1/quotas/{quota_id}/"
    return client.put(path, json.dumps(body), content_type="application/json", headers=headers)


def quotas(client: Client, query: str = "") -> list[dict[str, Any]]:
    answered = client.get(f"/api/v1/quotas{query}")
    assert answered.status_code == 200, answered.content
    return answered.json()["results"]


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def test_what_is_used_of_a_budget_is_what_the_ledger_says(tenant: Tenant) -> None:
    limits = {Measure.MONEY_PER_MONTH: 1000, Measure.REQUESTS_PER_MINUTE: 60, Measure.TOKENS_PER_DAY: 10}
    set_tenant_limits(tenant_id=tenant.id, limits=limits, warn_percent=50)
    store_usage(
        [
            make_entry(
                tenant.id, prompt_tokens=6, completion_tokens=5, cost_nano=600, started_at=datetime.now(UTC)
            )
        ]
    )
    found = {each["measure"]: each for each in quotas(key_client(tenant, role=Role.VIEWER))}
    money = found["money_per_month"]
    assert (money["limit"], money["soft_limit"], money["used"], money["remaining"]) == (1000, 500, 600, 400)
    assert (money["state"], money["origin"], money["level"], money["subject"]) == (
        "warned",
        "own",
        "tenant",
        "",
    )
    first = datetime.fromisoformat(money["resets_at"])
    assert (first.day, first.hour, first.minute) == (1, 0, 0)
    assert (found["tokens_per_day"]["state"], found["tokens_per_day"]["remaining"]) == ("reached", 0)
    assert (found["requests_per_minute"]["used"], found["requests_per_minute"]["resets_at"]) == (0, None)


def test_a_tenant_without_limits_has_an_empty_page(tenant: Tenant) -> None:
    assert quotas(key_client(tenant)) == []
    assert quotas(key_client(tenant, role=Role.ADMIN), "?view=all") == []


def test_amounts_of_a_user_are_inherited_until_they_are_overridden(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    user = make_user()
    member = session_client(make_membership(tenant, user))
    assert post(admin, level="user", measure="requests_per_minute", limit=60).status_code == 201
    (rule,) = quotas(member)
    assert (rule["limit"], rule["origin"], rule["subject"]) == (60, "inherited", str(user.id))
    made = post(admin, level="user", subject=str(user.id), measure="requests_per_minute", limit=5)
    assert made.status_code == 201
    (rule,) = quotas(member)
    assert (rule["limit"], rule["origin"], rule["id"]) == (5, "own", made.json()["id"])
    assert quotas(admin, f"?user={user.id}") == [rule | {"version": rule["version"]}]
    assert {each["subject"] for each in quotas(admin, "?view=all")} == {"", str(user.id)}
    assert [each["name"] for each in quotas(admin, "?view=all")] == ["", user.email]


def test_a_limit_is_changed_by_who_has_seen_it_and_taken_away(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    made = post(admin, level="key", measure="tokens_per_day", limit=500, soft_limit=400)
    version, number = made.json()["version"], made.json()["id"]
    assert made["ETag"] == f'"{version}"'
    changed = put(admin, number, {"limit": 900, "soft_limit": None}, **{"if-match": f'"{version}"'})
    assert (changed.status_code, changed.json()["limit"], changed.json()["soft_limit"]) == (200, 900, None)
    assert put(admin, number, {"limit": 1}, **{"if-match": f'"{version}"'}).status_code == 412
    assert admin.get(f"/api/v1/quotas/{number}").json()["limit"] == 900
    assert admin.delete(f"/api/v1/quotas/{number}").status_code == 204
    assert admin.get(f"/api/v1/quotas/{number}").status_code == 404


def test_who_may_see_and_set_what(tenant: Tenant) -> None:
    member, admin, owner = (key_client(tenant, role=role) for role in (Role.MEMBER, Role.ADMIN, Role.OWNER))
    stranger = key_client(make_tenant(), role=Role.OWNER)
    assert Client().get("/api/v1/quotas").status_code == 401
    assert member.get("/api/v1/quotas?view=all").status_code == 403
    assert member.get(f"/api/v1/quotas?user={uuid.uuid4()}").status_code == 403
    assert post(member, level="user", measure="concurrency", limit=3).status_code == 403
    # The platform gives a tenant its limits: not even its owner does.
    assert post(owner, level="tenant", measure="concurrency", limit=3).status_code == 403
    made = post(admin, level="user", measure="concurrency", limit=3).json()
    for ask in (stranger.get, stranger.delete):
        assert ask(f"/api/v1/quotas/{made['id']}").status_code == 404
    assert put(stranger, made["id"], {"limit": 9}).status_code == 404
    user = make_user()
    make_membership(make_tenant(), user)
    assert post(admin, level="user", subject=str(user.id), measure="concurrency", limit=1).status_code == 404
    assert admin.get(f"/api/v1/quotas?user={user.id}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"level": "user", "measure": "concurrency", "limit": -1},
        {"level": "user", "measure": "concurrency", "limit": 0},
        {"level": "user", "measure": "concurrency", "limit": 10**20},
        {"level": "user", "measure": "requests_per_minute", "limit": 10**12},
        {"level": "user", "measure": "concurrency", "limit": None},
        {"level": "user", "measure": "concurrency", "limit": 5, "soft_limit": 6},
        {"level": "user", "measure": "kindness", "limit": 5},
        {"level": "planet", "measure": "concurrency", "limit": 5},
        {"level": "user", "measure": "concurrency", "limit": 5, "surprise": 1},
    ],
)
def test_what_means_nothing_is_refused_and_nothing_stored(tenant: Tenant, body: dict[str, Any]) -> None:
    assert post(key_client(tenant, role=Role.ADMIN), **body).status_code == 400
    with tenant_scope(tenant.id):
        assert not Quota.objects.exists()
    assert key_client(tenant).get("/api/v1/quotas?view=mine").status_code == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"level": "user", "measure": "documents", "limit": None, "soft_limit": None}, "limit"),
        ({"level": "user", "measure": "documents", "limit": 1, "soft_limit": 2}, "soft_limit"),
        ({"level": "user", "measure": "requests_per_minute", "limit": 0}, "limit"),
        ({"level": "model", "subject": "auto", "measure": "tokens_per_day", "limit": 1}, "subject"),
        ({"level": "model", "subject": "assistant/x", "measure": "tokens_per_day", "limit": 1}, "subject"),
    ],
)
def test_a_refusal_names_the_field_as_it_was_sent(tenant: Tenant, body: dict[str, Any], param: str) -> None:
    answer = post(key_client(tenant, role=Role.OWNER), **body)
    assert (answer.status_code, answer.json()["param"]) == (400, param)


def test_the_record_says_whose_limit_it_is_by_name(tenant: Tenant) -> None:
    ann = make_membership(tenant, make_user("ann@example.com")).user
    client = key_client(tenant, role=Role.OWNER)
    for subject in (str(ann.id), ""):
        post(client, level="user", subject=subject, measure="tokens_per_day", limit=5)
    events = client.get("/api/v1/audit-events?kind=quota").json()["results"]
    assert [each["label"] for each in events] == [
        "user tokens_per_day",
        "user ann@example.com tokens_per_day",
    ]
