"""How many replicas a pool is to have, over REST: operators alone, checked, versioned, written down."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from inference.services import create_pool, drain_engine, register_engine
from kernel.backends import BackendSpec, backends
from routing.models import PoolScaling, ScalingDecision
from routing.scaling_types import Decision, Reason, ScalingMode, Why
from routing.services.scaling import MOST_DECISIONS, record_decision
from substrate.models import Change, PlatformAct
from tenants.types import Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


@pytest.fixture
def pool_id() -> uuid.UUID:
    return create_pool(name="gpu").id


def put(client: Client, pool_id: object, body: object, **headers: str) -> Any:
    return client.put(
        f"/api/v1/pools/{pool_id}/scaling", json.dumps(body), content_type="application/json", headers=headers
    )


def test_a_pool_s_scaling_is_off_until_somebody_says_more(operator: Client, pool_id: uuid.UUID) -> None:
    said = operator.get(f"/api/v1/pools/{pool_id}/scaling").json()
    assert (said["mode"], said["minimum"], said["maximum"]) == ("off", 1, 1)
    assert (said["version"], said["updated_at"], said["can_act"]) == ("0", None, False)
    assert said["schedules"] == []
    assert operator.get(f"/api/v1/pools/{pool_id}/scaling/decisions").json()["results"] == []


def test_it_is_replaced_as_a_whole_and_written_down(operator: Client, pool_id: uuid.UUID) -> None:
    body = {
        "mode": "dry_run",
        "minimum": 0,
        "maximum": 8,
        "schedules": [{"from_time": "08:00", "until_time": "18:00", "replicas": 2, "days": [0, 1]}],
        "timezone": "Europe/Berlin",
        "replica_hourly_nano": 3_500_000_000,
        "budget_hourly_nano": 20_000_000_000,
    }
    answer = put(operator, pool_id, body, **{"If-Match": '"0"'})
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert {name: said[name] for name in body} == body
    assert operator.get(f"/api/v1/pools/{pool_id}/scaling/").json() == said
    assert Change.objects.filter(kind="pool_scaling", object_id=str(pool_id)).count() == 1
    act = PlatformAct.objects.get(kind="pool_scaling")
    assert (act.act, act.label) == ("changed", "gpu")
    assert json.loads(act.after)["maximum"] == 8
    # What is left out is as it was before anything was said.
    assert put(operator, pool_id, {"maximum": 3}).json()["schedules"] == []


def test_two_people_do_not_overwrite_each_other(operator: Client, pool_id: uuid.UUID) -> None:
    first = put(operator, pool_id, {"maximum": 2}, **{"If-Match": '"0"'})
    assert first["ETag"] == f'"{first.json()["version"]}"'
    assert put(operator, pool_id, {"maximum": 3}, **{"If-Match": '"0"'}).status_code == 412
    assert put(operator, pool_id, {"maximum": 3}, **{"If-Match": first["ETag"]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"minimum": 3, "maximum": 2}, "minimum"),
        ({"mode": "maybe"}, "mode"),
        ({"mode": "on"}, "mode"),
        ({"maximum": 0}, "maximum"),
        ({"maximum": 10**9}, "maximum"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"timezone": "Nowhere/Land"}, "timezone"),
        ({"schedules": [{"from_time": "8", "until_time": "09:00", "replicas": 1}]}, "schedules"),
        ({"schedules": [{"from_time": "08:00", "until_time": "08:00", "replicas": 1}]}, "schedules"),
        ({"budget_hourly_nano": 1}, "replica_hourly_nano"),
        ({"command": "rm -rf /"}, "command"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    operator: Client, pool_id: uuid.UUID, body: dict[str, Any], where: str
) -> None:
    answer = put(operator, pool_id, body)
    assert answer.status_code == 400
    assert where in json.dumps(answer.json())
    assert not PoolScaling.objects.exists()


@pytest.mark.parametrize("pool", ["x", str(uuid.UUID(int=7)), "\x00", "019d" * 8])
def test_a_pool_that_is_not_there(operator: Client, pool: str) -> None:
    assert operator.get(f"/api/v1/pools/{pool}/scaling").status_code == 404
    assert put(operator, pool, {}).status_code == 404
    assert operator.get(f"/api/v1/pools/{pool}/scaling/decisions").status_code == 404


def test_only_operators_see_and_change_it(pool_id: uuid.UUID) -> None:
    owner = key_client(make_tenant(), role=Role.OWNER)
    assert owner.get(f"/api/v1/pools/{pool_id}/scaling").status_code == 403
    assert put(owner, pool_id, {"maximum": 2}).status_code == 403
    assert owner.get(f"/api/v1/pools/{pool_id}/scaling/decisions").status_code == 403
    assert not PoolScaling.objects.exists()


def decided(desired: int) -> Decision:
    return Decision(desired, 1, 1, 1.25, (Reason(Why.DEMAND, 1.25),))


def test_decisions_are_listed_the_newest_first_and_do_not_grow_for_ever(
    operator: Client, pool_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.services.scaling.MOST_DECISIONS", 3)
    assert MOST_DECISIONS > 1000
    other = create_pool(name="other").id
    record_decision(pool_id=other, mode=ScalingMode.ON, decision=decided(9), outcome="")
    for number in range(5):
        record_decision(pool_id=pool_id, mode=ScalingMode.DRY_RUN, decision=decided(number), outcome="")
        # Ids of one millisecond are in no order.
        time.sleep(0.002)
    assert ScalingDecision.objects.count() == 4
    found = operator.get(f"/api/v1/pools/{pool_id}/scaling/decisions").json()["results"]
    assert [each["desired"] for each in found] == [4, 3, 2]
    assert found[0]["reasons"] == [{"why": "demand", "replicas": 1.25}]
    assert (found[0]["mode"], found[0]["need"]) == ("dry_run", 1.25)
    since = found[1]["at"]
    later = operator.get(f"/api/v1/pools/{pool_id}/scaling/decisions", {"since": since}).json()["results"]
    assert [each["desired"] for each in later] == [4, 3]


def test_a_pool_that_goes_takes_its_scaling_along(operator: Client, pool_id: uuid.UUID) -> None:
    put(operator, pool_id, {"maximum": 2})
    record_decision(pool_id=pool_id, mode=ScalingMode.DRY_RUN, decision=decided(1), outcome="")
    assert operator.delete(f"/api/v1/pools/{pool_id}").status_code == 204
    assert not PoolScaling.objects.exists()
    assert not ScalingDecision.objects.exists()


def test_a_pool_that_sleeps_says_so(
    operator: Client, pool_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backends.specs, "scaler", BackendSpec("inference.ports.Scaler", "none"))
    answer = put(operator, pool_id, {"mode": "on", "minimum": 0, "wake_s": 90})
    assert answer.status_code == 200, answer.content
    assert (answer.json()["wake_s"], answer.json()["wakefulness"]) == (90, "awake"), (
        "nothing is known of it yet"
    )
    row = PoolScaling.objects.filter(pool_id=pool_id)
    row.update(serves="org/tiny", starts_in_s=42.5)
    path = f"/api/v1/pools/{pool_id}/scaling"
    assert {operator.get(path).json()[name] for name in ("wakefulness", "starts_in_s")} == {"asleep", 42.5}
    row.update(waking_at=datetime.now(UTC))
    assert operator.get(path).json()["wakefulness"] == "waking"
    # Who answers over REST need not be a process that serves calls: it has no directory in memory.
    register_engine(pool="gpu", model="org/tiny", url="http://127.0.0.1:9/v1")
    assert operator.get(path).json()["wakefulness"] == "awake"
    drain_engine(url="http://127.0.0.1:9/v1")
    assert operator.get(path).json()["wakefulness"] == "waking"
    assert put(operator, pool_id, {"mode": "on", "wake_s": 1}).status_code == 400
