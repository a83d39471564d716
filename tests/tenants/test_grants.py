"""Sharing with people and groups: who may use a thing, who learns that it is there, and how quickly that changes."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client
from factories.tenants import make_key, make_membership, make_tenant, make_user, session_client

from assistants.models import Assistant
from inference.services import change_model, ensure_built_in_models, register_engine
from kernel.backends import backends
from knowledge.models import Document, KnowledgeBase
from substrate.audit import acts_of_tenant
from substrate.changes import ChangeTail
from substrate.scoping import tenant_scope
from substrate.units import close_units, run_unit
from tenants.access_models import CustomRole, Grant, Restriction
from tenants.access_types import Subject, SubjectKind
from tenants.directory import KeyDirectory
from tenants.models import Membership, Tenant
from tenants.permissions import ROLE_PERMISSIONS, permissions_of
from tenants.services import (
    add_group_members,
    authenticate_key,
    authenticate_session,
    create_group,
    may_use,
    set_sharing,
)
from tenants.types import Principal, Role

pytestmark = pytest.mark.django_db(transaction=True)

JSON = "application/json"
SECRET = "payroll-canary-4b1d"


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    """A request to the REST API."""
    raw = "" if body is None else json.dumps(body)
    return client.generic(method, f"/api/v1{path}", raw, content_type=JSON, headers=headers)


class House:
    """A tenant with an owner, two members, and one thing of each kind that is called by the canary."""

    def __init__(self) -> None:
        self.tenant: Tenant = make_tenant("acme")
        self.owner = session_client(make_membership(self.tenant, role=Role.OWNER))
        self.inside = make_membership(self.tenant, make_user("in@example.com"))
        self.outside = make_membership(self.tenant, make_user("out@example.com"))
        self.insider, self.outsider = session_client(self.inside), session_client(self.outside)
        register_engine(pool="far", model=SECRET, url="http://127.0.0.1:9/v1")
        with tenant_scope(self.tenant.id):
            self.base = KnowledgeBase.objects.create(name=SECRET)
            self.document = Document.objects.create(knowledge_base=self.base, title=SECRET, state="failed")
            self.assistant = Assistant.objects.create(
                slug=SECRET, name=SECRET, model="auto", knowledge_base_ids=[str(self.base.id)]
            )
            self.other = Assistant.objects.create(
                slug="open", name="Open", model="auto", knowledge_base_ids=[str(self.base.id)]
            )
        self.things = {
            "assistant": str(self.assistant.id),
            "knowledge_base": str(self.base.id),
            "model": SECRET,
        }

    def share(self, kind: str, *subjects: tuple[str, object], restricted: bool = True) -> Any:
        """Restrict a thing to people and groups, as the owner."""
        body = {
            "restricted": restricted,
            "subjects": [{"kind": each, "id": str(key)} for each, key in subjects],
        }
        answer = send(self.owner, "PUT", f"/access?kind={kind}&id={self.things[kind]}", body)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def share_all(self, *subjects: tuple[str, object]) -> None:
        """The same for each kind."""
        for kind in self.things:
            self.share(kind, *subjects)


@pytest.fixture
def house() -> Any:
    """The tenant at hand."""
    ensure_built_in_models()
    yield House()
    close_units()


def looks(house: House) -> list[tuple[str, str, object]]:
    """Every way over REST to see or touch the three things."""
    base, document = house.base.id, house.document.id
    return [
        ("GET", f"/assistants/{SECRET}", None),
        ("GET", f"/knowledge-bases/{base}", None),
        ("GET", f"/knowledge-bases/{base}/documents", None),
        ("GET", f"/knowledge-bases/{base}/documents/{document}", None),
        ("POST", f"/knowledge-bases/{base}/documents", {"title": "x", "text": "y"}),
        ("POST", f"/knowledge-bases/{base}/documents/{document}/retry", None),
        ("POST", f"/knowledge-bases/{base}/documents:retry", {}),
        ("POST", f"/knowledge-bases/{base}/documents:delete", {"document_ids": [str(document)]}),
        ("GET", f"/knowledge-bases/{base}/removed-documents", None),
        ("POST", f"/knowledge-bases/{base}/search", {"query": "pay"}),
        ("PATCH", f"/knowledge-bases/{base}", {"name": "mine"}),
        ("DELETE", f"/knowledge-bases/{base}", None),
        ("GET", f"/documents/{document}", None),
        ("GET", f"/documents/{document}/passages", None),
        ("GET", f"/documents/{document}/file", None),
        ("PATCH", f"/documents/{document}", {"url": "https://x.example"}),
        ("DELETE", f"/documents/{document}", None),
        ("GET", f"/models/{SECRET}", None),
    ]


LISTS = ("/assistants", "/knowledge-bases", "/models", "/overview?range=24h", f"/palette?q={SECRET[:8]}")


def test_what_is_shut_is_not_there(house: House) -> None:
    for path in LISTS:
        assert SECRET in send(house.outsider, "GET", path).content.decode(), path
    house.share_all(("user", house.inside.user_id))
    for method, path, body in looks(house):
        answer = send(house.outsider, method, path, body)
        assert answer.status_code == 404, (method, path, answer.content)
        assert SECRET not in answer.content.decode().replace(path, "")
    for path in LISTS:
        assert SECRET not in send(house.outsider, "GET", path).content.decode(), path
        assert SECRET in send(house.insider, "GET", path).content.decode(), path
    # An assistant that is open does not tell of a base that is shut.
    assert send(house.outsider, "GET", "/assistants/open").json()["knowledge_base_ids"] == []
    assert send(house.insider, "GET", "/assistants/open").json()["knowledge_base_ids"] == [str(house.base.id)]
    with tenant_scope(house.tenant.id, read_only=True):
        assert KnowledgeBase.objects.get(id=house.base.id).deleted_at is None
        assert Document.objects.get(id=house.document.id).url == ""


def test_those_it_is_granted_to_use_it(house: House) -> None:
    house.share_all(("user", house.inside.user_id))
    for path in (
        f"/assistants/{SECRET}",
        f"/knowledge-bases/{house.base.id}",
        f"/documents/{house.document.id}",
    ):
        assert send(house.insider, "GET", path).status_code == 200
        assert send(house.owner, "GET", path).status_code == 200, "an owner may use everything"
    house.share("knowledge_base", restricted=False)
    assert send(house.outsider, "GET", f"/documents/{house.document.id}").status_code == 200


def test_a_group_carries_the_grant_to_whoever_is_in_it(house: House) -> None:
    group = send(house.owner, "POST", "/groups", {"name": "Payroll"}).json()
    house.share_all(("group", group["id"]))
    path = f"/knowledge-bases/{house.base.id}"
    assert send(house.insider, "GET", path).status_code == 404
    body = {"user_ids": [str(house.inside.user_id)]}
    send(house.owner, "POST", f"/groups/{group['id']}/members", body)
    assert send(house.insider, "GET", path).status_code == 200
    # When the last group that had it is gone, it stays shut.
    assert send(house.owner, "DELETE", f"/groups/{group['id']}").status_code == 204
    assert send(house.insider, "GET", path).status_code == 404
    shown = send(house.owner, "GET", f"/access?kind=knowledge_base&id={house.base.id}").json()
    assert (shown["restricted"], shown["subjects"]) == (True, [])


def test_a_tenants_own_key_has_no_grant_unless_it_sees_everything(house: House) -> None:
    house.share_all()
    for role, status in ((Role.MEMBER, 404), (Role.ADMIN, 200)):
        key = make_key(house.tenant, role=role)
        client = Client(headers={"authorization": f"Bearer {key.key}"})
        assert send(client, "GET", f"/knowledge-bases/{house.base.id}").status_code == status
        assert (SECRET in send(client, "GET", "/models").content.decode()) == (status == 200)
    # A person's key may what the person may, an owner's role on it makes no difference.
    key = make_key(house.tenant, role=Role.OWNER, user=house.outside.user)
    client = Client(headers={"authorization": f"Bearer {key.key}"})
    assert send(client, "GET", f"/knowledge-bases/{house.base.id}").status_code == 404


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_sharing_is_for_those_who_may(house: House, role: Role) -> None:
    client = session_client(make_membership(house.tenant, role=role))
    thing = f"kind=model&id={SECRET}"
    for method, path, body in (
        ("GET", f"/access?{thing}", None),
        ("PUT", f"/access?{thing}", {"restricted": False}),
        ("GET", f"/access/explain?{thing}&user={house.inside.user_id}", None),
        ("GET", "/access/subjects?q=in", None),
    ):
        assert send(client, method, path, body).status_code == 403


def test_another_tenant_neither_sees_nor_shares(house: House) -> None:
    other = make_tenant("other")
    stranger = make_membership(other, role=Role.OWNER)
    boss = session_client(stranger)
    for kind in ("assistant", "knowledge_base"):
        for method, body in (("GET", None), ("PUT", {"restricted": True})):
            answer = send(boss, method, f"/access?kind={kind}&id={house.things[kind]}", body)
            assert answer.status_code == 404
    foreign = make_membership(other)
    group = send(boss, "POST", "/groups", {"name": "Theirs"}).json()
    for kind, key in (("user", foreign.user_id), ("group", group["id"]), ("user", uuid.uuid4())):
        body = {"restricted": True, "subjects": [{"kind": kind, "id": str(key)}]}
        answer = send(house.owner, "PUT", f"/access?kind=model&id={SECRET}", body)
        assert (answer.status_code, answer.json()["param"]) == (400, "subjects")
    with tenant_scope(house.tenant.id, read_only=True):
        assert not Grant.objects.exists()
    # Restricting a shared model binds one tenant alone.
    house.share("model", ("user", house.inside.user_id))
    assert SECRET in send(boss, "GET", "/models").content.decode()
    assert send(boss, "GET", f"/access?kind=model&id={SECRET}").json()["restricted"] is False
    found = send(boss, "GET", "/access/subjects?q=example.com").json()["results"]
    assert {each["name"] for each in found} == {stranger.user.email, foreign.user.email}


def clerk_of(house: House, *without: str) -> tuple[Client, Membership]:
    """A member with an administrator's permissions but for some."""
    membership = make_membership(house.tenant, role=Role.VIEWER)
    with tenant_scope(house.tenant.id):
        role = CustomRole.objects.create(
            name="Clerk", permissions=sorted(ROLE_PERMISSIONS[Role.ADMIN] - set(without))
        )
        Membership.objects.filter(id=membership.id).update(custom_role=role)
    return session_client(membership), membership


