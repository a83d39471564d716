"""Signing in by a tenant's own provider, against a real one on loopback: who comes in, and what is not believed."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.cache import cache
from django.test import Client
from factories.tenants import (
    key_client,
    make_membership,
    make_principal,
    make_tenant,
    make_user,
    session_client,
)
from fakes.oidc_server import CLIENT_ID, CLIENT_SECRET, KID, OidcServer, new_key, oidc_server

from kernel.backends import backends
from kernel.errors import UpstreamFailed
from substrate.audit import acts_of_tenant
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.adapters.provider_http import HttpProviderFetch
from tenants.models import (
    CustomRole,
    Group,
    GroupMember,
    Identity,
    IdentityProvider,
    Membership,
    Tenant,
    User,
)
from tenants.services.deleting import ask_deletion
from tenants.types import Role

pytestmark = pytest.mark.django_db
PATH = "/api/v1/identity-providers"
JSON = "application/json"


@pytest.fixture(scope="module")
def running() -> Iterator[OidcServer]:
    """One provider for all tests."""
    with oidc_server() as server:
        yield server


@pytest.fixture
def provider(running: OidcServer) -> OidcServer:
    """The provider, honest again."""
    fresh = OidcServer()
    for name in ("person", "forge", "signer", "document", "codes", "refuses", "seen"):
        setattr(running, name, getattr(fresh, name))
    backends.replace("provider_fetch", HttpProviderFetch(private_hosts=("127.0.0.1",)))
    # All tests come from one address: what one tried is not held against the next.
    cache.clear()
    return running


@pytest.fixture
def acme() -> Tenant:
    """A tenant that signs its people in by its own provider."""
    return make_tenant("acme")


def set_up(provider: OidcServer, tenant: Tenant, **values: Any) -> dict[str, Any]:
    """The provider's entry in a tenant, made over REST; `verified` is an operator's word on its domains."""
    verified = values.pop("verified", False)
    body = {
        "name": "Acme",
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "enabled": True,
        **values,
    }
    owner = key_client(tenant, role=Role.OWNER)
    answer = owner.post(PATH, json.dumps(body), content_type=JSON)
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    if verified:
        operator = make_user(is_operator=True)
        boss = session_client(make_membership(tenant, operator, role=Role.OWNER))
        told = boss.put(f"{PATH}/{made['id']}/domains", json.dumps({"verified": True}), content_type=JSON)
        assert told.json()["domains_verified"] is True, told.content
    return made


def start_at(tenant: Tenant, made: dict[str, Any]) -> str:
    return f"/accounts/sso/{tenant.id}/{made['id']}/"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def visit(address: str) -> str:
    """The browser at the provider: where it is sent on to."""
    opener = urllib.request.build_opener(_Stay)
    with pytest.raises(urllib.error.HTTPError) as answer:
        opener.open(address, timeout=10)
    answer.value.close()
    assert answer.value.code == 302
    return str(answer.value.headers["location"])


def go(client: Client, tenant: Tenant, made: dict[str, Any], query: str = "") -> Any:
    """The whole way: away, to the provider, and back."""
    sent = client.get(start_at(tenant, made) + query)
    assert sent.status_code == 302, sent.content
    back = urlsplit(visit(sent["Location"]))
    return client.get(f"{back.path}?{back.query}")


def slug_of(client: Client) -> str:
    answer = client.get("/api/v1/me")
    return str(answer.json()["tenant"]["slug"]) if answer.status_code == 200 else ""


def member_of(tenant: Tenant, email: str) -> Membership | None:
    with system_scope("tests", read_only=True):
        return Membership.objects.filter(tenant=tenant, user__email=email).first()


def test_somebody_new_comes_in_and_is_known_from_then_on(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, create_members=True, default_role="viewer")
    client = Client()
    answer = go(client, acme, made, "?next=/console/usage")
    assert (answer.status_code, answer["Location"]) == (302, "/console/usage")
    assert slug_of(client) == "acme"
    member = member_of(acme, "ada@acme.test")
    assert member is not None
    assert member.role == "viewer"
    assert not User.objects.get(email="ada@acme.test").has_usable_password()
    # The provider's name for them counts, whatever their address becomes.
    provider.person = {**provider.person, "email": "ada.new@acme.test"}
    again = Client()
    go(again, acme, made)
    assert slug_of(again) == "acme"
    assert not User.objects.filter(email="ada.new@acme.test").exists()
    labels = [each.label for each in acts_of_tenant(tenant_id=acme.id, limit=20)]
    assert "ada@acme.test (by Acme)" in labels


def test_who_is_no_member_stays_out_unless_members_are_made(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme)
    client = Client()
    answer = go(client, acme, made)
    assert answer.status_code == 403
    assert b"not a member" in answer.content
    assert slug_of(client) == ""
    assert not User.objects.filter(email="ada@acme.test").exists()


def test_what_a_provider_must_allow_is_known_before_there_is_one(acme: Tenant) -> None:
    owner = session_client(make_membership(acme, role=Role.OWNER))
    found = owner.get(PATH).json()
    assert (found["results"], found["redirect_uri"]) == ([], "http://testserver/accounts/sso/callback/")


@pytest.mark.parametrize(
    ("domains", "verified", "email_verified", "enters"),
    [
        ([], False, True, False),
        (["acme.test"], False, True, False),
        (["other.test"], True, True, False),
        (["acme.test"], True, False, False),
        (["acme.test"], True, True, True),
    ],
)
def test_an_equal_address_alone_links_nothing(
    provider: OidcServer, acme: Tenant, domains: list[str], verified: bool, email_verified: bool, enters: bool
) -> None:
    """An account that exists is linked for a domain that an operator verified, and by nothing less."""
    person = make_user("ada@acme.test")
    make_membership(acme, person)
    make_membership(make_tenant("other"), person, role=Role.OWNER)
    provider.person = {**provider.person, "email_verified": email_verified}
    made = set_up(provider, acme, domains=domains, create_members=True, verified=verified)
    client = Client()
    answer = go(client, acme, made)
    assert answer.status_code == (302 if enters else 403), answer.content
    assert slug_of(client) == ("acme" if enters else "")
    with system_scope("tests", read_only=True):
        assert Identity.objects.exists() is enters


def test_what_one_tenant_vouches_for_opens_no_other(provider: OidcServer, acme: Tenant) -> None:
    """The attack: a tenant's provider names an operator who owns another tenant."""
    person = make_user("ada@acme.test", is_operator=True)
    other = make_tenant("other")
    theirs = make_membership(other, person, role=Role.OWNER)
    make_membership(acme, person)
    made = set_up(provider, acme, domains=["acme.test"], verified=True)
    at_other = session_client(theirs)
    client = Client()
    go(client, acme, made)
    me = client.get("/api/v1/me").json()
    assert (me["tenant"]["slug"], me["platform"], len(me["memberships"])) == ("acme", False, 1)
    assert client.get("/api/v1/me", headers={"x-atrium-tenant": "other"}).status_code == 403
    assert client.get("/api/v1/tenants").status_code == 403
    assert client.get("/admin/").status_code in (302, 403)
    assert [each["tenant"] for each in client.get("/api/v1/sessions").json()["results"]] == ["acme"]
    client.delete("/api/v1/sessions")
    assert at_other.get("/api/v1/me").status_code == 200
    # Nor does it reach what protects the account everywhere: no password is set, no passkey added.
    for page in ("password/set/", "password/change/", "2fa/", "2fa/webauthn/add/", "2fa/totp/activate/", "email/",
                 "invitation/accept/", "reauthenticate/"):  # fmt: skip
        assert client.get(f"/accounts/{page}").status_code == 403, page
        assert client.post(f"/accounts/{page}", {}).status_code == 403, page


