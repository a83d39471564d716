"""`/usage`: exact sums over any days of any zone, for those who may see them, from rollups and ledger alike."""

import csv
import io
import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user
from factories.usage import make_entry

from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import Tenant
from tenants.services import store_usage
from tenants.tallies import Tally
from tenants.types import Role, UsageEntry, UsageState
from tenants.usage_reads import Question, dearest_tenants, largest_tenants, tallies, tallies_of_days, whole

pytestmark = pytest.mark.django_db

SPAN = "from=2026-11-19&to=2026-11-21"


def call(tenant: Tenant, at: str, **values: Any) -> UsageEntry:
    """A completed call at a UTC moment."""
    base: dict[str, Any] = {
        "started_at": datetime.fromisoformat(at).replace(tzinfo=UTC),
        "model": "m",
        "state": UsageState.COMPLETED,
        "user_id": None,
        "api_key_id": None,
        "origin": "v1",
        "cost_nano": 1,
        "first_token_ms": 200,
        "total_ms": 900,
    }
    return make_entry(tenant.id, **(base | values))


def rows(client: Client, query: str) -> dict[str, int]:
    """Requests by group."""
    answer = client.get(f"/api/v1/usage?{query}")
    assert answer.status_code == 200, answer.content
    return {each["group"]: each["requests"] for each in answer.json()["results"]}


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", {"2026-11-19": 2, "2026-11-20": 2}),
        # One hour ahead: a quarter past eleven in the evening is the next day.
        ("Europe/Berlin", {"2026-11-19": 1, "2026-11-20": 2, "2026-11-21": 1}),
        # Five and a half: midnight lies within an hour of UTC.
        ("Asia/Kolkata", {"2026-11-19": 1, "2026-11-20": 2, "2026-11-21": 1}),
        ("America/New_York", {"2026-11-19": 2, "2026-11-20": 2}),
    ],
)
def test_days_are_those_of_the_zone(zone: str, days: dict[str, int]) -> None:
    tenant = make_tenant()
    moments = ("2026-11-19T18:10", "2026-11-19T23:15", "2026-11-20T18:29", "2026-11-20T23:59")
    store_usage([call(tenant, moment) for moment in moments])
    assert rows(key_client(tenant, role=Role.ADMIN), f"{SPAN}&tz={zone}") == days


def test_every_zone_agrees_with_counting_by_hand() -> None:
    tenant = make_tenant()
    moments = [datetime(2026, 11, 18, tzinfo=UTC) + timedelta(minutes=37 * number) for number in range(200)]
    store_usage([call(tenant, moment.replace(tzinfo=None).isoformat()) for moment in moments])
    client = key_client(tenant, role=Role.ADMIN)
    for zone in ("UTC", "Asia/Kathmandu", "Pacific/Chatham", "America/St_Johns", "Pacific/Apia"):
        wanted: dict[str, int] = {}
        for moment in moments:
            day = moment.astimezone(ZoneInfo(zone)).date()
            if date(2026, 11, 19) <= day <= date(2026, 11, 21):
                wanted[day.isoformat()] = wanted.get(day.isoformat(), 0) + 1
        assert rows(client, f"{SPAN}&tz={zone}") == wanted
        assert rows(client, f"{SPAN}&tz={zone}&group_by=model") == {"m": sum(wanted.values())}


