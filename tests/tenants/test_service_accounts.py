"""Service accounts: programs with keys of their own, held by every rule that holds people, and by none of a sign-in."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.test import Client
from factories.tenants import make_membership, make_tenant, make_user, session_client

from kernel.errors import NotSignedIn, PermissionDenied
from substrate.audit import acts_of_tenant
from substrate.scoping import tenant_scope
from tenants.limit_types import Level
from tenants.models import ApiKey, Grant, GroupMember, Membership, Restriction, ServiceAccount, Tenant, User
from tenants.selectors import active_owner_count, tenant_figures
from tenants.services import authenticate_key_now
from tenants.services.participation import TenantsParticipant
from tenants.services.quotas import names_of
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def admin(tenant: Tenant) -> Iterator[Client]:
    return session_client(make_membership(tenant, make_user("admin@acme.test"), role=Role.ADMIN))


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    raw = "" if body is None else json.dumps(body)
    return client.generic(method, f"/api/v1{path}", raw, content_type="application/json", headers=headers)


def make(client: Client, **values: object) -> dict[str, Any]:
    answer = send(client, "POST", "/service-accounts", {"name": "ci-bot", **values})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def key_of(client: Client, account: dict[str, Any], **values: object) -> str:
    body = {"name": "pipeline", "service_account": account["id"], **values}
    answer = send(client, "POST", "/api-keys", body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["service_account"] == account["name"]
    return str(answer.json()["key"])


def by_key(key: str) -> Client:
    return Client(headers={"authorization": f"Bearer {key}"}, enforce_csrf_checks=True)


def refused(key: str) -> str:
    with pytest.raises((NotSignedIn, PermissionDenied)) as found:
        authenticate_key_now(key)
    return type(found.value).__name__


def test_a_program_gets_an_account_and_comes_in_by_its_key(tenant: Tenant, admin: Client) -> None:
    account = make(admin, description="Runs the nightly tests", role="viewer")
    assert (account["role"], account["disabled"], account["keys"]) == ("viewer", False, 0)
    principal = authenticate_key_now(key_of(admin, account))
    assert principal.user_id == uuid.UUID(account["id"])
    assert (principal.service_account, principal.role) == ("ci-bot", Role.VIEWER)
    assert principal.tenant_id == tenant.id
    assert not principal.is_operator
    assert principal.membership_id is not None
    shown = send(admin, "GET", f"/service-accounts/{account['id']}").json()
    assert (shown["keys"], shown["created_by"]) == (1, "admin@acme.test")
    assert shown["last_used_at"] is not None
    listed = send(admin, "GET", f"/api-keys?service_account={account['id']}").json()["results"]
    assert [each["service_account"] for each in listed] == ["ci-bot"]


def test_it_is_no_person(tenant: Tenant, admin: Client) -> None:
    account = make(admin)
    user = User.objects.get(id=account["id"])
    with pytest.raises(ValidationError):
        validate_email(user.email)
    assert not user.has_usable_password()
    assert all(each["id"] != account["id"] for each in send(admin, "GET", "/users").json()["results"])
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/sessions")):
        body = {"role": "admin"} if method == "PATCH" else None
        assert send(admin, method, f"/users/{account['id']}{path}", body).status_code == 404
    assert send(admin, "POST", "/users", {"email": user.email, "role": "viewer"}).status_code == 400
    assert send(admin, "POST", "/invitations", {"email": user.email, "role": "viewer"}).status_code == 400
    members, _ = tenant_figures([tenant.id], user.created_at)[tenant.id]
    assert members == 1
    user.is_operator = True
    with pytest.raises(IntegrityError), transaction.atomic():
        user.save()


def test_it_never_is_an_owner_and_nobody_rises_by_it(tenant: Tenant, admin: Client) -> None:
    answer = send(admin, "POST", "/service-accounts", {"name": "boss", "role": "owner"})
    assert answer.status_code == 400
    with tenant_scope(tenant.id):
        assert active_owner_count() == 0
    account = make(admin, role="admin")
    role = send(admin, "POST", "/roles", {"name": "Keys", "permissions": ["keys.write"]})
    assert role.status_code == 201
    clerk = make_membership(tenant, make_user("clerk@acme.test"), role=Role.VIEWER)
    changed = send(admin, "PATCH", f"/users/{clerk.user_id}", {"custom_role": role.json()["id"]})
    assert changed.status_code == 200
    mine = session_client(clerk)
    answer = send(mine, "POST", "/api-keys", {"name": "k", "service_account": account["id"]})
    assert answer.status_code == 403
    assert send(mine, "GET", "/service-accounts").status_code == 403


def test_an_operator_does_not_rise_by_a_key_either(tenant: Tenant, admin: Client) -> None:
    """Operators deal with all roles; a key's text is another matter: it acts as what it may."""
    account = make(admin, role="admin")
    key_of(admin, account)
    rights = ["keys.write", "service_accounts.write"]
    role = send(admin, "POST", "/roles", {"name": "Keys", "permissions": rights}).json()
    clerk = make_membership(tenant, make_user("op@acme.test", is_operator=True), role=Role.VIEWER)
    send(admin, "PATCH", f"/users/{clerk.user_id}", {"custom_role": role["id"]})
    mine = session_client(clerk)
    plain = send(admin, "POST", "/api-keys", {"name": "k", "role": "admin"}).json()
    listed = send(admin, "GET", f"/api-keys?service_account={account['id']}").json()["results"]
    weak = send(admin, "POST", "/service-accounts", {"name": "weak", "custom_role": role["id"]}).json()
    for method, path, body in (
        ("POST", "/api-keys", {"name": "k", "service_account": account["id"]}),
        ("POST", "/api-keys", {"name": "k", "role": "admin"}),
        ("POST", f"/api-keys/{plain['id']}/rotate", {}),
        ("POST", f"/api-keys/{listed[0]['id']}/rotate", {}),
        ("PATCH", f"/service-accounts/{weak['id']}", {"role": "admin"}),
    ):
        answer = send(mine, method, path, body)
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_rights"), path
    assert send(mine, "POST", "/api-keys", {"name": "k", "custom_role": role["id"]}).status_code == 201
    assert send(mine, "POST", "/api-keys", {"name": "k", "service_account": weak["id"]}).status_code == 201
    assert send(mine, "DELETE", f"/api-keys/{plain['id']}").status_code == 204


