"""What copies have shown, over REST: of the tenant's own calls, for those who may see its requests."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from factories.pairs import make_pair
from factories.tenants import key_client, make_tenant

from inference.services import create_model
from routing.services import comparing
from tenants.models import Tenant
from tenants.services.shadow_pairs import store_pairs
from tenants.types import PairState, Role

PATH = "/api/v1/routing/shadows"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


def get(client: Client, query: str = "", status: int = 200) -> Any:
    answer = client.get(f"{PATH}{query}")
    assert answer.status_code == status, answer.content[:500]
    return json.loads(answer.content)


def ago(**values: float) -> dict[str, datetime]:
    return {"started_at": datetime.now(UTC) - timedelta(**values)}


def test_the_tenants_own_pairs_of_the_range(tenant: Tenant) -> None:
    other = make_tenant("other")
    store_pairs(
        [
            make_pair(tenant.id, **ago(minutes=1)),
            make_pair(tenant.id, state=PairState.FAILED, error="too_slow", agreement=None, **ago(hours=3)),
            make_pair(tenant.id, model="old", **ago(days=3)),
            make_pair(other.id, model="theirs", **ago(minutes=1)),
        ]
    )
    admin = key_client(tenant, role=Role.ADMIN)
    found = get(admin)
    (both,) = found["results"]
    assert (both["model"], both["shadow"], both["percent"]) == ("small", "large", None)
    assert (both["compared"], both["failed"], both["causes"]) == (1, 1, {"too_slow": 1})
    assert (both["answered"]["total_ms"]["p50"], both["copied"]["total_ms"]["p50"]) == (900, 2_000)
    assert both["agreement"] == {"value": 0.75, "low": None, "high": None, "count": 1}
    assert (found["pairs"], found["whole"], len(both["steps"])) == (2, True, 24)
    assert get(admin, "?range=1h")["results"][0]["failed"] == 0
    assert {each["model"] for each in get(admin, "?range=7d")["results"]} == {"small", "old"}
    assert "range is one of" in get(admin, "?range=30d", 400)["detail"]


def test_what_is_copied_now_is_told_before_there_is_any_pair(tenant: Tenant) -> None:
    for model in ("one", "two"):
        create_model(model_id=model)
    admin = key_client(tenant, role=Role.ADMIN)
    assert get(admin)["results"] == []
    policy = {"shadows": [{"model": "one", "to": "two", "percent": 7}]}
    assert admin.put("/api/v1/routing/policy", policy, content_type="application/json").status_code == 200
    (both,) = get(admin)["results"]
    assert (both["percent"], both["compared"], both["agreement"]) == (7, 0, None)


def test_the_newest_are_looked_at_where_there_are_too_many(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "MOST_PAIRS", 2)
    store_pairs([make_pair(tenant.id, model=f"m{at}", **ago(minutes=at)) for at in range(3)])
    found = get(key_client(tenant, role=Role.ADMIN))
    assert (found["pairs"], found["whole"]) == (2, False)
    assert {each["model"] for each in found["results"]} == {"m0", "m1"}


def test_who_may(tenant: Tenant) -> None:
    for role in (Role.MEMBER, Role.VIEWER):
        get(key_client(tenant, role=role), status=403)
