"""Signing in by a tenant's SAML provider: who comes in, and which answers are not believed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import xmlsec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from django.core.cache import cache
from django.test import Client
from factories.tenants import key_client, make_membership, make_tenant, make_user, session_client
from fakes.saml_idp import ENTITY_ID, NAMES, SSO_URL, WRAPPINGS, SamlIdp, certificate, stamp, wrapped
from fakes.saml_walk import away, back, go, post, set_up

from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import Group, GroupMember, Identity, Membership, Tenant, User
from tenants.types import Role

pytestmark = pytest.mark.django_db
PATH = "/api/v1/identity-providers"
JSON = "application/json"


@pytest.fixture(scope="module")
def keys() -> SamlIdp:
    """Keys take a while to make."""
    return SamlIdp()


@pytest.fixture
def idp(keys: SamlIdp) -> SamlIdp:
    cache.clear()
    return SamlIdp(key=keys.key)


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


def signed_in(client: Client) -> bool:
    return bool(client.get("/api/v1/me").status_code == 200)


def member_of(tenant: Tenant, email: str) -> Membership | None:
    with system_scope("tests", read_only=True):
        return Membership.objects.filter(tenant=tenant, user__email=email).first()


def test_somebody_new_comes_in_with_groups_and_is_known_from_then_on(idp: SamlIdp, acme: Tenant) -> None:
    with tenant_scope(acme.id):
        staff = Group.objects.create(name="Staff")
    made = set_up(idp, acme, default_role="viewer", mappings=[{"value": "staff", "group": str(staff.id)}])
    client = Client()
    request_id, acs_url = away(client, idp, acme, made, "?next=/console/usage")
    answer = back(client, acs_url, idp.answer(request_id, acs_url))
    assert (answer.status_code, answer["Location"]) == (302, "/console/usage")
    assert client.get("/api/v1/me").json()["tenant"]["slug"] == "acme"
    member = member_of(acme, "ada@acme.test")
    assert member is not None
    assert member.role == "viewer"
    with tenant_scope(acme.id):
        assert GroupMember.objects.get(membership=member).group_id == staff.id
    # Another address, the same subject: the same person.
    idp.attributes["mail"] = ["countess@acme.test"]
    again = Client()
    go(again, idp, acme, made)
    assert signed_in(again)
    assert not User.objects.filter(email="countess@acme.test").exists()


def test_an_equal_address_alone_links_nothing(idp: SamlIdp, acme: Tenant) -> None:
    make_membership(make_tenant("other"), make_user("ada@acme.test"))
    made = set_up(idp, acme, domains=["acme.test"])
    client = Client()
    assert go(client, idp, acme, made).status_code == 403
    assert not signed_in(client)
    operator = session_client(make_membership(acme, make_user(is_operator=True), role=Role.OWNER))
    operator.put(f"{PATH}/{made['id']}/domains", json.dumps({"verified": True}), content_type=JSON)
    go(client, idp, acme, made)
    assert client.get("/api/v1/me").json()["tenant"]["slug"] == "acme"


Change = Callable[[Any], None]


def drop(path: str) -> Change:
    def change(root: Any) -> None:
        for each in root.findall(path, NAMES):
            each.getparent().remove(each)

    return change


def put(path: str, name: str, value: str | None) -> Change:
    def change(root: Any) -> None:
        node = root if path == "." else root.find(path, NAMES)
        if name == "text":
            node.text = value
        elif value is None:
            del node.attrib[name]
        else:
            node.set(name, value)

    return change


A = "saml:Assertion/"
CONFIRMED = A + "saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData"
PAST = stamp(datetime.now(UTC) - timedelta(hours=1))
FORGERIES: dict[str, dict[str, Any]] = {
    "expired": {"at": datetime.now(UTC) - timedelta(hours=1)},
    "of the future": {"at": datetime.now(UTC) + timedelta(hours=1)},
    "another audience": {"audience": "https://other.test/metadata/"},
    "no audience": {"before": drop(A + "saml:Conditions/saml:AudienceRestriction")},
    "no conditions": {"before": drop(A + "saml:Conditions")},
    "another recipient": {"before": put(CONFIRMED, "Recipient", "https://other.test/acs/")},
    "a longer recipient": {
        "before": put(CONFIRMED, "Recipient", "http://testserver/x?http://testserver/accounts/")
    },
    "no recipient": {"before": put(CONFIRMED, "Recipient", None)},
    "no request in the assertion": {"before": put(CONFIRMED, "InResponseTo", None)},
    "another request in the assertion": {"before": put(CONFIRMED, "InResponseTo", "_other")},
    "confirmed too late": {"before": put(CONFIRMED, "NotOnOrAfter", PAST)},
    "confirmed for ever": {"before": put(CONFIRMED, "NotOnOrAfter", None)},
    "another issuer": {"before": put(A + "saml:Issuer", "text", "urn:evil")},
    "another destination": {"before": put(".", "Destination", "https://other.test/acs/")},
    "a failure": {
        "before": put(
            "samlp:Status/samlp:StatusCode", "Value", "urn:oasis:names:tc:SAML:2.0:status:Responder"
        )
    },
    "changed after signing": {"after": put(A + "saml:Subject/saml:NameID", "text", "evil")},
    "another address after signing": {
        "after": put(
            A + "saml:AttributeStatement/saml:Attribute/saml:AttributeValue", "text", "evil@acme.test"
        )
    },
    "signature removed": {"after": drop(A + "ds:Signature")},
    "nobody": {"before": put(A + "saml:Subject/saml:NameID", "text", "")},
}


@pytest.mark.parametrize("name", sorted(FORGERIES))
def test_answers_that_are_not_believed(idp: SamlIdp, acme: Tenant, name: str) -> None:
    made = set_up(idp, acme)
    client = Client()
    answer = go(client, idp, acme, made, **FORGERIES[name])
    assert answer.status_code in (400, 401), answer.content
    refuses(client, acme)


def refuses(client: Client, tenant: Tenant) -> None:
    """Nobody is in, and nothing was stored."""
    assert not signed_in(client)
    with system_scope("tests", read_only=True):
        assert not Identity.objects.exists()
        assert not Membership.objects.filter(tenant=tenant).exclude(role=Role.OWNER).exists()
    assert not User.objects.filter(email__endswith="acme.test").exists()


@pytest.mark.parametrize("how", WRAPPINGS)
def test_signature_wrapping_is_seen_through(idp: SamlIdp, acme: Tenant, how: str) -> None:
    made = set_up(idp, acme)
    client = Client()
    answer = go(client, idp, acme, made, after=wrapped(how))
    assert answer.status_code in (400, 401), answer.content
    refuses(client, acme)


@pytest.mark.parametrize("how", ["unsigned", "another key", "sha1", "transient"])
def test_signatures_and_names_that_are_not_taken(idp: SamlIdp, acme: Tenant, how: str) -> None:
    made = set_up(idp, acme)
    if how == "unsigned":
        idp.signed = False
    elif how == "another key":
        idp.signer = generate_private_key(public_exponent=65537, key_size=2048)
    elif how == "sha1":
        idp.algorithm = xmlsec.constants.TransformRsaSha1
    else:
        idp.subject_format = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
    client = Client()
    assert go(client, idp, acme, made).status_code == 401
    refuses(client, acme)


def test_an_answer_works_once_and_in_the_browser_that_asked(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    client, thief = Client(), Client()
    request_id, acs_url = away(client, idp, acme, made)
    text = idp.answer(request_id, acs_url)
    away(thief, idp, acme, made)
    assert back(thief, acs_url, text).status_code == 401
    assert not signed_in(thief)
    assert back(Client(), acs_url, text).status_code == 401
    taken = post(acs_url, text)
    assert client.get(taken["Location"]).status_code == 302
    assert signed_in(client)
    # Replayed: by the same name, and as a new answer to a new sign-in.
    assert Client().get(taken["Location"]).status_code == 401
    assert back(client, acs_url, text).status_code == 401
    fresh = Client()
    away(fresh, idp, acme, made)
    assert back(fresh, acs_url, text).status_code == 401
    assert not signed_in(fresh)


def test_an_answer_that_nobody_asked_for(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    _, acs_url = away(Client(), idp, acme, made)
    client = Client()
    assert back(client, acs_url, idp.answer("_never", acs_url)).status_code == 401
    assert not signed_in(client)


def test_what_one_tenants_provider_signs_opens_no_other(idp: SamlIdp, acme: Tenant) -> None:
    """The same certificates, the same entity: the place and the audience differ."""
    other = make_tenant("other")
    mine, theirs = set_up(idp, acme), set_up(idp, other)
    client = Client()
    request_id, acs_url = away(client, idp, acme, mine)
    text = idp.answer(request_id, acs_url)
    foreign = acs_url.replace(str(acme.id), str(other.id)).replace(mine["id"], theirs["id"])
    assert post(foreign, text).status_code == 401
    mixed = acs_url.replace(str(acme.id), str(other.id))
    assert post(mixed, text).status_code == 404
    assert not signed_in(client)


@pytest.mark.parametrize(
    "text", ["", "%%%", "PGEvPg==", "PCFET0NUWVBFIGEgWzwhRU5USVRZIGIgImMiPl0+PGE+JmI7PC9hPg==", "A" * 300_000]
)
def test_what_is_no_answer(idp: SamlIdp, acme: Tenant, text: str) -> None:
    made = set_up(idp, acme)
    _, acs_url = away(Client(), idp, acme, made)
    assert post(acs_url, text).status_code in (400, 401)


def test_our_metadata_and_the_connection_test(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme)
    told = Client().get(urlsplit(made["metadata_url"]).path)
    assert told.status_code == 200
    assert made["acs_url"].encode() in told.content
    owner = key_client(acme, role=Role.OWNER)
    report = owner.post(f"{PATH}/{made['id']}/test").json()
    assert [(each["step"], each["passed"]) for each in report["steps"]] == [
        ("configuration", True),
        ("keys", True),
    ]
    ended = certificate(idp.key, ends=datetime.now(UTC) - timedelta(days=1))
    owner.patch(f"{PATH}/{made['id']}", json.dumps({"certificates": ended}), content_type=JSON)
    report = owner.post(f"{PATH}/{made['id']}/test").json()
    assert report["passed"] is False


def test_a_dry_sign_in_shows_what_came_and_stores_nothing(idp: SamlIdp, acme: Tenant) -> None:
    made = set_up(idp, acme, enabled=False)
    owner = session_client(make_membership(acme, role=Role.OWNER))
    request_id, acs_url = away(owner, idp, acme, made, "?trial=1")
    shown = back(owner, acs_url, idp.answer(request_id, acs_url))
    assert shown.status_code == 200
    assert b"ada@acme.test" in shown.content
    with system_scope("tests", read_only=True):
        assert not Identity.objects.exists()
    # And nobody else comes in by one that is off.
    assert Client().get(f"/accounts/sso/{acme.id}/{made['id']}/").status_code == 404


def test_metadata_fills_the_entry(idp: SamlIdp, acme: Tenant) -> None:
    body = "".join(certificate(idp.key).splitlines()[1:-1])
    text = (
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="urn:their:name">'
        '<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{body}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
        ' Location="https://their.test/sso"/></md:IDPSSODescriptor></md:EntityDescriptor>'
    )
    owner = key_client(acme, role=Role.OWNER)
    entry = {"name": "M", "protocol": "saml", "metadata": text}
    made = owner.post(PATH, json.dumps(entry), content_type=JSON)
    assert made.status_code == 201, made.content
    assert (made.json()["issuer"], made.json()["sso_url"]) == ("urn:their:name", "https://their.test/sso")
    bad = owner.post(PATH, json.dumps({**entry, "name": "N", "metadata": "<a/>"}), content_type=JSON)
    assert bad.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"sso_url": "http://idp.test/sso"},
        {"sso_url": "javascript:alert(1)"},
        {"certificates": "no certificate"},
        {"certificates": ""},
        {"issuer": ""},
        {"protocol": "kerberos"},
    ],
)
def test_bad_entries(idp: SamlIdp, acme: Tenant, body: dict[str, Any]) -> None:
    entry = {
        "name": "P",
        "protocol": "saml",
        "issuer": ENTITY_ID,
        "sso_url": SSO_URL,
        "certificates": certificate(idp.key),
        **body,
    }
    owner = key_client(acme, role=Role.OWNER)
    assert owner.post(PATH, json.dumps(entry), content_type=JSON).status_code == 400
    assert owner.get(PATH).json()["results"] == []