def test_who_shares_does_not_rise_by_it(house: House) -> None:
    """One who may share and fill groups, but not see everything, gets at nothing that is shut to them."""
    clerk, membership = clerk_of(house, "access.all")
    group = send(house.owner, "POST", "/groups", {"name": "Payroll"}).json()
    house.share_all(("group", group["id"]))
    me = {"kind": "user", "id": str(membership.user_id)}
    for kind, key in house.things.items():
        for body in ({"restricted": True, "subjects": [me]}, {"restricted": False}):
            assert send(clerk, "PUT", f"/access?kind={kind}&id={key}", body).status_code == 404
    own = {"user_ids": [str(membership.user_id)]}
    joined = send(clerk, "POST", f"/groups/{group['id']}/members", own)
    assert (joined.status_code, joined.json()["code"]) == (403, "beyond_own_rights")
    role = {"name": "Sly", "permissions": ["access.all", "knowledge.read"]}
    assert send(clerk, "POST", "/roles", role).status_code == 403
    assert send(clerk, "POST", "/api-keys", {"name": "sly", "role": "admin"}).status_code == 403
    made = send(clerk, "POST", "/assistants", {"slug": "sly", "name": "x", "model": SECRET})
    assert made.status_code == 400
    based = {"slug": "sly", "name": "x", "knowledge_base_ids": [str(house.base.id)]}
    assert send(clerk, "POST", "/assistants", based).status_code == 400
    assert send(clerk, "GET", f"/knowledge-bases/{house.base.id}").status_code == 404