def test_a_provider_is_found_in_its_own_tenant_alone(provider: OidcServer, acme: Tenant) -> None:
    """Its address under another tenant, and its administrators at another's entry."""
    made = set_up(provider, acme, create_members=True)
    foreign = make_tenant("foreign")
    assert Client().get(start_at(foreign, made)).status_code == 404
    for tenant_id, provider_id in (("ü", made["id"]), (acme.id, "x"), (foreign.id, foreign.id)):
        assert Client().get(f"/accounts/sso/{tenant_id}/{provider_id}/").status_code == 404
    owner = key_client(foreign, role=Role.OWNER)
    one = f"{PATH}/{made['id']}"
    assert owner.get(one).status_code == 404
    assert owner.patch(one, json.dumps({"enabled": False}), content_type=JSON).status_code == 404
    assert owner.delete(one).status_code == 404
    assert owner.post(f"{one}/test").status_code == 404
    assert owner.get(PATH).json()["results"] == []
    operator = session_client(make_membership(foreign, make_user(is_operator=True), role=Role.OWNER))
    told = operator.put(f"{one}/domains", json.dumps({"verified": True}), content_type=JSON)
    assert told.status_code == 404


def test_a_domain_speaks_for_one_tenant_alone(provider: OidcServer, acme: Tenant) -> None:
    set_up(provider, acme, domains=["acme.test"], verified=True)
    thief = make_tenant("thief")
    made = set_up(provider, thief, domains=["acme.test"])
    assert key_client(thief, role=Role.OWNER).put(
        f"{PATH}/{made['id']}/domains", json.dumps({"verified": True}), content_type=JSON
    ).status_code == 403  # fmt: skip
    operator = session_client(make_membership(thief, make_user(is_operator=True), role=Role.OWNER))
    told = operator.put(f"{PATH}/{made['id']}/domains", json.dumps({"verified": True}), content_type=JSON)
    assert told.status_code == 409
    # By address people find the one that is verified.
    page = Client().get("/accounts/sso/?who=ada@ACME.test").content.decode()
    assert str(acme.id) in page
    assert str(thief.id) not in page


