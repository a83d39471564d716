"""Sessions: bound to one membership, switched into a new one, guarded by the CSRF token."""

import json

import pytest
from django.test import Client
from factories.tenants import PASSWORD, make_membership, make_tenant, make_user, session_client

from kernel.errors import NotSignedIn, PermissionDenied, TenantSuspended
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.models import Membership, Session, Tenant, User
from tenants.services import authenticate_session, change_user
from tenants.services.sign_in import SESSION_MEMBERSHIP
from tenants.session_engine import SessionStore
from tenants.types import Role, TenantState

COOKIE = "atrium_session"


def login(client: Client, user: User) -> None:
    """Sign in at the login page, as a browser does."""
    page = client.get("/accounts/login/")
    assert page.status_code == 200
    response = client.post(
        "/accounts/login/",
        {"login": user.email, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"].value},
    )
    assert response.status_code == 302, response.content


@pytest.mark.django_db
def test_a_login_is_bound_to_the_membership_used_last() -> None:
    user = make_user(password=PASSWORD)
    make_membership(make_tenant("first"), user)
    used = make_membership(make_tenant("second"), user)
    with system_scope("tests"):
        Membership.objects.filter(id=used.id).update(last_used_at="2026-01-01T00:00:00Z")
    client = Client(enforce_csrf_checks=True)
    login(client, user)
    assert client.session[SESSION_MEMBERSHIP] == str(used.id)
    assert client.get("/api/v1/me").json()["tenant"]["slug"] == "second"


@pytest.mark.django_db
def test_a_login_makes_a_new_session_key_and_a_logout_ends_it() -> None:
    user = make_user(password=PASSWORD)
    make_membership(make_tenant(), user)
    client = Client()
    login(client, user)
    first = client.cookies[COOKIE].value
    assert client.get("/api/v1/me").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/api/v1/me").status_code == 401
    login(client, user)
    assert client.cookies[COOKIE].value != first
    assert not Session.objects.filter(session_key=first).exists()


@pytest.mark.django_db
def test_nobody_signs_up() -> None:
    assert b"password1" not in Client().get("/accounts/signup/").content
    Client().post("/accounts/signup/", {"email": "x@example.com", "password1": PASSWORD})
    assert not User.objects.exists()


@pytest.mark.django_db
def test_a_wrong_password_and_an_inactive_user_are_refused() -> None:
    user = make_user(password=PASSWORD)
    make_membership(make_tenant(), user)
    client = Client()
    assert client.post("/accounts/login/", {"login": user.email, "password": "wrong"}).status_code == 200
    assert client.get("/api/v1/me").status_code == 401
    login(client, user)
    change_user(user_id=user.id, is_active=False)
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.django_db
def test_switching_the_tenant_makes_a_new_session_and_leaves_the_old_one() -> None:
    user = make_user()
    first = make_membership(make_tenant("first"), user, role=Role.OWNER)
    second = make_membership(make_tenant("second"), user, role=Role.VIEWER)
    client = session_client(first)
    old = client.cookies[COOKIE].value

    same = client.get("/api/v1/me", headers={"x-atrium-tenant": "first"})
    assert COOKIE not in same.cookies

    switched = client.get("/api/v1/me", headers={"x-atrium-tenant": "second"})
    assert (switched.json()["tenant"]["slug"], switched.json()["role"]) == ("second", "viewer")
    new = switched.cookies[COOKIE].value
    assert new != old
    assert SessionStore(new)[SESSION_MEMBERSHIP] == str(second.id)
    assert SessionStore(old)[SESSION_MEMBERSHIP] == str(first.id)
    assert client.get("/api/v1/me").json()["tenant"]["slug"] == "second"

    client.cookies[COOKIE] = old
    assert client.get("/api/v1/me").json()["tenant"]["slug"] == "first"


@pytest.mark.django_db
def test_a_tenant_one_is_no_member_of_is_refused() -> None:
    client = session_client(make_membership(make_tenant("mine")))
    make_tenant("foreign")
    for slug in ("foreign", "unknown", "ü"):
        response = client.get("/api/v1/me", headers={"x-atrium-tenant": slug})
        assert response.status_code == 403
        assert COOKIE not in response.cookies


@pytest.mark.django_db
def test_unsafe_methods_of_a_session_need_the_csrf_token() -> None:
    membership = make_membership(make_tenant(), role=Role.OWNER, password=PASSWORD)
    client = session_client(membership, enforce_csrf_checks=True)
    body = json.dumps({"name": "k"})
    refused = client.post("/api/v1/api-keys", body, content_type="application/json")
    assert refused.status_code == 403
    assert refused["Content-Type"] == "application/problem+json"
    client.get("/accounts/password/change/")
    token = client.cookies["csrftoken"].value
    made = client.post(
        "/api/v1/api-keys", body, content_type="application/json", headers={"x-csrftoken": token}
    )
    assert made.status_code == 201


@pytest.mark.django_db
def test_a_session_without_any_open_membership_is_403() -> None:
    client = Client()
    client.force_login(make_user(), backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get("/api/v1/me").status_code == 403


@pytest.mark.django_db(transaction=True)
async def test_a_socket_signs_in_by_the_session() -> None:
    user = await run_unit(make_user)
    first = await run_unit(make_membership, await run_unit(make_tenant, "first"), user)
    second = await run_unit(make_membership, await run_unit(make_tenant, "second"), user)
    await run_unit(make_tenant, "foreign")
    client = await run_unit(session_client, first)
    session_key = client.cookies[COOKIE].value

    assert (await authenticate_session(session_key, None)).tenant_slug == "first"
    principal = await authenticate_session(session_key, "second")
    assert (principal.tenant_slug, principal.membership_id) == ("second", second.id)
    with pytest.raises(PermissionDenied):
        await authenticate_session(session_key, "foreign")
    with pytest.raises(NotSignedIn):
        await authenticate_session("x" * 32, None)
    await run_unit(_suspend, "second")
    with pytest.raises(TenantSuspended):
        await authenticate_session(session_key, "second")
    await run_unit(_set_password, user)
    with pytest.raises(NotSignedIn):
        await authenticate_session(session_key, None)


def _suspend(slug: str) -> None:
    Tenant.objects.filter(slug=slug).update(state=TenantState.SUSPENDED)


def _set_password(user: User) -> None:
    user.set_password("another one entirely")
    user.save()


@pytest.mark.django_db
def test_who_finds_no_way_in_is_told_who_can_help() -> None:
    tenant = make_tenant()
    client = session_client(make_membership(tenant))
    Tenant.objects.filter(id=tenant.id).update(state="suspended")
    page = client.get("/accounts/login/")
    assert page.status_code == 403
    assert "Who runs this installation can help." in page.content.decode()