def test_nobody_shuts_themselves_out(house: House) -> None:
    clerk, membership = clerk_of(house, "access.all")
    path = f"/access?kind=assistant&id={house.other.id}"
    slip = send(clerk, "PUT", path, {"restricted": True, "subjects": []})
    assert (slip.status_code, slip.json()["code"]) == (409, "own_access")
    me = {"kind": "user", "id": str(membership.user_id)}
    assert send(clerk, "PUT", path, {"restricted": True, "subjects": [me]}).status_code == 200
    assert send(house.outsider, "GET", "/assistants/open").status_code == 404


def test_what_is_wrong_is_said_and_nothing_changes(house: House) -> None:
    path = f"/access?kind=model&id={SECRET}"
    for bad in (
        "/access",
        "/access?kind=model",
        "/access?kind=door&id=x",
        f"/access?kind=model&id={'x' * 256}",
    ):
        assert send(house.owner, "GET", bad).status_code == 400, bad
    for bad in ("kind=assistant&id=none", "kind=knowledge_base&id=none", "kind=model&id=none"):
        assert send(house.owner, "GET", f"/access?{bad}").status_code == 404, bad
    for body in ({}, {"restricted": True, "subjects": [{"kind": "door", "id": str(uuid.uuid4())}]}):
        assert send(house.owner, "PUT", path, body).status_code == 400
    person = {"kind": "user", "id": str(house.inside.user_id)}
    assert send(house.owner, "PUT", path, {"restricted": False, "subjects": [person]}).status_code == 400
    first = send(house.owner, "GET", path)
    kept = house.share("model", ("user", house.inside.user_id))
    stale = send(house.owner, "PUT", path, {"restricted": False}, **{"if-match": first["etag"]})
    assert stale.status_code == 412
    fresh = send(house.owner, "PUT", path, {"restricted": False}, **{"if-match": f'"{kept["version"]}"'})
    assert fresh.status_code == 200
    with tenant_scope(house.tenant.id, read_only=True):
        assert not Restriction.objects.exists()
    labels = [each.label for each in acts_of_tenant(tenant_id=house.tenant.id, limit=10)]
    assert f"{SECRET}: in@example.com" in labels
    assert f"{SECRET}: everybody" in labels


