"""Invitations: offered by administrators, taken once by the person of the address, dead in every other case."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from factories.tenants import (
    PASSWORD,
    key_client,
    make_membership,
    make_tenant,
    make_user,
    session_client,
)
from fakes.clocks import FrozenClock

from kernel.errors import Conflict, NotFound, PermissionDenied, RateLimited
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import CustomRole, Invitation, Membership, Tenant, User
from tenants.services import find_offer, forget_old_invitations, join_as_known_person, join_as_new_person
from tenants.services.sign_in import SESSION_MEMBERSHIP
from tenants.types import Role, TenantState

pytestmark = pytest.mark.django_db

JSON = "application/json"
START = "/accounts/invitation/"
ACCEPT = "/accounts/invitation/accept/"
GOOD = "a rather long password 7"


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """Rate limits are counted in the cache."""
    cache.clear()


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Nothing is collected in tests, so there is no manifest to look names up in."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def tenant() -> Tenant:
    """A tenant with an owner."""
    tenant = make_tenant("acme", name="Acme")
    make_membership(tenant, make_user("owner@example.com"), role=Role.OWNER)
    return tenant


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    """An administrator's browser."""
    return session_client(make_membership(tenant, make_user("admin@example.com"), role=Role.ADMIN))


def invite(client: Client, email: str = "new@example.com", role: str = "member", **more: str) -> Any:
    """POST /invitations."""
    body = {"email": email, "role": role, **more}
    return client.post("/api/v1/invitations", json.dumps(body), content_type=JSON)


def token_of(answer: Any) -> str:
    """The token in the link of an answer."""
    link: str = answer.json()["link"]
    assert link.startswith("http://testserver/accounts/invitation/#")
    return link.partition("#")[2]


def follow(client: Client, token: str) -> Any:
    """Open a link as the page's script does: post the token, follow to the offer."""
    assert client.get(START).status_code == 200
    return client.post(START, {"token": token}, follow=True)


def test_a_new_person_sets_name_and_password_and_is_in(admin: Client, tenant: Tenant) -> None:
    sent = invite(admin, "New@Example.com", message="See you <b>soon</b>")
    assert (sent.status_code, sent["Cache-Control"]) == (201, "no-store")
    body, token = sent.json(), token_of(sent)
    assert (body["email"], body["state"], body["mailed"], body["invited_by"]) == (
        "new@example.com",
        "open",
        False,
        "admin@example.com",
    )
    guest = Client()
    page = follow(guest, token)
    text = page.content.decode()
    assert page.redirect_chain[-1][0] == ACCEPT
    assert "Acme" in text
    assert "See you &lt;b&gt;soon&lt;/b&gt;" in text
    assert token not in text
    anonymous = guest.session.session_key
    done = guest.post(ACCEPT, {"name": "Nora New", "password": GOOD})
    assert (done.status_code, done["Location"]) == (302, "/")
    assert guest.session.session_key != anonymous
    with tenant_scope(tenant.id):
        membership = Membership.objects.get(user__email="new@example.com")
    assert (membership.role, membership.user.name) == ("member", "Nora New")
    assert guest.session[SESSION_MEMBERSHIP] == str(membership.id)
    me = guest.get("/api/v1/me").json()
    assert (me["tenant"]["slug"], me["role"], me["user"]["name"]) == ("acme", "member", "Nora New")
    assert User.objects.get(email="new@example.com").check_password(GOOD)
    assert admin.get("/api/v1/invitations").json()["results"][0]["state"] == "accepted"
    acts = [(each.act, each.kind, each.actor) for each in acts_of_tenant(tenant_id=tenant.id, limit=9)]
    assert acts[0] == ("accepted", "invitation", "new@example.com")
    assert ("invited", "invitation", "admin@example.com") in acts


def test_an_invitation_is_used_once(admin: Client, tenant: Tenant) -> None:
    token = token_of(invite(admin))
    first, second = Client(), Client()
    follow(first, token)
    follow(second, token)
    assert first.post(ACCEPT, {"name": "A", "password": GOOD}).status_code == 302
    late = second.post(ACCEPT, {"name": "B", "password": GOOD})
    assert late.status_code == 409
    assert b"was used" in late.content
    assert second.get("/api/v1/me").status_code == 401
    assert follow(Client(), token).status_code == 409
    assert User.objects.filter(email="new@example.com").count() == 1


