"""Roles made of permissions: what they allow, that they are in effect at once, and that nobody rises by them."""

import json
import uuid
from collections.abc import Collection
from typing import Any

import pytest
from django.test import Client
from factories.tenants import make_key, make_membership, make_tenant, make_user, session_client

from kernel.backends import backends
from kernel.errors import PermissionDenied
from substrate.audit import acts_of_tenant
from substrate.changes import ChangeTail
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.access_models import CustomRole
from tenants.directory import KeyDirectory
from tenants.models import ApiKey, Membership, Tenant
from tenants.permissions import TENANT_PERMISSIONS, permissions_of
from tenants.services import (
    authenticate_key,
    change_member,
    change_role,
    create_key,
    create_role,
    require,
)
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db

JSON = "application/json"
SUPPORT = ["chat.use", "conversations.own", "requests.read", "users.write"]


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    """A request to the REST API."""
    raw = "" if body is None else json.dumps(body)
    return client.generic(method, f"/api/v1{path}", raw, content_type=JSON, headers=headers)


@pytest.fixture
def tenant() -> Tenant:
    """The tenant at hand."""
    return make_tenant("acme")


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    """The browser of its owner."""
    return session_client(make_membership(tenant, role=Role.OWNER))


def made(client: Client, permissions: Collection[str] = SUPPORT, name: str = "Support") -> Any:
    """A role, as the API shows it."""
    answer = send(client, "POST", "/roles", {"name": name, "permissions": list(permissions)})
    assert answer.status_code == 201, answer.content
    return answer.json()


def holder(tenant: Tenant, role: Any) -> Client:
    """The browser of a member with the custom role."""
    membership = make_membership(tenant, role=Role.VIEWER)
    with tenant_scope(tenant.id):
        Membership.objects.filter(id=membership.id).update(custom_role_id=role["id"])
    return session_client(membership)


def test_a_member_may_what_the_role_says_and_nothing_else(owner: Client, tenant: Tenant) -> None:
    role = made(owner)
    assert (role["permissions"], role["members"], role["keys"]) == (sorted(SUPPORT), 0, 0)
    member = make_membership(tenant)
    given = send(owner, "PATCH", f"/users/{member.user_id}", {"custom_role": role["id"]}).json()
    assert given["custom_role"] == {"id": role["id"], "name": "Support"}
    client = session_client(member)
    me = send(client, "GET", "/me").json()
    assert (me["custom_role"], me["permissions"]) == ("Support", sorted(SUPPORT))
    assert send(client, "GET", "/users").status_code == 200
    # A viewer may read knowledge bases; this role says nothing of them.
    for path in ("/knowledge-bases", "/assistants", "/api-keys", "/usage?group_by=day"):
        assert send(client, "GET", path).status_code == 403, path
    assert send(owner, "GET", f"/roles/{role['id']}").json()["members"] == 1
    back = send(owner, "PATCH", f"/users/{member.user_id}", {"role": "member"}).json()
    assert (back["role"], back["custom_role"]) == ("member", None)
    assert send(client, "GET", "/knowledge-bases").status_code == 200
    labels = [each.label for each in acts_of_tenant(tenant_id=tenant.id, limit=20)]
    assert f"{member.user.email} (Support)" in labels


def test_permissions_are_told_in_words(owner: Client, tenant: Tenant) -> None:
    table = send(owner, "GET", "/permissions").json()["results"]
    assert {each["name"] for each in table} == TENANT_PERMISSIONS
    chat = next(each for each in table if each["name"] == "chat.use")
    assert (chat["roles"], chat["content"], chat["mine"]) == (["owner", "admin", "member"], True, True)
    viewer = session_client(make_membership(tenant, role=Role.VIEWER))
    seen = {each["name"]: each["mine"] for each in send(viewer, "GET", "/permissions").json()["results"]}
    assert {name for name, mine in seen.items() if mine} == permissions_of(Role.VIEWER)


