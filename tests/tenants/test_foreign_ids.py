"""Services know no id and no number of another tenant, whatever page or program calls them."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.utils import timezone
from factories.rows import make_row
from factories.tenants import key_client, make_membership, make_principal, make_tenant, make_user

from kernel.errors import AtriumError, NotFound, TenantSuspended
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.access_models import Group
from tenants.limit_types import Measure
from tenants.models import IdentityProvider, Membership, Quota, RetentionRule, ShadowPair, Tenant
from tenants.oidc import Claims, NotAdmitted
from tenants.services import (
    providers,
    retention,
    roles,
    scim_tokens,
    service_accounts,
    sessions,
    set_tenant_limits,
    webhooks,
)
from tenants.services.deleting import ask_deletion
from tenants.services.refused_sign_ins import note_refused_sign_in
from tenants.services.retention import RetentionDays
from tenants.services.shadow_pairs import list_pairs
from tenants.services.sso import rehearse, usable_provider
from tenants.services.standings import own_standings
from tenants.services.stocks import require_room
from tenants.sign_in_types import Flow
from tenants.types import Principal, Role, TenantState

pytestmark = pytest.mark.django_db
CANARY = "canary-0d4e-of-another-tenant"
SCIM = "application/scim+json"
OIDC = {"name": CANARY, "issuer": "https://idp.test", "client_id": "c", "client_secret": "s"}

MAKERS: dict[str, Callable[[Principal], object]] = {
    "providers.MOST_PROVIDERS": lambda who: providers.create_provider(principal=who, values=dict(OIDC)),
    "roles.MOST_ROLES": lambda who: roles.create_role(principal=who, name=CANARY, permissions=["usage.read"]),
    "scim_tokens.MOST_TOKENS": lambda who: scim_tokens.create_scim_token(principal=who, name=CANARY),
    "service_accounts.MOST_ACCOUNTS": lambda who: service_accounts.create_service_account(
        principal=who, name=CANARY
    ),
    "webhooks.MOST_WEBHOOKS": lambda who: webhooks.create_webhook(
        principal=who, name=CANARY, url="https://hooks.example.com/", events=["document.failed"]
    ),
}
ACTS: dict[str, tuple[str, Callable[[Principal, uuid.UUID], object]]] = {
    "change a role": (
        "CustomRole",
        lambda who, key: roles.change_role(principal=who, role_id=key, name="mine"),
    ),
    "rotate a token": (
        "ScimToken",
        lambda who, key: scim_tokens.rotate_scim_token(principal=who, token_id=key, grace=timedelta()),
    ),
    "revoke a token": (
        "ScimToken",
        lambda who, key: scim_tokens.revoke_scim_token(principal=who, token_id=key),
    ),
    "change a webhook": (
        "Webhook",
        lambda who, key: webhooks.change_webhook(principal=who, webhook_id=key, name="mine"),
    ),
    "rotate a webhook's secret": (
        "Webhook",
        lambda who, key: webhooks.rotate_webhook_secret(principal=who, webhook_id=key, grace=timedelta()),
    ),
    "delete a webhook": ("Webhook", lambda who, key: webhooks.delete_webhook(principal=who, webhook_id=key)),
    "send a test": ("Webhook", lambda who, key: webhooks.send_test(principal=who, webhook_id=key)),
    "change a service account": (
        "ServiceAccount",
        lambda who, key: service_accounts.change_service_account(
            principal=who, account_id=key, description="mine"
        ),
    ),
    "delete a service account": (
        "ServiceAccount",
        lambda who, key: service_accounts.delete_service_account(principal=who, account_id=key),
    ),
    "change a provider": (
        "IdentityProvider",
        lambda who, key: providers.change_provider(principal=who, provider_id=key, values={"name": "mine"}),
    ),
    "delete a provider": (
        "IdentityProvider",
        lambda who, key: providers.delete_provider(principal=who, provider_id=key),
    ),
    "see a member's sessions": (
        "Membership",
        lambda who, key: sessions.member_sessions(principal=who, user_id=user_of(key)),
    ),
    "end a member's sessions": (
        "Membership",
        lambda who, key: sessions.end_member_sessions(principal=who, user_id=user_of(key)),
    ),
}


def user_of(membership: uuid.UUID) -> uuid.UUID:
    with system_scope("tests", read_only=True):
        return Membership.objects.get(id=membership).user_id


def owner(tenant: Tenant | None = None) -> Principal:
    return make_principal(tenant or make_tenant(), role=Role.OWNER)


@pytest.mark.parametrize("most", MAKERS)
def test_what_another_tenant_has_is_no_part_of_a_limit(most: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = MAKERS[most]
    mine, other = owner(), owner()
    make(other)
    monkeypatch.setattr(f"tenants.services.{most}", 1)
    make(mine)
    with pytest.raises(AtriumError):
        make(mine)


@pytest.mark.parametrize("act", ACTS)
def test_an_id_of_another_tenant_is_not_there(act: str) -> None:
    name, call = ACTS[act]
    model = apps.get_model("tenants", name)
    mine, other = owner(), make_tenant()
    with tenant_scope(other.id):
        key = make_row(model, other).pk
    with system_scope("tests", read_only=True):
        before = model.objects.filter(pk=key).values().get()
    with pytest.raises(NotFound):
        call(mine, key)
    with system_scope("tests", read_only=True):
        assert model.objects.filter(pk=key).values().get() == before


def test_tokens_providers_and_comparisons_are_listed_of_one_tenant() -> None:
    mine, other = owner(), owner()
    MAKERS["scim_tokens.MOST_TOKENS"](other)
    MAKERS["providers.MOST_PROVIDERS"](other)
    assert scim_tokens.list_scim_tokens(principal=mine) == []
    assert providers.list_providers(principal=mine) == []
    with tenant_scope(other.tenant_id):
        make_row(ShadowPair, Tenant.objects.get(id=other.tenant_id))
    since = timezone.now() - timedelta(days=1)
    assert list_pairs(principal=mine, since=since, limit=9) == []


def test_rules_of_retention_are_each_tenants_own() -> None:
    mine, other = owner(), owner()
    nothing = retention.get_retention(principal=mine)
    retention.set_retention(principal=other, days=RetentionDays(conversations=41, files=None, requests=None))
    assert retention.get_retention(principal=mine) == nothing
    retention.set_retention(principal=mine, days=RetentionDays(conversations=7, files=None, requests=None))
    with system_scope("tests", read_only=True):
        found = RetentionRule.objects.values_list("tenant_id", "conversations_days")
        assert dict(found) == {mine.tenant_id: 7, other.tenant_id: 41}


class Directory:
    """A tenant's directory that speaks SCIM."""

    def __init__(self, tenant: Tenant) -> None:
        body = json.dumps({"name": "Entra"})
        client = key_client(tenant, role=Role.OWNER)
        made = client.post("/api/v1/provisioning/tokens", body, content_type="application/json").json()
        self._client = Client(headers={"authorization": f"Bearer {made['token']}"})
        self._base = f"/scim/v2/{tenant.slug}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        raw = "" if body is None else json.dumps(body)
        return self._client.generic(method, self._base + path, raw, content_type=SCIM)


