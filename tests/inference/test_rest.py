"""Models, pools and replicas over REST: who may what, shapes, bad input."""

import json
from typing import Any

import pytest
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client

from inference.services import ensure_built_in_models, register_engine
from tenants.types import Role

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8101/v1"


@pytest.fixture
def operator() -> Client:
    return session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))


@pytest.fixture
def member() -> Client:
    return key_client(make_tenant(), role=Role.MEMBER)


def send(client: Client, method: str, path: str, body: object) -> Any:
    return client.generic(
        method.upper(), f"/api/v1/{path}", json.dumps(body), content_type="application/json"
    )


def test_members_see_the_models_they_can_use(member: Client, operator: Client) -> None:
    ensure_built_in_models()
    register_engine(pool="gpu", model="org/tiny", url=URL, input_price="0.15", context_length=4096)
    send(operator, "post", "models", {"id": "planned"})
    listed = {each["id"]: each for each in member.get("/api/v1/models").json()["results"]}
    assert set(listed) == {"org/tiny", "atrium-extractive", "atrium-embedding"}
    assert listed["org/tiny"]["input_price"] == "0.15"
    assert listed["org/tiny"]["context_length"] == 4096
    assert listed["org/tiny"]["notice"] == ""
    assert member.get("/api/v1/models/org/tiny/").json() == listed["org/tiny"]
    assert member.get("/api/v1/models/planned").status_code == 404
    assert operator.get("/api/v1/models/planned").status_code == 200
    assert len(operator.get("/api/v1/models/?limit=2").json()["results"]) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "models"),
        ("patch", "models/tiny"),
        ("delete", "models/tiny"),
        ("get", "pools"),
        ("post", "pools"),
        ("get", "pools/x/replicas"),
        ("post", "pools/x/replicas"),
    ],
)
def test_members_change_nothing_and_see_no_engine(member: Client, method: str, path: str) -> None:
    assert send(member, method, path, {}).status_code == 403
    assert send(Client(), method, path, {}).status_code == 401


def test_an_operator_runs_an_engine_through_its_life(operator: Client) -> None:
    pool = send(operator, "post", "pools", {"name": "gpu", "region": "eu"})
    assert pool.status_code == 201
    base = f"pools/{pool.json()['id']}/replicas"
    body = {"model": "org/tiny", "url": URL, "api_key": "secret", "max_concurrency": 4, "tier": "heavy",
            "input_price": "1.5", "vllm": False}  # fmt: skip
    made = send(operator, "post", base, body)
    assert made.status_code == 201
    replica = made.json()
    assert (replica["model"], replica["url"], replica["has_api_key"]) == ("org/tiny", URL, True)
    assert "secret" not in made.content.decode()
    assert operator.get("/api/v1/models/org/tiny").json()["tier"] == "heavy"
    path = f"{base}/{replica['id']}"
    changed = send(operator, "patch", path, {"draining": True, "max_concurrency": 2, "api_key": ""}).json()
    assert (changed["draining"], changed["max_concurrency"], changed["has_api_key"]) == (True, 2, False)
    assert [each["id"] for each in operator.get(f"/api/v1/{base}/").json()["results"]] == [replica["id"]]
    assert operator.delete("/api/v1/models/org/tiny").status_code == 409
    assert operator.delete(f"/api/v1/pools/{pool.json()['id']}").status_code == 409
    assert operator.delete(f"/api/v1/{path}").status_code == 204
    assert operator.get(f"/api/v1/{path}").status_code == 404
    assert operator.delete("/api/v1/models/org/tiny").status_code == 204
    assert operator.delete(f"/api/v1/pools/{pool.json()['id']}").status_code == 204


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("models", {"id": "a", "color": "red"}),
        ("models", {"id": "auto"}),
        ("models", {"id": "a\x00b"}),
        ("models", {"id": "a", "input_price": -1}),
        ("models", {"id": "a", "input_price": "1e400"}),
        ("models", {"id": "a", "context_length": 10**20}),
        ("models", {"id": "a", "kind": "magic"}),
        ("models", []),
        ("models", {"id": ["a"]}),
        ("pools", {"name": "a b"}),
        ("pools", {"name": "atrium-embedding"}),
        ("pools", {"name": "a", "region": "eu west"}),
    ],
)
def test_bad_input_is_refused(operator: Client, path: str, body: object) -> None:
    response = send(operator, "post", path, body)
    assert response.status_code == 400
    assert response["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "url", ["", "ftp://x/v1", "http://x", "http://x/v1?y", "http://\x7f/v1", "http://ü/v1"]
)
def test_addresses_that_are_none_are_refused(operator: Client, url: str) -> None:
    pool = send(operator, "post", "pools", {"name": "gpu"}).json()
    response = send(operator, "post", f"pools/{pool['id']}/replicas", {"model": "a", "url": url})
    assert response.status_code == 400


@pytest.mark.parametrize("unknown", ["x", "01890000-0000-7000-8000-000000000000", "%00", "a%2Fb"])
def test_unknown_ids_are_not_found(operator: Client, unknown: str) -> None:
    for path in (f"models/{unknown}", f"pools/{unknown}", f"pools/{unknown}/replicas"):
        assert operator.get(f"/api/v1/{path}").status_code == 404
    pool = send(operator, "post", "pools", {"name": "gpu"}).json()
    for method in ("get", "patch", "delete"):
        assert send(operator, method, f"pools/{pool['id']}/replicas/{unknown}", {}).status_code == 404


def test_lists_take_few_queries(operator: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        register_engine(pool="gpu", model=f"m{number}", url=URL)
    pool = operator.get("/api/v1/pools").json()["results"][0]
    for path in ("models", "pools", f"pools/{pool['id']}/replicas"):
        with django_assert_max_num_queries(12):
            operator.get(f"/api/v1/{path}")