def test_other_domains_or_another_issuer_are_verified_anew(provider: OidcServer, acme: Tenant) -> None:
    owner = key_client(acme, role=Role.OWNER)
    made = set_up(provider, acme, domains=["acme.test"], verified=True)
    for change in ({"domains": ["acme.test", "bank.test"]}, {"issuer": "https://evil.test"}):
        with system_scope("tests"):
            IdentityProvider.objects.update(domains_verified_at="2026-01-01T00:00:00Z")
        told = owner.patch(f"{PATH}/{made['id']}", json.dumps(change), content_type=JSON)
        assert told.json()["domains_verified"] is False, change


def test_who_was_disabled_or_removed_does_not_come_back(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, create_members=True)
    go(Client(), acme, made)
    user = User.objects.get(email="ada@acme.test")
    boss = key_client(acme, role=Role.OWNER)
    boss.patch(f"/api/v1/users/{user.id}", json.dumps({"disabled": True}), content_type=JSON)
    assert go(Client(), acme, made).status_code == 403
    assert boss.delete(f"/api/v1/users/{user.id}").status_code == 204
    assert go(Client(), acme, made).status_code == 403
    assert member_of(acme, "ada@acme.test") is None
    User.objects.filter(id=user.id).update(is_active=False)
    make_membership(acme, user)
    assert go(Client(), acme, made).status_code == 403
    Tenant.objects.filter(id=acme.id).update(state="suspended")
    assert Client().get(start_at(acme, made)).status_code == 403


def test_whose_tenant_is_to_be_deleted_comes_in_to_undo_it_and_for_nothing_else(
    provider: OidcServer, acme: Tenant
) -> None:
    made = set_up(provider, acme, create_members=True)
    owner = Client()
    go(owner, acme, made)
    with tenant_scope(acme.id):
        Membership.objects.filter(user__email="ada@acme.test").update(role=Role.OWNER.value)
    asked = owner.post("/api/v1/tenant/deletion", json.dumps({"confirm": "acme"}), content_type=JSON)
    assert asked.status_code == 201, asked.content
    # Signed out; a person of their own provider has no password to come back by.
    back = Client()
    assert str(made["id"]) in back.get("/accounts/login/?tenant=acme").content.decode()
    answer = go(back, acme, made)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/deletions/")
    assert back.get("/api/v1/me").json()["code"] == "tenant_suspended"
    for page in ("/accounts/deletions/", "/accounts/sessions/"):
        assert "/accounts/deletions/" in back.get(page).content.decode()
    # Nobody becomes a member of what is about to go.
    provider.person = {**provider.person, "sub": "another", "email": "new@acme.test"}
    assert go(Client(), acme, made).status_code == 403
    assert not User.objects.filter(email="new@acme.test").exists()
    kept = back.post("/accounts/deletions/withdraw/", {"tenant": str(acme.id)})
    assert kept.status_code == 200
    assert slug_of(back) == "acme"


