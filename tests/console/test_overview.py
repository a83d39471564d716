"""`/overview`: everything the first page shows, for those who may see it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from factories.tenants import key_client, make_membership, make_principal, make_tenant, make_user
from factories.usage import make_entry

from substrate.scoping import tenant_scope
from tenants.models import ApiKey, IdentityProvider, Tenant
from tenants.services import create_key, issue_api_key, revoke_key, rotate_key, store_usage
from tenants.types import Role, TenantState, UsageState

pytestmark = pytest.mark.django_db


def used(tenant: Tenant, **values: Any) -> Any:
    """A finished call of now."""
    base: dict[str, Any] = {
        "started_at": datetime.now(UTC),
        "model": "m",
        "state": UsageState.COMPLETED,
        "first_token_ms": 100,
        "total_ms": 1_000,
        "cost_nano": 5,
        "api_key_id": None,
    }
    return make_entry(tenant.id, **(base | values))


def operator(tenant: Tenant) -> Client:
    """A client with the platform's rights."""
    membership = make_membership(tenant, make_user(is_operator=True), role=Role.OWNER)
    return key_client(tenant, role=Role.OWNER, user=membership.user)


@pytest.mark.parametrize(("period", "steps"), [("1h", 60), ("24h", 24), ("7d", 168), ("30d", 120)])
def test_every_range_has_all_its_steps_and_the_sums_of_the_tenant_alone(period: str, steps: int) -> None:
    tenant = make_tenant()
    store_usage(
        [
            used(tenant),
            used(tenant, state=UsageState.FAILED, first_token_ms=0),
            used(tenant, started_at=datetime.now(UTC) - timedelta(days=90)),
            used(make_tenant()),
        ]
    )
    found = key_client(tenant, role=Role.ADMIN).get(f"/api/v1/overview?range={period}").json()
    usage = found["usage"]
    series = usage["series"]
    assert {len(values) for values in series.values()} == {steps}
    assert {b - a for a, b in zip(series["times"], series["times"][1:], strict=False)} == {usage["step_s"]}
    assert (sum(series["requests"]), sum(series["failed"]), sum(series["cost_nano"])) == (2, 1, 10)
    assert series["requests"][-1] + series["requests"][-2] == 2
    assert usage["totals"]["requests"] == 2
    assert usage["totals"]["cost"] == "0.000000010"
    assert 95 <= usage["totals"]["first_token_ms"]["p95"] <= 105
    assert usage["previous"]["requests"] == 0
    assert usage["previous"]["total_ms"] == {"p50": None, "p95": None}
    assert [each["group"] for each in usage["models"]] == ["m"]
    assert (found["scope"], usage["tenants"], found["suspended_tenants"]) == ("tenant", None, None)


def test_the_range_before_is_told_beside() -> None:
    tenant = make_tenant()
    store_usage([used(tenant), used(tenant, started_at=datetime.now(UTC) - timedelta(hours=25))])
    usage = key_client(tenant, role=Role.ADMIN).get("/api/v1/overview?range=24h").json()["usage"]
    assert (usage["totals"]["requests"], usage["previous"]["requests"]) == (1, 1)


def test_the_platform_is_for_operators() -> None:
    tenant, other = make_tenant(), make_tenant(state=TenantState.SUSPENDED)
    store_usage([used(tenant), used(other), used(other)])
    assert key_client(tenant, role=Role.OWNER).get("/api/v1/overview?scope=platform").status_code == 403
    found = operator(tenant).get("/api/v1/overview?scope=platform").json()
    assert [(each["label"], each["totals"]["requests"]) for each in found["usage"]["tenants"]] == [
        (other.slug, 2),
        (tenant.slug, 1),
    ]
    assert found["suspended_tenants"]["items"] == [
        {"id": str(other.id), "slug": other.slug, "name": other.name}
    ]
    assert (found["usage"]["users"], found["usage"]["assistants"]) == (None, None)
    assert {part["name"]: part["state"] for part in found["health"]["parts"]}["database"] == "ok"


