"""What the console asks of models: connection tests, engines in one step, live state, access, prices, versions."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from factories.usage import make_entry
from fakes.engine_server import Behaviour, EngineServer, engine_thread

from inference.directory import Snapshot
from inference.models import PriceChange
from inference.selectors import load_specs
from inference.services import ensure_built_in_models, register_engine
from substrate.audit import acts_everywhere
from tenants.models import Tenant
from tenants.services import store_usage
from tenants.types import Role

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8101/v1"


@pytest.fixture
def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


@pytest.fixture
def engine() -> Iterator[EngineServer]:
    with engine_thread(Behaviour(context=2048, words=1)) as made:
        yield made


def send(client: Client, method: str, path: str, body: object = None, **headers: str) -> Any:
    return client.generic(
        method.upper(), f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers
    )


def acts() -> list[tuple[str, str, str]]:
    return [(each.act, each.kind, each.label) for each in acts_everywhere(limit=50)]


def test_a_connection_test_tells_what_is_there(operator: Client, engine: EngineServer) -> None:
    bare = engine.url.removeprefix("http://").removesuffix("/v1")
    told = send(operator, "post", "engines/test", {"url": bare, "api_key": "top-secret"})
    assert told.status_code == 200
    report = told.json()
    assert (report["url"], report["reachable"], report["problem"]) == (engine.url, True, None)
    assert report["models"] == [{"id": "tiny", "context_length": 2048, "owner": "vllm"}]
    assert report["latency"]["tries"] == 5
    assert report["latency"]["min_ms"] <= report["latency"]["median_ms"]
    assert report["first_tokens"]["tells_usage"] is True
    assert "top-secret" not in told.content.decode()


def test_a_connection_test_that_fails_is_an_answer(operator: Client, engine: EngineServer) -> None:
    engine.behaviour = Behaviour(api_key="k")
    report = send(operator, "post", "engines/test", {"url": engine.url}).json()
    assert (report["reachable"], report["problem"]["code"]) == (False, "unauthorized")
    assert report["models"] == []
    assert report["latency"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": ""},
        {"url": "ftp://x"},
        {"url": "http://169.254.169.254/v1"},
        {"url": URL, "kind": "magic"},
        {"url": URL, "api_key": "ü"},
        {"url": URL, "extra": 1},
        {"url": "http://" + "a" * 600},
    ],
)
def test_a_connection_test_of_nothing_is_refused(operator: Client, body: object) -> None:
    assert send(operator, "post", "engines/test", body).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "engines/test"),
        ("post", "engines"),
        ("get", "replicas"),
        ("get", "model-prices"),
        ("get", "model-savings"),
    ],
)
def test_engines_are_the_operators_business(method: str, path: str) -> None:
    owner = key_client(make_tenant(), role=Role.OWNER)
    assert send(owner, method, path, {"url": URL}).status_code == 403


def test_an_engine_is_put_into_service_in_one_step(operator: Client) -> None:
    body = {
        "pool": "gpu",
        "model": "org/tiny",
        "url": URL,
        "api_key": "secret",
        "max_concurrency": 8,
        "context_length": 4096,
        "input_price": "0.5",
        "tenants": [],
    }
    made = send(operator, "post", "engines", body)
    assert made.status_code == 201, made.content
    replica = made.json()
    assert (replica["pool"], replica["model"], replica["state"], replica["running"]) == (
        "gpu",
        "org/tiny",
        "unknown",
        0,
    )
    assert made["ETag"] == f'"{replica["version"]}"'
    model = operator.get("/api/v1/models/org/tiny").json()
    assert (model["restricted"], model["tenants"], model["state"]) == (True, [], "in_service")
    assert {("created", "pool", "gpu"), ("created", "model", "org/tiny")} <= set(acts())
    pool = operator.get("/api/v1/pools?q=gpu").json()["results"][0]
    assert (pool["models"], pool["replica_count"], pool["slots"], pool["state"]) == (
        ["org/tiny"],
        1,
        8,
        "unknown",
    )
    assert send(operator, "post", "engines", body | {"kind": "embedding"}).status_code == 409
    assert send(operator, "post", "engines", body | {"tenants": ["nobody"]}).status_code == 400


def test_a_replica_is_tested_with_its_own_key(operator: Client, engine: EngineServer) -> None:
    engine.behaviour = Behaviour(api_key="stored", context=2048)
    replica = register_engine(pool="gpu", model="tiny", url=engine.url, api_key="stored")
    report = send(operator, "post", f"replicas/{replica.id}/test").json()
    assert report["problem"] is None
    ensure_built_in_models()
    built_in = operator.get("/api/v1/replicas?built_in=true").json()["results"][0]
    assert send(operator, "post", f"replicas/{built_in['id']}/test").status_code == 409
    assert send(operator, "post", "replicas/x/test").status_code == 404


def test_draining_and_coming_back(operator: Client) -> None:
    replica = register_engine(pool="gpu", model="tiny", url=URL)
    path = f"pools/{replica.pool_id}/replicas/{replica.id}"
    drained = send(operator, "patch", path, {"draining": True}).json()
    assert drained["state"] == "draining"
    pool = operator.get(f"/api/v1/pools/{replica.pool_id}").json()
    assert (pool["state"], pool["draining"], pool["slots"]) == ("draining", 1, 0)
    # What drains is still looked at, and gets no calls.
    spec = load_specs()[0]
    assert (spec.replicas, [each.id for each in spec.resting]) == ((), [str(replica.id)])
    assert str(replica.id) in Snapshot.of((spec,)).replicas
    assert send(operator, "patch", path, {"draining": False}).json()["state"] == "unknown"
    assert [act for act, kind, _ in acts() if kind == "replica"] == ["resumed", "drained", "created"]


def test_a_restricted_model_is_there_for_its_tenants_alone(operator: Client) -> None:
    mine, other = make_tenant(), make_tenant()
    register_engine(pool="gpu", model="secret", url=URL)
    send(operator, "patch", "models/secret", {"restricted": True, "tenants": [mine.slug]})
    assert seen_by(mine) == {"secret"}
    assert seen_by(other) == set()
    assert key_client(other).get("/api/v1/models/secret").status_code == 404
    shown = key_client(mine).get("/api/v1/models/secret").json()
    assert (shown["restricted"], shown["tenants"]) == (True, [])
    spec = load_specs()[0]
    assert (spec.open_to(mine.id), spec.open_to(other.id)) == (True, False)
    assert operator.get("/api/v1/models/secret").json()["tenants"] == [mine.slug]
    send(operator, "patch", "models/secret", {"restricted": False})
    assert seen_by(other) == {"secret"}
    assert load_specs()[0].open_to(other.id)
    assert send(operator, "patch", "models/secret", {"tenants": [mine.slug]}).status_code == 400
    assert (
        send(operator, "patch", "models/secret", {"restricted": True, "tenants": ["nope"]}).status_code == 400
    )
    assert operator.get("/api/v1/models/secret").json()["restricted"] is False


def seen_by(tenant: Tenant) -> set[str]:
    return {each["id"] for each in key_client(tenant).get("/api/v1/models").json()["results"]}


def test_a_disabled_model_is_there_for_nobody(operator: Client) -> None:
    tenant = make_tenant()
    register_engine(pool="gpu", model="tiny", url=URL)
    disabled = send(operator, "patch", "models/tiny", {"enabled": False}).json()
    assert disabled["state"] == "disabled"
    assert seen_by(tenant) == set()
    assert not load_specs()[0].open_to(tenant.id)
    assert operator.get("/api/v1/models?enabled=false").json()["results"][0]["id"] == "tiny"
    send(operator, "patch", "models/tiny", {"enabled": True})
    assert seen_by(tenant) == {"tiny"}
    assert [act for act, kind, _ in acts() if kind == "model"] == ["enabled", "disabled", "created"]


@pytest.mark.parametrize("change", [{"enabled": False}, {"restricted": True}])
def test_the_model_of_knowledge_stays_open(operator: Client, change: dict[str, Any]) -> None:
    ensure_built_in_models()
    refused = send(operator, "patch", f"models/{settings.EMBEDDING_MODEL}", change)
    assert refused.status_code == 409
    assert send(operator, "patch", "models/atrium-extractive", change).status_code == 200


def test_prices_have_a_history(operator: Client) -> None:
    register_engine(pool="gpu", model="tiny", url=URL, input_price="1", output_price="2")
    send(operator, "patch", "models/tiny", {"input_price": "1.5"})
    send(operator, "patch", "models/tiny", {"tier": "heavy"})
    listed = operator.get("/api/v1/model-prices?model=tiny").json()["results"]
    assert [(each["input_price"], each["output_price"]) for each in listed] == [("1.5", "2"), ("1", "2")]
    # A model from before there was a history: its price until now is written down with its first change.
    PriceChange.objects.all().delete()
    send(operator, "patch", "models/tiny", {"output_price": "3"})
    listed = operator.get("/api/v1/model-prices?model=tiny").json()["results"]
    assert [each["output_price"] for each in listed] == ["3", "2"]
    assert listed[1]["valid_from"] == operator.get("/api/v1/models/tiny").json()["created_at"]
    assert operator.get("/api/v1/model-prices?model=other").json()["results"] == []


def test_what_answers_given_again_have_saved_is_told_of_all_tenants(operator: Client) -> None:
    register_engine(pool="gpu", model="tiny", url=URL, input_price="1", output_price="2")
    register_engine(pool="gpu", model="plain", url=URL)
    told = send(operator, "patch", "models/tiny", {"cache_seconds": 60, "cached_price_percent": 10}).json()
    assert (told["cache_seconds"], told["cached_price_percent"]) == (60, 10)
    assert operator.get("/api/v1/model-savings").json()["results"] == [
        {
            "model": "tiny",
            "calls": 0,
            "given_again": 0,
            "given_alike": 0,
            "saved_tokens": 0,
            "saved_cost_nano": 0,
        }
    ]
    now = datetime.now(UTC)
    values: dict[str, Any] = {"model": "tiny", "started_at": now, "prompt_tokens": 7, "completion_tokens": 3}
    store_usage(
        [
            make_entry(make_tenant().id, **values, cost_nano=13_000),
            make_entry(make_tenant().id, **values, cost_nano=1_300, cached=True),
            make_entry(make_tenant().id, **values, cost_nano=1_300, cached=True, assistant="help"),
            make_entry(
                make_tenant().id,
                **{**values, "started_at": now - timedelta(days=3)},
                cost_nano=1,
                cached=True,
            ),
        ]
    )
    assert operator.get("/api/v1/model-savings").json()["results"] == [
        {
            "model": "tiny",
            "calls": 3,
            "given_again": 2,
            "given_alike": 1,
            "saved_tokens": 20,
            "saved_cost_nano": 23_400,
        }
    ]


@pytest.mark.parametrize(
    "change", [{"cache_seconds": 3601}, {"cache_seconds": -1}, {"cached_price_percent": 101}]
)
def test_an_answer_is_kept_for_an_hour_and_costs_its_price_at_most(
    operator: Client, change: dict[str, Any]
) -> None:
    register_engine(pool="gpu", model="tiny", url=URL)
    assert send(operator, "patch", "models/tiny", change).status_code == 400


@pytest.mark.parametrize("thing", ["model", "pool", "replica"])
def test_two_people_editing_one_thing(operator: Client, thing: str) -> None:
    replica = register_engine(pool="gpu", model="tiny", url=URL)
    path, change = {
        "model": ("models/tiny", {"tier": "heavy"}),
        "pool": (f"pools/{replica.pool_id}", {"region": "eu"}),
        "replica": (f"pools/{replica.pool_id}/replicas/{replica.id}", {"region": "eu"}),
    }[thing]
    seen = operator.get(f"/api/v1/{path}")
    first = send(operator, "patch", path, change, **{"If-Match": seen["ETag"]})
    assert first.status_code == 200
    second = send(operator, "patch", path, change, **{"If-Match": seen["ETag"]})
    assert (second.status_code, second.json()["code"]) == (412, "version_conflict")
    assert send(operator, "delete", path, **{"If-Match": seen["ETag"]}).status_code == 412
    assert send(operator, "patch", path, change, **{"If-Match": first["ETag"]}).status_code == 200
    assert send(operator, "patch", path, change).status_code == 200


def test_granting_a_tenant_is_a_new_version(operator: Client) -> None:
    register_engine(pool="gpu", model="tiny", url=URL, tenants=[])
    tenant = make_tenant()
    seen = operator.get("/api/v1/models/tiny")["ETag"]
    send(operator, "patch", "models/tiny", {"tenants": [tenant.slug]})
    stale = send(operator, "patch", "models/tiny", {"tenants": []}, **{"If-Match": seen})
    assert stale.status_code == 412


def test_lists_are_asked_for_as_everywhere(operator: Client) -> None:
    ensure_built_in_models()
    for number, kind in enumerate(("b", "a", "c")):
        register_engine(pool=f"p{number}", model=kind, url=URL, context_length=number)
    ids = [each["id"] for each in operator.get("/api/v1/models?sort=id&built_in=false").json()["results"]]
    assert ids == ["a", "b", "c"]
    page = operator.get("/api/v1/models?sort=-context_length&limit=1&built_in=false&total=true").json()
    assert (page["results"][0]["id"], page["total"]) == ("c", 3)
    following = operator.get(page["next"].removeprefix("http://testserver")).json()
    assert following["results"][0]["id"] == "a"
    assert operator.get("/api/v1/models?sort=secret").status_code == 400
    text = operator.get("/api/v1/replicas?format=csv&sort=pool").getvalue().decode().splitlines()
    assert text[0].startswith("pool,model,url,state")
    assert [line.split(",")[0] for line in text[1:]] == [
        "atrium-embedding",
        "atrium-extractive",
        "p0",
        "p1",
        "p2",
    ]
    assert operator.get("/api/v1/replicas?q=p1").json()["results"][0]["model"] == "a"
    states = {each["name"]: each["state"] for each in operator.get("/api/v1/pools").json()["results"]}
    assert (states["atrium-extractive"], states["p0"]) == ("ok", "unknown")