def test_only_a_hash_is_kept_and_no_list_shows_a_token(
    admin: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = token_of(invite(admin))
    guest = Client()
    follow(guest, token)
    guest.post(ACCEPT, {"name": "A", "password": GOOD})
    with system_scope("tests"):
        row = Invitation.objects.get()
    assert token not in str(vars(row))
    assert token not in str(dict(guest.session))
    for path in ("/invitations", f"/invitations/{row.id}", "/invitations?format=csv", "/audit-events"):
        answer = admin.get(f"/api/v1{path}")
        body = answer.getvalue() if answer.streaming else answer.content
        assert token.encode() not in body
        assert row.token_hash.encode() not in body
    assert token not in caplog.text


def test_a_known_person_signs_in_and_consents(admin: Client, tenant: Tenant) -> None:
    known = make_user("known@example.com", password=PASSWORD)
    make_membership(make_tenant("elsewhere"), known)
    token = token_of(invite(admin, "known@example.com", "admin"))
    guest = Client()
    page = follow(guest, token)
    assert b"Sign in to join" in page.content
    assert b'name="password"' not in page.content
    # The password of an account that exists cannot be set by an invitation.
    assert guest.post(ACCEPT, {"name": "x", "password": GOOD}).status_code == 200
    known.refresh_from_db()
    assert known.check_password(PASSWORD)
    login = guest.post(
        "/accounts/login/", {"login": known.email, "password": PASSWORD, "next": ACCEPT}, follow=True
    )
    assert b"You are signed in as" in login.content
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user=known).exists()
    done = guest.post(ACCEPT)
    assert (done.status_code, done["Location"]) == (302, "/console/")
    me = guest.get("/api/v1/me").json()
    assert (me["tenant"]["slug"], me["role"]) == ("acme", "admin")


def test_another_address_cannot_take_it(admin: Client, tenant: Tenant) -> None:
    token = token_of(invite(admin, "new@example.com"))
    other = make_membership(make_tenant("elsewhere"), make_user("other@example.com"))
    thief = session_client(other)
    page = follow(thief, token)
    assert b"but this invitation is for new@example.com" in page.content
    assert thief.post(ACCEPT).status_code == 200
    assert thief.get("/api/v1/me", headers={"x-atrium-tenant": "acme"}).status_code == 403
    with pytest.raises(PermissionDenied):
        join_as_known_person(hashed=find_offer(token=token).token_hash, user_id=other.user_id)
    with tenant_scope(tenant.id):
        assert Invitation.objects.get().accepted_at is None


def test_expired_withdrawn_and_wrong_links_say_so(admin: Client, tenant: Tenant) -> None:
    sent = invite(admin)
    token, path = token_of(sent), f"/api/v1/invitations/{sent.json()['id']}"
    late = FrozenClock(datetime.now(UTC) + timedelta(days=8))
    with pytest.raises(Conflict, match="expired"):
        find_offer(token=token, clock=late)
    with tenant_scope(tenant.id):
        Invitation.objects.update(expires_at="2020-01-01T00:00:00Z")
    page = follow(Client(), token)
    assert (page.status_code, b"has expired" in page.content) == (409, True)
    assert admin.get(path).json()["state"] == "expired"
    assert admin.delete(path).status_code == admin.delete(path).status_code == 204
    assert follow(Client(), token).status_code == 404
    for wrong in ("", "x", "x" * 5000, "\x00", "ü", "#", f"{token}x", "<script>alert(1)</script>"):
        page = follow(Client(), wrong)
        assert page.status_code == 404, wrong
        assert b"<script>alert" not in page.content
    assert Client().get(ACCEPT).status_code == 404


def test_sending_again_kills_the_older_link(admin: Client, tenant: Tenant) -> None:
    sent = invite(admin)
    old, path = token_of(sent), f"/api/v1/invitations/{sent.json()['id']}/resend"
    guest = Client()
    follow(guest, old)
    soon = admin.post(path)
    assert (soon.status_code, int(soon["Retry-After"]) > 0) == (429, True)
    with tenant_scope(tenant.id):
        Invitation.objects.update(sent_at="2026-01-01T00:00:00Z")
    new = token_of(admin.post(path))
    assert new != old
    # The session that looked at the older link has nothing in hand any more.
    assert guest.post(ACCEPT, {"name": "A", "password": GOOD}).status_code == 404
    with pytest.raises(NotFound):
        find_offer(token=old)
    assert find_offer(token=new).email == "new@example.com"