@pytest.mark.parametrize("period", ["1h", "24h", "7d", "30d"])
def test_the_slow_tenant_is_told_though_it_uses_little(period: str) -> None:
    # A month of the platform is kept for a minute: that of another test is not this one's.
    cache.clear()
    quick, other, slow = make_tenant(), make_tenant(), make_tenant()
    calls = [used(quick) for _ in range(40)] + [used(other, first_token_ms=130) for _ in range(30)]
    store_usage(calls + [used(slow, first_token_ms=6_000) for _ in range(20)])
    client = operator(quick)
    usage = client.get(f"/api/v1/overview?scope=platform&range={period}").json()["usage"]
    told = [(each["label"], each["slow"]) for each in usage["slowest"]]
    assert told == [(slow.slug, True), (other.slug, False), (quick.slug, False)]
    assert 120 <= usage["usual_first_token_ms"] <= 140
    assert [each["slow"] for each in usage["tenants"]] == [False, False, True]
    own = client.get(f"/api/v1/overview?range={period}").json()["usage"]
    assert (own["slowest"], own["usual_first_token_ms"]) == (None, None)
    rows = client.get("/api/v1/usage?scope=platform&group_by=tenant").json()["results"]
    assert [row["label"] for row in rows if row["slow"]] == [slow.slug]


def test_what_the_role_does_not_allow_is_null() -> None:
    tenant = make_tenant()
    viewer = key_client(tenant, role=Role.VIEWER).get("/api/v1/overview").json()
    hidden = {name for name, section in viewer.items() if section is None}
    assert hidden == {
        "usage", "expiring_keys", "failed_jobs", "open_grants", "suspended_tenants", "waiting_domains", "acts",
    }  # fmt: skip
    admin = key_client(tenant, role=Role.ADMIN).get("/api/v1/overview").json()
    shut = {name for name, section in admin.items() if section is None}
    assert shut == {"suspended_tenants", "waiting_domains"}
    assert {part["detail"] for part in admin["health"]["parts"]} == {""}


def provider(tenant: Tenant, name: str, **values: Any) -> IdentityProvider:
    with tenant_scope(tenant.id):
        return IdentityProvider.objects.create(
            tenant=tenant, name=name, issuer="https://login.acme.test", client_id="c", **values
        )


def test_domains_that_nobody_has_verified_are_told_to_operators_and_to_the_tenants_owners() -> None:
    tenant, other, shut = make_tenant(), make_tenant(), make_tenant(state=TenantState.SUSPENDED)
    waits = provider(tenant, "Entra", domains=["acme.test", "acme.example"])
    provider(tenant, "Verified", domains=["acme.org"], domains_verified_at=datetime.now(UTC))
    provider(tenant, "Without", domains=[])
    provider(other, "Okta", domains=["other.test"])
    provider(shut, "Shut", domains=["shut.test"])

    own = key_client(tenant, role=Role.OWNER).get("/api/v1/overview").json()["waiting_domains"]
    assert own == {
        "count": 1,
        "items": [
            {"id": str(waits.id), "name": "Entra", "domains": ["acme.test", "acme.example"], "tenant": None}
        ],
    }
    found = operator(make_tenant()).get("/api/v1/overview?scope=platform").json()["waiting_domains"]
    told = [(each["tenant"], each["name"]) for each in found["items"]]
    assert (found["count"], told) == (2, [(tenant.slug, "Entra"), (other.slug, "Okta")])


def test_keys_about_to_end_are_named() -> None:
    tenant = make_tenant()
    now = datetime.now(UTC)
    for owner, name, days in ((tenant, "soon", 3), (tenant, "later", 30), (make_tenant(), "foreign", 3)):
        issue_api_key(tenant_id=owner.id, name=name, expires_at=now + timedelta(days=days))
    found = key_client(tenant, role=Role.ADMIN).get("/api/v1/overview").json()["expiring_keys"]
    assert (found["count"], [each["name"] for each in found["items"]]) == (1, ["soon"])


def test_a_rotated_key_is_named_until_its_replacement_is_used() -> None:
    tenant = make_tenant()
    principal = make_principal(tenant, role=Role.ADMIN)
    old, _ = create_key(principal=principal, name="CI", role=Role.VIEWER)
    new, _ = rotate_key(principal=principal, key_id=old.id, grace=timedelta(days=1))
    client = key_client(tenant, role=Role.ADMIN)

    def told() -> list[tuple[str, bool]]:
        found = client.get("/api/v1/overview").json()["expiring_keys"]
        assert found["count"] == len(found["items"])
        return [(each["id"], each["replaced"]) for each in found["items"]]

    assert told() == [(str(old.id), True)]
    with tenant_scope(tenant.id):
        ApiKey.objects.filter(id=new.id).update(last_used_at=datetime.now(UTC))
    assert told() == []
    revoke_key(principal=principal, key_id=new.id)
    assert told() == [(str(old.id), False)]


@pytest.mark.parametrize("query", ["range=2h", "scope=moon"])
def test_bad_questions_are_400(query: str) -> None:
    assert key_client(make_tenant(), role=Role.ADMIN).get(f"/api/v1/overview?{query}").status_code == 400