def test_nobody_makes_changes_or_gives_more_than_they_have(owner: Client, tenant: Tenant) -> None:
    """An administrator of roles and members who may not read knowledge cannot get at it, by any of the ways."""
    mine = ["roles.write", "users.write", "keys.write", "groups.write", "chat.use"]
    clerk = holder(tenant, made(owner, mine, "Clerk"))
    strong = made(owner, ["knowledge.read"], "Reader")
    weak = send(clerk, "POST", "/roles", {"name": "Weak", "permissions": ["chat.use"]}).json()
    clerk_id = send(clerk, "GET", "/me").json()["user"]["id"]
    friend = make_membership(tenant, role=Role.VIEWER)
    pawn = session_client(make_membership(tenant))
    victim = make_membership(tenant, role=Role.OWNER)
    with tenant_scope(tenant.id):
        Membership.objects.filter(id=friend.id).update(custom_role_id=weak["id"])
    attacks: list[tuple[str, str, object]] = [
        ("POST", "/roles", {"name": "All", "permissions": ["chat.use", "knowledge.read"]}),
        ("POST", "/roles", {"name": "All", "permissions": sorted(TENANT_PERMISSIONS)}),
        ("PATCH", f"/roles/{weak['id']}", {"permissions": ["chat.use", "retention.write"]}),
        ("PATCH", f"/roles/{strong['id']}", {"permissions": ["chat.use"]}),
        ("DELETE", f"/roles/{strong['id']}", None),
        ("PATCH", f"/users/{friend.user_id}", {"custom_role": strong["id"]}),
        ("PATCH", f"/users/{friend.user_id}", {"role": "owner"}),
        ("PATCH", f"/users/{friend.user_id}", {"role": "member"}),
        ("PATCH", f"/users/{friend.user_id}", {"role": "viewer"}),
        ("PATCH", f"/users/{victim.user_id}", {"disabled": True}),
        ("DELETE", f"/users/{victim.user_id}", None),
        ("POST", "/users", {"email": "mine@example.com", "role": "admin"}),
        ("POST", "/invitations", {"email": "mine@example.com", "role": "viewer"}),
        ("POST", "/api-keys", {"name": "mine", "role": "viewer"}),
        ("POST", "/api-keys", {"name": "mine"}),
        ("POST", "/api-keys", {"name": "mine", "custom_role": strong["id"]}),
    ]
    for method, path, body in attacks:
        answer = send(clerk, method, path, body)
        assert answer.status_code == 403, (method, path, body, answer.content)
    raised = send(clerk, "PATCH", f"/users/{clerk_id}", {"custom_role": weak["id"]})
    assert raised.status_code == 409, "one's own membership is somebody else's to change"
    with tenant_scope(tenant.id, read_only=True):
        assert not ApiKey.objects.exists()
        assert CustomRole.objects.count() == 3
        assert CustomRole.objects.get(id=weak["id"]).permissions == ["chat.use"]
        assert CustomRole.objects.get(id=strong["id"]).permissions == ["knowledge.read"]
    # What they have they may give.
    issued = send(clerk, "POST", "/api-keys", {"name": "mine", "custom_role": weak["id"]})
    assert (issued.status_code, issued.json()["custom_role"]["name"]) == (201, "Weak")
    assert send(pawn, "POST", "/roles", {"name": "x", "permissions": ["chat.use"]}).status_code == 403


def test_a_custom_role_never_operates_the_platform(owner: Client, tenant: Tenant) -> None:
    for names in (["platform.operate"], ["nothing.known"], [], ["chat.use", "platform.operate"]):
        assert send(owner, "POST", "/roles", {"name": "x", "permissions": names}).status_code == 400, names
    # Not even when the name stands in the row already.
    role = made(owner)
    with tenant_scope(tenant.id):
        CustomRole.objects.filter(id=role["id"]).update(
            permissions=["platform.operate", "chat.use", "gone.by"]
        )
    assert send(holder(tenant, role), "GET", "/me").json()["permissions"] == ["chat.use"]


def test_an_operator_who_visits_makes_no_role_that_opens_content(tenant: Tenant) -> None:
    operator = session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))
    body = {"name": "Door", "permissions": ["knowledge.read"]}
    refused = send(operator, "POST", "/roles", body, **{"x-atrium-tenant": tenant.slug})
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_own_rights")


