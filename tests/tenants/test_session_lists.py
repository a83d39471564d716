"""Sessions as people see them: where from, with what, ended by themselves or by who may."""

import json
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.test import Client
from django.utils import timezone
from factories.tenants import PASSWORD, key_client, make_membership, make_tenant, make_user, session_client

from substrate.audit import acts_of_tenant
from substrate.models import Change
from tenants.devices import name_device
from tenants.models import Membership, Session
from tenants.services import forget_old_sessions, set_password
from tenants.session_engine import SessionStore
from tenants.types import Role

pytestmark = pytest.mark.django_db
COOKIE = "atrium_session"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


def signed_in(membership: Membership, *, device: str = FIREFOX, address: str = "192.0.2.7") -> Client:
    """A browser whose user came by the login page."""
    client = Client(headers={"user-agent": device}, REMOTE_ADDR=address)
    answer = client.post("/accounts/login/", {"login": membership.user.email, "password": PASSWORD})
    assert answer.status_code == 302, answer.content
    return client


def ids(client: Client, path: str = "/api/v1/sessions") -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return [each["id"] for each in answer.json()["results"]]


def works(client: Client) -> bool:
    return client.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox · Linux"),
        (PHONE, "Safari · iPhone"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0",
            "Edge · Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36",
            "Chrome · Android",
        ),
        ("curl/8.5.0", ""),
        ("", ""),
    ],
)
def test_devices_have_names(user_agent: str, name: str) -> None:
    assert name_device(user_agent) == name


def test_a_list_says_where_from_and_with_what_and_never_the_key() -> None:
    member = make_membership(make_tenant("acme"), password=PASSWORD)
    desk, phone = signed_in(member), signed_in(member, device=PHONE, address="2001:db8::1")
    answer = phone.get("/api/v1/sessions")
    first, second = answer.json()["results"]
    assert (first["current"], first["device"], first["address"]) == (True, "Safari · iPhone", "2001:db8::1")
    assert (second["current"], second["device"], second["address"]) == (False, "Firefox · Linux", "192.0.2.7")
    assert first["tenant"] == "acme"
    for client in (desk, phone):
        assert client.cookies[COOKIE].value not in answer.content.decode()


def test_one_ends_one_of_ones_own_or_all_others() -> None:
    member = make_membership(make_tenant(), password=PASSWORD)
    here, there, elsewhere = (signed_in(member) for _ in range(3))
    ended = ids(here)[1]
    assert here.delete(f"/api/v1/sessions/{ended}").status_code == 204
    assert here.delete(f"/api/v1/sessions/{ended}").status_code == 404
    assert [works(there), works(elsewhere)].count(True) == 1
    assert here.delete("/api/v1/sessions").json() == {"ended": 1}
    assert [works(here), works(there), works(elsewhere)] == [True, False, False]
    assert Change.objects.filter(kind="session", object_id=str(member.user_id)).exists()


def test_others_cannot_end_it() -> None:
    tenant = make_tenant()
    mine, other = make_membership(tenant), make_membership(tenant, role=Role.OWNER)
    client, stranger = session_client(mine), session_client(other)
    session_id = ids(client)[0]
    for path in (session_id, "0" * 8, "ü"):
        assert stranger.delete(f"/api/v1/sessions/{path}").status_code == 404
    assert works(client)


def test_a_key_has_no_sessions() -> None:
    tenant = make_tenant()
    member = make_membership(tenant)
    session_client(member)
    client = key_client(tenant, user=member.user)
    assert client.get("/api/v1/sessions").status_code == 403
    assert client.delete("/api/v1/sessions").status_code == 403


def test_administrators_end_sessions_of_their_tenant_alone() -> None:
    """One person in two tenants: each administrator sees and ends what is bound to their own."""
    acme, other = make_tenant("acme"), make_tenant("other")
    person = make_user()
    here, there = make_membership(acme, person), make_membership(other, person)
    client, foreign = session_client(here), session_client(there)
    boss = session_client(make_membership(acme, role=Role.ADMIN))
    path = f"/api/v1/users/{person.id}/sessions"
    assert len(ids(boss, path)) == 1
    foreign_id = ids(session_client(make_membership(other, role=Role.ADMIN)), path)[0]
    assert boss.delete(f"{path}/{foreign_id}").status_code == 404
    assert boss.delete(path).json() == {"ended": 1}
    assert (works(client), works(foreign)) == (False, True)
    [act] = [each for each in acts_of_tenant(tenant_id=acme.id, limit=10) if each.kind == "session"]
    assert (act.act, act.label) == ("ended", f"{person.email} (1)")


