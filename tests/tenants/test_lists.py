"""Lists of tenants, members and keys: sorted, searched, filtered, exported; versions against silent overwriting."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from factories.tenants import key_client, make_key, make_membership, make_tenant, make_user, session_client

from substrate.audit import acts_everywhere, acts_of_tenant
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import ApiKey, Invitation, Membership, Tenant, User
from tenants.types import Role, TenantState

pytestmark = pytest.mark.django_db

JSON = "application/json"


@pytest.fixture
def operator() -> Client:
    """The browser of an operator."""
    return session_client(
        make_membership(make_tenant("home"), make_user("op@example.com", is_operator=True), role=Role.OWNER)
    )


def send(client: Client, method: str, path: str, body: object, version: str = "") -> Any:
    """A request with a body, and with `If-Match` where a version is given."""
    headers = {"if-match": f'"{version}"'} if version else {}
    return client.generic(method, f"/api/v1{path}", json.dumps(body), content_type=JSON, headers=headers)


def column(client: Client, path: str, name: str) -> list[Any]:
    """One field of a list's rows."""
    return [row[name] for row in client.get(f"/api/v1{path}").json()["results"]]


def test_tenants_are_sorted_searched_filtered_and_counted(operator: Client) -> None:
    first, second = make_tenant("beta", name="Alpha Ltd"), make_tenant("alpha", name="Beta GmbH")
    Tenant.objects.filter(id=second.id).update(state=TenantState.SUSPENDED)
    make_membership(first, role=Role.OWNER)
    disabled = make_membership(first)
    make_key(first)
    dead = make_key(first)
    with system_scope("tests"):
        Membership.objects.filter(id=disabled.id).update(disabled_at="2026-01-01T00:00:00Z")
        ApiKey.objects.filter(id=dead.id).update(expires_at="2026-01-01T00:00:00Z")
    assert column(operator, "/tenants?sort=slug", "slug") == ["alpha", "beta", "home"]
    assert column(operator, "/tenants?sort=-name&q=et", "name") == ["Beta GmbH", "Alpha Ltd"]
    assert column(operator, "/tenants?state=suspended", "slug") == ["alpha"]
    (found,) = operator.get("/api/v1/tenants?q=alpha%20LTD&total=true").json()["results"]
    assert (found["slug"], found["members"], found["keys"]) == ("beta", 1, 1)
    assert operator.get("/api/v1/tenants?total=true&limit=1").json()["total"] == 3
    export = operator.get("/api/v1/tenants?format=csv&sort=slug")
    lines = export.getvalue().decode().splitlines()
    assert lines[0].startswith("id,slug,name,state")
    assert [line.split(",")[1] for line in lines[1:]] == ["alpha", "beta", "home"]
    for bad in ("sort=password", "state=gone", "cursor=x", "q=" + "x" * 300):
        assert operator.get(f"/api/v1/tenants?{bad}").status_code in (400, 404)


