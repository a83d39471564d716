"""The ways of requests: through the spool exactly once, seen by their tenant alone, deleted after their time."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from factories.usage import make_entry
from fakes.clocks import FrozenClock

from kernel.backends import backends
from kernel.ids import uuid7
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.adapters.file_spool import FileUsageSpool
from tenants.models import RequestTrace, Tenant, UsageRecord
from tenants.services import count_traces, delete_traces, drain_usage_once, forget_old_traces, store_usage
from tenants.services.traces import store_traces
from tenants.spooling import decode_entry, encode_entry
from tenants.types import Role, TraceEntry, TraceHop, TraceState

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


def make_trace(tenant: Tenant, request_id: str = "request-1", **values: Any) -> TraceEntry:
    base: dict[str, Any] = {
        "record_id": uuid7(),
        "request_id": request_id,
        "trace_id": "a" * 32,
        "tenant_id": tenant.id,
        "user_id": None,
        "api_key_id": None,
        "door": "v1",
        "route": "POST /v1/chat/completions",
        "state": TraceState.SLOW,
        "status": 200,
        "started_at": NOW,
        "model": "größer\x00model",
        "total_ms": 9000,
        "hops": (TraceHop("attempt", 1.5, 8000.0, {"outcome": "ok", "replica": "r\x00"}),),
    }
    return TraceEntry(**(base | values))


def get(client: Client, path: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1/requests{path}")
    assert answer.status_code == status, answer.content[:500]
    return json.loads(answer.content)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


def test_a_line_of_the_spool_holds_a_trace(tenant: Tenant) -> None:
    entry = make_trace(tenant)
    assert decode_entry(encode_entry(entry)) == entry
    with pytest.raises(ValueError, match="not a usage entry"):
        decode_entry(b'{"kind": "trace"}')


async def test_traces_and_usage_leave_the_spool_together_and_once(tmp_path: Path) -> None:
    tenant = await run_unit(make_tenant, "acme")
    spool = FileUsageSpool(directory=str(tmp_path))
    backends.replace("usage_spool", spool)
    entry, usage = make_trace(tenant), make_entry(tenant.id)
    for each in (entry, usage, entry):
        await spool.append(each)
    assert (await spool.backlog()).entries == 3
    assert await drain_usage_once() == 3
    assert (await spool.backlog()).entries == 0

    def counts() -> tuple[int, int]:
        with system_scope("test"):
            return RequestTrace.objects.count(), UsageRecord.objects.count()

    assert await run_unit(counts) == (1, 1)


def test_traces_of_tenants_that_are_gone_are_dropped(tenant: Tenant) -> None:
    store_traces([make_trace(tenant), make_trace(tenant, tenant_id=uuid7())])
    with system_scope("test"):
        assert RequestTrace.objects.count() == 1


def test_an_administrator_sees_the_tenants_own(tenant: Tenant) -> None:
    other = make_tenant("other")
    store_traces([make_trace(tenant, "mine"), make_trace(other, "theirs")])
    store_usage([make_entry(other.id, request_id="metered-theirs")])
    admin = key_client(tenant, role=Role.ADMIN)
    assert [row["request_id"] for row in get(admin, "")["results"]] == ["mine"]
    way = get(admin, "/mine")
    assert way["summary"]["hops"] == [
        {"name": "attempt", "at_ms": 1.5, "ms": 8000.0, "facts": {"outcome": "ok", "replica": "r"}}
    ]
    get(admin, "/theirs", 404)
    get(admin, "/metered-theirs", 404)
    get(admin, "/nothing", 404)
    get(admin, "?scope=platform", 403)
    get(key_client(tenant, role=Role.MEMBER), "", 403)


def test_an_operator_sees_all_with_their_tenants(tenant: Tenant) -> None:
    store_traces([make_trace(tenant, "one"), make_trace(make_tenant("other"), "two")])
    store_usage([make_entry(tenant.id, request_id="three")])
    user = make_user("operator@example.org", is_operator=True)
    operator = session_client(make_membership(tenant, user, role=Role.OWNER))
    rows = get(operator, "?scope=platform&sort=started_at")["results"]
    assert {(row["request_id"], row["tenant"]) for row in rows} == {("one", "acme"), ("two", "other")}
    assert get(operator, "/two?scope=platform")["summary"]["tenant"] == "other"
    way = get(operator, "/three?scope=platform")
    assert (way["traces"], len(way["calls"]), way["summary"]["traced"]) == ([], 1, False)


@pytest.mark.parametrize(
    "query",
    ["state=nonsense", "from=yesterday", "sort=hops", "scope=everything", "format=xml", "door=window"],
)
def test_wrong_questions_are_refused(tenant: Tenant, query: str) -> None:
    assert get(key_client(tenant, role=Role.ADMIN), f"?{query}", 400)["code"] == "invalid_request_error"


def test_filters_narrow_the_list(tenant: Tenant) -> None:
    failed = make_trace(
        tenant, "b", state=TraceState.FAILED, started_at=NOW + timedelta(hours=1), error="gone"
    )
    store_traces([make_trace(tenant, "a"), failed])
    admin = key_client(tenant, role=Role.ADMIN)

    def found(query: str) -> list[str]:
        return [row["request_id"] for row in get(admin, f"?{query}")["results"]]

    assert found("state=failed") == ["b"]
    assert found("state=failed,slow") == ["b", "a"]
    assert found("to=2026-11-24T04:30:00Z") == ["a"]
    assert found("from=2026-11-24T04:30:00Z") == ["b"]
    assert found("error=gone") == ["b"]
    assert found("q=GON") == ["b"]


def test_traces_go_when_their_time_is_over(tenant: Tenant) -> None:
    other = make_tenant("other")
    old = {"started_at": NOW - timedelta(days=15)}
    store_traces([make_trace(tenant, **old), make_trace(tenant), make_trace(other, **old)])
    assert count_traces(older_than=NOW - timedelta(days=14), tenant_id=tenant.id) == 1
    assert delete_traces(older_than=NOW + timedelta(days=1), tenant_id=tenant.id) == 2
    assert forget_old_traces(clock=FrozenClock(NOW)) == 1
    with system_scope("test"):
        assert RequestTrace.objects.count() == 0


def test_samples_are_told_when_asked_for_and_go_after_a_day(tenant: Tenant) -> None:
    sample = {"state": TraceState.SAMPLED}
    store_traces(
        [
            make_trace(tenant, "slow"),
            make_trace(tenant, "quick", **sample),
            make_trace(tenant, "old", **sample, started_at=NOW - timedelta(hours=25)),
        ]
    )
    admin = key_client(tenant, role=Role.ADMIN)
    assert [row["request_id"] for row in get(admin, "")["results"]] == ["slow"]
    found = [row["request_id"] for row in get(admin, "?state=slow,sampled&sort=started_at")["results"]]
    assert found[0] == "old"
    assert set(found) == {"slow", "quick", "old"}
    assert get(admin, "/quick")["traces"][0]["traced"] is True
    assert forget_old_traces(clock=FrozenClock(NOW)) == 1
    (quick,) = get(admin, "?state=sampled")["results"]
    assert (quick["request_id"], quick["state"]) == ("quick", "completed")


def test_decisions_tell_where_calls_went_and_why(tenant: Tenant) -> None:
    other = make_tenant("other")
    hops = (
        TraceHop("choose", 0.1, 0.2, {"by": "rule", "rule": "night"}),
        TraceHop("attempt", 0.5, 3.0, {"replica": "a", "outcome": "unavailable"}),
        TraceHop("attempt", 4.0, 80.0, {"replica": "b", "outcome": "ok", "read_ms": 12.5}),
    )
    store_traces(
        [
            make_trace(tenant, "went", state=TraceState.SAMPLED, pool="gpu", replica="b", hops=hops),
            make_trace(tenant, "elsewhere", pool="cpu", replica="c"),
            make_trace(tenant, "refused", state=TraceState.REFUSED),
            make_trace(other, "theirs", pool="gpu", replica="b"),
        ]
    )
    admin = key_client(tenant, role=Role.ADMIN)

    def decisions(query: str = "") -> list[dict[str, Any]]:
        answer = admin.get(f"/api/v1/routing/decisions{query}")
        assert answer.status_code == 200, answer.content[:500]
        return list(answer.json()["results"])

    (went,) = decisions("?pool=gpu")
    assert (went["request_id"], went["replica"], went["state"]) == ("went", "b", "completed")
    assert went["choice"] == {"by": "rule", "rule": "night"}
    assert [each["outcome"] for each in went["attempts"]] == ["unavailable", "ok"]
    assert went["attempts"][1]["read_ms"] == 12.5
    assert {row["request_id"] for row in decisions()} == {"went", "elsewhere"}
    assert key_client(tenant, role=Role.VIEWER).get("/api/v1/routing/decisions").status_code == 403
    assert admin.get("/api/v1/routing/decisions?scope=platform").status_code == 403
