"""The back-office: operators alone, all pages render, all writes go through services."""

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from factories.tenants import make_key, make_membership, make_tenant, make_user, session_client
from factories.usage import make_entry

from kernel.errors import NotSignedIn
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope, system_scope_uses
from substrate.models import Change
from substrate.scoping import has_scope
from tenants.models import ApiKey, Membership, Tenant, User
from tenants.services import authenticate_key_now, store_usage
from tenants.types import Role

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Nothing is collected in tests, so there is no manifest to look names up in."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def operator() -> Client:
    """An operator's browser."""
    return session_client(make_membership(make_tenant("home"), make_user("op@example.com", is_operator=True)))


def kinds() -> list[str]:
    """Kinds of the changes recorded so far."""
    return list(Change.objects.order_by("seq").values_list("kind", flat=True))


def told(response: Any) -> str:
    """The messages of a response that was followed."""
    return " ".join(str(each) for each in response.context["messages"])


def test_strangers_are_sent_to_the_common_login_page() -> None:
    response = Client().get("/admin/", follow=True)
    assert response.redirect_chain[-1][0].startswith("/accounts/login/?next=/admin/")


@pytest.mark.parametrize("path", ["/admin/", "/admin/tenants/tenant/", "/admin/login/"])
def test_members_who_are_no_operators_stay_out(path: str) -> None:
    client = session_client(make_membership(make_tenant(), role=Role.OWNER))
    assert client.get(path, follow=True).status_code == 403


def test_a_past_operator_stays_out(operator: Client) -> None:
    User.objects.update(is_operator=False)
    assert operator.get("/admin/", follow=True).status_code == 403
    assert not has_scope()


def test_the_index_shows_the_figures(operator: Client) -> None:
    tenant = make_tenant("acme")
    store_usage([make_entry(tenant.id)])
    before = system_scope_uses["back-office"]
    response = operator.get("/admin/")
    assert response.status_code == 200
    shown = {figure.title: figure.value for figure in response.context["figures"]}
    assert shown["Tenants"] == "2"
    assert shown["Users"] == "1"
    assert system_scope_uses["back-office"] == before + 1


@pytest.mark.sweep
def test_every_page_lists_searches_and_filters(operator: Client) -> None:
    tenant = make_tenant("acme")
    make_membership(tenant)
    make_key(tenant)
    store_usage([make_entry(tenant.id)])
    pages = list(admin.site._registry.items())
    assert len(pages) >= 6
    for model, page in pages:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        listing = operator.get(reverse(f"admin:{name}_changelist"))
        assert listing.status_code == 200, name
        assert page.search_fields, f"{name} has no search"
        assert operator.get(reverse(f"admin:{name}_changelist"), {"q": "acme"}).status_code == 200, name
        with system_scope("tests"):
            row = model._default_manager.first()
        if row is not None:
            assert operator.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200, name
        if page.has_add_permission(listing.wsgi_request):
            assert operator.get(reverse(f"admin:{name}_add")).status_code == 200, name


def test_it_speaks_one_language(operator: Client) -> None:
    operator.cookies["atrium_language"] = "de"
    page = operator.get("/admin/tenants/tenant/").content.decode()
    assert "Ergebnis" not in page
    assert "Type to search" in page


def test_tenant_rows_of_all_tenants_are_seen_and_the_scope_ends_with_the_request(operator: Client) -> None:
    for slug in ("first", "second"):
        make_key(make_tenant(slug), name=f"key of {slug}")
    content = operator.get("/admin/tenants/apikey/").content.decode()
    assert "key of first" in content
    assert "key of second" in content
    assert not has_scope()


# In transactions of its own: within one, a thing is said to have changed once.
@pytest.mark.django_db(transaction=True)
def test_a_tenant_is_made_and_suspended(operator: Client) -> None:
    form = {"slug": "fresh", "name": "Fresh", "priority_class": "batch", "weight": 2}
    assert operator.post("/admin/tenants/tenant/add/", form).status_code == 302
    tenant = Tenant.objects.get(slug="fresh")
    assert (tenant.weight, tenant.priority_class) == (2, "batch")
    form = {"name": "Old", "priority_class": "batch", "weight": 2, "state": "suspended"}
    assert operator.post(f"/admin/tenants/tenant/{tenant.id}/change/", form).status_code == 302
    tenant.refresh_from_db()
    assert (tenant.name, tenant.state) == ("Old", "suspended")
    assert kinds().count("tenant") == 2
    page = operator.get(f"/admin/tenants/tenant/{tenant.id}/change/").content.decode()
    assert '<option value="suspended"' in page
    assert 'value="deleting"' not in page
    assert operator.post(f"/admin/tenants/tenant/{tenant.id}/delete/", {"post": "yes"}).status_code == 403