def test_ranks_duplicates_and_members(admin: Client, tenant: Tenant) -> None:
    assert invite(admin, role="owner").status_code == 403
    sent = invite(admin)
    again = invite(admin, "NEW@example.com ")
    assert (again.status_code, again.json()["param"]) == (409, "email")
    assert invite(admin, "owner@example.com").status_code == 409
    owner = key_client(tenant, role=Role.OWNER)
    boss = invite(owner, "boss@example.com", "owner").json()
    assert admin.delete(f"/api/v1/invitations/{boss['id']}").status_code == 403
    assert admin.post(f"/api/v1/invitations/{boss['id']}/resend").status_code == 403
    assert admin.delete(f"/api/v1/invitations/{sent.json()['id']}").status_code == 204
    assert invite(admin).status_code == 201
    for role in (Role.MEMBER, Role.VIEWER):
        assert invite(key_client(tenant, role=role)).status_code == 403


def test_foreign_invitations_do_not_exist(admin: Client) -> None:
    other = make_tenant()
    foreign = invite(key_client(other, role=Role.OWNER)).json()["id"]
    for found in (foreign, "nonsense", "%00"):
        assert admin.get(f"/api/v1/invitations/{found}").status_code == 404
        assert admin.delete(f"/api/v1/invitations/{found}").status_code == 404
        assert admin.post(f"/api/v1/invitations/{found}/resend").status_code == 404
    assert admin.get("/api/v1/invitations").json()["results"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"email": "no address", "role": "member"},
        {"email": "a\x00@example.com", "role": "member"},
        {"email": "a@example.com", "role": "emperor"},
        {"email": "a@example.com", "role": "member", "message": "x" * 1001},
        {"email": f"{'a' * 250}@example.com", "role": "member"},
        {"email": "a@example.com\r\nBcc: b@example.com", "role": "member"},
        {"email": "a@example.com", "role": "member", "tenant": "other"},
        {"email": "a@example.com"},
        [],
    ],
)
def test_bad_invitations_are_400(admin: Client, body: object) -> None:
    answer = admin.post("/api/v1/invitations", json.dumps(body), content_type=JSON)
    assert answer.status_code == 400
    with system_scope("tests"):
        assert not Invitation.objects.exists()


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", GOOD),
        ("x" * 201, GOOD),
        ("a\x00b", GOOD),
        ("Nora", "short"),
        ("Nora", "password1234"),
        ("Nora", ""),
    ],
)
def test_a_bad_name_or_password_is_told_at_its_field(admin: Client, name: str, password: str) -> None:
    token = token_of(invite(admin))
    guest = Client()
    follow(guest, token)
    page = guest.post(ACCEPT, {"name": name, "password": password})
    assert page.status_code == 200
    assert b'class="errors"' in page.content
    assert not User.objects.filter(email="new@example.com").exists()
    assert guest.post(ACCEPT, {"name": "نورا <b>", "password": GOOD}).status_code == 302


def test_mail_carries_the_link_and_the_answer_does_not(admin: Client, settings: Any, tenant: Tenant) -> None:
    settings.MAIL_CONFIGURED = True
    Tenant.objects.update(name="Acme\nBcc: everybody@example.com")
    sent = invite(admin, message="Welcome & hello").json()
    assert (sent["mailed"], sent["link"]) == (True, None)
    (letter,) = mail.outbox
    assert letter.to == ["new@example.com"]
    assert letter.subject == "Invitation to Acme Bcc: everybody@example.com"
    assert "Welcome & hello" in letter.body
    token = letter.body.partition("/accounts/invitation/#")[2].split()[0]
    assert find_offer(token=token).email == "new@example.com"


def test_a_mail_server_that_is_away_leaves_the_link(admin: Client, settings: Any) -> None:
    settings.MAIL_CONFIGURED = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    sent = invite(admin).json()
    assert sent["mailed"] is False
    assert "#" in sent["link"]


