"""The REST API of tenants: roles, foreign ids, bad input, shapes."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from factories.tenants import (
    PASSWORD,
    key_client,
    make_key,
    make_membership,
    make_tenant,
    make_user,
    session_client,
)

from kernel.ids import uuid7
from substrate.crossing import system_scope
from substrate.models import IdempotencyRecord
from tenants.models import ApiKey, Membership, Tenant, User
from tenants.services import authenticate_key_now, store_usage
from tenants.types import Role, TenantState, UsageEntry, UsageState

pytestmark = pytest.mark.django_db

JSON = "application/json"


def post(client: Client, path: str, body: object, **headers: str) -> Any:
    """POST `body` as JSON."""
    return client.post(path, json.dumps(body), content_type=JSON, headers=headers)


def patch(client: Client, path: str, body: object) -> Any:
    """PATCH `body` as JSON."""
    return client.patch(path, json.dumps(body), content_type=JSON)


@pytest.fixture
def tenant() -> Tenant:
    """A tenant with an owner, so that nobody is the last one by accident."""
    tenant = make_tenant()
    make_membership(tenant, role=Role.OWNER)
    return tenant


def test_me_of_a_key(tenant: Tenant) -> None:
    key = make_key(tenant, role=Role.VIEWER, name="ci")
    response = Client(headers={"authorization": f"Bearer {key.key}"}).get("/api/v1/me")
    assert response.status_code == 200
    assert response.json() == {
        "user": None,
        "tenant": {"id": str(tenant.id), "slug": tenant.slug, "name": tenant.name},
        "role": "viewer",
        "permissions": [
            "assistants.read",
            "conversations.own",
            "knowledge.inspect",
            "knowledge.read",
            "models.read",
        ],
        "memberships": [
            {"tenant": {"id": str(tenant.id), "slug": tenant.slug, "name": tenant.name}, "role": "viewer"}
        ],
        "api_key": {"prefix": key.prefix, "name": "ci"},
        "visiting": False,
        "platform": False,
        "custom_role": "",
        "break_glass": None,
    }


def test_me_of_a_session_lists_open_memberships_only() -> None:
    user = make_user()
    first, second, closed = (make_tenant(slug) for slug in ("aaa", "bbb", "ccc"))
    membership = make_membership(first, user, role=Role.ADMIN)
    make_membership(second, user)
    make_membership(closed, user)
    Tenant.objects.filter(id=closed.id).update(state=TenantState.SUSPENDED)
    body = session_client(membership).get("/api/v1/me/").json()
    assert body["user"] == {"id": str(user.id), "email": user.email, "name": "", "is_operator": False}
    assert body["api_key"] is None
    assert [(each["tenant"]["slug"], each["role"]) for each in body["memberships"]] == [
        ("aaa", "admin"),
        ("bbb", "member"),
    ]


# Operation, then the status a viewer, member, admin, owner, operator and a stranger get.
MATRIX = [
    ("GET", "/me", None, (200, 200, 200, 200, 200, 401)),
    ("GET", "/users", None, (403, 403, 200, 200, 200, 401)),
    ("POST", "/users", {"email": "new@example.com", "role": "member"}, (403, 403, 201, 201, 201, 401)),
    ("POST", "/users", {"email": "boss@example.com", "role": "owner"}, (403, 403, 403, 201, 201, 401)),
    ("GET", "/api-keys", None, (403, 403, 200, 200, 200, 401)),
    ("POST", "/api-keys", {"name": "k"}, (403, 403, 201, 201, 201, 401)),
    ("POST", "/api-keys", {"name": "k", "role": "owner"}, (403, 403, 403, 201, 201, 401)),
    ("GET", "/usage", None, (403, 403, 200, 200, 200, 401)),
    ("GET", "/tenants", None, (403, 403, 403, 403, 200, 401)),
    ("POST", "/tenants", {"slug": "fresh", "name": "Fresh"}, (403, 403, 403, 403, 201, 401)),
]


@pytest.mark.parametrize(("method", "path", "body", "statuses"), MATRIX)
def test_roles(tenant: Tenant, method: str, path: str, body: object, statuses: tuple[int, ...]) -> None:
    operator = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    clients = [key_client(tenant, role=role) for role in (Role.VIEWER, Role.MEMBER, Role.ADMIN, Role.OWNER)]
    clients += [key_client(tenant, role=Role.OWNER, user=operator.user), Client()]
    found = []
    for client in clients:
        response = client.generic(
            method, f"/api/v1{path}", json.dumps(body) if body else "", content_type=JSON
        )
        found.append(response.status_code)
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json"
            assert response.json()["status"] == response.status_code
        with system_scope("tests"):
            User.objects.filter(email__in=["new@example.com", "boss@example.com"]).delete()
    assert tuple(found) == statuses


def test_foreign_and_unknown_ids_look_alike(tenant: Tenant) -> None:
    other = make_tenant()
    foreign_key = make_key(other)
    foreign_user = make_membership(other).user_id
    client = key_client(tenant, role=Role.OWNER)
    for path in ("users/{}", "api-keys/{}"):
        foreign = foreign_user if path.startswith("users") else foreign_key.id
        for found in (foreign, uuid.uuid4(), "nonsense", "%00"):
            url = "/api/v1/" + path.format(found)
            assert client.get(url).status_code == 404
            assert client.delete(url).status_code == 404
    assert patch(client, f"/api/v1/users/{foreign_user}", {"role": "viewer"}).status_code == 404
    with system_scope("tests"):
        assert Membership.objects.get(user_id=foreign_user).role == Role.MEMBER
        assert ApiKey.objects.get(id=foreign_key.id).revoked_at is None


def test_a_key_is_shown_once_and_works_until_revoked(tenant: Tenant) -> None:
    client = key_client(tenant, role=Role.ADMIN)
    made = post(client, "/api/v1/api-keys", {"name": "bot", "role": "member"})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    text, key_id = made.json()["key"], made.json()["id"]
    assert authenticate_key_now(text).role is Role.MEMBER
    with system_scope("tests"):
        row = ApiKey.objects.get(id=key_id)
    assert text not in json.dumps({name: str(value) for name, value in vars(row).items()})
    shown = client.get(f"/api/v1/api-keys/{key_id}").json()
    assert "key" not in shown
    assert shown["last_used_at"] is not None
    assert text not in client.get("/api/v1/api-keys").content.decode()
    assert client.delete(f"/api/v1/api-keys/{key_id}/").status_code == 204
    assert Client(headers={"authorization": f"Bearer {text}"}).get("/api/v1/me").status_code == 401
    assert client.get(f"/api/v1/api-keys/{key_id}").json()["revoked_at"] is not None


def test_a_repeated_post_makes_one_key_and_does_not_store_it_in_the_clear(tenant: Tenant) -> None:
    client = key_client(tenant, role=Role.ADMIN)
    answers = [
        post(client, "/api/v1/api-keys", {"name": "once"}, **{"idempotency-key": "abc"}) for _ in range(3)
    ]
    assert [each.status_code for each in answers] == [201, 201, 201]
    assert len({each.json()["key"] for each in answers}) == 1
    with system_scope("tests"):
        assert ApiKey.objects.filter(name="once").count() == 1
        assert answers[0].json()["key"] not in IdempotencyRecord.objects.get(key="abc").body


def test_bad_keys_are_refused(tenant: Tenant) -> None:
    key = make_key(tenant)
    for header in (
        f"Bearer {key.key[:-1]}",
        "Bearer ",
        "Basic abc",
        f"Token {key.key}",
        "Bearer ätr_ü",
        "x" * 5000,
    ):
        response = Client(headers={"authorization": header}).get("/api/v1/me")
        assert response.status_code == 401, header
        assert response.json()["code"] == "invalid_api_key"


def test_a_keys_tenant_cannot_be_changed_by_the_header(tenant: Tenant) -> None:
    other = make_tenant()
    client = key_client(tenant)
    assert client.get("/api/v1/me", headers={"x-atrium-tenant": tenant.slug}).status_code == 200
    assert client.get("/api/v1/me", headers={"x-atrium-tenant": other.slug}).status_code == 403


def test_the_last_owner_stays(tenant: Tenant) -> None:
    owner_id = _owner(tenant)
    client = key_client(tenant, role=Role.OWNER)
    url = f"/api/v1/users/{owner_id}"
    for response in (
        client.delete(url),
        patch(client, url, {"role": "admin"}),
        patch(client, url, {"disabled": True}),
    ):
        assert response.status_code == 409
        assert response.json()["code"] == "last_owner"
    make_membership(tenant, role=Role.OWNER)
    assert client.delete(url).status_code == 204
    assert User.objects.filter(id=owner_id).exists()


def test_nobody_rises_above_themselves(tenant: Tenant) -> None:
    admin = key_client(tenant, role=Role.ADMIN)
    member = make_membership(tenant)
    assert patch(admin, f"/api/v1/users/{member.user_id}", {"role": "owner"}).status_code == 403
    assert patch(admin, f"/api/v1/users/{_owner(tenant)}", {"role": "viewer"}).status_code == 403
    assert admin.delete(f"/api/v1/users/{_owner(tenant)}").status_code == 403
    owner_key = make_key(tenant, role=Role.OWNER)
    assert admin.delete(f"/api/v1/api-keys/{owner_key.id}").status_code == 403
    assert patch(admin, f"/api/v1/users/{member.user_id}", {"role": "admin"}).json()["role"] == "admin"


def test_disabling_a_member_ends_sessions_and_keys(tenant: Tenant) -> None:
    member = make_membership(tenant)
    browser, key = session_client(member), key_client(tenant, user=member.user)
    assert browser.get("/api/v1/me").status_code == key.get("/api/v1/me").status_code == 200
    owner = key_client(tenant, role=Role.OWNER)
    assert patch(owner, f"/api/v1/users/{member.user_id}", {"disabled": True}).json()["disabled"] is True
    # The session is gone, and a new one does not let them in either.
    assert browser.get("/api/v1/me").status_code == 401
    assert session_client(member).get("/api/v1/me").status_code == key.get("/api/v1/me").status_code == 403
    assert patch(owner, f"/api/v1/users/{member.user_id}", {"disabled": False}).status_code == 200
    assert session_client(member).get("/api/v1/me").status_code == key.get("/api/v1/me").status_code == 200


def test_nobody_locks_themselves_out(tenant: Tenant) -> None:
    me = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    client = key_client(tenant, role=Role.OWNER, user=me.user)
    url = f"/api/v1/users/{me.user_id}"
    for response in (
        client.delete(url),
        patch(client, url, {"role": "admin"}),
        patch(client, url, {"disabled": True}),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "own_membership")
    assert patch(client, url, {"role": "owner", "disabled": False}).status_code == 200
    suspended = patch(client, f"/api/v1/tenants/{tenant.id}", {"state": "suspended"})
    assert (suspended.status_code, suspended.json()["code"]) == (409, "own_tenant")
    assert client.get("/api/v1/me").status_code == 200


def test_a_known_user_keeps_the_password(tenant: Tenant) -> None:
    known = make_user(password=PASSWORD)
    client = key_client(tenant, role=Role.ADMIN)
    body = {"email": known.email.upper(), "role": "member", "password": "another good long one"}
    assert post(client, "/api/v1/users", body).status_code == 201
    known.refresh_from_db()
    assert known.check_password(PASSWORD)
    assert post(client, "/api/v1/users", body).status_code == 409


BAD_BODIES: list[tuple[str, object]] = [
    ("/users", {"email": "x\x00@example.com", "role": "member"}),
    ("/users", {"email": "no address", "role": "member"}),
    ("/users", {"email": "a@example.com", "role": "emperor"}),
    ("/users", {"email": "a@example.com", "role": "member", "password": "123"}),
    ("/users", {"email": "a@example.com", "role": "member", "admin": True}),
    ("/users", []),
    ("/users", "text"),
    ("/api-keys", {"name": ""}),
    ("/api-keys", {"name": "a\x00b"}),
    ("/api-keys", {"name": "\ud800"}),
    ("/api-keys", {"name": "k", "expires_at": "2020-01-01T00:00:00Z"}),
    ("/api-keys", {"name": "k", "expires_at": "0001-01-01T00:00:00+23:59"}),
    ("/api-keys", {"name": "k" * 201}),
    ("/api-keys", {"name": "k", "personal": True}),
    ("/tenants", {"slug": "Upper", "name": "x"}),
    ("/tenants", {"slug": "a b", "name": "x"}),
    ("/tenants", {"slug": "fine", "name": "x", "weight": 10**40}),
    ("/tenants", {"slug": "fine", "name": "x", "weight": 0}),
    ("/tenants", {"slug": "fine", "name": " "}),
]


@pytest.mark.parametrize(("path", "body"), BAD_BODIES)
def test_bad_bodies_are_400(tenant: Tenant, path: str, body: object) -> None:
    make_membership(tenant, user := make_user(is_operator=True), role=Role.OWNER)
    key = make_key(tenant, role=Role.OWNER, user=None if "personal" in str(body) else user)
    client = Client(headers={"authorization": f"Bearer {key.key}"})
    response = post(client, f"/api/v1{path}", body)
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body", "field", "said"),
    [
        ("/tenants", {"slug": "Acme Ltd", "name": "Acme"}, "slug", "Kleinbuchstaben, Ziffern"),
        (
            "/service-accounts",
            {"name": "CI pipeline"},
            "name",
            "Der Name eines Dienstkontos hat 1–63 Zeichen",
        ),
        ("/roles", {"name": "Nothing", "permissions": []}, "permissions", "mindestens ein Recht"),
    ],
)
def test_what_has_another_shape_is_told_which_shape_it_has(
    tenant: Tenant, path: str, body: object, field: str, said: str
) -> None:
    operator = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    client = key_client(tenant, role=Role.OWNER, user=operator.user)
    answer = client.post(
        f"/api/v1{path}", json.dumps(body), content_type="application/json", headers={"accept-language": "de"}
    )
    assert answer.status_code == 400
    assert said in answer.json()["errors"][field][0]


def test_broken_json_and_wrong_type_are_answered(tenant: Tenant) -> None:
    client = key_client(tenant, role=Role.OWNER)
    assert client.post("/api/v1/users", "{", content_type=JSON).status_code == 400
    assert (
        client.post("/api/v1/users", "a=b", content_type="application/x-www-form-urlencoded").status_code
        == 415
    )
    assert client.put("/api/v1/users", "{}", content_type=JSON).status_code == 405
    assert client.get("/api/v1/users?cursor=nonsense").status_code == 404
    # A well-formed cursor that points at no id: base64 of `p=abc`.
    assert client.get("/api/v1/users?cursor=cD1hYmM=").status_code == 404


def test_pages(tenant: Tenant) -> None:
    for _ in range(6):
        make_membership(tenant)
    client = key_client(tenant, role=Role.ADMIN)
    seen: list[str] = []
    url: str | None = "/api/v1/users?limit=3"
    while url:
        page = client.get(url).json()
        assert len(page["results"]) <= 3
        seen += [each["id"] for each in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 7


def test_operators_manage_tenants() -> None:
    home = make_tenant()
    boss = make_membership(home, make_user(is_operator=True), role=Role.OWNER)
    client = key_client(home, role=Role.OWNER, user=boss.user)
    made = post(
        client, "/api/v1/tenants/", {"slug": "new-one", "name": "New", "priority_class": "batch", "weight": 7}
    )
    assert made.status_code == 201
    body = made.json()
    assert (body["priority_class"], body["weight"], body["state"]) == ("batch", 7, "active")
    assert post(client, "/api/v1/tenants", {"slug": "new-one", "name": "New"}).status_code == 409
    shown = client.get(f"/api/v1/tenants/{body['id']}").json()
    assert body == shown | {"owner": "", "invitation": None, "joined": False}
    changed = patch(client, f"/api/v1/tenants/{body['id']}", {"state": "suspended", "name": "Old"}).json()
    assert (changed["state"], changed["name"], changed["weight"]) == ("suspended", "Old", 7)
    assert patch(client, f"/api/v1/tenants/{uuid.uuid4()}", {"name": "x"}).status_code == 404
    member = make_membership(Tenant.objects.get(slug="new-one"))
    refused = session_client(member).get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")


def entry(tenant: Tenant, **values: Any) -> UsageEntry:
    """A finished call."""
    base: dict[str, Any] = {
        "record_id": uuid7(),
        "request_id": "r" * 16,
        "tenant_id": tenant.id,
        "user_id": None,
        "api_key_id": None,
        "model": "m",
        "pool": "p",
        "replica": "r",
        "origin": "api",
        "state": UsageState.COMPLETED,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_nano": 1_500_000_000,
        "started_at": datetime(2026, 11, 20, 12, tzinfo=UTC),
    }
    return UsageEntry(**(base | values))


def test_usage_sums(tenant: Tenant) -> None:
    user, stranger = make_membership(tenant).user, make_user()
    key = make_key(tenant, name="bot")
    day = datetime(2026, 11, 20, 12, tzinfo=UTC)
    store_usage(
        [
            entry(tenant, user_id=user.id),
            entry(tenant, user_id=stranger.id, model="n", cost_nano=1),
            entry(tenant, api_key_id=key.id, state=UsageState.CANCELLED, started_at=day + timedelta(days=1)),
            entry(tenant, started_at=day - timedelta(days=10)),
            entry(make_tenant(), model="foreign"),
        ]
    )
    client = key_client(tenant, role=Role.ADMIN)
    span = "from=2026-11-20&to=2026-11-21"
    days = client.get(f"/api/v1/usage?{span}").json()["results"]
    assert [(each["group"], each["requests"], each["states"]["cancelled"]) for each in days] == [
        ("2026-11-20", 2, 0),
        ("2026-11-21", 1, 1),
    ]
    assert days[0] == {
        "group": "2026-11-20",
        "label": "2026-11-20",
        "requests": 2,
        "states": {"completed": 2, "cancelled": 0, "failed": 0},
        "slow": False,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "cost": "1.500000001",
        "cost_nano": 1_500_000_001,
        "first_token_ms": {"p50": None, "p95": None},
        "total_ms": {"p50": 1, "p95": 1},
    }
    models = client.get(f"/api/v1/usage?{span}&group_by=model").json()["results"]
    assert [(each["group"], each["requests"]) for each in models] == [("m", 2), ("n", 1)]
    users = client.get(f"/api/v1/usage?{span}&group_by=user").json()["results"]
    assert {each["group"]: each["label"] for each in users} == {
        "": "",
        str(user.id): user.email,
        # Not a member here: the ledger names the id, never the foreign address.
        str(stranger.id): "",
    }
    keys = client.get(f"/api/v1/usage?{span}&group_by=key").json()["results"]
    assert f"bot (atr_{key.prefix})" in {each["label"] for each in keys}


@pytest.mark.parametrize(
    "query",
    [
        "group_by=moon",
        "from=yesterday",
        "from=2026-02-01&to=2026-01-01",
        "to=9999-12-31",
        "x=1",
        "from=0001-01-01",
    ],
)
def test_bad_usage_queries_are_400(tenant: Tenant, query: str) -> None:
    assert key_client(tenant, role=Role.ADMIN).get(f"/api/v1/usage?{query}").status_code == 400


def _owner(tenant: Tenant) -> uuid.UUID:
    with system_scope("tests"):
        return Membership.objects.filter(tenant=tenant, role=Role.OWNER).values_list("user_id", flat=True)[0]