def test_what_operators_have_deleted_nobody_enters(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, create_members=True)
    go(Client(), acme, made)
    boss = make_principal(make_tenant("home"), is_operator=True)
    ask_deletion(principal=boss, tenant_id=acme.id, confirm="acme")
    assert Client().get(start_at(acme, made)).status_code == 403
    assert str(made["id"]) not in Client().get("/accounts/login/?tenant=acme").content.decode()


Forge = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (lambda c: {**c, "exp": c["iat"] - 120}, "expired"),
        (lambda c: {**c, "aud": "another"}, "another client"),
        (lambda c: {**c, "aud": [CLIENT_ID, "another"]}, "another client"),
        (lambda c: {**c, "aud": [CLIENT_ID, "another"], "azp": "another"}, "another client"),
        (lambda c: {**c, "iss": "https://evil.test"}, "another issuer"),
        (lambda c: {**c, "nonce": "of another sign-in"}, "another sign-in"),
        (lambda c: {**c, "iat": c["iat"] - 3600, "exp": c["exp"] + 3600}, "too old"),
        (lambda c: {**c, "iat": c["iat"] + 3600}, "not valid"),
        (lambda c: {name: value for name, value in c.items() if name != "nonce"}, "not valid"),
        (lambda c: {name: value for name, value in c.items() if name != "exp"}, "not valid"),
        (lambda c: {name: value for name, value in c.items() if name != "sub"}, "not valid"),
        (lambda c: {**c, "sub": ""}, "names nobody"),
    ],
)
def test_answers_that_are_not_believed(provider: OidcServer, acme: Tenant, forge: Forge, told: str) -> None:
    made = set_up(provider, acme, create_members=True)
    provider.forge = forge
    client = Client()
    answer = go(client, acme, made)
    assert answer.status_code == 401
    assert told in answer.content.decode()
    assert slug_of(client) == ""
    assert not User.objects.filter(email="ada@acme.test").exists()


def public_pem(provider: OidcServer) -> bytes:
    return provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "how", ["foreign key", "no signature", "the public key as a shared secret", "unknown key id"]
)
def test_signatures_that_are_not_the_providers(provider: OidcServer, acme: Tenant, how: str) -> None:
    made = set_up(provider, acme, create_members=True)

    def forged(claims: dict[str, Any]) -> str:
        if how == "no signature":
            return jwt.encode(claims, None, algorithm="none")
        if how == "foreign key":
            return jwt.encode(claims, new_key(), algorithm="RS256", headers={"kid": KID})
        if how == "unknown key id":
            return jwt.encode(claims, provider.key, algorithm="RS256", headers={"kid": "other"})
        # PyJWT refuses to sign with a public key, an attacker does not.
        head, body, _ = jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": KID}).split(".")
        hmac_key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = hmac_key.sign(f"{head}.{body}".encode(), public_pem(provider))
        return f"{head}.{body}.{jwt.utils.base64url_encode(signature).decode()}"

    provider.signer = forged
    answer = go(Client(), acme, made)
    assert answer.status_code == 401
    assert not User.objects.filter(email="ada@acme.test").exists()


def test_an_answer_works_once_and_for_who_asked(provider: OidcServer, acme: Tenant) -> None:
    """Replayed, in another browser, with another state, without any sign-in under way."""
    made = set_up(provider, acme, create_members=True)
    client, victim = Client(), Client()
    back = urlsplit(visit(client.get(start_at(acme, made))["Location"]))
    answer = f"{back.path}?{back.query}"
    # Another browser, with nothing under way, and with a sign-in of its own under way.
    assert victim.get(answer).status_code == 401
    victim.get(start_at(acme, made))
    assert victim.get(answer).status_code == 401
    assert client.get(answer).status_code == 302
    assert client.get(answer).status_code == 401
    # The flow is gone with the first answer, also when that one was wrong.
    state = parse_qs(urlsplit(client.get(start_at(acme, made))["Location"]).query)["state"][0]
    assert client.get("/accounts/sso/callback/?state=wrong&code=x").status_code == 401
    assert client.get(f"/accounts/sso/callback/?state={state}&code=x").status_code == 401
    # An answer of another issuer (mix-up).
    back = urlsplit(visit(client.get(start_at(acme, made))["Location"]))
    mixed = back.query.replace("iss=", "iss=https%3A%2F%2Fevil.test&x=")
    assert client.get(f"{back.path}?{mixed}").status_code == 401