def test_a_visit_gives_no_account_what_opens_content(tenant: Tenant, admin: Client) -> None:
    account = make(admin, role="viewer")
    key = key_of(admin, account)
    operator = make_membership(make_tenant("home"), make_user(is_operator=True), role=Role.OWNER)
    visit, inside = session_client(operator), {"x-atrium-tenant": "acme"}
    path = f"/service-accounts/{account['id']}"
    raised = send(visit, "PATCH", path, {"role": "admin"}, **inside)
    assert (raised.status_code, raised.json()["code"]) == (403, "beyond_own_rights")
    assert authenticate_key_now(key).role is Role.VIEWER
    for given in ({}, {"role": "viewer"}, {"role": "admin"}):
        made = send(visit, "POST", "/service-accounts", {"name": "mine", **given}, **inside)
        assert (made.status_code, made.json()["code"]) == (403, "beyond_own_rights")
        assert "as every built-in one does" in made.json()["detail"]
    harmless = send(admin, "POST", "/roles", {"name": "Sums", "permissions": ["usage.read"]}).json()
    body = {"name": "sums", "custom_role": harmless["id"]}
    assert send(visit, "POST", "/service-accounts", body, **inside).status_code == 201
    send(admin, "PATCH", path, {"role": "admin"})
    assert send(visit, "PATCH", path, {"role": "viewer"}, **inside).status_code == 200
    assert send(visit, "PATCH", path, {"disabled": True}, **inside).status_code == 200


def test_what_is_shut_to_the_maker_is_not_opened_by_its_key(tenant: Tenant, admin: Client) -> None:
    account = make(admin)
    role = send(admin, "POST", "/roles", {"name": "Keys", "permissions": ["keys.write", "chat.use"]}).json()
    clerk = make_membership(tenant, make_user("clerk@acme.test"), role=Role.VIEWER)
    send(admin, "PATCH", f"/users/{clerk.user_id}", {"custom_role": role["id"]})
    send(admin, "PATCH", f"/service-accounts/{account['id']}", {"custom_role": role["id"]})
    mine = session_client(clerk)
    first = send(mine, "POST", "/api-keys", {"name": "k", "service_account": account["id"]})
    assert first.status_code == 201
    with tenant_scope(tenant.id):
        thing = Restriction.objects.create(kind="model", object_id="secret")
        Grant.objects.create(restriction=thing, membership=Membership.objects.get(user_id=account["id"]))
    again = send(mine, "POST", "/api-keys", {"name": "k", "service_account": account["id"]})
    assert (again.status_code, again.json()["code"]) == (403, "beyond_own_rights")
    rotated = send(mine, "POST", f"/api-keys/{first.json()['id']}/rotate", {})
    assert (rotated.status_code, rotated.json()["code"]) == (403, "beyond_own_rights")
    assert send(admin, "POST", f"/api-keys/{first.json()['id']}/rotate", {}).status_code == 201