def test_a_directory_finds_no_group_of_another_tenant() -> None:
    mine, other = make_tenant(), make_tenant()
    assert Directory(other).ask("POST", "/Groups", {"displayName": CANARY}).status_code == 201
    found = Directory(mine).ask("GET", "/Groups")
    assert (found.json()["totalResults"], CANARY in found.content.decode()) == (0, False)


def test_an_owner_elsewhere_is_none_here() -> None:
    mine, other = make_tenant(), make_tenant()
    last = make_membership(mine, role=Role.OWNER)
    make_membership(other, role=Role.OWNER)
    assert Directory(mine).ask("DELETE", f"/Users/{last.id}").status_code == 409
    assert user_of(last.id) == last.user_id


def test_a_domain_that_another_tenant_proved_links_nobody_here() -> None:
    mine, other = make_tenant(), make_tenant()
    victim = make_user("victim@other.test", password="their own choice")
    with tenant_scope(other.id):
        IdentityProvider.objects.create(
            **{**OIDC, "client_secret": "s"}, domains=["other.test"], domains_verified_at=timezone.now()
        )
    answer = Directory(mine).ask("POST", "/Users", {"userName": victim.email})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    with tenant_scope(mine.id):
        assert not Membership.objects.filter(user=victim).exists()


def test_a_tenant_s_own_domain_may_be_proved_for_two_of_its_providers() -> None:
    tenant = make_tenant()
    boss, operator = owner(tenant), make_principal(tenant, role=Role.OWNER, is_operator=True)
    for name in ("one", "two"):
        values = {**OIDC, "name": name, "domains": ["acme.test"]}
        made = providers.create_provider(principal=boss, values=values)
        shown = providers.verify_domains(principal=operator, provider_id=made.id, verified=True)
        assert shown.domains_verified


