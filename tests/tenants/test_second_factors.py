"""Second factors: set up, asked for, required by a tenant, lost and reset."""

import json
import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.test import Client
from factories.tenants import (
    PASSWORD,
    key_client,
    make_membership,
    make_tenant,
    make_user,
    session_client,
)

from kernel.errors import NotFound
from substrate.models import PlatformAct
from substrate.units import run_unit
from tenants.models import Membership, Tenant, User
from tenants.services import authenticate_session, reset_second_factors
from tenants.services.sign_in_rules import SecondFactorRequired
from tenants.types import Role

pytestmark = pytest.mark.django_db
COOKIE = "atrium_session"


def code_of(secret: str) -> str:
    """The code an authenticator app shows now."""
    return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


def sign_in(user: User) -> tuple[Client, str]:
    """A browser after the password, and where it was sent."""
    client = Client()
    answer = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client, answer["Location"]


def set_up_app(client: Client) -> str:
    """Confirm the password, then turn the authenticator app on; returns its secret."""
    page = client.get("/accounts/2fa/totp/activate/")
    if page.status_code == 302:
        assert client.post(page["Location"], {"password": PASSWORD}).status_code == 302
        page = client.get("/accounts/2fa/totp/activate/")
    [secret] = re.findall(r'id="secret" value="([A-Z2-7]+)"', page.content.decode())
    answer = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/2fa/recovery-codes/")
    return str(secret)


def recovery_codes(client: Client) -> list[str]:
    """The codes as the page shows them."""
    page = client.get("/accounts/2fa/recovery-codes/").content.decode()
    [block] = re.findall(r'data-testid="codes">([^<]+)<', page)
    return str(block).split()


@pytest.fixture
def member() -> Membership:
    """Somebody with a password."""
    return make_membership(make_tenant(), password=PASSWORD)


@pytest.fixture
def strict() -> Tenant:
    """A tenant that asks for a second factor."""
    tenant = make_tenant("strict")
    Tenant.objects.filter(id=tenant.id).update(second_factor_required=True)
    return tenant


def test_an_app_is_set_up_and_asked_for_from_then_on(member: Membership) -> None:
    client, _ = sign_in(member.user)
    secret = set_up_app(client)
    again, where = sign_in(member.user)
    assert where == "/accounts/2fa/authenticate/"
    assert again.get("/api/v1/me").status_code == 401
    wrong = again.post(where, {"code": "000000" if code_of(secret) != "000000" else "111111"})
    assert wrong.status_code == 200
    assert again.get("/api/v1/me").status_code == 401
    # The code that turned it on is used up: it cannot be replayed by who looked over the shoulder.
    assert again.post(where, {"code": code_of(secret)}).status_code in (200, 302)


def test_setting_up_asks_for_the_password_again(member: Membership) -> None:
    client, _ = sign_in(member.user)
    page = client.get("/accounts/2fa/totp/activate/")
    assert page.status_code == 302
    assert page["Location"].startswith("/accounts/reauthenticate/")
    assert client.post("/accounts/reauthenticate/", {"password": "wrong"}).status_code == 200
    assert client.get("/accounts/2fa/totp/activate/").status_code == 302
    assert Client().get("/accounts/2fa/").status_code == 302


def test_a_recovery_code_works_once(member: Membership) -> None:
    client, _ = sign_in(member.user)
    set_up_app(client)
    codes = recovery_codes(client)
    assert len(codes) == len(set(codes)) == 10
    second, where = sign_in(member.user)
    assert second.post(where, {"code": codes[0]}).status_code == 302
    assert second.get("/api/v1/me").status_code == 200
    third, where = sign_in(member.user)
    assert third.post(where, {"code": codes[0]}).status_code == 200
    assert third.get("/api/v1/me").status_code == 401


def test_codes_cannot_be_guessed_without_end(member: Membership) -> None:
    client, _ = sign_in(member.user)
    codes = set_up_app(client) and recovery_codes(client)
    other, where = sign_in(member.user)
    for _ in range(5):
        other.post(where, {"code": "00000000"})
    refused = other.post(where, {"code": codes[1]})
    assert refused.status_code == 200
    assert b"Too many" in refused.content