def test_a_sign_in_that_takes_too_long(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, create_members=True)
    client = Client()
    back = urlsplit(visit(client.get(start_at(acme, made))["Location"]))
    session = client.session
    session["atrium_sso"] = {**session["atrium_sso"], "began_at": time.time() - 3600}
    session.save()
    assert b"too long" in client.get(f"{back.path}?{back.query}").content


def test_words_that_a_stranger_puts_into_an_address_are_not_the_providers(
    provider: OidcServer, acme: Tenant
) -> None:
    made = set_up(provider, acme)
    client = Client()
    assert client.get(start_at(acme, made)).status_code == 302
    answer = client.get("/accounts/sso/callback/?error=x&error_description=Call+0900+now&state=guessed")
    assert answer.status_code == 401
    assert "0900" not in answer.content.decode()


def test_a_provider_that_says_no_is_quoted_safely(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme)
    provider.refuses = "<script>access_denied</script>"
    answer = go(Client(), acme, made)
    assert answer.status_code == 401
    assert b"&lt;script&gt;access_denied" in answer.content


def test_next_leads_nowhere_else(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, create_members=True)
    for evil in ("https://evil.test/", "//evil.test", "javascript:alert(1)"):
        assert go(Client(), acme, made, f"?next={evil}")["Location"] == "/"


def test_a_second_factor_is_the_providers_business(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, create_members=True)
    Tenant.objects.filter(id=acme.id).update(second_factor_required=True)
    client = Client()
    go(client, acme, made)
    assert slug_of(client) == "acme"


def test_the_connection_is_tested_step_by_step(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, enabled=False)
    owner = key_client(acme, role=Role.OWNER)
    test = f"{PATH}/{made['id']}/test"
    report = owner.post(test).json()
    assert report["passed"] is True
    assert [each["step"] for each in report["steps"]] == ["discovery", "configuration", "keys"]
    provider.document = {"issuer": "https://other.test"}
    report = owner.post(test).json()
    assert [each["passed"] for each in report["steps"]] == [True, False]
    assert "https://other.test" in report["steps"][1]["message"]
    provider.document = {"jwks_uri": f"{provider.issuer}/nowhere"}
    assert owner.post(test).json()["steps"][2]["passed"] is False
    provider.document = {"id_token_signing_alg_values_supported": ["HS256"]}
    assert "algorithm" in owner.post(test).json()["steps"][1]["message"]
    owner.patch(f"{PATH}/{made['id']}", json.dumps({"issuer": "https://127.0.0.1:1"}), content_type=JSON)
    [step] = owner.post(test).json()["steps"]
    assert (step["passed"], "does not answer" in step["message"]) == (False, True)


def test_a_dry_sign_in_shows_what_came_and_stores_nothing(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, enabled=False, create_members=True)
    boss = session_client(make_membership(acme, role=Role.OWNER))
    provider.person = {**provider.person, "name": "<b>Ada</b>"}
    answer = go(boss, acme, made, "?trial=1")
    assert answer.status_code == 200
    assert b"&lt;b&gt;Ada" in answer.content
    assert not User.objects.filter(email="ada@acme.test").exists()
    assert boss.get("/api/v1/me").json()["role"] == "owner"
    # Others do not try it, and without being enabled it signs nobody in.
    for client in (Client(), session_client(make_membership(acme)),
                   session_client(make_membership(make_tenant(), role=Role.OWNER))):  # fmt: skip
        assert client.get(start_at(acme, made) + "?trial=1").status_code == 403
    assert Client().get(start_at(acme, made)).status_code == 404


def test_secrets_are_encrypted_and_never_shown(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme)
    owner = key_client(acme, role=Role.OWNER)
    answer = owner.get(f"{PATH}/{made['id']}")
    assert answer.json()["has_secret"] is True
    assert CLIENT_SECRET not in json.dumps(made) + answer.content.decode()
    with system_scope("tests", read_only=True):
        assert CLIENT_SECRET not in IdentityProvider.objects.get().client_secret
    owner.patch(f"{PATH}/{made['id']}", json.dumps({"client_secret": ""}), content_type=JSON)
    assert owner.get(f"{PATH}/{made['id']}").json()["has_secret"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "issuer": "https://x.test", "client_id": "c"},
        {"name": "n", "issuer": "ftp://x", "client_id": "c"},
        {"name": "n", "issuer": "https://x.test"},
        {"name": "n", "issuer": "https://x.test", "client_id": "c", "default_role": "owner"},
        {"name": "n", "issuer": "https://x.test", "client_id": "c", "domains": ["no domain"]},
        {"name": "n", "issuer": "https://x.test", "client_id": "c", "domains": ["*.test"]},
        {"name": "n", "issuer": "https://x.test", "client_id": "c", "domains_verified": True},
    ],
)
def test_bad_entries(acme: Tenant, body: dict[str, Any]) -> None:
    owner = key_client(acme, role=Role.OWNER)
    assert owner.post(PATH, json.dumps(body), content_type=JSON).status_code == 400
    assert owner.get(PATH).json()["results"] == []


