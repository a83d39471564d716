"""Where a pool's replicas come from, over REST: operators alone, checked, versioned, written down, told in both languages."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from inference.models import Pool, PoolSource, Replica
from inference.naming import EXTRACTIVE_MODEL
from inference.selectors import STALE_S
from inference.services import (
    create_model,
    create_pool,
    delete_pool,
    ensure_built_in_models,
    load_followed_pools,
    register_engine,
)
from inference.sources import ReplicaSource, base_url
from inference.types import SourceKind
from substrate.models import Change, PlatformAct
from tenants.types import Role

pytestmark = pytest.mark.django_db
DNS = {"kind": "dns", "model": "org/tiny", "name": "vllm.ai.test", "port": 8000}
KUBERNETES = {"kind": "kubernetes", "model": "org/tiny", "service": "vllm"}


@pytest.fixture
def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


@pytest.fixture
def pool_id() -> uuid.UUID:
    create_model(model_id="org/tiny")
    return create_pool(name="gpu").id


def put(client: Client, pool_id: object, body: object, **headers: str) -> Any:
    return client.put(
        f"/api/v1/pools/{pool_id}/source", json.dumps(body), content_type="application/json", headers=headers
    )


def test_replicas_are_registered_by_hand_until_somebody_says_more(
    operator: Client, pool_id: uuid.UUID
) -> None:
    said = operator.get(f"/api/v1/pools/{pool_id}/source").json()
    assert (said["document"]["kind"], said["state"], said["version"]) == ("static", "static", "0")
    assert (said["discovered_at"], said["found"], said["problem"]) == (None, 0, "")
    pool = operator.get(f"/api/v1/pools/{pool_id}").json()
    assert (pool["source_kind"], pool["source_state"]) == ("static", "static")
    assert operator.post(f"/api/v1/pools/{pool_id}/source/look").status_code == 409


@pytest.mark.parametrize("body", [DNS, KUBERNETES, {**DNS, "record": "srv", "port": 0, "served_name": "t"}])
def test_it_is_replaced_as_a_whole_and_written_down(
    operator: Client, pool_id: uuid.UUID, body: dict[str, Any]
) -> None:
    answer = put(operator, pool_id, {**body, "api_key": "sk-secret"}, **{"If-Match": '"0"'})
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert {name: said["document"][name] for name in body} == body
    assert (said["state"], said["has_api_key"]) == ("waiting", True)
    assert b"sk-secret" not in answer.content
    assert operator.get(f"/api/v1/pools/{pool_id}/source/").json() == said
    assert operator.get(f"/api/v1/pools/{pool_id}").json()["source_kind"] == body["kind"]
    assert Change.objects.filter(kind="pool_source", object_id=str(pool_id)).count() == 1
    act = PlatformAct.objects.get(kind="pool_source")
    assert (act.act, act.label) == ("changed", "gpu")
    assert json.loads(act.after)["kind"] == body["kind"]
    assert "sk-secret" not in act.after
    (followed,) = load_followed_pools()
    assert (followed.name, followed.source.kind) == ("gpu", body["kind"])
    again = put(operator, pool_id, {"kind": "static", "name": "left.over"}).json()
    assert (again["document"]["name"], again["has_api_key"]) == ("", True)
    assert load_followed_pools() == []


def test_two_people_do_not_overwrite_each_other(operator: Client, pool_id: uuid.UUID) -> None:
    first = put(operator, pool_id, DNS, **{"If-Match": '"0"'})
    assert first["ETag"] == f'"{first.json()["version"]}"'
    assert put(operator, pool_id, KUBERNETES, **{"If-Match": '"0"'}).status_code == 412
    assert put(operator, pool_id, KUBERNETES, **{"If-Match": first["ETag"]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({**DNS, "kind": "consul"}, "kind"),
        ({**DNS, "model": ""}, "model"),
        ({**DNS, "model": "org/nobody"}, "model"),
        ({**DNS, "model": EXTRACTIVE_MODEL}, "model"),
        ({**DNS, "name": ""}, "name"),
        ({**DNS, "name": "10.0.0.1"}, "name"),
        ({**DNS, "name": "fd00::1"}, "name"),
        ({**DNS, "name": "a b"}, "name"),
        ({**DNS, "name": "-a.test"}, "name"),
        ({**DNS, "name": "a..test"}, "name"),
        ({**DNS, "name": "metadata.google.internal"}, "name"),
        ({**DNS, "name": "169.254.169.254"}, "name"),
        ({**DNS, "port": 0}, "port"),
        ({**DNS, "port": 70_000}, "port"),
        ({**DNS, "record": "srv"}, "port"),
        ({**DNS, "service": "vllm"}, "service"),
        ({**DNS, "api_key": "ä"}, "api_key"),
        ({**DNS, "served_name": "a\nb"}, "served_name"),
        ({**DNS, "unknown": 1}, "unknown"),
        ({**KUBERNETES, "service": ""}, "service"),
        ({**KUBERNETES, "service": "Not A Name"}, "service"),
        ({**KUBERNETES, "namespace": "../../secrets"}, "namespace"),
        ({**KUBERNETES, "selector": "app=vllm&watch=1"}, "selector"),
        ({**KUBERNETES, "name": "vllm.test"}, "name"),
        ({**KUBERNETES, "port": 8000, "port_name": "http"}, "port_name"),
        ({**KUBERNETES, "port_name": "a/b"}, "port_name"),
    ],
)
def test_what_is_wrong_is_told_where_it_is(
    operator: Client, pool_id: uuid.UUID, body: dict[str, Any], where: str
) -> None:
    answer = put(operator, pool_id, body)
    assert answer.status_code == 400, answer.content
    assert where in json.dumps(answer.json()), answer.content
    assert not PoolSource.objects.exists()


def test_how_it_goes_is_told_in_the_reader_s_language(operator: Client, pool_id: uuid.UUID) -> None:
    put(operator, pool_id, DNS)
    rows, now = PoolSource.objects.filter(pool_id=pool_id), timezone.now()

    def state(**told: object) -> Any:
        rows.update(**told)
        return operator.get(f"/api/v1/pools/{pool_id}/source", headers={"accept-language": "de"}).json()

    assert state(discovered_at=now, found=3)["state"] == "found"
    failing = state(problem="The DNS knows no name vllm.ai.test.")
    assert (failing["state"], failing["found"]) == ("failing", 3)
    assert failing["problem"] == "Das DNS kennt keinen Namen vllm.ai.test."
    late = now - timedelta(seconds=STALE_S + 1)
    assert state(discovered_at=late)["state"] == "stale"
    assert state(discovered_at=late, problem="")["state"] == "stale", "nobody has looked since"
    assert operator.get(f"/api/v1/pools/{pool_id}").json()["source_state"] == "stale"


@pytest.mark.django_db(transaction=True)
def test_a_look_is_asked_for_without_another_version(operator: Client, pool_id: uuid.UUID) -> None:
    version = put(operator, pool_id, DNS).json()["version"]
    answer = operator.post(f"/api/v1/pools/{pool_id}/source/look")
    assert (answer.status_code, answer.json()["version"]) == (202, version)
    assert Change.objects.filter(kind="pool_source", object_id=str(pool_id)).count() == 2


def test_a_replica_says_where_it_comes_from(operator: Client, pool_id: uuid.UUID) -> None:
    register_engine(pool="gpu", model="org/tiny", url="http://127.0.0.1:9/v1")
    (row,) = operator.get(f"/api/v1/pools/{pool_id}/replicas").json()["results"]
    assert (row["origin"], row["vanished_at"]) == ("static", None)
    Replica.objects.update(origin="dns", vanished_at=timezone.now())
    (row,) = operator.get("/api/v1/replicas").json()["results"]
    assert row["origin"] == "dns"
    assert row["vanished_at"]


def test_only_operators_may_and_built_in_pools_stay_as_they_are(operator: Client, pool_id: uuid.UUID) -> None:
    owner = key_client(make_tenant(), role=Role.OWNER)
    for answer in (
        owner.get(f"/api/v1/pools/{pool_id}/source"),
        put(owner, pool_id, DNS),
        owner.post(f"/api/v1/pools/{pool_id}/source/look"),
    ):
        assert answer.status_code == 403
    for unknown in (uuid.uuid4(), "nothing"):
        assert operator.get(f"/api/v1/pools/{unknown}/source").status_code == 404
        assert put(operator, unknown, DNS).status_code == 404
        assert operator.post(f"/api/v1/pools/{unknown}/source/look").status_code == 404
    ensure_built_in_models()
    built_in = Pool.objects.get(name=EXTRACTIVE_MODEL).id
    assert put(operator, built_in, DNS).status_code == 400


def test_a_source_goes_with_its_pool_and_one_that_cannot_be_read_is_not_followed(
    operator: Client, pool_id: uuid.UUID
) -> None:
    put(operator, pool_id, DNS)
    PoolSource.objects.update(document={"kind": "carrier pigeon"})
    assert load_followed_pools() == []
    assert operator.get(f"/api/v1/pools/{pool_id}/source").status_code == 200
    delete_pool(pool_id=pool_id)
    assert not PoolSource.objects.exists()


def test_an_address_of_the_newer_family_stands_in_brackets() -> None:
    source = ReplicaSource(kind=SourceKind.DNS)
    assert base_url(source, "fd00::1", 80) == "http://[fd00::1]:80/v1"
    ReplicaSource().check()
