"""An owner thinks better of the deletion of their tenant: from outside of every door, and nobody else does."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from factories.tenants import make_membership, make_principal, make_tenant, make_user, session_client
from fakes.clocks import FrozenClock

from kernel.errors import Conflict
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.lifecycle_types import DeletionView
from tenants.models import CustomRole, Membership, Tenant, TenantDeletion, User
from tenants.services.deleting import ask_deletion, withdraw_deletion
from tenants.services.sign_in import SESSION_ONLY_TENANT
from tenants.types import Role, TenantState

pytestmark = pytest.mark.django_db
PAGE = "/accounts/deletions/"
CLOCK = FrozenClock(datetime(2026, 3, 10, 12, tzinfo=UTC))


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme", name="Acme <b>")


def member(tenant: Tenant, role: Role = Role.OWNER, *, user: User | None = None) -> Client:
    return session_client(make_membership(tenant, user or make_user(), role=role))


def ask(client: Client, tenant: Tenant) -> None:
    body = json.dumps({"confirm": tenant.slug})
    answer = client.post("/api/v1/tenant/deletion", body, content_type="application/json")
    assert answer.status_code == 201, answer.content


def keep(client: Client, tenant: Tenant) -> Any:
    return client.post(f"{PAGE}withdraw/", {"tenant": str(tenant.id)})


def state_of(tenant: Tenant) -> str:
    return Tenant.objects.get(id=tenant.id).state


def test_an_owner_finds_it_at_the_sign_in_and_keeps_the_tenant(acme: Tenant) -> None:
    user = make_user("owner@acme.test")
    owner = member(acme, user=user)
    ask(owner, acme)
    refused = owner.get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
    shown = owner.get("/accounts/login/")
    assert shown.status_code == 403
    for page in (shown, owner.get(PAGE)):
        text = page.content.decode()
        assert "Acme &lt;b&gt;" in text
        assert str(acme.id) in text
        assert "owner@acme.test" in text
    kept = keep(owner, acme)
    assert (kept.status_code, state_of(acme)) == (200, "active")
    assert owner.get("/api/v1/me").status_code == 200
    act = next(
        each for each in acts_of_tenant(tenant_id=acme.id, limit=5) if each.act == "deletion_withdrawn"
    )
    assert (act.actor_kind, act.actor, act.actor_id) == ("user", "owner@acme.test", user.id)
    assert str(acme.id) not in owner.get(PAGE).content.decode()
    # Once is enough: again there is none.
    assert keep(owner, acme).status_code == 302


def test_another_owner_may_too(acme: Tenant) -> None:
    ask(member(acme), acme)
    assert keep(member(acme), acme).status_code == 200
    assert state_of(acme) == "active"


@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER, Role.VIEWER])
def test_who_may_not_have_it_deleted_does_not_keep_it(acme: Tenant, role: Role) -> None:
    ask(member(acme), acme)
    other = member(acme, role)
    assert str(acme.id) not in other.get(PAGE).content.decode()
    assert keep(other, acme).status_code == 302
    assert state_of(acme) == "deleting"


def test_strangers_disabled_owners_and_owners_by_name_alone_do_not(acme: Tenant) -> None:
    ask(member(acme), acme)
    former = make_user()
    gone = member(acme, user=former)
    narrowed = make_user()
    less = member(acme, user=narrowed)
    with tenant_scope(acme.id):
        Membership.objects.filter(user=former).update(disabled_at=timezone.now())
        role = CustomRole.objects.create(name="Less", permissions=["chat.use"])
        Membership.objects.filter(user=narrowed).update(custom_role=role)
    for client in (member(make_tenant()), gone, less):
        assert keep(client, acme).status_code == 302
        assert str(acme.id) not in client.get(PAGE).content.decode()
    anonymous = Client()
    assert keep(anonymous, acme)["Location"].startswith("/accounts/login/")
    assert anonymous.get(PAGE)["Location"].startswith("/accounts/login/")
    assert keep(member(make_tenant()), Tenant(id="0" * 32)).status_code == 302
    assert state_of(acme) == "deleting"


def test_what_an_operator_asked_for_is_the_operators_to_withdraw(acme: Tenant) -> None:
    owner = member(acme)
    home = make_tenant("home")
    ask_deletion(principal=make_principal(home, is_operator=True), tenant_id=acme.id, confirm="acme")
    assert str(acme.id) not in owner.get(PAGE).content.decode()
    assert keep(owner, acme).status_code == 302
    assert state_of(acme) == "deleting"


def test_an_operator_makes_a_members_deletion_their_own(acme: Tenant) -> None:
    owner = member(acme)
    ask(owner, acme)
    boss = make_principal(make_tenant("home"), is_operator=True)

    def take_over() -> DeletionView:
        return ask_deletion(
            principal=boss,
            tenant_id=acme.id,
            confirm="acme",
            reason="by contract",
            grace_hours=1,
            clock=CLOCK,
        )

    taken = take_over()
    assert (taken.due_at, taken.reason) == (CLOCK.now() + timedelta(hours=1), "by contract")
    assert TenantDeletion.objects.filter(tenant_id=acme.id).count() == 1
    assert keep(owner, acme).status_code == 302
    assert state_of(acme) == "deleting"
    asked = [each for each in acts_of_tenant(tenant_id=acme.id, limit=9) if each.act == "deletion_asked"]
    assert len(asked) == 2
    # It is theirs now: once more is a conflict, as ever.
    with pytest.raises(Conflict):
        take_over()
    withdraw_deletion(principal=boss, tenant_id=acme.id)
    assert state_of(acme) == "active"


def test_an_operator_on_a_visit_is_no_member(acme: Tenant) -> None:
    owner = member(acme)
    visitor = session_client(make_membership(make_tenant(), make_user(is_operator=True), role=Role.OWNER))
    answer = visitor.post(
        "/api/v1/tenant/deletion",
        json.dumps({"confirm": "acme"}),
        content_type="application/json",
        headers={"x-atrium-tenant": "acme"},
    )
    assert answer.status_code == 201
    assert keep(owner, acme).status_code == 302
    assert state_of(acme) == "deleting"


def test_a_session_of_another_tenants_provider_does_not(acme: Tenant) -> None:
    user = make_user()
    ask(member(acme, user=user), acme)
    elsewhere = make_tenant()
    client = session_client(make_membership(elsewhere, user, role=Role.OWNER))
    session = client.session
    session[SESSION_ONLY_TENANT] = str(elsewhere.id)
    session.save()
    assert str(acme.id) not in client.get(PAGE).content.decode()
    assert keep(client, acme).status_code == 302
    assert state_of(acme) == "deleting"


def test_the_second_factor_that_the_tenant_asks_for_is_asked_for(acme: Tenant) -> None:
    owner = member(acme)
    ask(owner, acme)
    Tenant.objects.filter(id=acme.id).update(second_factor_required=True)
    assert keep(owner, acme)["Location"] == "/accounts/2fa/"
    assert state_of(acme) == "deleting"


def test_a_form_of_another_site_does_not(acme: Tenant) -> None:
    membership = make_membership(acme, role=Role.OWNER)
    ask(session_client(membership), acme)
    strict = session_client(membership, enforce_csrf_checks=True)
    assert keep(strict, acme).status_code == 403
    assert state_of(acme) == "deleting"


def test_once_it_has_begun_it_cannot_be_undone(acme: Tenant) -> None:
    owner = member(acme)
    ask(owner, acme)
    with system_scope("tests"):
        TenantDeletion.objects.update(state="erasing", due_at=timezone.now() - timedelta(hours=1))
    assert keep(owner, acme).status_code == 302
    assert "begun" in owner.get(PAGE).content.decode()
    assert state_of(acme) == TenantState.DELETING