def test_groups_and_filters() -> None:
    tenant = make_tenant()
    user = make_membership(tenant).user
    store_usage(
        [
            call(tenant, "2026-11-20T10:00", user_id=user.id, origin="ws", assistant="guide"),
            call(tenant, "2026-11-20T11:00", user_id=user.id, model="n", origin="ws", cost_nano=5),
            call(tenant, "2026-11-20T11:30", api_key_id=uuid.UUID(int=7)),
            call(make_tenant(), "2026-11-20T11:30"),
        ]
    )
    client = key_client(tenant, role=Role.ADMIN)
    assert rows(client, f"{SPAN}&group_by=hour") == {"2026-11-20T10:00:00Z": 1, "2026-11-20T11:00:00Z": 2}
    assert rows(client, f"{SPAN}&group_by=origin") == {"ws": 2, "v1": 1}
    assert rows(client, f"{SPAN}&group_by=assistant") == {"": 2, "guide": 1}
    assert rows(client, f"{SPAN}&group_by=model&user={user.id}") == {"n": 1, "m": 1}
    assert rows(client, f"{SPAN}&group_by=user&model=m") == {str(user.id): 1, "": 1}
    assert rows(client, f"{SPAN}&key={uuid.UUID(int=7)}") == {"2026-11-20": 1}
    assert rows(client, f"{SPAN}&assistant=guide&origin=v1") == {}
    totals = client.get(f"/api/v1/usage?{SPAN}&group_by=model").json()["totals"]
    assert (totals["requests"], totals["cost_nano"]) == (3, 7)
    assert 190 <= totals["first_token_ms"]["p50"] <= 210


def test_everybody_sees_their_own() -> None:
    tenant = make_tenant()
    user = make_membership(tenant).user
    store_usage([call(tenant, "2026-11-20T10:00", user_id=user.id), call(tenant, "2026-11-20T10:00")])
    client = key_client(tenant, role=Role.VIEWER, user=user)
    assert client.get(f"/api/v1/usage?{SPAN}").status_code == 403
    assert rows(client, f"{SPAN}&mine=true") == {"2026-11-20": 1}
    stranger = uuid.uuid4()
    # One's own stays one's own, whatever else is asked for.
    assert rows(client, f"{SPAN}&mine=true&user={stranger}") == {"2026-11-20": 1}
    assert rows(key_client(tenant, role=Role.VIEWER), f"{SPAN}&mine=true") == {}


def test_the_platform_is_for_operators() -> None:
    tenant, other = make_tenant(), make_tenant()
    store_usage([call(tenant, "2026-11-20T10:00"), call(other, "2026-11-20T10:00", model="n", cost_nano=9)])
    assert key_client(tenant, role=Role.OWNER).get("/api/v1/usage?scope=platform").status_code == 403
    membership = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    client = key_client(tenant, role=Role.OWNER, user=membership.user)
    found = client.get(f"/api/v1/usage?{SPAN}&scope=platform&group_by=tenant").json()["results"]
    assert [(each["label"], each["cost_nano"]) for each in found] == [(other.slug, 9), (tenant.slug, 1)]
    assert rows(client, f"{SPAN}&scope=platform") == {"2026-11-20": 2}
    assert rows(client, f"{SPAN}&scope=platform&model=n&group_by=hour") == {"2026-11-20T10:00:00Z": 1}
    assert rows(client, f"{SPAN}&scope=platform&group_by=model&tenant={other.id}") == {"n": 1}
    for query in (
        "group_by=user",
        "user=01a20bda-92ef-7578-b7dd-19b7295d71a2",
        "mine=true",
        "group_by=tenant&model=m",
    ):
        assert client.get(f"/api/v1/usage?{SPAN}&scope=platform&{query}").status_code == 400


def test_files_have_safe_cells_and_all_rows() -> None:
    tenant = make_tenant()
    store_usage(
        [call(tenant, "2026-11-20T10:00", model="=cmd()"), call(tenant, "2026-11-20T10:00", model="plain")]
    )
    client = key_client(tenant, role=Role.ADMIN)
    answer = client.get(f"/api/v1/usage?{SPAN}&group_by=model&format=csv")
    assert answer["Content-Disposition"] == 'attachment; filename="usage-by-model-2026-11-19-2026-11-21.csv"'
    table = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert {each["group"] for each in table} == {"'=cmd()", "plain"}
    assert {each["cost"] for each in table} == {"0.000000001"}
    lines = client.get(f"/api/v1/usage?{SPAN}&group_by=model&format=jsonl").content.decode().splitlines()
    assert {json.loads(line)["group"] for line in lines} == {"=cmd()", "plain"}