def test_many_tenants_cost_no_more_queries_than_few(operator: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert operator.get("/api/v1/tenants?limit=100&sort=name&total=true").status_code == 200
        return len(seen)

    few = queries()
    Tenant.objects.bulk_create([Tenant(slug=f"t-{number}", name=f"T {number}") for number in range(300)])
    assert queries() == few <= 15


def test_a_tenant_is_opened_with_a_known_owner_and_its_maker(operator: Client) -> None:
    known = make_user("boss@example.com")
    body = {"slug": "new", "name": "New", "owner_email": "BOSS@example.com", "join": True}
    made = send(operator, "POST", "/tenants", body)
    answer = made.json()
    assert (made.status_code, made["ETag"]) == (201, f'"{answer["version"]}"')
    assert (answer["owner"], answer["invitation"], answer["joined"]) == ("boss@example.com", None, True)
    assert answer["members"] == 2
    tenant = Tenant.objects.get(slug="new")
    with tenant_scope(tenant.id):
        roles = dict(Membership.objects.values_list("user__email", "role"))
    assert roles == {known.email: "owner", "op@example.com": "owner"}
    acts = [(each.act, each.kind) for each in acts_of_tenant(tenant_id=tenant.id, limit=9)]
    assert sorted(acts) == [("created", "membership"), ("created", "membership"), ("created", "tenant")]


def test_an_unknown_owner_is_invited(operator: Client) -> None:
    made = send(operator, "POST", "/tenants", {"slug": "new", "name": "New", "owner_email": "x@example.com"})
    answer = made.json()
    assert made.status_code == 201
    assert (answer["owner"], answer["joined"], answer["members"]) == ("", False, 0)
    assert (answer["invitation"]["email"], answer["invitation"]["role"]) == ("x@example.com", "owner")
    assert "/accounts/invitation/#" in answer["invitation"]["link"]
    with tenant_scope(Tenant.objects.get(slug="new").id):
        assert Invitation.objects.get().invited_by_id == User.objects.get(email="op@example.com").id


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"slug": "home", "name": "Taken", "owner_email": "x@example.com"}, 409),
        ({"slug": "Not A Slug", "name": "x"}, 400),
        ({"slug": "ok", "name": "x" * 201}, 400),
        ({"slug": "ok", "name": "a\x00b"}, 400),
        ({"slug": "ok", "name": " "}, 400),
        ({"slug": "ok", "name": "x", "owner_email": "nobody"}, 400),
        ({"slug": "ok", "name": "x", "weight": 0}, 400),
        ({"slug": "ok", "name": "x", "weight": 10**30}, 400),
        ({"slug": "ok", "name": "x", "priority_class": "now"}, 400),
    ],
)
def test_what_cannot_be_opened_leaves_nothing(operator: Client, body: object, status: int) -> None:
    assert send(operator, "POST", "/tenants", body).status_code == status
    assert Tenant.objects.count() == 1
    with system_scope("tests"):
        assert not Invitation.objects.exists()


def test_two_operators_edit_one_tenant(operator: Client) -> None:
    tenant = make_tenant("beta")
    path = f"/tenants/{tenant.id}"
    read = operator.get(f"/api/v1{path}")
    version = read.json()["version"]
    assert read["ETag"] == f'"{version}"'
    mine = send(operator, "PATCH", path, {"name": "Mine"}, version)
    assert mine.status_code == 200
    theirs = send(operator, "PATCH", path, {"name": "Theirs", "weight": 5}, version)
    assert (theirs.status_code, theirs.json()["code"]) == (412, "version_conflict")
    assert operator.get(f"/api/v1{path}").json()["name"] == "Mine"
    assert send(operator, "PATCH", path, {"weight": 5}, mine.json()["version"]).status_code == 200
    assert send(operator, "PATCH", path, {"weight": 6}, "not a version!").status_code == 400
    assert send(operator, "PATCH", path, {"state": "suspended"}).status_code == 200
    assert send(operator, "PATCH", path, {"state": "active"}).status_code == 200
    acts = [each.act for each in acts_everywhere(limit=9) if each.object_id == str(tenant.id)]
    assert acts == ["resumed", "suspended", "changed", "changed"]


