"""Attacks by the administrator of one tenant on people who are in others too: a password they chose opens their own alone."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from factories.tenants import make_principal, make_tenant, make_user, session_client

from kernel.errors import PermissionDenied
from substrate.crossing import system_scope
from substrate.units import run_unit
from tenants.models import Invitation, Session, Tenant, User
from tenants.selectors import memberships_of
from tenants.services import add_member, authenticate_session, create_user, invite, set_password
from tenants.session_engine import SESSION_ONLY_TENANT
from tenants.types import Role

pytestmark = pytest.mark.django_db
KNOWN = "a password that mallory knows"
OWN = "a password that only the victim knows"
VICTIM = "victim@example.com"


@pytest.fixture
def evil() -> Tenant:
    """Whose administrator chose the victim's password before anybody else knew the address."""
    tenant = make_tenant("evil")
    add_member(
        principal=make_principal(tenant, role=Role.ADMIN), email=VICTIM, role=Role.MEMBER, password=KNOWN
    )
    return tenant


@pytest.fixture
def good() -> Tenant:
    """Which then took the same address in as an administrator."""
    tenant = make_tenant("good")
    add_member(principal=make_principal(tenant, role=Role.OWNER), email=VICTIM, role=Role.ADMIN)
    return tenant


def sign_in(password: str) -> Client:
    """By the login page."""
    client = Client()
    answer = client.post("/accounts/login/", {"login": VICTIM, "password": password})
    assert answer.status_code == 302, answer.content
    return client


def me(client: Client, tenant: str = "") -> tuple[int, Any]:
    answer = client.get("/api/v1/me", headers={"x-atrium-tenant": tenant} if tenant else {})
    return answer.status_code, answer.json()


def test_a_password_that_a_tenant_gave_opens_that_tenant_alone(evil: Tenant, good: Tenant) -> None:
    client = sign_in(KNOWN)
    status, body = me(client)
    assert (status, body["tenant"]["slug"]) == (200, "evil")
    # Not even that there is another one is to be seen.
    assert [each["tenant"]["slug"] for each in body["memberships"]] == ["evil"]
    assert me(client, "good")[0] == 403
    assert me(client)[1]["tenant"]["slug"] == "evil"


@pytest.mark.django_db(transaction=True)
async def test_sockets_do_not_open_it_either(evil: Tenant, good: Tenant) -> None:
    client = await run_unit(sign_in, KNOWN)
    key = client.cookies["atrium_session"].value
    assert (await authenticate_session(key, None)).tenant_slug == "evil"
    with pytest.raises(PermissionDenied):
        await authenticate_session(key, "good")


def test_changing_it_oneself_is_no_way_out(evil: Tenant, good: Tenant) -> None:
    client = sign_in(KNOWN)
    form = {"oldpassword": KNOWN, "password1": OWN, "password2": OWN}
    assert client.post("/accounts/password/change/", form).status_code == 302
    assert me(client, "good")[0] == me(sign_in(OWN), "good")[0] == 403


def test_an_operator_whose_password_was_given_operates_nothing(evil: Tenant) -> None:
    User.objects.filter(email=VICTIM).update(is_operator=True)
    make_tenant("other")
    client = sign_in(KNOWN)
    body = me(client)[1]
    assert body["platform"] is False
    assert "platform.operate" not in body["permissions"]
    assert me(client, "other")[0] == 403
    assert client.get("/api/v1/tenants").status_code == 403
    assert client.get("/admin/").status_code in (302, 403)
    assert client.get("/admin/tenants/user/").status_code in (302, 403)


def test_sessions_elsewhere_are_neither_seen_nor_ended(evil: Tenant, good: Tenant) -> None:
    user = User.objects.get(email=VICTIM)
    with system_scope("tests", read_only=True):
        from_good = session_client(next(each for each in memberships(user) if each.tenant_id == good.id))
    client = sign_in(KNOWN)
    listed = client.get("/api/v1/sessions").json()["results"]
    assert [each["tenant"] for each in listed] == ["evil"]
    foreign = Session.objects.get(session_key=from_good.cookies["atrium_session"].value).public_id
    assert client.delete(f"/api/v1/sessions/{foreign}").status_code == 404
    assert client.delete("/api/v1/sessions").json() == {"ended": 0}
    client.post("/accounts/sessions/end/", {"session": "others"})
    assert me(from_good)[0] == 200


def memberships(user: User) -> list[Any]:
    return memberships_of(user.id)


def test_who_shows_that_the_address_is_theirs_is_free(evil: Tenant) -> None:
    """By an invitation: they choose a password, and what was set up under the old one is gone."""
    tenant = make_tenant("good")
    boss = make_principal(tenant, role=Role.OWNER)
    sent = invite(principal=boss, email=VICTIM, role=Role.MEMBER, message="", base_url="https://x.test")
    assert sent.link is not None
    mallory, victim = sign_in(KNOWN), sign_in(KNOWN)
    Authenticator.objects.create(
        user=User.objects.get(email=VICTIM), type=Authenticator.Type.WEBAUTHN, data={"name": "Mallory's"}
    )
    victim.post("/accounts/invitation/", {"token": sent.link})
    page = victim.get("/accounts/invitation/accept/")
    assert b"Choose a password of your own" in page.content
    assert victim.post("/accounts/invitation/accept/", {}).status_code == 200
    assert victim.post("/accounts/invitation/accept/", {"password": "short"}).status_code == 200
    with system_scope("tests", read_only=True):
        assert not Invitation.objects.exclude(accepted_at=None).exists()
    assert victim.post("/accounts/invitation/accept/", {"password": OWN}).status_code == 302
    assert me(victim, "good")[1]["tenant"]["slug"] == "good"
    assert me(victim, "evil")[0] == 200
    assert me(mallory)[0] == 401
    assert not Authenticator.objects.exists()
    refused = Client().post("/accounts/login/", {"login": VICTIM, "password": KNOWN})
    assert refused.status_code == 200
    assert me(sign_in(OWN), "good")[0] == 200


def test_an_operator_gives_passwords_that_open_everything(evil: Tenant, good: Tenant) -> None:
    set_password(user_id=User.objects.get(email=VICTIM).id, password=OWN)
    assert me(sign_in(OWN), "good")[0] == me(sign_in(OWN), "evil")[0] == 200
    made = create_user(email="new@example.com", tenant_slug="evil", role=Role.MEMBER, password=OWN)
    assert User.objects.get(id=made.member.user_id).password_given_by is None


def test_a_known_person_keeps_their_password(evil: Tenant) -> None:
    person = make_user("known@example.com", password=OWN)
    add_member(
        principal=make_principal(evil, role=Role.ADMIN), email=person.email, role=Role.MEMBER, password=KNOWN
    )
    person.refresh_from_db()
    assert person.check_password(OWN)
    assert person.password_given_by is None


def test_a_tenant_that_is_gone_opens_nothing(evil: Tenant, good: Tenant) -> None:
    client = sign_in(KNOWN)
    User.objects.filter(email=VICTIM).update(password_given_by=make_user().id)
    fresh = sign_in(KNOWN)
    assert me(fresh)[0] == 403
    assert fresh.session[SESSION_ONLY_TENANT] != str(evil.id)
    assert me(client)[0] == 200
