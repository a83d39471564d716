"""What is charged for a month: the lines add up, belong to the right calendar, and are nobody else's."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from factories.usage import make_entry

from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.ledger import book_usage
from tenants.models import Group, GroupMember, Membership, Tenant
from tenants.types import Role

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 10, 12, tzinfo=UTC)


def call(tenant: Tenant, cost: int, user: Membership | None = None, at: datetime = MARCH) -> None:
    """A call that was booked."""
    entry = make_entry(tenant.id, user_id=user.user_id if user else None, cost_nano=cost, started_at=at)
    with system_scope("tests"):
        book_usage([entry])


def put(tenant: Tenant, name: str, *members: Membership) -> Group:
    """A group with these in it."""
    with tenant_scope(tenant.id):
        group = Group.objects.create(tenant=tenant, name=name)
        for each in members:
            GroupMember.objects.create(tenant=tenant, group=group, membership=each)
    return group


def charged(client: Client, query: str) -> list[tuple[str, str, int, int]]:
    answer = client.get(f"/api/v1/chargeback?{query}")
    assert answer.status_code == 200, answer.content
    return [(row["kind"], row["name"], row["requests"], row["cost_nano"]) for row in answer.json()["results"]]


def test_by_group_the_lines_add_up() -> None:
    tenant = make_tenant()
    ann, bob, eve = (make_membership(tenant) for _ in range(3))
    put(tenant, "Sales", ann, bob)
    put(tenant, "All", ann)
    for member, cost in ((ann, 5), (bob, 7), (eve, 3), (None, 2)):
        call(tenant, cost, member)
    call(make_tenant(), 1000)
    rows = charged(key_client(tenant, role=Role.ADMIN), "period=2026-03")
    # Who is in two groups is charged once: to the one they were put in first.
    assert rows == [("group", "Sales", 2, 12), ("rest", "", 2, 5), ("total", "", 4, 17)]


def test_a_month_is_of_the_tenants_calendar() -> None:
    tenant = make_tenant()
    Tenant.objects.filter(id=tenant.id).update(timezone="America/New_York")
    # In New York it is still February.
    call(tenant, 1, at=datetime(2026, 3, 1, 4, 30, tzinfo=UTC))
    call(tenant, 2, at=datetime(2026, 3, 1, 6, 30, tzinfo=UTC))
    client = key_client(tenant, role=Role.ADMIN)
    assert charged(client, "period=2026-03")[-1] == ("total", "", 1, 2)
    assert charged(client, "period=2026-02")[-1] == ("total", "", 1, 1)


def test_by_tenant_for_operators() -> None:
    home, one, two = make_tenant(), make_tenant(name="One"), make_tenant(name="Two")
    call(one, 10)
    call(two, 20)
    operator = session_client(make_membership(home, make_user(is_operator=True), role=Role.OWNER))
    rows = charged(operator, "period=2026-03&scope=platform")
    assert rows == [("tenant", "Two", 1, 20), ("tenant", "One", 1, 10), ("total", "", 2, 30)]
    owner = key_client(one, role=Role.OWNER)
    assert owner.get("/api/v1/chargeback?scope=platform").status_code == 403


def test_as_a_file() -> None:
    tenant = make_tenant()
    ann = make_membership(tenant)
    put(tenant, '=cmd|"x"', ann)
    call(tenant, 1_500_000_000, ann)
    client = key_client(tenant, role=Role.ADMIN)
    answer: Any = client.get("/api/v1/chargeback?period=2026-03&format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert (rows[0]["name"][0], rows[0]["cost"]) == ("'", "1.500000000")
    answer = client.get("/api/v1/chargeback?period=2026-03&format=jsonl")
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [(line["kind"], line["cost"]) for line in lines] == [
        ("group", "1.500000000"),
        ("total", "1.500000000"),
    ]


@pytest.mark.parametrize(
    "query", ["period=2026-13", "period=march", "period=1999-01", "format=xml", "scope=all"]
)
def test_what_makes_no_sense_is_refused(query: str) -> None:
    client = key_client(make_tenant(), role=Role.ADMIN)
    assert client.get(f"/api/v1/chargeback?{query}").status_code == 400


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_members_see_nothing_of_it(role: Role) -> None:
    assert key_client(make_tenant(), role=role).get("/api/v1/chargeback").status_code == 403