def test_members_are_sorted_filtered_and_exported() -> None:
    tenant = make_tenant()
    names = {"b@example.com": Role.VIEWER, "a@example.com": Role.OWNER, "c@example.com": Role.ADMIN}
    rows = {email: make_membership(tenant, make_user(email), role=role) for email, role in names.items()}
    make_membership(make_tenant(), make_user("foreign@example.com"))
    User.objects.filter(email="b@example.com").update(name="=HYPERLINK(1)")
    with tenant_scope(tenant.id):
        Membership.objects.filter(id=rows["c@example.com"].id).update(disabled_at="2026-01-01T00:00:00Z")
        Membership.objects.filter(id=rows["b@example.com"].id).update(last_used_at="2026-02-01T00:00:00Z")
    client = key_client(tenant, role=Role.ADMIN)
    assert column(client, "/users?sort=email", "email") == ["a@example.com", "b@example.com", "c@example.com"]
    assert column(client, "/users?sort=role", "role") == ["owner", "admin", "viewer"]
    assert column(client, "/users?sort=-last_used_at", "email")[0] == "b@example.com"
    assert column(client, "/users?state=disabled", "email") == ["c@example.com"]
    assert column(client, "/users?state=active&role=owner,viewer&sort=-email", "email") == [
        "b@example.com",
        "a@example.com",
    ]
    assert column(client, "/users?q=HYPER", "email") == ["b@example.com"]
    seen: list[str] = []
    url = "/api/v1/users?sort=role&limit=1"
    while url:
        page = client.get(url).json()
        seen += [row["role"] for row in page["results"]]
        url = page["next"]
    assert seen == ["owner", "admin", "viewer"]
    text = client.get("/api/v1/users?format=csv").getvalue().decode()
    assert "'=HYPERLINK(1)" in text
    assert "foreign@example.com" not in text


def test_two_administrators_edit_one_member() -> None:
    tenant = make_tenant()
    make_membership(tenant, role=Role.OWNER)
    member = make_membership(tenant)
    client = key_client(tenant, role=Role.OWNER)
    path = f"/users/{member.user_id}"
    version = client.get(f"/api/v1{path}").json()["version"]
    first = send(client, "PATCH", path, {"role": "viewer"}, version)
    assert first.status_code == 200
    assert send(client, "PATCH", path, {"role": "admin"}, version).status_code == 412
    assert send(client, "DELETE", path, {}, version).status_code == 412
    # Using the membership is no change of it.
    with tenant_scope(tenant.id):
        Membership.objects.filter(id=member.id).update(last_used_at=datetime.now(UTC))
    assert send(client, "DELETE", path, {}, first.json()["version"]).status_code == 204
    acts = [(each.act, each.label) for each in acts_of_tenant(tenant_id=tenant.id, limit=2)]
    assert acts == [
        ("removed", f"{member.user.email} (viewer)"),
        ("changed", f"{member.user.email} (viewer)"),
    ]


def test_keys_are_filtered_by_what_they_are_worth() -> None:
    tenant = make_tenant()
    now = datetime.now(UTC)
    ends = {
        "valid": None,
        "later": now + timedelta(days=90),
        "expiring": now + timedelta(days=3),
        "expired": now - timedelta(days=1),
        "revoked": None,
    }
    person = make_membership(tenant, make_user("maker@example.com"), role=Role.ADMIN)
    for name, end in ends.items():
        key = make_key(tenant, name=name)
        with tenant_scope(tenant.id):
            ApiKey.objects.filter(id=key.id).update(
                expires_at=end,
                revoked_at=now if name == "revoked" else None,
                created_by=person.user,
                last_used_at=now if name == "later" else None,
            )
    client = session_client(person)
    assert column(client, "/api-keys?state=valid&sort=name", "name") == ["later", "valid"]
    for state in ("expiring", "expired", "revoked"):
        assert column(client, f"/api-keys?state={state}", "state") == [state]
    assert column(client, "/api-keys?sort=expires_at", "name")[0] == "expired"
    assert column(client, f"/api-keys?used_since={now:%Y-%m-%d}", "name") == ["later"]
    assert len(column(client, f"/api-keys?unused_since={now:%Y-%m-%d}", "name")) == 4
    assert set(column(client, f"/api-keys?created_by={person.user_id}", "created_by")) == {
        "maker@example.com"
    }
    assert column(client, "/api-keys?created_by=01900000-0000-7000-8000-000000000000", "name") == []
    assert column(client, "/api-keys?q=expir&sort=-name", "name") == ["expiring", "expired"]
    assert client.get("/api/v1/api-keys?state=lost").status_code == 400
    assert "key" not in client.get("/api/v1/api-keys?format=csv").getvalue().decode().splitlines()[0].split(
        ","
    )
