"""A tenant's directory over SCIM: what Entra ID and Okta do works, and nothing of another tenant is reached."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from factories.tenants import (
    key_client,
    make_key,
    make_membership,
    make_tenant,
    make_user,
    session_client,
)

from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import (
    CustomRole,
    Group,
    GroupMember,
    IdentityProvider,
    Membership,
    Provisioned,
    ScimToken,
    Tenant,
    User,
)
from tenants.types import Role, TenantState

pytestmark = pytest.mark.django_db
FORM = "application/scim+json"
TOKENS = "/api/v1/provisioning/tokens"


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


class Directory:
    """A SCIM client of a tenant."""

    def __init__(self, tenant: Tenant, **values: Any) -> None:
        owner = key_client(tenant, role=Role.OWNER)
        answer = owner.post(TOKENS, json.dumps({"name": "Entra", **values}), content_type="application/json")
        assert answer.status_code == 201, answer.content
        self.made = answer.json()
        self.client = Client(
            headers={"authorization": f"Bearer {self.made['token']}"}, enforce_csrf_checks=True
        )
        self.base = f"/scim/v2/{tenant.slug}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        text = "" if body is None else json.dumps(body)
        return self.client.generic(
            method, self.base + path, text, content_type=FORM, headers=headers if headers else None
        )

    def make(self, user_name: str = "ada@acme.test", **more: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/Users", {"userName": user_name, **more})
        assert answer.status_code == 201, answer.content
        made: dict[str, Any] = answer.json()
        return made

    def patch(self, path: str, *operations: dict[str, Any]) -> Any:
        return self.ask("PATCH", path, {"Operations": list(operations)})

    def found(self, filter_text: str, kind: str = "Users") -> list[str]:
        answer = self.client.get(f"{self.base}/{kind}", {"filter": filter_text})
        assert answer.status_code == 200, answer.content
        return [each["id"] for each in answer.json()["Resources"]]


@pytest.fixture
def directory(acme: Tenant) -> Directory:
    return Directory(acme)


def everything(*tenants: Tenant) -> list[Any]:
    """All that provisioning could write."""
    with system_scope("tests", read_only=True):
        return [
            list(User.objects.order_by("id").values()),
            *(
                list(model.objects.filter(tenant__in=tenants).order_by("id").values())  # type: ignore[attr-defined]
                for model in (Membership, Provisioned, Group, GroupMember)
            ),
        ]


def refused(answer: Any, status: int, scim_type: str = "") -> None:
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert answer["Content-Type"] == FORM
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert body["status"] == str(status)
    assert body.get("scimType", "") == scim_type
    assert body["detail"]


def test_the_life_of_a_member(directory: Directory, acme: Tenant) -> None:
    made = directory.make(
        externalId="e-1",
        displayName="Ada Lovelace",
        name={"givenName": "Ada", "familyName": "Lovelace"},
        emails=[{"value": "ada@acme.test", "primary": True}],
    )
    assert (made["active"], made["roles"][0]["value"]) == (True, "member")
    user = User.objects.get(email="ada@acme.test")
    assert (user.name, user.has_usable_password()) == ("Ada Lovelace", False)
    assert directory.found('userName eq "ADA@acme.test"') == [made["id"]]
    one = directory.ask("GET", f"/Users/{made['id']}")
    assert one["ETag"] == made["meta"]["version"]
    assert made["meta"]["location"].endswith(f"/scim/v2/acme/Users/{made['id']}")

    off = directory.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": "False"})
    assert off.json()["active"] is False
    assert directory.found("active eq false") == [made["id"]]
    on = directory.ask("PUT", f"/Users/{made['id']}", {**made, "displayName": "Ada L."})
    assert (on.json()["active"], on.json()["displayName"]) == (True, "Ada L.")

    assert directory.ask("DELETE", f"/Users/{made['id']}").status_code == 204
    refused(directory.ask("GET", f"/Users/{made['id']}"), 404)
    assert User.objects.filter(email="ada@acme.test").exists()
    told = [(each.act, each.actor_kind, each.actor) for each in acts_of_tenant(tenant_id=acme.id, limit=20)]
    for act in ("created", "disabled", "enabled", "changed", "removed"):
        assert (act, "directory", "Entra") in told
    # Whom it made it may make a member again.
    assert directory.make("ada@acme.test")["id"] != made["id"]


def test_disabling_ends_sessions_and_keys_at_once(directory: Directory, acme: Tenant) -> None:
    member = make_membership(acme)
    browser = session_client(member)
    program = Client(headers={"authorization": f"Bearer {make_key(acme, user=member.user).key}"})
    assert browser.get("/api/v1/me").status_code == program.get("/api/v1/me").status_code == 200
    directory.patch(f"/Users/{member.id}", {"op": "replace", "value": {"active": False}})
    assert browser.get("/api/v1/me").status_code == 401
    assert program.get("/api/v1/me").status_code == 403
    member.user.refresh_from_db()
    assert member.user.is_active


@pytest.mark.parametrize("by", ["directory", "administrator"])
def test_who_was_taken_out_begins_without_keys(directory: Directory, acme: Tenant, by: str) -> None:
    """An old key must not wake up when its person comes back months later."""
    member = make_membership(acme)
    make_membership(acme, role=Role.OWNER)
    key = make_key(acme, user=member.user)
    others = make_key(acme)
    if by == "directory":
        assert directory.ask("DELETE", f"/Users/{member.id}").status_code == 204
    else:
        owner = key_client(acme, role=Role.OWNER)
        assert owner.delete(f"/api/v1/users/{member.user_id}").status_code == 204
    make_membership(acme, member.user)
    assert Client(headers={"authorization": f"Bearer {key.key}"}).get("/api/v1/me").status_code == 401
    assert Client(headers={"authorization": f"Bearer {others.key}"}).get("/api/v1/me").status_code == 200
    told = [(each.act, each.kind) for each in acts_of_tenant(tenant_id=acme.id, limit=20)]
    assert told.count(("revoked", "api_key")) == 1


def test_groups_are_made_filled_and_deleted(directory: Directory, acme: Tenant) -> None:
    ada, bob = directory.make("ada@acme.test"), directory.make("bob@acme.test")
    answer = directory.ask(
        "POST",
        "/Groups",
        {"displayName": "Engines", "externalId": "g-1", "members": [{"value": ada["id"]}]},
    )
    assert answer.status_code == 201, answer.content
    group = answer.json()
    path = f"/Groups/{group['id']}"
    assert [each["display"] for each in group["members"]] == ["ada@acme.test"]
    directory.patch(path, {"op": "Add", "path": "members", "value": [{"value": bob["id"]}]})
    directory.patch(path, {"op": "remove", "path": f'members[value eq "{ada["id"]}"]'})
    now = directory.ask("GET", path).json()
    assert [each["value"] for each in now["members"]] == [bob["id"]]
    assert directory.ask("GET", f"/Users/{bob['id']}").json()["groups"][0]["display"] == "Engines"
    assert directory.found('displayName eq "engines"', "Groups") == [group["id"]]
    assert directory.found(f'members.value eq "{bob["id"]}"', "Groups") == [group["id"]]
    assert directory.found(f'members.value eq "{ada["id"]}"', "Groups") == []
    short = directory.ask("GET", f"{path}?excludedAttributes=members").json()
    assert "members" not in short
    put = directory.ask("PUT", path, {"displayName": "Motors", "members": []}).json()
    assert (put["displayName"], put["members"], put.get("externalId")) == ("Motors", [], None)
    assert directory.ask("DELETE", path).status_code == 204
    refused(directory.ask("GET", path), 404)


def test_lists_have_pages(directory: Directory) -> None:
    for number in range(5):
        directory.make(f"user{number}@acme.test")
    page = directory.ask("GET", "/Users?startIndex=2&count=3").json()
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 3)
    assert [each["userName"] for each in page["Resources"]] == [f"user{each}@acme.test" for each in (1, 2, 3)]
    assert directory.ask("GET", "/Users?count=0").json()["Resources"] == []
    assert directory.ask("GET", "/Users?startIndex=-5&count=-1").json()["startIndex"] == 1
    refused(directory.ask("GET", "/Users?count=x"), 400, "invalidValue")
    names = directory.ask("GET", "/Users?attributes=userName").json()["Resources"][0]
    assert set(names) == {"schemas", "id", "userName"}


def test_filters_find_what_they_say(directory: Directory) -> None:
    ada = directory.make("ada@acme.test", externalId="E1", displayName="Ada")["id"]
    bob = directory.make("bob@acme.test", externalId="e1", displayName="Bob", active=False)["id"]
    assert directory.found('externalId eq "E1"') == [ada]
    assert directory.found('userName eq "ada@acme.test" or displayName eq "bob"') == [ada, bob]
    assert directory.found('userName sw "ada" and active eq true') == [ada]
    assert directory.found("not (active eq true)") == [bob]
    assert directory.found(f'id eq "{bob}"') == [bob]
    assert directory.found('id eq "nothing"') == []
    assert directory.found('emails[type eq "work"].value eq "bob@acme.test"') == [bob]
    assert directory.found('userName co "%"') == []
    assert directory.found("externalId pr") == [ada, bob]


@pytest.mark.parametrize(
    "filter_text", ["userName eq", "password pr", 'active eq "x"', "userName eq true", 'id sw "a"', "((("]
)
def test_filters_that_are_not_valid(directory: Directory, filter_text: str) -> None:
    answer = directory.client.get(f"{directory.base}/Users", {"filter": filter_text})
    refused(answer, 400, "invalidFilter")


def test_the_service_describes_itself(directory: Directory) -> None:
    config = directory.ask("GET", "/ServiceProviderConfig").json()
    assert config["patch"]["supported"] is config["etag"]["supported"] is True
    assert {each["id"] for each in directory.ask("GET", "/ResourceTypes").json()["Resources"]} == {
        "User",
        "Group",
    }
    told = directory.ask("GET", "/Schemas").json()["Resources"]
    one = directory.ask("GET", f"/Schemas/{told[0]['id']}")
    assert one.json() == told[0]
    refused(directory.ask("GET", "/Schemas/nothing"), 404)


def test_an_older_version_changes_nothing(directory: Directory, acme: Tenant) -> None:
    made = directory.make()
    path = f"/Users/{made['id']}"
    directory.patch(path, {"op": "replace", "path": "displayName", "value": "New"})
    before = everything(acme)
    stale = {"If-Match": made["meta"]["version"]}
    patch = {"Operations": [{"op": "replace", "path": "displayName", "value": "Older"}]}
    refused(directory.ask("PATCH", path, patch, **stale), 412)
    refused(directory.ask("DELETE", path, **stale), 412)
    assert everything(acme) == before
    fresh = {"If-Match": directory.ask("GET", path)["ETag"]}
    assert directory.ask("PATCH", path, patch, **fresh).status_code == 200


def test_what_is_taken_is_refused(directory: Directory, acme: Tenant) -> None:
    made = directory.make("ada@acme.test", externalId="e1")
    other = directory.make("bob@acme.test")
    before = everything(acme)
    refused(directory.ask("POST", "/Users", {"userName": "ADA@acme.test"}), 409, "uniqueness")
    refused(
        directory.ask("POST", "/Users", {"userName": "new@acme.test", "externalId": "e1"}), 409, "uniqueness"
    )
    rename = {"op": "replace", "path": "userName", "value": made["userName"]}
    refused(directory.patch(f"/Users/{other['id']}", rename), 409, "uniqueness")
    assert everything(acme) == before


def test_the_last_owner_stays(directory: Directory, acme: Tenant) -> None:
    owner = make_membership(acme, role=Role.OWNER)
    before = everything(acme)
    off = {"op": "replace", "path": "active", "value": False}
    assert directory.patch(f"/Users/{owner.id}", off).status_code == 409
    assert directory.ask("DELETE", f"/Users/{owner.id}").status_code == 409
    assert everything(acme) == before


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"userName": ""},
        {"userName": "no address"},
        {"userName": "a@b.test", "active": "maybe"},
        {"userName": "a@b.test", "displayName": "x" * 300},
        {"userName": "a@b.test", "emails": [{"value": 5}]},
        {"userName": "a@b.test", "colour": "red"},
    ],
)
def test_bodies_that_are_not_valid(directory: Directory, acme: Tenant, body: Any) -> None:
    before = everything(acme)
    answer = directory.ask("POST", "/Users", body)
    assert answer.status_code == 400
    assert answer.json()["scimType"] in ("invalidSyntax", "invalidValue", "invalidPath")
    assert everything(acme) == before


# Attacks.


def test_a_token_opens_its_own_tenant_alone(directory: Directory) -> None:
    other = make_tenant("other")
    member = make_membership(other)
    before = everything(other)
    for path in ("/Users", f"/Users/{member.id}", "/Groups", "/ServiceProviderConfig"):
        answer = directory.client.get(f"/scim/v2/other{path}")
        refused(answer, 401)
    unknown = directory.client.get("/scim/v2/nobody/Users")
    refused(unknown, 401)
    assert unknown.json() == directory.client.get("/scim/v2/other/Users").json()
    assert everything(other) == before


def test_ids_of_another_tenant_are_unknown(directory: Directory, acme: Tenant) -> None:
    other = make_tenant("other")
    member = make_membership(other, make_user("victim@other.test"))
    with tenant_scope(other.id):
        group = Group.objects.create(name="Theirs")
    mine = directory.ask("POST", "/Groups", {"displayName": "Mine"}).json()
    before = everything(acme, other)
    off = {"op": "replace", "path": "active", "value": False}
    for path in (f"/Users/{member.id}", f"/Groups/{group.id}"):
        for method in ("GET", "DELETE"):
            refused(directory.ask(method, path), 404)
        refused(directory.patch(path, off if "Users" in path else {"op": "remove", "path": "members"}), 404)
        name = {"userName": "x@y.test"} if "Users" in path else {"displayName": "x"}
        refused(directory.ask("PUT", path, name), 404)
    steal = {"op": "add", "path": "members", "value": [{"value": str(member.id)}]}
    refused(directory.patch(f"/Groups/{mine['id']}", steal), 400, "invalidValue")
    assert directory.found('userName eq "victim@other.test"') == []
    assert directory.found(f'id eq "{member.id}"') == []
    assert everything(acme, other) == before


def test_an_equal_address_alone_links_nothing(directory: Directory, acme: Tenant) -> None:
    other = make_tenant("other")
    victim = make_membership(other, make_user("victim@other.test", password="a long password"))
    before = everything(acme, other)
    refused(directory.ask("POST", "/Users", {"userName": "victim@other.test"}), 409, "uniqueness")
    refused(
        directory.ask(
            "POST", "/Users", {"userName": "x@acme.test", "emails": [{"value": "victim@other.test"}]}
        ),
        409,
        "uniqueness",
    )
    assert everything(acme, other) == before
    with tenant_scope(acme.id):
        IdentityProvider.objects.create(
            name="P", issuer="https://p.test", client_id="c", domains=["other.test"]
        )
    refused(directory.ask("POST", "/Users", {"userName": "victim@other.test"}), 409, "uniqueness")
    with tenant_scope(acme.id):
        IdentityProvider.objects.update(domains_verified_at=timezone.now())
    made = directory.make("victim@other.test", displayName="Not their name")
    assert made["displayName"] == "Not their name"
    victim.user.refresh_from_db()
    assert victim.user.name == ""
    assert victim.user.has_usable_password()


def test_the_account_of_others_keeps_its_address_and_name(directory: Directory, acme: Tenant) -> None:
    made = directory.make("ada@acme.test", displayName="Ada")
    user = User.objects.get(email="ada@acme.test")
    # While it is the directory's alone, it follows.
    directory.patch(f"/Users/{made['id']}", {"op": "replace", "path": "userName", "value": "ada.l@acme.test"})
    user.refresh_from_db()
    assert user.email == "ada.l@acme.test"
    make_membership(make_tenant("other"), user)
    path = f"/Users/{made['id']}"
    before = everything(acme)
    takeover = {"op": "replace", "path": 'emails[type eq "work"].value', "value": "mallory@acme.test"}
    refused(directory.patch(path, takeover), 400, "mutability")
    refused(
        directory.ask(
            "PUT", path, {"userName": "ada.l@acme.test", "emails": [{"value": "mallory@acme.test"}]}
        ),
        400,
        "mutability",
    )
    assert everything(acme) == before
    named = directory.patch(path, {"op": "replace", "value": {"displayName": "Eve", "userName": "eve"}})
    assert (named.json()["displayName"], named.json()["userName"]) == ("Eve", "eve")
    user.refresh_from_db()
    assert (user.email, user.name) == ("ada.l@acme.test", "Ada")


def test_a_person_with_a_password_of_their_own_keeps_their_address(directory: Directory) -> None:
    made = directory.make("ada@acme.test")
    user = User.objects.get(email="ada@acme.test")
    user.set_password("by a letter to the address")
    user.save()
    takeover = {"op": "replace", "path": "emails", "value": [{"value": "mallory@acme.test"}]}
    refused(directory.patch(f"/Users/{made['id']}", takeover), 400, "mutability")


def test_no_role_is_given_by_mass_assignment(directory: Directory, acme: Tenant) -> None:
    made = directory.make("ada@acme.test", roles=[{"value": "owner"}], entitlements=["owner"])
    refused(
        directory.ask("POST", "/Users", {"userName": "bob@acme.test", "role": "owner"}), 400, "invalidPath"
    )
    refused(
        directory.ask("POST", "/Users", {"userName": "bob@acme.test", "is_operator": True}),
        400,
        "invalidPath",
    )
    path = f"/Users/{made['id']}"
    for attribute in ("roles", "entitlements", "id", "meta", "groups", "password"):
        refused(
            directory.patch(path, {"op": "replace", "path": attribute, "value": "owner"}), 400, "mutability"
        )
    directory.patch(
        path, {"op": "replace", "value": {"roles": [{"value": "owner"}], "id": str(uuid.uuid4())}}
    )
    with tenant_scope(acme.id):
        row = Membership.objects.get(id=made["id"])
    assert (row.role, row.user.is_operator) == ("member", False)


def test_tokens_end(directory: Directory, acme: Tenant) -> None:
    owner = key_client(acme, role=Role.OWNER)
    rotated = owner.post(
        f"{TOKENS}/{directory.made['id']}/rotate",
        json.dumps({"grace_hours": 0}),
        content_type="application/json",
    )
    assert rotated.status_code == 201
    refused(directory.ask("GET", "/Users"), 401)
    directory.client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {rotated.json()['token']}"
    fresh = Client(headers={"authorization": f"Bearer {rotated.json()['token']}"})
    assert fresh.get("/scim/v2/acme/Users").status_code == 200
    shown = owner.get("/api/v1/provisioning").json()
    assert shown["address"].endswith("/scim/v2/acme")
    assert [each["state"] for each in shown["tokens"]] == ["valid", "expired"]
    assert rotated.json()["token"] not in json.dumps(shown)
    with tenant_scope(acme.id):
        assert not ScimToken.objects.filter(token_hash=rotated.json()["token"]).exists()
        ScimToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    refused(fresh.get("/scim/v2/acme/Users"), 401)
    with tenant_scope(acme.id):
        ScimToken.objects.update(expires_at=None)
    assert owner.delete(f"{TOKENS}/{rotated.json()['id']}").status_code == 204
    refused(fresh.get("/scim/v2/acme/Users"), 401)


def test_a_suspended_tenant_is_shut(directory: Directory, acme: Tenant) -> None:
    acme.state = TenantState.SUSPENDED
    acme.save()
    refused(directory.ask("GET", "/Users"), 403)


@pytest.mark.parametrize(
    "credential", ["", "Bearer", "Bearer scim_wrong", "Basic x", "Bearer " + "scim_" * 100]
)
def test_without_a_token_nothing_is_told(acme: Tenant, credential: str) -> None:
    client = Client(headers={"authorization": credential} if credential else None)
    refused(client.get("/scim/v2/acme/Users"), 401)


def test_an_api_key_is_no_token_and_a_token_no_api_key(directory: Directory, acme: Tenant) -> None:
    refused(key_client(acme, role=Role.OWNER).get("/scim/v2/acme/Users"), 401)
    refused(session_client(make_membership(acme, role=Role.OWNER)).get("/scim/v2/acme/Users"), 401)
    assert directory.client.get("/api/v1/users").status_code == 401


@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER, Role.VIEWER])
def test_owners_alone_make_tokens(acme: Tenant, role: Role) -> None:
    client = key_client(acme, role=role)
    body = json.dumps({"name": "x"})
    assert client.post(TOKENS, body, content_type="application/json").status_code == 403
    assert client.get("/api/v1/provisioning").status_code == 403


@pytest.mark.parametrize("is_operator", [False, True])
def test_nobody_makes_or_rotates_a_token_for_members_who_may_more_than_they(
    acme: Tenant, is_operator: bool
) -> None:
    """Whoever holds the token makes such members; being an operator is no right in the tenant."""
    owner = session_client(make_membership(acme, role=Role.OWNER))
    made = owner.post(
        TOKENS, json.dumps({"name": "x", "default_role": "admin"}), content_type="application/json"
    )
    assert made.status_code == 201
    member = make_membership(acme, make_user(is_operator=is_operator), role=Role.VIEWER)
    with tenant_scope(acme.id):
        role = CustomRole.objects.create(name="Directory", permissions=["tenant.write", "knowledge.read"])
        member.custom_role = role
        member.save()
    clerk = session_client(member)
    for wanted in ("admin", "member", "viewer"):
        body = json.dumps({"name": "mine", "default_role": wanted})
        answer = clerk.post(TOKENS, body, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_rights")
    again = clerk.post(f"{TOKENS}/{made.json()['id']}/rotate", "{}", content_type="application/json")
    assert (again.status_code, again.json()["code"]) == (403, "beyond_own_rights")
    with tenant_scope(acme.id):
        assert ScimToken.objects.count() == 1


def test_a_visiting_operator_makes_no_token(acme: Tenant) -> None:
    visitor = session_client(make_membership(make_tenant(), make_user(is_operator=True)))
    answer = visitor.post(
        TOKENS,
        json.dumps({"name": "x"}),
        content_type="application/json",
        headers={"x-atrium-tenant": "acme"},
    )
    assert answer.status_code == 403