def test_groups_and_grants_hold_for_it(tenant: Tenant, admin: Client) -> None:
    account = make(admin)
    key = key_of(admin, account)
    with tenant_scope(tenant.id):
        thing = Restriction.objects.create(kind="model", object_id="secret")
    assert "model:secret" in authenticate_key_now(key).closed
    group = send(admin, "POST", "/groups", {"name": "Robots"}).json()
    added = send(admin, "POST", f"/groups/{group['id']}/members", {"user_ids": [account["id"]]})
    assert added.status_code == 201
    with tenant_scope(tenant.id):
        Grant.objects.create(restriction=thing, group_id=group["id"])
    principal = authenticate_key_now(key)
    assert principal.closed == frozenset()
    assert principal.group_ids == frozenset({uuid.UUID(group["id"])})
    assert send(admin, "GET", f"/service-accounts/{account['id']}").json()["groups"] == 1
    found = send(admin, "GET", "/access/subjects?q=ci-bot").json()["results"]
    assert [(each["kind"], each["id"]) for each in found] == [("user", account["id"])]
    with tenant_scope(tenant.id):
        assert names_of(Level.USER, [account["id"]]) == {account["id"]: "service:acme/ci-bot"}


def test_a_directory_leaves_it_in_its_groups(tenant: Tenant, admin: Client) -> None:
    account = make(admin)
    group = send(admin, "POST", "/groups", {"name": "Robots"}).json()
    send(admin, "POST", f"/groups/{group['id']}/members", {"user_ids": [account["id"]]})
    token = send(
        session_client(make_membership(tenant, role=Role.OWNER)),
        "POST",
        "/provisioning/tokens",
        {"name": "entra"},
    ).json()
    scim = Client(headers={"authorization": f"Bearer {token['token']}"})
    users = scim.get("/scim/v2/acme/Users").json()
    assert "ci-bot" not in json.dumps(users)
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Robots",
        "members": [],
    }
    answer = scim.put(f"/scim/v2/acme/Groups/{group['id']}", body, content_type="application/scim+json")
    assert answer.status_code == 200, answer.content
    with tenant_scope(tenant.id):
        assert GroupMember.objects.filter(membership__user_id=account["id"]).count() == 1
        membership = Membership.objects.get(user_id=account["id"])
    assert scim.delete(f"/scim/v2/acme/Users/{membership.id}").status_code == 404


def test_a_directory_changes_a_group_without_seeing_it(tenant: Tenant, admin: Client) -> None:
    account, leaver = make(admin), make_membership(tenant)
    group = send(admin, "POST", "/groups", {"name": "Robots"}).json()
    members = {"user_ids": [account["id"], str(leaver.user_id)]}
    assert send(admin, "POST", f"/groups/{group['id']}/members", members).status_code == 201
    owner = session_client(make_membership(tenant, role=Role.OWNER))
    token = send(owner, "POST", "/provisioning/tokens", {"name": "entra"}).json()
    scim = Client(headers={"authorization": f"Bearer {token['token']}"})
    path, form = f"/scim/v2/acme/Groups/{group['id']}", "application/scim+json"
    assert [each["value"] for each in scim.get(path).json()["members"]] == [str(leaver.id)]
    with tenant_scope(tenant.id):
        program = Membership.objects.get(user_id=account["id"])
    for member, found in ((leaver, 1), (program, 0)):
        query = {"filter": f'members.value eq "{member.id}"'}
        assert scim.get("/scim/v2/acme/Groups", query).json()["totalResults"] == found
    change = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": f'members[value eq "{leaver.id}"]'}],
    }
    answer = scim.patch(path, json.dumps(change), content_type=form)
    assert answer.status_code in (200, 204), answer.content
    with tenant_scope(tenant.id):
        left = GroupMember.objects.filter(group_id=group["id"]).values_list("membership_id", flat=True)
        assert list(left) == [program.id]


def test_a_change_of_role_reaches_its_keys(admin: Client) -> None:
    account = make(admin)
    key = key_of(admin, account)
    answer = send(admin, "PATCH", f"/service-accounts/{account['id']}", {"role": "admin"})
    assert answer.status_code == 200
    assert authenticate_key_now(key).role is Role.ADMIN
    send(admin, "PATCH", f"/service-accounts/{account['id']}", {"role": "viewer"})
    principal = authenticate_key_now(key)
    assert principal.role is Role.VIEWER
    assert "chat.use" not in principal.permissions
    stale = send(
        admin,
        "PATCH",
        f"/service-accounts/{account['id']}",
        {"role": "member"},
        **{"if-match": f'"{answer.json()["version"]}"'},
    )
    assert stale.status_code == 412