@pytest.mark.parametrize(
    "query",
    [
        "tz=Moon/Base",
        "tz=../../etc/passwd",
        "user=somebody",
        "group_by=tenant",
        "group_by=hour&from=2026-01-01&to=2026-11-01",
        "format=xml",
        "mine=maybe",
        "model=",
        "tenant=01a20bda-92ef-7578-b7dd-19b7295d71a2",
    ],
)
def test_bad_questions_are_400(query: str) -> None:
    assert key_client(make_tenant(), role=Role.ADMIN).get(f"/api/v1/usage?{query}").status_code == 400


@pytest.mark.parametrize("model", ["", "m"])
@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/Berlin", date(2026, 10, 23)),  # summer time ends on the 25th
        ("America/New_York", date(2026, 10, 30)),  # and here on 1 November
        ("Pacific/Auckland", date(2026, 9, 25)),  # from twelve hours ahead to thirteen on the 27th
        ("Pacific/Honolulu", date(2026, 11, 1)),
        ("Asia/Tokyo", date(2026, 11, 1)),
        ("Etc/GMT-14", date(2026, 11, 1)),
        ("Etc/GMT+12", date(2026, 11, 1)),
    ],
)
def test_days_from_days_of_utc_are_what_their_hours_sum_to(zone: str, first: date, model: str) -> None:
    tenant, place = make_tenant(), ZoneInfo(zone)
    begin = datetime.combine(first, time.min, UTC) - timedelta(days=2)
    store_usage(
        [
            call(tenant, (begin + timedelta(minutes=23 * number)).replace(tzinfo=None).isoformat())
            for number in range(500)
        ]
    )
    days = [first + timedelta(days=number) for number in range(5)]
    starts = [datetime.combine(day, time.min, place).astimezone(UTC) for day in days]
    question = Question(starts[0], starts[-1], equal={"model": model} if model else {})
    by_hour = replace(
        question, step=timedelta(hours=1), moment=lambda moment: moment.astimezone(place).date().isoformat()
    )
    with tenant_scope(tenant.id, read_only=True):
        found = tallies_of_days(question, [day.isoformat() for day in days[:-1]], starts)
        assert found == tallies(by_hour)
    assert len(found) == 4


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Pacific/Honolulu"]
)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_database_ranks_tenants_as_their_sums_say(zone: str, length: int) -> None:
    begin, place = datetime(2026, 11, 18, tzinfo=UTC), ZoneInfo(zone)
    tenants = [make_tenant() for _ in range(4)]
    # Each has its own rhythm, so that all hours of the days at the ends have some; the last is only there at night.
    store_usage(
        [
            call(
                tenant,
                (begin + timedelta(minutes=step * turn)).replace(tzinfo=None).isoformat(),
                cost_nano=step,
            )
            for tenant, step in zip(tenants[:3], (37, 53, 371), strict=True)
            for turn in range(9 * 24 * 60 // step)
        ]
        + [call(tenants[3], "2026-11-20T23:30:00", cost_nano=7)]
    )
    first = datetime.combine(date(2026, 11, 20), time.min, place).astimezone(UTC)
    last = datetime.combine(date(2026, 11, 20) + timedelta(days=length), time.min, place).astimezone(UTC)
    question = Question(first, last, group="tenant", latencies=False)
    with system_scope("test", read_only=True):
        found = tallies(question)
        ranking, together, count = dearest_tenants(question, 2)
        assert largest_tenants(question, 9) == sorted(found, key=lambda name: (-found[name].requests, name))
    wanted = sorted(found.items(), key=lambda each: (-each[1].cost_nano, -each[1].requests, each[0]))
    assert (ranking, together, count) == (wanted[:2], whole(list(found.values())), len(found))


def test_of_no_calls_no_tenant_is_told() -> None:
    make_tenant()
    with system_scope("test", read_only=True):
        question = Question(
            datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), group="tenant"
        )
        assert dearest_tenants(question, 5) == ([], Tally(), 0)
        assert largest_tenants(question, 5) == []