def test_who_may_not_see_sessions_of_members() -> None:
    tenant, foreign = make_tenant(), make_tenant()
    member, owner = make_membership(tenant), make_membership(tenant, role=Role.OWNER)
    client = session_client(owner)
    path = f"/api/v1/users/{owner.user_id}/sessions"
    assert session_client(member).get(path).status_code == 403
    assert session_client(make_membership(foreign, role=Role.OWNER)).get(path).status_code == 404
    # An administrator sees an owner's sessions, and ends none of them.
    admin = session_client(make_membership(tenant, role=Role.ADMIN))
    assert len(ids(admin, path)) == 1
    assert admin.delete(path).status_code == 403
    assert works(client)


def test_a_new_password_ends_the_other_sessions() -> None:
    member = make_membership(make_tenant(), password=PASSWORD)
    here, there = signed_in(member), signed_in(member)
    fresh = "another horse battery staple"
    form = {"oldpassword": PASSWORD, "password1": fresh, "password2": fresh}
    assert here.post("/accounts/password/change/", form).status_code == 302
    assert (works(here), works(there)) == (True, False)
    set_password(user_id=member.user_id, password="yet another horse battery")
    assert not works(here)
    assert not Session.objects.filter(user_id=member.user_id).exists()


def test_when_it_was_seen_is_written_once_a_minute_and_its_beginning_stays() -> None:
    client = session_client(make_membership(make_tenant()))
    key = client.cookies[COOKIE].value
    long_ago = timezone.now() - timedelta(hours=2)
    Session.objects.filter(session_key=key).update(last_seen_at=long_ago, created_at=long_ago)
    assert works(client)
    seen = Session.objects.get(session_key=key).last_seen_at
    assert seen > long_ago
    assert works(client)
    assert Session.objects.get(session_key=key).last_seen_at == seen
    store = SessionStore(key)
    store["note"] = "changed"
    store.save()
    row = Session.objects.get(session_key=key)
    assert (row.created_at, row.last_seen_at) == (long_ago, seen)


def test_a_session_that_was_ended_meanwhile_is_not_written_again() -> None:
    client = session_client(make_membership(make_tenant()))
    store = SessionStore(client.cookies[COOKIE].value)
    store["note"] = "loaded"
    Session.objects.all().delete()
    with pytest.raises(UpdateError):
        store.save()
    assert not Session.objects.exists()


def test_expired_sessions_are_forgotten() -> None:
    gone, kept = (session_client(make_membership(make_tenant())) for _ in range(2))
    Session.objects.filter(session_key=gone.cookies[COOKIE].value).update(
        expire_date=timezone.now() - timedelta(seconds=1)
    )
    assert forget_old_sessions() == 1
    assert works(kept)


def test_the_page_of_ones_own_sessions() -> None:
    member = make_membership(make_tenant("acme", name="Acme <b>"), password=PASSWORD)
    here, there = signed_in(member), signed_in(member, device=PHONE)
    page = here.get("/accounts/sessions/").content.decode()
    assert "Firefox · Linux" in page
    assert "Safari · iPhone" in page
    assert "Acme &lt;b&gt;" in page
    assert here.post("/accounts/sessions/end/", {"session": ids(here)[1]}).status_code == 302
    assert not works(there)
    assert here.post("/accounts/sessions/end/", {"session": "rubbish"}).status_code == 302
    assert Client().get("/accounts/sessions/").status_code == 302
    assert here.get("/accounts/sessions/end/").status_code == 405
    there = signed_in(member)
    here.post("/accounts/sessions/end/", {"session": "others"})
    assert (works(here), works(there)) == (True, False)


def test_a_disabled_membership_has_no_sessions_left_even_when_it_is_enabled_again() -> None:
    tenant = make_tenant()
    member = make_membership(tenant)
    client, boss = session_client(member), key_client(tenant, role=Role.OWNER)
    path = f"/api/v1/users/{member.user_id}"
    for disabled in (True, False):
        body = json.dumps({"disabled": disabled})
        assert boss.patch(path, body, content_type="application/json").status_code == 200
    assert client.get("/api/v1/me").status_code == 401


def test_who_is_removed_has_no_sessions_left() -> None:
    tenant = make_tenant()
    member = make_membership(tenant)
    client, boss = session_client(member), key_client(tenant, role=Role.OWNER)
    assert boss.delete(f"/api/v1/users/{member.user_id}").status_code == 204
    assert client.get("/api/v1/me").status_code == 401
    assert not Session.objects.filter(user_id=member.user_id).exists()