def explained(house: House, user_id: object, kind: str = "knowledge_base") -> Any:
    """Why this member may or may not use a thing."""
    path = f"/access/explain?kind={kind}&id={house.things[kind]}&user={user_id}"
    answer = send(house.owner, "GET", path)
    assert answer.status_code == 200, answer.content
    return answer.json()


def reason(explanation: Any) -> str:
    """The code of the first step that did not pass."""
    return next((each["code"] for each in explanation["steps"] if not each["passed"]), "")


def test_steps_are_told_in_the_reader_s_language(house: House) -> None:
    house.owner.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    texts = [step["text"] for step in explained(house, house.outside.user_id, "model")["steps"]]
    assert texts[0] == "Der Mandant ist aktiv."
    assert "Die Plattform öffnet das Modell für jeden Mandanten." in texts


def test_a_decision_is_explained_step_by_step(house: House) -> None:
    group = send(house.owner, "POST", "/groups", {"name": "Payroll"}).json()
    open_to_all = explained(house, house.outside.user_id)
    assert (open_to_all["allowed"], reason(open_to_all)) == (True, "")
    house.share("knowledge_base", ("group", group["id"]))
    shut = explained(house, house.outside.user_id)
    assert (shut["allowed"], reason(shut), shut["user"]) == (False, "grant", "out@example.com")
    send(house.owner, "POST", f"/groups/{group['id']}/members", {"user_ids": [str(house.outside.user_id)]})
    through = explained(house, house.outside.user_id)
    assert through["allowed"]
    assert "Payroll" in through["steps"][-1]["text"]

    with tenant_scope(house.tenant.id):
        role = CustomRole.objects.create(name="Chatter", permissions=["chat.use"])
        Membership.objects.filter(id=house.inside.id).update(custom_role=role)
    lacking = explained(house, house.inside.user_id)
    assert reason(lacking) == "permission"
    assert "Chatter" in next(each["text"] for each in lacking["steps"] if each["code"] == "permission")

    send(house.owner, "PATCH", f"/users/{house.outside.user_id}", {"disabled": True})
    assert reason(explained(house, house.outside.user_id)) == "membership"
    owner = house.owner.session["_auth_user_id"]
    assert explained(house, owner, "model")["allowed"]
    change_model(model_id=SECRET, enabled=False)
    assert reason(explained(house, owner, "model")) == "enabled"
    for user in (uuid.uuid4(), make_membership(make_tenant("other")).user_id):
        path = f"/access/explain?kind=model&id={SECRET}&user={user}"
        assert send(house.owner, "GET", path).status_code == 404


async def test_running_processes_hear_of_grants() -> None:
    """Keys and sessions know at once what is shut to them; a change costs one mark."""
    directory, tail = KeyDirectory(), ChangeTail()
    tail.listen(directory.on_change)
    backends.replace("key_directory", directory)
    await tail.start()
    house = await run_unit(House)
    boss = Principal(house.tenant.id, "acme", Role.OWNER, permissions=permissions_of(Role.OWNER))
    key = (await run_unit(make_key, house.tenant, user=house.inside.user)).key
    session = house.insider.cookies["atrium_session"].value
    group = await run_unit(create_group, principal=boss, name="Payroll")

    async def shut() -> tuple[bool, bool]:
        await tail.catch_up()
        mine, other = await authenticate_key(key), await authenticate_session(session, None)
        base = house.things["knowledge_base"]
        return not may_use(mine, "knowledge_base", base), not may_use(other, "knowledge_base", base)

    async def share(*subjects: Subject, restricted: bool = True) -> None:
        await run_unit(
            set_sharing,
            principal=boss,
            kind="knowledge_base",
            object_id=house.things["knowledge_base"],
            restricted=restricted,
            subjects=subjects,
        )

    assert await shut() == (False, False)
    await share()
    assert await shut() == (True, True)
    await share(Subject(SubjectKind.USER, house.inside.user_id))
    assert await shut() == (False, False)
    await share(Subject(SubjectKind.GROUP, group.id))
    assert await shut() == (True, True)
    await run_unit(add_group_members, principal=boss, group_id=group.id, user_ids=[house.inside.user_id])
    assert await shut() == (False, False)
    await share()
    await share(restricted=False)
    assert await shut() == (False, False)


async def test_colleagues_share_one_memory_of_what_is_shut() -> None:
    directory = KeyDirectory()
    backends.replace("key_directory", directory)
    house = await run_unit(House)
    await run_unit(house.share_all)
    first = await run_unit(make_key, house.tenant, user=house.inside.user)
    second = await run_unit(make_key, house.tenant, user=house.outside.user)
    one, two = await authenticate_key(first.key), await authenticate_key(second.key)
    assert len(one.closed) == 3
    assert one.closed is two.closed
