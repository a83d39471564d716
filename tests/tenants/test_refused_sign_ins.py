"""Sign-ins that a provider's answer did not open: what the person reads, and what administrators find on record."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from django.core.cache import cache
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes.saml_idp import SamlIdp, certificate
from fakes.saml_walk import away, back, go, post, set_up

from kernel.backends import backends
from substrate.audit import ActView, acts_of_tenant
from substrate.scoping import tenant_scope
from tenants.models import Group, GroupMember, Tenant
from tenants.refusals import RefusedKeys
from tenants.types import Role

pytestmark = pytest.mark.django_db
PATH = "/api/v1/identity-providers"
JSON = "application/json"


@pytest.fixture
def idp() -> SamlIdp:
    cache.clear()
    backends.replace("refused_keys", RefusedKeys())
    return SamlIdp()


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


def told(tenant: Tenant) -> list[dict[str, Any]]:
    found: list[ActView] = [
        each for each in acts_of_tenant(tenant_id=tenant.id, limit=50) if each.act == "sign_in_refused"
    ]
    assert {each.kind for each in found} <= {"identity_provider"}
    return [dict(each.after) for each in found]


def wrong_key(idp: SamlIdp) -> dict[str, Any]:
    idp.signer = generate_private_key(public_exponent=65537, key_size=2048)
    return {}


def test_an_answer_signed_by_a_stranger_is_on_record_once_an_hour(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    wrong_key(idp)
    for _ in range(3):
        answer = go(Client(HTTP_ACCEPT_LANGUAGE="de"), idp, acme, made)
        assert answer.status_code == 401
    assert told(acme) == [{"reason": "signature"}]
    backends.replace("refused_keys", RefusedKeys())
    go(Client(), idp, acme, made)
    assert told(acme) == [{"reason": "signature"}]
    seen = key_client(acme, role=Role.OWNER).get(f"{PATH}/{made['id']}").json()["last_refused"]
    assert (seen["reason"], seen["person"]) == ("signature", "")


def test_the_page_says_it_in_the_readers_language_and_leads_back_to_the_same_sign_in(
    idp: SamlIdp, acme: Tenant
) -> None:
    made = set_up(idp, acme)
    wrong_key(idp)
    request_id, acs_url = away(Client(), idp, acme, made)
    answer = Client(HTTP_ACCEPT_LANGUAGE="de").post(
        acs_url.replace("http://testserver", ""), {"SAMLResponse": idp.answer(request_id, acs_url)}
    )
    page = answer.content.decode()
    assert "nicht mit einem Zertifikat signiert" in page
    assert "Signature validation failed" not in page
    assert f'href="/accounts/sso/{acme.id}/{made["id"]}/"' in page
    assert "Protokoll Ihrer Organisation" in page


def test_expired_and_misdirected_answers_are_told_apart(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    go(Client(), idp, acme, made, at=datetime.now(UTC) - timedelta(hours=1))
    go(Client(), idp, acme, made, audience="https://other.test/metadata/")
    assert sorted(each["reason"] for each in told(acme)) == ["audience", "expired"]


def test_an_answer_that_is_sent_again_is_on_record(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    client = Client()
    request_id, acs_url = away(client, idp, acme, made)
    text = idp.answer(request_id, acs_url)
    assert back(client, acs_url, text).status_code == 302
    thief = Client()
    assert thief.get(post(acs_url, text)["Location"]).status_code == 401
    assert told(acme) == [{"reason": "unasked"}]
    away(thief, idp, acme, made)
    assert back(thief, acs_url, text).status_code == 401
    assert [each["reason"] for each in told(acme)] == ["another_sign_in", "unasked"]


def test_who_is_vouched_for_and_may_not_enter_is_named(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme, create_members=False)
    assert go(Client(), idp, acme, made).status_code == 403
    assert told(acme) == [{"reason": "not_a_member", "person": "ada@acme.test"}]
    make_membership(make_tenant("other"), make_user("ben@acme.test"))
    idp.subject, idp.attributes["mail"] = "p-2", ["ben@acme.test"]
    go(Client(), idp, acme, made)
    assert told(acme)[0] == {"reason": "account_exists", "person": "ben@acme.test"}


def test_rubbish_writes_once_and_nothing_of_itself(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    _, acs_url = away(Client(), idp, acme, made)
    for text in ("PGV2aWw+Y2FsbCArNDk8L2V2aWw+", "!!!", ""):
        assert post(acs_url, text).status_code == 401
    assert told(acme) == [{"reason": "malformed"}]
    assert told(make_tenant("other")) == []


def test_a_dry_sign_in_that_fails_leads_back_to_the_console(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    wrong_key(idp)
    request_id, acs_url = away(Client(), idp, acme, made)
    answer = Client().post(
        acs_url.replace("http://testserver", ""),
        {"SAMLResponse": idp.answer(request_id, acs_url), "RelayState": "trial"},
    )
    assert 'href="/console/sign-in"' in answer.content.decode()


def test_a_dry_sign_in_says_what_somebody_new_would_be_given(idp: SamlIdp, acme: Tenant) -> None:
    with tenant_scope(acme.id):
        staff = Group.objects.create(name="Staff & friends")
    rules = [{"value": "staff", "group": str(staff.id)}, {"value": "staff", "role": "viewer"}]
    made = set_up(idp, acme, enabled=False, mappings=rules)
    owner = session_client(make_membership(acme, make_user("boss@acme.test"), role=Role.OWNER))
    request_id, acs_url = away(owner, idp, acme, made, "?trial=1")
    page = back(owner, acs_url, idp.answer(request_id, acs_url)).content.decode()
    assert "Staff &amp; friends" in page
    assert "viewer" in page
    # As people read lists.
    assert "[" not in page[page.index("displayName") : page.index("NameID")]
    idp.attributes["groups"] = []
    request_id, acs_url = away(owner, idp, acme, made, "?trial=1")
    page = back(owner, acs_url, idp.answer(request_id, acs_url)).content.decode()
    assert "no rule can apply" in page
    with tenant_scope(acme.id):
        assert not GroupMember.objects.exists()


def test_a_provider_is_made_before_it_says_anything_of_itself(idp: SamlIdp, acme: Tenant) -> None:
    """It asks for our metadata first; nobody signs in by it until its own are there."""
    owner = key_client(acme, role=Role.OWNER)
    body = {"name": "Okta", "protocol": "saml"}
    refused = owner.post(PATH, json.dumps({**body, "enabled": True}), content_type=JSON)
    assert (refused.status_code, refused.json()["param"]) == (400, "metadata")
    made = owner.post(PATH, json.dumps(body), content_type=JSON).json()
    ours = Client().get(made["metadata_url"].replace("http://testserver", ""))
    assert ours.status_code == 200, ours.content
    assert made["acs_url"] in ours.content.decode()
    report = owner.post(f"{PATH}/{made['id']}/test").json()
    assert (report["passed"], report["steps"][0]["step"]) == (False, "configuration")
    assert Client().get(f"/accounts/sso/{acme.id}/{made['id']}/").status_code == 404
    half = owner.patch(f"{PATH}/{made['id']}", json.dumps({"issuer": "urn:x"}), content_type=JSON)
    assert half.status_code == 400
    whole = {"issuer": "urn:x", "sso_url": "https://idp.acme.test/sso", "certificates": certificate(idp.key)}
    done = owner.patch(f"{PATH}/{made['id']}", json.dumps({**whole, "enabled": True}), content_type=JSON)
    assert done.status_code == 200, done.content


def test_the_record_tells_what_of_a_provider_was_changed(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    other = certificate(generate_private_key(public_exponent=65537, key_size=2048))
    change = {"certificates": other, "enabled": False, "client_secret": "s3cret-of-the-client"}
    answer = key_client(acme, role=Role.OWNER).patch(
        f"{PATH}/{made['id']}", json.dumps(change), content_type=JSON
    )
    assert answer.status_code == 200, answer.content
    act = next(each for each in acts_of_tenant(tenant_id=acme.id, limit=50) if each.act == "changed")
    assert (act.before["enabled"], act.after["enabled"]) == (True, False)
    assert act.before["certificates"] != act.after["certificates"]
    assert "name" not in act.after
    assert "s3cret" not in repr(act)
    assert "BEGIN CERTIFICATE" not in repr(act)