def test_disabled_its_keys_are_refused_and_enabled_they_work(admin: Client) -> None:
    account = make(admin)
    key = key_of(admin, account)
    path = f"/service-accounts/{account['id']}"
    assert send(admin, "PATCH", path, {"disabled": True}).json()["disabled"] is True
    assert refused(key) == "PermissionDenied"
    made = send(admin, "POST", "/api-keys", {"name": "k", "service_account": account["id"]})
    assert (made.status_code, made.json()["code"]) == (409, "account_disabled")
    send(admin, "PATCH", path, {"disabled": False})
    assert isinstance(authenticate_key_now(key), Principal)


def test_deleted_its_keys_are_revoked_and_its_name_is_free(tenant: Tenant, admin: Client) -> None:
    account = make(admin)
    key = key_of(admin, account)
    assert send(admin, "DELETE", f"/service-accounts/{account['id']}").status_code == 204
    assert refused(key) == "NotSignedIn"
    assert send(admin, "GET", f"/service-accounts/{account['id']}").status_code == 404
    with tenant_scope(tenant.id):
        row = ApiKey.objects.get(user_id=account["id"])
    assert row.revoked_at is not None
    listed = send(admin, "GET", "/api-keys").json()["results"]
    assert [(each["service_account"], each["state"]) for each in listed] == [("ci-bot", "revoked")]
    assert make(admin)["id"] != account["id"]


def test_its_acts_and_what_is_done_to_it_are_on_record(tenant: Tenant, admin: Client) -> None:
    account = make(admin, role="admin")
    key = key_of(admin, account)
    assert send(by_key(key), "POST", "/groups", {"name": "By a program"}).status_code == 201
    send(admin, "PATCH", f"/service-accounts/{account['id']}", {"disabled": True})
    acts = acts_of_tenant(tenant_id=tenant.id, limit=20)
    group = next(each for each in acts if each.kind == "group")
    assert (group.actor_kind, group.actor_id) == ("service_account", uuid.UUID(account["id"]))
    assert group.actor.startswith("ci-bot (atr_")
    assert [each.act for each in acts if each.kind == "service_account"] == ["disabled", "created"]


def test_why_it_may_or_may_not_use_a_thing_is_explained(tenant: Tenant, admin: Client) -> None:
    account = make(admin, role="viewer")
    base = send(admin, "POST", "/knowledge-bases", {"name": "Handbook"}).json()
    path = f"/access/explain?kind=knowledge_base&id={base['id']}&user={account['id']}"
    shown = send(admin, "GET", path).json()
    assert (shown["allowed"], shown["user"]) == (True, "service:acme/ci-bot")
    send(admin, "PATCH", f"/service-accounts/{account['id']}", {"disabled": True})
    shown = send(admin, "GET", path).json()
    assert shown["allowed"] is False
    assert next(each for each in shown["steps"] if not each["passed"])["code"] == "membership"


def test_another_tenants_account_is_not_there(admin: Client) -> None:
    account = make(admin)
    stranger = session_client(make_membership(make_tenant("rival"), role=Role.OWNER))
    for method in ("GET", "PATCH", "DELETE"):
        body = {"disabled": True} if method == "PATCH" else None
        assert send(stranger, method, f"/service-accounts/{account['id']}", body).status_code == 404
    assert (
        send(stranger, "POST", "/api-keys", {"name": "k", "service_account": account["id"]}).status_code
        == 404
    )
    assert make(stranger)["name"] == account["name"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "CI bot"},
        {"name": ""},
        {"name": "a" * 64},
        {"name": "a", "colour": "red"},
        {"name": "a", "role": "king"},
    ],
)
def test_bad_input_is_refused_and_nothing_is_stored(
    tenant: Tenant, admin: Client, body: dict[str, str]
) -> None:
    assert send(admin, "POST", "/service-accounts", body).status_code == 400
    with tenant_scope(tenant.id):
        assert not ServiceAccount.objects.exists()
    assert not User.objects.filter(service_of=tenant.id).exists()


def test_a_name_is_taken_once(admin: Client) -> None:
    make(admin)
    answer = send(admin, "POST", "/service-accounts", {"name": "ci-bot"})
    assert (answer.status_code, answer.json()["param"]) == (409, "name")


@pytest.mark.django_db(transaction=True)
async def test_they_go_with_their_tenant_the_deleted_ones_too() -> None:
    tenant = await sync_to_async(_with_two_accounts)()
    participant = TenantsParticipant()
    while await participant.delete(tenant.id, 100):
        pass
    assert await User.objects.filter(service_of=tenant.id).acount() == 0
    counts = await participant.count_outside(tenant.id)
    assert counts["users of service accounts"] == 0


def _with_two_accounts() -> Tenant:
    tenant = make_tenant("gone")
    client = session_client(make_membership(tenant, role=Role.OWNER))
    first = make(client)
    key_of(client, first)
    send(client, "DELETE", f"/service-accounts/{first['id']}")
    make(client)
    assert User.objects.filter(service_of=tenant.id).count() == 2
    return tenant