def test_another_tenants_role_is_not_there(owner: Client, tenant: Tenant) -> None:
    role = made(owner)
    other_tenant = make_tenant("other")
    other = session_client(make_membership(other_tenant, role=Role.OWNER))
    theirs = make_membership(other_tenant)
    for method, body in (("GET", None), ("PATCH", {"name": "mine"}), ("DELETE", None)):
        assert send(other, method, f"/roles/{role['id']}", body).status_code == 404
    for path, body in (
        (f"/users/{theirs.user_id}", {"custom_role": role["id"]}),
        (f"/users/{theirs.user_id}", {"custom_role": str(uuid.uuid4())}),
    ):
        assert send(other, "PATCH", path, body).status_code == 400
    key = send(other, "POST", "/api-keys", {"name": "x", "custom_role": role["id"]})
    assert key.status_code == 400
    assert send(other, "GET", "/roles").json()["results"] == []
    assert send(other, "POST", "/roles", {"name": "Support", "permissions": ["chat.use"]}).status_code == 201


def test_a_role_that_is_given_is_not_deleted(owner: Client, tenant: Tenant) -> None:
    role = made(owner)
    key = send(owner, "POST", "/api-keys", {"name": "bot", "custom_role": role["id"]}).json()
    refused = send(owner, "DELETE", f"/roles/{role['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "role_in_use")
    both = send(owner, "POST", "/api-keys", {"name": "bot", "role": "viewer", "custom_role": role["id"]})
    assert both.status_code == 400
    assert send(owner, "DELETE", f"/api-keys/{key['id']}").status_code == 204
    assert send(owner, "DELETE", f"/roles/{role['id']}").status_code == 204
    assert send(owner, "GET", f"/roles/{role['id']}").status_code == 404
    assert send(owner, "GET", f"/api-keys/{key['id']}").json()["custom_role"] is None


def test_what_is_wrong_is_said(owner: Client) -> None:
    role = made(owner)
    assert send(owner, "POST", "/roles", {"name": "Support", "permissions": ["chat.use"]}).status_code == 409
    for name in ("", "Owner", "x" * 201):
        assert send(owner, "POST", "/roles", {"name": name, "permissions": ["chat.use"]}).status_code == 400
    stale = send(owner, "PATCH", f"/roles/{role['id']}", {"name": "x"}, **{"if-match": '"1"'})
    assert stale.status_code == 412
    for bad in ("x", str(uuid.uuid4())):
        assert send(owner, "GET", f"/roles/{bad}").status_code == 404


def test_the_last_owner_keeps_the_role(tenant: Tenant) -> None:
    """A custom role in place of the last owner's would leave nobody who may everything."""
    first = make_membership(tenant, role=Role.OWNER)
    second = make_membership(tenant, role=Role.OWNER)
    boss = session_client(first)
    role = made(boss)
    assert send(boss, "PATCH", f"/users/{second.user_id}", {"custom_role": role["id"]}).status_code == 200
    operator = session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))
    taken = send(
        operator,
        "PATCH",
        f"/users/{first.user_id}",
        {"custom_role": role["id"]},
        **{"x-atrium-tenant": tenant.slug},
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "last_owner")


@pytest.mark.django_db(transaction=True)
async def test_running_processes_hear_of_roles() -> None:
    """What a role allows is what its keys may, from the change on; a person's key may no more than the person."""
    directory, tail = KeyDirectory(), ChangeTail()
    tail.listen(directory.on_change)
    backends.replace("key_directory", directory)
    await tail.start()
    tenant = await run_unit(make_tenant)
    boss = Principal(tenant.id, tenant.slug, Role.OWNER, permissions=permissions_of(Role.OWNER))
    role = await run_unit(create_role, principal=boss, name="Bots", permissions=["chat.use", "models.read"])
    free, _ = await run_unit(create_key, principal=boss, name="bot", custom_role_id=role.id)
    member = await run_unit(make_membership, tenant, role=Role.ADMIN)
    bound = await run_unit(make_key, tenant, role=Role.OWNER, user=member.user)
    assert (await authenticate_key(free.key)).permissions == {"chat.use", "models.read"}
    assert (await authenticate_key(bound.key)).permissions == permissions_of(Role.ADMIN)

    await run_unit(change_role, principal=boss, role_id=role.id, permissions=["models.read"])
    await run_unit(change_member, principal=boss, user_id=member.user_id, custom_role_id=role.id)
    await tail.catch_up()
    for key in (free.key, bound.key):
        principal = await authenticate_key(key)
        assert (principal.permissions, principal.custom_role) == ({"models.read"}, "Bots")
        with pytest.raises(PermissionDenied):
            require(principal, "chat.use")
