"""A small SAML identity provider: it makes signed answers, honest ones and whatever else a test asks for."""

import base64
import copy
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
NAMES = {"saml": SAML, "samlp": SAMLP, "ds": "http://www.w3.org/2000/09/xmldsig#"}
ENTITY_ID = "urn:test:idp"
SSO_URL = "https://idp.acme.test/sso"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"

Change = Callable[[Any], None]


def certificate(key: RSAPrivateKey, *, ends: datetime | None = None) -> str:
    """A self-signed certificate, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=800))
        .not_valid_after(ends or now + timedelta(days=300))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def stamp(moment: datetime) -> str:
    """A moment as SAML writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def usual_key() -> RSAPrivateKey:
    """The key of every fake provider of this process: to make one takes a fifth of a second."""
    return generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class SamlIdp:
    """Who it vouches for, and how its answers are made."""

    key: RSAPrivateKey = field(default_factory=usual_key)
    subject: str = "p-1"
    subject_format: str = PERSISTENT
    attributes: dict[str, list[str]] = field(
        default_factory=lambda: {"mail": ["ada@acme.test"], "displayName": ["Ada"], "groups": ["staff"]}
    )
    signed: bool = True
    algorithm: Any = None
    signer: RSAPrivateKey | None = None

    def request(self, address: str) -> tuple[str, str]:
        """The id of the request that a browser brings, and where its answer goes."""
        assert address.startswith(SSO_URL)
        text = parse_qs(urlsplit(address).query)["SAMLRequest"][0]
        asked = etree.fromstring(zlib.decompress(base64.b64decode(text), -15))
        return str(asked.get("ID")), str(asked.get("AssertionConsumerServiceURL"))

    def answer(
        self,
        request_id: str,
        acs_url: str,
        *,
        audience: str = "",
        before: Change | None = None,
        after: Change | None = None,
        at: datetime | None = None,
    ) -> str:
        """A response in base64. `before` changes the document before it is signed, `after` what was signed."""
        root = self._document(request_id, acs_url, audience or acs_url.replace("/acs/", "/metadata/"), at)
        if before is not None:
            before(root)
        if self.signed:
            self._sign(root.find("saml:Assertion", NAMES))
        # What is signed must be what is read again.
        root = etree.fromstring(etree.tostring(root))
        if after is not None:
            after(root)
        return base64.b64encode(etree.tostring(root)).decode()

    def _document(self, request_id: str, acs_url: str, audience: str, at: datetime | None) -> Any:
        now = at or datetime.now(UTC)
        issued, soon = stamp(now), stamp(now + timedelta(minutes=5))
        values = "".join(
            f'<saml:Attribute Name="{name}">'
            + "".join(f"<saml:AttributeValue>{each}</saml:AttributeValue>" for each in held)
            + "</saml:Attribute>"
            for name, held in self.attributes.items()
        )
        assertion_id, response_id = (f"_{uuid.uuid4().hex}" for _ in range(2))
        return etree.fromstring(
            f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="{response_id}" Version="2.0"'
            f' IssueInstant="{issued}" Destination="{acs_url}" InResponseTo="{request_id}">'
            f"<saml:Issuer>{ENTITY_ID}</saml:Issuer>"
            '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
            f'<saml:Assertion ID="{assertion_id}" Version="2.0" IssueInstant="{issued}">'
            f"<saml:Issuer>{ENTITY_ID}</saml:Issuer>"
            f'<saml:Subject><saml:NameID Format="{self.subject_format}">{self.subject}</saml:NameID>'
            '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
            f'<saml:SubjectConfirmationData InResponseTo="{request_id}" Recipient="{acs_url}" NotOnOrAfter="{soon}"/>'
            "</saml:SubjectConfirmation></saml:Subject>"
            f'<saml:Conditions NotBefore="{stamp(now - timedelta(minutes=1))}" NotOnOrAfter="{soon}">'
            f"<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction>"
            "</saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{issued}" SessionIndex="_s"><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>"
            "</saml:AuthnContext></saml:AuthnStatement>"
            f"<saml:AttributeStatement>{values}</saml:AttributeStatement>"
            "</saml:Assertion></samlp:Response>"
        )

    def _sign(self, element: Any) -> None:
        pem = (self.signer or self.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        transform = self.algorithm or xmlsec.constants.TransformRsaSha256
        digest = (
            xmlsec.constants.TransformSha1
            if transform == xmlsec.constants.TransformRsaSha1
            else xmlsec.constants.TransformSha256
        )
        node = xmlsec.template.create(element, xmlsec.constants.TransformExclC14N, transform, ns="ds")
        element.find("saml:Issuer", NAMES).addnext(node)
        reference = xmlsec.template.add_reference(node, digest, uri=f"#{element.get('ID')}")
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        xmlsec.tree.add_ids(element, ["ID"])
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatPem)
        context.sign(node)


def wrapped(how: str) -> Change:
    """Signature wrapping: the signed assertion is kept somewhere, and a forged one put where it may be read."""

    def change(root: Any) -> None:
        signed = root.find("saml:Assertion", NAMES)
        forged = copy.deepcopy(signed)
        signature = forged.find("ds:Signature", NAMES)
        forged.remove(signature)
        forged.find("saml:Subject/saml:NameID", NAMES).text = "evil"
        if how != "same id":
            forged.set("ID", "_evil")
        _WRAPPINGS[how](root, signed, forged)

    return change


def _before(root: Any, signed: Any, forged: Any) -> None:
    signed.addprevious(forged)


def _after(root: Any, signed: Any, forged: Any) -> None:
    signed.addnext(forged)


def _inside_signature(root: Any, signed: Any, forged: Any) -> None:
    """The forged one carries the signature, which carries the signed one in an Object."""
    root.remove(signed)
    signature = signed.find("ds:Signature", NAMES)
    signed.remove(signature)
    holder = etree.SubElement(signature, "{http://www.w3.org/2000/09/xmldsig#}Object")
    holder.append(signed)
    forged.find("saml:Issuer", NAMES).addnext(signature)
    root.append(forged)


def _inside_forged(root: Any, signed: Any, forged: Any) -> None:
    root.replace(signed, forged)
    forged.append(signed)


def _in_extensions(root: Any, signed: Any, forged: Any) -> None:
    root.replace(signed, forged)
    holder = etree.Element(f"{{{SAMLP}}}Extensions")
    holder.append(signed)
    root.find("saml:Issuer", NAMES).addnext(holder)


_WRAPPINGS = {
    "before": _before,
    "after": _after,
    "same id": _before,
    "in the signature": _inside_signature,
    "around": _inside_forged,
    "in extensions": _in_extensions,
}
WRAPPINGS = sorted(_WRAPPINGS)