def test_who_may_set_it_up(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme)
    assert key_client(acme, role=Role.ADMIN).get(PATH).status_code == 403
    owner = key_client(acme, role=Role.OWNER)
    twice = {"name": "Acme", "issuer": "https://x.test", "client_id": "c"}
    assert owner.post(PATH, json.dumps(twice), content_type=JSON).status_code == 409
    stale = owner.patch(f"{PATH}/{made['id']}", "{}", content_type=JSON, headers={"if-match": '"1"'})
    assert stale.status_code == 412
    assert owner.delete(f"{PATH}/{made['id']}").status_code == 204
    assert owner.get(f"{PATH}/{made['id']}").status_code == 404


def test_the_sign_in_page_offers_what_the_organisation_has(provider: OidcServer, acme: Tenant) -> None:
    made = set_up(provider, acme, name="Acme <b>")
    page = Client().get("/accounts/login/?tenant=acme").content.decode()
    assert start_at(acme, made) in page
    assert "Acme &lt;b&gt;" in page
    assert start_at(acme, made) not in Client().get("/accounts/login/").content.decode()
    assert "No sign-in is set up" in Client().get("/accounts/sso/?who=nobody").content.decode()


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://localhost/", "https://10.0.0.1/", "https://169.254.169.254/latest/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://2130706433/", "https://0x7f.1/",
        "https://100.64.0.1/", "https://[fd00:ec2::254]/", "https://0.0.0.0/", "https://[64:ff9b::7f00:1]/",
        "http://example.com/", "ftp://example.com/", "https://user@example.com/", "https:///x", "file:///etc/passwd",
        "https://[::1/", "https://example.com:99999/",
    ],
)  # fmt: skip
def test_tenants_do_not_send_the_server_into_its_own_network(url: str) -> None:
    with pytest.raises(UpstreamFailed):
        HttpProviderFetch().get_document(url)


def mapped(provider: OidcServer, tenant: Tenant, *rules: dict[str, Any], **values: Any) -> dict[str, Any]:
    return set_up(
        provider, tenant, create_members=True, default_role="viewer", mappings=list(rules), **values
    )


def groups_of(tenant: Tenant, email: str) -> set[str]:
    with system_scope("tests", read_only=True):
        rows = GroupMember.objects.filter(tenant=tenant, membership__user__email=email)
        return set(rows.values_list("group__name", flat=True))


def new_group(tenant: Tenant, name: str) -> str:
    with tenant_scope(tenant.id):
        return str(Group.objects.create(name=name).id)


def test_claims_give_groups_and_roles_at_each_sign_in(provider: OidcServer, acme: Tenant) -> None:
    staff, night, hand = (new_group(acme, name) for name in ("Staff", "Night", "By hand"))
    made = mapped(
        provider,
        acme,
        {"value": "staff", "group": staff},
        {"value": "night", "group": night},
        {"value": "bosses", "role": "admin"},
        {"value": "staff", "role": "member"},
        groups_claim="realm.groups",
    )
    provider.person["realm"] = {"groups": ["staff", "bosses", 7, None]}
    go(Client(), acme, made)
    member = member_of(acme, "ada@acme.test")
    assert member is not None
    assert (member.role, groups_of(acme, "ada@acme.test")) == ("admin", {"Staff"})
    with tenant_scope(acme.id):
        GroupMember.objects.create(group_id=hand, membership=member)
    # What no rule names stays; what the claim no longer holds goes.
    provider.person["realm"] = {"groups": ["night"]}
    go(Client(), acme, made)
    member = member_of(acme, "ada@acme.test")
    assert member is not None
    assert (member.role, groups_of(acme, "ada@acme.test")) == ("viewer", {"Night", "By hand"})
    told = {(each.act, each.label) for each in acts_of_tenant(tenant_id=acme.id, limit=50)}
    assert ("member_removed", "Staff: ada@acme.test (by Acme)") in told


