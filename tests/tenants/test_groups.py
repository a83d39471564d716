"""Groups over REST, and how a principal comes to know the groups it is in."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from factories.tenants import (
    make_key,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)

from kernel.backends import backends
from kernel.errors import NotFound
from substrate.audit import acts_of_tenant
from substrate.changes import ChangeTail
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.access_models import Group, GroupMember
from tenants.directory import KeyDirectory
from tenants.models import Membership, Tenant
from tenants.permissions import permissions_of
from tenants.services import (
    add_group_members,
    authenticate_key,
    authenticate_session,
    change_group,
    create_group,
    delete_group,
    remove_group_member,
)
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db

JSON = "application/json"


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    """A request to the REST API."""
    raw = "" if body is None else json.dumps(body)
    return client.generic(method, f"/api/v1{path}", raw, content_type=JSON, headers=headers)


@pytest.fixture
def tenant() -> Tenant:
    """The tenant at hand."""
    return make_tenant("acme")


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    """The browser of one of its administrators."""
    return session_client(make_membership(tenant, role=Role.ADMIN))


def made(client: Client, name: str = "Sales") -> Any:
    """A group, as the API shows it."""
    answer = send(client, "POST", "/groups", {"name": name, "description": "Who sells"})
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_group_is_made_filled_renamed_emptied_and_deleted(admin: Client, tenant: Tenant) -> None:
    group = made(admin)
    assert (group["name"], group["description"], group["members"], group["external_id"]) == (
        "Sales",
        "Who sells",
        0,
        "",
    )
    path = f"/groups/{group['id']}"
    one, two = make_membership(tenant), make_membership(tenant)
    both = [str(one.user_id), str(two.user_id)]
    filled = send(admin, "POST", f"{path}/members", {"user_ids": [*both, both[0]]})
    assert (filled.status_code, filled.json()["members"]) == (201, 2)
    # Once more is nothing new.
    assert send(admin, "POST", f"{path}/members", {"user_ids": both}).json()["members"] == 2
    inside = send(admin, "GET", f"{path}/members?total=true").json()
    assert ({each["id"] for each in inside["results"]}, inside["total"]) == (set(both), 2)

    renamed = send(
        admin, "PATCH", path, {"name": "Field sales"}, **{"if-match": f'"{group["version"]}"'}
    ).json()
    assert (renamed["name"], renamed["description"], renamed["members"]) == ("Field sales", "Who sells", 2)
    assert send(admin, "DELETE", f"{path}/members/{both[0]}").status_code == 204
    assert send(admin, "DELETE", f"{path}/members/{both[0]}").status_code == 404
    assert send(admin, "GET", path).json()["members"] == 1
    assert send(admin, "DELETE", path).status_code == 204
    assert send(admin, "GET", path).status_code == 404
    with tenant_scope(tenant.id, read_only=True):
        assert not GroupMember.objects.exists()
        assert Membership.objects.filter(user_id__in=both).count() == 2
    acts = [(each.act, each.label) for each in acts_of_tenant(tenant_id=tenant.id, limit=20)]
    assert ("member_added", f"Sales: {one.user.email}") in acts
    assert ("member_removed", f"Field sales: {one.user.email}") in acts
    assert [each for each, _ in acts].count("member_added") == 2
    assert {"created", "changed", "deleted"} <= {each for each, _ in acts}


def test_groups_are_listed_sorted_searched_and_saved_as_a_file(admin: Client, tenant: Tenant) -> None:
    for name in ("Zebra", "Apple", "Mango"):
        made(admin, name)
    listed = send(admin, "GET", "/groups").json()["results"]
    assert [each["name"] for each in listed] == ["Apple", "Mango", "Zebra"]
    send(
        admin,
        "POST",
        f"/groups/{listed[1]['id']}/members",
        {"user_ids": [str(make_membership(tenant).user_id)]},
    )
    largest = send(admin, "GET", "/groups?sort=-members&limit=1").json()["results"][0]
    assert (largest["name"], largest["members"]) == ("Mango", 1)
    assert [each["name"] for each in send(admin, "GET", "/groups?q=zeb").json()["results"]] == ["Zebra"]
    file = send(admin, "GET", "/groups?format=csv")
    assert b"".join(file.streaming_content).decode().splitlines()[0].startswith("id,name,description")


def test_what_is_wrong_is_said_and_nothing_is_stored(admin: Client, tenant: Tenant) -> None:
    group = made(admin)
    path = f"/groups/{group['id']}"
    taken = send(admin, "POST", "/groups", {"name": "Sales"})
    assert (taken.status_code, taken.json()["param"]) == (409, "name")
    for body in ({}, {"name": ""}, {"name": "x" * 201}, {"name": "a", "colour": "red"}, {"name": "a\x00"}):
        assert send(admin, "POST", "/groups", body).status_code == 400, body
    for body in ({}, {"user_ids": []}, {"user_ids": ["x"]}, {"user_ids": [str(uuid.uuid4())] * 201}):
        assert send(admin, "POST", f"{path}/members", body).status_code == 400, body
    stranger = make_user()
    some = [str(make_membership(tenant).user_id), str(stranger.id)]
    assert send(admin, "POST", f"{path}/members", {"user_ids": some}).status_code == 404
    assert send(admin, "GET", path).json()["members"] == 0
    stale = send(admin, "PATCH", path, {"name": "x"}, **{"if-match": '"1"'})
    assert stale.status_code == 412
    for bad in ("not-an-id", str(uuid.uuid4())):
        assert send(admin, "GET", f"/groups/{bad}").status_code == 404
    assert len(send(admin, "GET", "/groups").json()["results"]) == 1


def test_another_tenants_group_is_not_there(admin: Client, tenant: Tenant) -> None:
    group = made(admin)
    inside = make_membership(tenant)
    send(admin, "POST", f"/groups/{group['id']}/members", {"user_ids": [str(inside.user_id)]})
    other = session_client(make_membership(make_tenant("other"), role=Role.OWNER))
    path = f"/groups/{group['id']}"
    for method, where, body in (
        ("GET", path, None),
        ("PATCH", path, {"name": "mine"}),
        ("DELETE", path, None),
        ("GET", f"{path}/members", None),
        ("POST", f"{path}/members", {"user_ids": [str(inside.user_id)]}),
        ("DELETE", f"{path}/members/{inside.user_id}", None),
    ):
        answer = send(other, method, where, body)
        assert answer.status_code == 404, (method, where)
        assert b"Sales" not in answer.content
    assert send(other, "GET", "/groups").json()["results"] == []
    # A name is one tenant's own; and nobody of this tenant can be put into a group of that one.
    theirs = made(other)
    stolen = send(other, "POST", f"/groups/{theirs['id']}/members", {"user_ids": [str(inside.user_id)]})
    assert stolen.status_code == 404
    assert send(admin, "GET", path).json()["members"] == 1


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_groups_are_for_those_who_may_write_them(admin: Client, tenant: Tenant, role: Role) -> None:
    group = made(admin)
    client = session_client(make_membership(tenant, role=role))
    for method, path, body in (
        ("GET", "/groups", None),
        ("POST", "/groups", {"name": "mine"}),
        ("GET", f"/groups/{group['id']}", None),
        ("DELETE", f"/groups/{group['id']}", None),
        ("POST", f"/groups/{group['id']}/members", {"user_ids": [str(uuid.uuid4())]}),
    ):
        assert send(client, method, path, body).status_code == 403


def test_leaving_the_tenant_leaves_its_groups(admin: Client, tenant: Tenant) -> None:
    group = made(admin)
    member = make_membership(tenant)
    send(admin, "POST", f"/groups/{group['id']}/members", {"user_ids": [str(member.user_id)]})
    assert send(admin, "DELETE", f"/users/{member.user_id}").status_code == 204
    assert send(admin, "GET", f"/groups/{group['id']}").json()["members"] == 0
    # Who comes back begins without the groups of before.
    make_membership(tenant, member.user)
    assert send(admin, "GET", f"/groups/{group['id']}/members").json()["results"] == []


def boss_of(tenant: Tenant) -> Principal:
    """An owner at work."""
    return Principal(tenant.id, tenant.slug, Role.OWNER, permissions=permissions_of(Role.OWNER))


@pytest.mark.django_db(transaction=True)
async def test_running_processes_hear_of_groups() -> None:
    """A key of a member knows their groups, and so does a session; a tenant's own key has none."""
    directory, tail = KeyDirectory(), ChangeTail()
    tail.listen(directory.on_change)
    backends.replace("key_directory", directory)
    await tail.start()
    tenant = await run_unit(make_tenant)
    member = await run_unit(make_membership, tenant)
    client = await run_unit(session_client, member)
    session = client.cookies["atrium_session"].value
    bound = (await run_unit(make_key, tenant, user=member.user)).key
    free = (await run_unit(make_key, tenant)).key
    boss = boss_of(tenant)
    group = await run_unit(create_group, principal=boss, name="Sales")
    assert (await authenticate_key(bound)).group_ids == frozenset()

    await run_unit(add_group_members, principal=boss, group_id=group.id, user_ids=[member.user_id])
    await tail.catch_up()
    assert (await authenticate_key(bound)).group_ids == {group.id}
    assert (await authenticate_key(free)).group_ids == frozenset()
    assert (await authenticate_session(session, None)).group_ids == {group.id}

    await run_unit(remove_group_member, principal=boss, group_id=group.id, user_id=member.user_id)
    await tail.catch_up()
    assert (await authenticate_key(bound)).group_ids == frozenset()
    assert (await authenticate_session(session, None)).group_ids == frozenset()

    await run_unit(add_group_members, principal=boss, group_id=group.id, user_ids=[member.user_id])
    await tail.catch_up()
    await authenticate_key(bound)
    await run_unit(delete_group, principal=boss, group_id=group.id)
    await tail.catch_up()
    assert (await authenticate_key(bound)).group_ids == frozenset()


def test_a_directory_knows_its_groups_by_its_own_id(tenant: Tenant) -> None:
    boss = boss_of(tenant)
    group = create_group(principal=boss, name="Staff", external_id="dir-1")
    assert group.external_id == "dir-1"
    elsewhere = create_group(principal=boss_of(make_tenant()), name="Staff", external_id="dir-1")
    assert elsewhere.id != group.id
    with tenant_scope(tenant.id, read_only=True):
        assert Group.objects.get(external_id="dir-1").id == group.id
    with pytest.raises(NotFound):
        delete_group(principal=boss, group_id=elsewhere.id)


def test_groups_of_others_do_not_count_and_are_not_changed_by_the_service_itself(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = (make_principal(each, role=Role.OWNER) for each in (tenant, make_tenant("other")))
    foreign = create_group(principal=theirs, name="Sales")
    monkeypatch.setattr("tenants.services.groups.MOST_GROUPS", 1)
    create_group(principal=mine, name="Sales")
    with pytest.raises(NotFound):
        change_group(principal=mine, group_id=uuid.UUID(str(foreign.id)), name="Mine")
    with tenant_scope(theirs.tenant_id):
        assert [row.name for row in Group.objects.all()] == ["Sales"]