def test_secrets_are_encrypted_and_changes_are_on_record(
    member: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    client, _ = sign_in(member.user)
    with django_capture_on_commit_callbacks(execute=True):
        secret = set_up_app(client)
    codes = recovery_codes(client)
    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not any(code in stored for code in codes)
    [act] = PlatformAct.objects.filter(kind="user")
    assert act.label == f"{member.user.email} (authenticator app turned on)"
    assert (act.actor, act.actor_id) == (member.user.email, member.user_id)


def test_turning_it_off_takes_the_recovery_codes_along(member: Membership) -> None:
    client, _ = sign_in(member.user)
    set_up_app(client)
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.exists()
    assert sign_in(member.user)[0].get("/api/v1/me").status_code == 200


def test_a_tenant_that_requires_one_lets_nobody_in_without(strict: Tenant) -> None:
    person = make_user(password=PASSWORD)
    make_membership(strict, person)
    make_membership(make_tenant("easy"), person)
    client, _ = sign_in(person)
    refused = client.get("/api/v1/me", headers={"x-atrium-tenant": "strict"})
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    # The other tenant asks for nothing.
    assert client.get("/api/v1/me", headers={"x-atrium-tenant": "easy"}).status_code == 200
    # Who is sent to sign in is led to where one is set up, and that counts for this very session.
    lone, _ = sign_in(make_membership(strict, make_user(password=PASSWORD)).user)
    assert lone.get("/accounts/login/?next=/")["Location"] == "/accounts/2fa/"
    assert b"Your organisation asks for one" in lone.get("/accounts/2fa/").content
    set_up_app(lone)
    assert lone.get("/api/v1/me").json()["tenant"]["slug"] == "strict"
    assert b"Your organisation asks for one" not in lone.get("/accounts/2fa/").content


def test_operators_do_not_visit_past_it(strict: Tenant) -> None:
    """An operator who is a member must bring the factor; being an operator is no way around."""
    operator = make_user(password=PASSWORD, is_operator=True)
    make_membership(strict, operator)
    client, _ = sign_in(operator)
    answer = client.get("/api/v1/me", headers={"x-atrium-tenant": "strict"})
    assert answer.json()["code"] == "second_factor_required"


def test_keys_are_not_concerned(strict: Tenant) -> None:
    assert key_client(strict).get("/api/v1/me").status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_sockets_ask_for_it_too(strict: Tenant) -> None:
    client = await run_unit(session_client, await run_unit(make_membership, strict))
    with pytest.raises(SecondFactorRequired):
        await authenticate_session(client.cookies[COOKIE].value, None)


def test_who_turns_it_on_must_have_one(member: Membership) -> None:
    tenant = member.tenant
    boss = make_membership(tenant, make_user(password=PASSWORD), role=Role.OWNER)
    client, _ = sign_in(boss.user)
    path, body = "/api/v1/sign-in", json.dumps({"second_factor_required": True})
    rules = client.get(path)
    assert rules.json() | {"version": ""} == {
        "second_factor_required": False,
        "second_factor_here": False,
        "version": "",
    }
    refused = client.put(path, body, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "second_factor_missing")
    set_up_app(client)
    stale = client.put(path, body, content_type="application/json", headers={"if-match": '"1"'})
    assert stale.status_code == 412
    changed = client.put(path, body, content_type="application/json", headers={"if-match": rules["ETag"]})
    assert (changed.status_code, changed.json()["second_factor_required"]) == (200, True)
    assert client.get("/api/v1/me").status_code == 200
    assert session_client(member).get("/api/v1/me").json()["code"] == "second_factor_required"


@pytest.mark.parametrize(
    "body", [{}, {"second_factor_required": "perhaps"}, {"second_factor_required": True, "x": 1}]
)
def test_bad_rules(body: dict[str, object]) -> None:
    client = key_client(make_tenant(), role=Role.OWNER)
    assert client.put("/api/v1/sign-in", json.dumps(body), content_type="application/json").status_code == 400


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.ADMIN])
def test_the_rules_are_the_owners(role: Role) -> None:
    client = key_client(make_tenant(), role=role)
    assert client.get("/api/v1/sign-in").status_code == 403


def test_an_operator_resets_what_was_lost(member: Membership) -> None:
    client, _ = sign_in(member.user)
    set_up_app(client)
    assert reset_second_factors(user_id=member.user_id) == 2
    assert client.get("/api/v1/me").status_code == 401
    fresh, _ = sign_in(member.user)
    assert fresh.get("/api/v1/me").status_code == 200
    assert PlatformAct.objects.filter(label=f"{member.user.email} (second factors reset)").exists()
    with pytest.raises(NotFound):
        reset_second_factors(user_id=member.id)


def test_somebody_without_any_way_in_is_told_why_and_is_not_sent_around_in_circles() -> None:
    tenant = make_tenant()
    member = make_membership(tenant, password=PASSWORD)
    client, _ = sign_in(member.user)
    Tenant.objects.filter(id=tenant.id).update(state="suspended")
    refused = client.get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
    page = client.get("/accounts/login/?next=/")
    assert page.status_code == 403
    assert b"This tenant is suspended." in page.content