def test_a_list_that_was_too_long_to_tell_changes_nothing(provider: OidcServer, acme: Tenant) -> None:
    staff = new_group(acme, "Staff")
    made = mapped(provider, acme, {"value": "staff", "group": staff})
    provider.person["groups"] = "staff"
    go(Client(), acme, made)
    del provider.person["groups"]
    provider.person["_claim_names"] = {"groups": "src1"}
    go(Client(), acme, made)
    assert groups_of(acme, "ada@acme.test") == {"Staff"}
    del provider.person["_claim_names"]
    go(Client(), acme, made)
    assert groups_of(acme, "ada@acme.test") == set()


def test_nobody_becomes_or_ceases_to_be_an_owner_unless_a_rule_says_so(
    provider: OidcServer, acme: Tenant
) -> None:
    made = mapped(provider, acme, {"value": "bosses", "role": "admin"})
    provider.person["groups"] = ["owner", "bosses"]
    go(Client(), acme, made)
    member = member_of(acme, "ada@acme.test")
    assert member is not None
    assert member.role == "admin"
    with tenant_scope(acme.id):
        Membership.objects.filter(id=member.id).update(role=Role.OWNER)
    go(Client(), acme, made)
    assert getattr(member_of(acme, "ada@acme.test"), "role", "") == "owner"
    owner = key_client(acme, role=Role.OWNER)
    rules = [{"value": "founders", "role": "owner"}]
    changed = owner.patch(f"{PATH}/{made['id']}", json.dumps({"mappings": rules}), content_type=JSON)
    assert changed.status_code == 200, changed.content
    # The last owner stays; beside another one they go.
    go(Client(), acme, made)
    assert getattr(member_of(acme, "ada@acme.test"), "role", "") == "owner"
    make_membership(acme, role=Role.OWNER)
    go(Client(), acme, made)
    assert getattr(member_of(acme, "ada@acme.test"), "role", "") == "viewer"
    provider.person["groups"] = ["founders"]
    go(Client(), acme, made)
    assert getattr(member_of(acme, "ada@acme.test"), "role", "") == "owner"


@pytest.mark.parametrize("wrong", ["foreign group", "foreign role", "nothing", "two", "unknown field"])
def test_rules_that_are_not_valid_are_not_stored(provider: OidcServer, acme: Tenant, wrong: str) -> None:
    made = set_up(provider, acme)
    other = make_tenant("other")
    with tenant_scope(other.id):
        theirs = str(CustomRole.objects.create(name="Theirs").id)
    rule = {
        "foreign group": {"value": "a", "group": new_group(other, "Theirs")},
        "foreign role": {"value": "a", "custom_role": theirs},
        "nothing": {"value": "a"},
        "two": {"value": "a", "role": "member", "group": new_group(acme, "Mine")},
        "unknown field": {"value": "a", "role": "member", "operator": True},
    }[wrong]
    owner = key_client(acme, role=Role.OWNER)
    answer = owner.patch(f"{PATH}/{made['id']}", json.dumps({"mappings": [rule]}), content_type=JSON)
    assert answer.status_code == 400
    assert owner.get(f"{PATH}/{made['id']}").json()["mappings"] == []


def test_whom_the_directory_made_signs_in_without_a_verified_domain(
    provider: OidcServer, acme: Tenant
) -> None:
    token = key_client(acme, role=Role.OWNER).post(
        "/api/v1/provisioning/tokens", json.dumps({"name": "d"}), content_type=JSON
    )
    directory = Client(headers={"authorization": f"Bearer {token.json()['token']}"})
    body = json.dumps({"userName": "Ada@acme.test"})
    assert directory.post("/scim/v2/acme/Users", body, content_type=JSON).status_code == 201
    made = set_up(provider, acme)
    client = Client()
    go(client, acme, made)
    assert slug_of(client) == "acme"
    # Once they are in another tenant too, it takes a verified domain again.
    with system_scope("tests"):
        Identity.objects.all().delete()
    make_membership(make_tenant("other"), User.objects.get(email="ada@acme.test"))
    assert go(Client(), acme, made).status_code == 403
