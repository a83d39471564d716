"""`/audit-events`: who may read it, filters, pages over two tables, files, one act, the walk over the chain."""

import csv
import io
import json
import uuid
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes.audits import TABLE, drop_guards, execute, write_acts

from kernel.actors import Actor, acting
from substrate.audit import record_act
from substrate.audit_verifying import read_anchors
from substrate.scoping import tenant_scope
from tenants.types import Role

pytestmark = pytest.mark.django_db
PATH = "/api/v1/audit-events"


def get(client: Client, path: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == status, answer.content
    return answer.json()


def walk(client: Client, path: str) -> list[dict[str, Any]]:
    """Every row of the list, page by page forward; and the same backward."""
    rows, address, last = [], path, None
    while address:
        last = client.get(address).json()
        rows += last["results"]
        address = last["next"]
    back, address = list(last["results"]) if last else [], last["previous"] if last else None
    while address:
        page = client.get(address).json()
        back = page["results"] + back
        address = page["previous"]
    assert [row["id"] for row in back] == [row["id"] for row in rows]
    return rows


@pytest.fixture
def operator() -> Client:
    membership = make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER)
    return session_client(membership)


@pytest.mark.parametrize(
    ("role", "status"), [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.MEMBER, 403), (Role.VIEWER, 403)]
)
def test_admins_read_it_and_others_do_not(role: Role, status: int) -> None:
    client = key_client(make_tenant(), role=role)
    for path in (
        "/audit-events",
        "/audit-events?format=csv",
        "/audit-events?format=jsonl",
        "/audit-events/verification",
    ):
        answer = client.get(f"/api/v1{path}")
        assert answer.status_code == status
        if answer.streaming:
            assert b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert client.get(f"{PATH}?scope=platform").status_code == 403


def test_acts_of_others_are_never_shown() -> None:
    mine, other = make_tenant(), make_tenant()
    write_acts(other.id, 2)
    client = key_client(mine, role=Role.ADMIN)
    shown = get(client, "/audit-events")["results"]
    assert {row["tenant_id"] for row in shown} == {str(mine.id)}
    foreign = key_client(other, role=Role.ADMIN)
    theirs = get(foreign, "/audit-events")["results"][0]["id"]
    assert get(client, f"/audit-events/{theirs}", 404)["code"]
    for bad in (uuid.uuid4(), "nonsense"):
        get(client, f"/audit-events/{bad}", 404)


def test_each_filter_narrows() -> None:
    tenant = make_tenant()
    user_id = uuid.uuid4()
    with acting(Actor("user", "Ann@example.org", user_id)), tenant_scope(tenant.id):
        record_act(
            act="changed",
            kind="model_x",
            object_id="o-1",
            label="Needle",
            tenant_id=tenant.id,
            before={"a": 1},
            after={"a": 2},
        )
    write_acts(tenant.id, 2)
    client = key_client(tenant, role=Role.ADMIN)
    (one,) = get(client, "/audit-events?kind=model_x")["results"]
    assert (one["before"], one["after"], one["tenant"], one["actor_id"]) == (
        {"a": 1},
        {"a": 2},
        tenant.slug,
        str(user_id),
    )
    assert get(client, f"/audit-events/{one['id']}") == one
    everything = len(get(client, "/audit-events")["results"])
    assert everything == 4
    for query in (
        "object_id=o-1",
        "actor=ann@example.org",
        f"actor_id={user_id}",
        "q=needle",
        f"request_id={one['request_id']}",
    ):
        assert [row["id"] for row in get(client, f"/audit-events?{query}")["results"]] == [one["id"]], query
    assert len(get(client, "/audit-events?act=changed")["results"]) == 3
    assert len(get(client, "/audit-events?from=2000-01-01T00:00:00Z")["results"]) == everything
    assert get(client, "/audit-events?to=2000-01-01T00:00:00Z")["results"] == []


@pytest.mark.parametrize(
    "query", ["from=yesterday", "actor_id=x", "sort=label", "format=xml", f"act={'x' * 40}", "scope=all"]
)
def test_a_bad_question_is_refused(query: str) -> None:
    get(key_client(make_tenant(), role=Role.ADMIN), f"/audit-events?{query}", 400)


def test_operators_page_through_all_tenants_and_the_platform(operator: Client) -> None:
    tenants = [make_tenant() for _ in range(2)]
    for number in range(3):
        for tenant in tenants:
            write_acts(tenant.id, 1)
        record_act(act="drained", kind="replica", object_id=str(number))
    rows = walk(operator, f"{PATH}?scope=platform&limit=2")
    assert len(rows) == 9
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert {row["tenant"] for row in rows} == {None, *[tenant.slug for tenant in tenants]}
    upward = walk(operator, f"{PATH}?scope=platform&limit=4&sort=at")
    assert [row["id"] for row in upward] == [row["id"] for row in rows][::-1]
    assert operator.get(f"{PATH}?scope=platform&cursor=nonsense").status_code == 404


def test_files_hold_all_of_it_with_safe_cells_and_links_that_can_be_held_against(operator: Client) -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        record_act(act="created", kind="x", object_id="=1+1", label="=cmd()", tenant_id=tenant.id)
    write_acts(tenant.id, 2)
    client = key_client(tenant, role=Role.ADMIN)
    answer = client.get(f"{PATH}?format=csv")
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))  # type: ignore[attr-defined]
    assert len(rows) == 4
    assert {row["label"] for row in rows if row["kind"] == "x"} == {"'=cmd()"}
    assert {row["object_id"] for row in rows if row["kind"] == "x"} == {"'=1+1"}
    answer = client.get(f"{PATH}?format=jsonl")
    lines = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    anchors = read_anchors(lines)[str(tenant.id)]
    assert anchors == {json.loads(line)["seq"]: json.loads(line)["hash"] for line in lines}
    assert len(anchors) == 4


def test_the_walk_over_the_chain_names_the_first_bad_act(operator: Client) -> None:
    tenant = make_tenant()
    client = key_client(tenant, role=Role.ADMIN)
    write_acts(tenant.id, 3)
    found = get(client, "/audit-events/verification")
    assert (found["whole"], found["chains"][0]["last"], found["chains"][0]["bad"]) == (True, 4, None)
    drop_guards()
    execute(f"UPDATE {TABLE} SET actor = 'nobody' WHERE seq = 3")
    found = get(client, "/audit-events/verification")
    assert (found["whole"], found["chains"][0]["bad"]["seq"]) == (False, 3)
    assert get(operator, "/audit-events/verification?scope=platform")["whole"]


def test_the_events_are_counted_when_that_is_asked_for() -> None:
    tenant = make_tenant()
    client = key_client(tenant, role=Role.OWNER)
    plain = client.get("/api/v1/audit-events?limit=1").json()
    counted = client.get("/api/v1/audit-events?limit=1&total=true").json()
    assert "total" not in plain
    assert len(counted["results"]) == 1
    everything = client.get("/api/v1/audit-events?limit=200").json()
    assert counted["total"] == len(everything["results"]) >= 1