def test_a_suspended_tenant_takes_nobody_in(admin: Client, tenant: Tenant) -> None:
    token = token_of(invite(admin))
    Tenant.objects.filter(id=tenant.id).update(state=TenantState.SUSPENDED)
    assert follow(Client(), token).status_code == 403


def test_trying_is_bounded_and_csrf_is_asked_for(admin: Client) -> None:
    guest = Client(enforce_csrf_checks=True)
    assert guest.post(START, {"token": "x"}).status_code == 403
    statuses = [Client().post(START, {"token": f"wrong-{number}"}).status_code for number in range(32)]
    assert statuses[:30] == [404] * 30
    assert statuses[-1] == 429


def test_an_account_made_meanwhile_keeps_its_password(admin: Client, tenant: Tenant) -> None:
    token = token_of(invite(admin))
    hashed = find_offer(token=token).token_hash
    make_user("new@example.com", password=PASSWORD)
    with pytest.raises(Conflict) as told:
        join_as_new_person(hashed=hashed, name="Thief", password=GOOD)
    assert told.value.code == "account_exists"
    assert User.objects.get(email="new@example.com").check_password(PASSWORD)
    with tenant_scope(tenant.id):
        assert Invitation.objects.get().accepted_at is None


def test_sending_again_at_once_is_refused(tenant: Tenant) -> None:
    client = key_client(tenant, role=Role.OWNER)
    sent = invite(client).json()
    answer = client.post(f"/api/v1/invitations/{sent['id']}/resend")
    assert answer.json()["code"] == RateLimited.code


def test_what_ended_long_ago_is_forgotten(admin: Client, tenant: Tenant) -> None:
    assert invite(admin).status_code == 201
    soon = FrozenClock(datetime.now(UTC) + timedelta(days=96))
    late = FrozenClock(datetime.now(UTC) + timedelta(days=98))
    assert (forget_old_invitations(clock=soon), forget_old_invitations(clock=late)) == (0, 1)


def own_role(tenant: Tenant, name: str, *permissions: str) -> str:
    with tenant_scope(tenant.id):
        return str(CustomRole.objects.create(name=name, permissions=list(permissions)).id)


def test_an_invitation_may_offer_a_role_of_the_tenants_own() -> None:
    tenant = make_tenant()
    boss = key_client(tenant, role=Role.OWNER)
    role = own_role(tenant, "Librarian", "knowledge.read", "knowledge.write")
    body = {"email": "new@example.com", "custom_role": role}
    sent = boss.post("/api/v1/invitations", json.dumps(body), content_type="application/json")
    assert sent.status_code == 201, sent.content
    assert sent.json()["custom_role"]["name"] == "Librarian"
    gone = boss.delete(f"/api/v1/roles/{role}")
    assert (gone.status_code, gone.json()["code"]) == (409, "role_in_use")
    offer = find_offer(token=sent.json()["link"].partition("#")[2])
    assert offer.custom_role == "Librarian"
    joined = join_as_new_person(hashed=offer.token_hash, name="New", password="a long enough phrase 7")
    with tenant_scope(tenant.id):
        member = Membership.objects.get(id=joined.id)
        assert (member.role, str(member.custom_role_id)) == ("viewer", role)


def test_no_invitation_offers_more_than_one_has_or_a_role_of_others() -> None:
    tenant, other = make_tenant(), make_tenant()
    admin = key_client(tenant, role=Role.ADMIN)
    wrong = {
        403: own_role(tenant, "Owners", "tenant.write"),
        400: own_role(other, "Theirs", "knowledge.read"),
    }
    for status, role in wrong.items():
        body = json.dumps({"email": "new@example.com", "custom_role": role})
        answer = admin.post("/api/v1/invitations", body, content_type="application/json")
        assert answer.status_code == status
    for more in ({}, {"role": "member", "custom_role": own_role(tenant, "Mine", "knowledge.read")}):
        body = json.dumps({"email": "new@example.com", **more})
        assert admin.post("/api/v1/invitations", body, content_type="application/json").status_code == 400
    with tenant_scope(tenant.id):
        assert not Invitation.objects.exists()