def test_a_user_is_made_with_a_membership_and_changed(operator: Client) -> None:
    tenant = make_tenant("acme")
    form = {
        "email": "New@Acme.example",
        "name": "New",
        "tenant": tenant.id,
        "role": "admin",
        "password": "pw",
    }
    assert operator.post("/admin/tenants/user/add/", form).status_code == 302
    user = User.objects.get(email="new@acme.example")
    assert user.check_password("pw")
    with system_scope("tests"):
        assert Membership.objects.get(user=user).role == Role.ADMIN
    url = f"/admin/tenants/user/{user.id}/change/"
    weak = operator.post(url, {"name": "Newer", "is_active": "on", "new_password": "123"}, follow=True)
    assert "password" in told(weak).lower()
    user.refresh_from_db()
    assert (user.name, user.check_password("pw")) == ("New", True)
    assert operator.post(url, {"name": "Newer", "is_active": ""}).status_code == 302
    user.refresh_from_db()
    assert (user.name, user.is_active) == ("Newer", False)
    assert kinds().count("user") == 1


def test_an_operator_cannot_lock_themselves_out(operator: Client) -> None:
    me = User.objects.get(email="op@example.com")
    response = operator.post(
        f"/admin/tenants/user/{me.id}/change/", {"name": "", "is_active": "on"}, follow=True
    )
    assert "yourself" in told(response)
    me.refresh_from_db()
    assert me.is_operator


# In transactions of its own: within one, a thing is said to have changed once.
@pytest.mark.django_db(transaction=True)
def test_memberships_keep_an_owner(operator: Client) -> None:
    tenant = make_tenant("acme")
    owner = make_membership(tenant, role=Role.OWNER)
    refused = operator.post(f"/admin/tenants/membership/{owner.id}/change/", {"role": "viewer"}, follow=True)
    assert "at least one active owner" in told(refused)
    refused = operator.post(f"/admin/tenants/membership/{owner.id}/delete/", {"post": "yes"}, follow=True)
    assert "at least one active owner" in told(refused)
    member = make_membership(tenant)
    data = {"action": "disable", "_selected_action": [str(member.id)]}
    assert operator.post("/admin/tenants/membership/", data).status_code == 302
    with system_scope("tests"):
        assert Membership.objects.get(id=owner.id).role == Role.OWNER
        assert Membership.objects.get(id=member.id).disabled_at is not None
    assert operator.post(f"/admin/tenants/membership/{member.id}/delete/", {"post": "yes"}).status_code == 302
    with system_scope("tests"):
        assert not Membership.objects.filter(id=member.id).exists()
    assert User.objects.filter(id=member.user_id).exists()
    assert kinds().count("membership") == 2


# In transactions of its own: within one, a thing is said to have changed once.
@pytest.mark.django_db(transaction=True)
def test_a_key_is_issued_shown_once_and_revoked(operator: Client) -> None:
    tenant = make_tenant("acme")
    form = {"tenant": tenant.id, "name": "bot", "role": "member", "priority_class": "standard"}
    made = operator.post("/admin/tenants/apikey/add/", form, follow=True)
    text = told(made).split("shown only now: ")[1].split()[0].rstrip(".")
    assert authenticate_key_now(text).tenant_slug == "acme"
    assert text not in operator.get("/admin/tenants/apikey/").content.decode()
    with system_scope("tests"):
        key = ApiKey.objects.get(name="bot")
    shown = operator.get(f"/admin/tenants/apikey/{key.id}/change/").content.decode()
    assert key.fingerprint not in shown
    operator.post("/admin/tenants/apikey/", {"action": "revoke", "_selected_action": [str(key.id)]})
    with pytest.raises(NotSignedIn):
        authenticate_key_now(text)
    assert kinds().count("api_key") == 2
    acts = [(each.act, each.actor_kind, each.actor) for each in acts_of_tenant(tenant_id=tenant.id, limit=9)]
    assert acts == [
        ("refused", "key", f"atr_{key.prefix}"),
        ("revoked", "operator", "op@example.com"),
        ("created", "operator", "op@example.com"),
    ]


def test_no_page_writes_past_the_services(operator: Client) -> None:
    """Pages are read only, or hand each write to a service by a `save_model` of their own."""
    request = operator.get("/admin/").wsgi_request
    for model, page in admin.site._registry.items():
        writes = page.has_add_permission(request) or page.has_change_permission(request)
        own_save = type(page).save_model is not admin.ModelAdmin.save_model
        assert own_save or not writes, model
        own_delete = type(page).delete_model is not admin.ModelAdmin.delete_model
        assert own_delete or not page.has_delete_permission(request), model