def test_a_deletion_that_others_may_undo_opens_no_door_here() -> None:
    mine, other = make_tenant(), make_tenant()
    with tenant_scope(mine.id):
        row = IdentityProvider.objects.create(**OIDC, enabled=True)
    ask_deletion(principal=owner(other), confirm=other.slug)
    Tenant.objects.filter(id=mine.id).update(state=TenantState.DELETING)
    with pytest.raises(TenantSuspended):
        usable_provider(row.id, mine.id, trial=False)


def test_a_limit_is_shown_with_the_row_of_its_own_tenant() -> None:
    both = [owner(), owner()]
    for who in both:
        set_tenant_limits(tenant_id=who.tenant_id, limits={Measure.TOKENS_PER_DAY: 5, Measure.DOCUMENTS: 5})
    for who in both:
        shown = own_standings(principal=who)
        with tenant_scope(who.tenant_id, read_only=True):
            assert {each.quota_id for each in shown} == set(Quota.objects.values_list("id", flat=True))


def test_documents_of_another_tenant_fill_no_shelf_here() -> None:
    mine, other = owner(), make_tenant()
    with tenant_scope(other.id):
        for _ in range(3):
            make_row(apps.get_model("knowledge", "Document"), other, size=7)
    set_tenant_limits(tenant_id=mine.tenant_id, limits={Measure.DOCUMENTS: 2})
    require_room(principal=mine, added={Measure.DOCUMENTS: 2})
    [shown] = own_standings(principal=mine)
    assert shown.used == 0


def test_a_refusal_by_a_provider_of_another_tenant_is_not_on_record_here() -> None:
    mine, other = make_tenant(), make_tenant()
    with tenant_scope(other.id):
        row = IdentityProvider.objects.create(**OIDC)
    note_refused_sign_in(tenant_id=mine.id, provider_id=row.id, error=NotAdmitted(code="not_here"))
    assert not [each for each in acts_of_tenant(tenant_id=mine.id, limit=50) if CANARY in each.label]
    note_refused_sign_in(tenant_id=other.id, provider_id=row.id, error=NotAdmitted(code="no_member"))
    assert [each.label for each in acts_of_tenant(tenant_id=other.id, limit=1)] == [CANARY]


def test_a_dry_sign_in_names_no_group_of_another_tenant() -> None:
    mine, other = make_tenant(), make_tenant()
    with tenant_scope(other.id):
        foreign = Group.objects.create(name=CANARY)
    with tenant_scope(mine.id):
        own = Group.objects.create(name="own")
        rules = [{"value": "v", "group": str(each.id)} for each in (foreign, own)]
        row = IdentityProvider.objects.create(**OIDC, enabled=True, mappings=rules)
    claims = Claims("s", "a@acme.test", True, "A", {"groups": ["v"]})
    flow = Flow(row.id, mine.id, "s", "n", "v", "/", True, 0.0)
    assert rehearse(flow=flow, claims=claims).groups == ("own",)
