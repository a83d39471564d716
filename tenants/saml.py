"""SAML 2.0 sign-in (Web Browser SSO), the thinking of it: what is asked of a provider, and which of its answers is believed.

python3-saml reads and verifies; on top of that everything that counts must stand inside the one signed assertion: who,
for whom, where, until when, and which request of ours it answers.
"""

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import structlog
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from lxml import etree
from onelogin.saml2.authn_request import OneLogin_Saml2_Authn_Request
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings

from kernel.errors import BadInput
from tenants.oidc import Claims, ProviderRefused

log = structlog.get_logger(__name__)

LONGEST_ANSWER = 256 * 1024
LONGEST_METADATA = 512 * 1024
LEAST_KEY_BITS = 2048
MOST_CERTIFICATES = 5
_TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
_EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
_POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
_NAMES = {"saml": "urn:oasis:names:tc:SAML:2.0:assertion", "samlp": "urn:oasis:names:tc:SAML:2.0:protocol"}
_WRONG = OneLogin_Saml2_ValidationError
_NOT_SIGNED = frozenset(
    {
        _WRONG.INVALID_SIGNATURE,
        _WRONG.NO_SIGNATURE_FOUND,
        _WRONG.NO_SIGNED_MESSAGE,
        _WRONG.NO_SIGNED_ASSERTION,
        _WRONG.WRONG_SIGNED_ELEMENT,
        _WRONG.INVALID_SIGNED_ELEMENT,
        _WRONG.UNEXPECTED_SIGNED_ELEMENTS,
    }
)
_WEAKLY_SIGNED = frozenset({_WRONG.DEPRECATED_SIGNATURE_METHOD, _WRONG.DEPRECATED_DIGEST_METHOD})
_OUT_OF_TIME = frozenset(
    {
        _WRONG.ASSERTION_TOO_EARLY,
        _WRONG.ASSERTION_EXPIRED,
        _WRONG.SESSION_EXPIRED,
        _WRONG.RESPONSE_EXPIRED,
    }
)
_ELSEWHERE = frozenset({_WRONG.WRONG_DESTINATION, _WRONG.EMPTY_DESTINATION, _WRONG.WRONG_SUBJECTCONFIRMATION})
_CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
EMAIL_ATTRIBUTES = (
    "email",
    "mail",
    "emailAddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    f"{_CLAIMS}emailaddress",
)
NAME_ATTRIBUTES = (
    "displayName",
    "name",
    "cn",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "urn:oid:2.5.4.3",
    "http://schemas.microsoft.com/identity/claims/displayname",
    f"{_CLAIMS}name",
)
_BROKEN = (
    OneLogin_Saml2_ValidationError,
    OneLogin_Saml2_Error,
    etree.LxmlError,
    xmlsec.Error,
    binascii.Error,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
)


@dataclass(frozen=True, slots=True)
class SamlProvider:
    """What is known of a provider: its name, where it signs people in, the certificates it signs with (PEM)."""

    entity_id: str
    sso_url: str
    certificates: str


@dataclass(frozen=True, slots=True)
class SamlAnswer:
    """An answer that is believed: the request of ours that it answers, and who came."""

    in_response_to: str
    claims: Claims


def service_settings(provider: SamlProvider, *, entity_id: str, acs_url: str, alone: bool = False) -> Any:
    """python3-saml's settings: strict, signed assertions alone, nothing signed by SHA-1. `alone` is our side without
    the provider's. Raises BadInput."""
    certificates = [] if alone else [_body(each) for each in split_certificates(provider.certificates)]
    found: dict[str, Any] = {
        "strict": True,
        "debug": False,
        "sp": {
            "entityId": entity_id,
            "assertionConsumerService": {"url": acs_url, "binding": _POST},
            "NameIDFormat": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        },
        "idp": {
            "entityId": provider.entity_id,
            "singleSignOnService": {"url": provider.sso_url, "binding": _REDIRECT},
            "x509certMulti": {"signing": certificates},
        },
        "security": {
            "wantAssertionsSigned": True,
            "wantAttributeStatement": False,
            "requestedAuthnContext": False,
            "rejectDeprecatedAlgorithm": True,
            "allowSingleLabelDomains": True,
        },
    }
    try:
        # What we say of ourselves needs nothing of the provider, whose own side may not be known yet.
        return OneLogin_Saml2_Settings(found, sp_validation_only=alone)
    except OneLogin_Saml2_Error as error:
        raise BadInput(f"The provider's entry is not whole: {error}.") from error


def service_metadata(settings: Any) -> bytes:
    """Our side as the provider takes it over."""
    text = settings.get_sp_metadata()
    return text if isinstance(text, bytes) else str(text).encode()


def authentication_request(settings: Any, *, sso_url: str, relay: str) -> tuple[str, str]:
    """Where the browser is sent (HTTP redirect binding), and the id of the request."""
    request = OneLogin_Saml2_Authn_Request(settings)
    joint = "&" if urlsplit(sso_url).query else "?"
    query = urlencode({"SAMLRequest": request.get_request(), "RelayState": relay})
    return f"{sso_url}{joint}{query}", str(request.get_id())


def read_answer(text: str, *, settings: Any, entity_id: str, acs_url: str) -> SamlAnswer:
    """Who the provider says somebody is, if the answer is one to believe. Raises ProviderRefused."""
    if len(text) > LONGEST_ANSWER:
        raise ProviderRefused("The answer is too large.")
    place = urlsplit(acs_url)
    asked: dict[str, Any] = {
        "https": "on" if place.scheme == "https" else "off",
        "http_host": place.netloc,
        "script_name": place.path,
        "get_data": {},
        "post_data": {},
    }
    try:
        response = OneLogin_Saml2_Response(settings, text)
        response.is_valid(asked, raise_exceptions=True)
        if response.encrypted:
            raise ProviderRefused(
                "Encrypted answers are not supported: switch encryption off at the provider.",
                code="encrypted",
            )
        return _read(response, entity_id, acs_url)
    except _BROKEN as error:
        # The library's own words hold texts of the answer, which anybody may have written.
        log.warning("saml_answer_refused", entity_id=entity_id, error=str(error)[:300])
        raise _refusal(error) from error


def _refusal(error: Exception) -> ProviderRefused:
    """What was wrong with an answer, for who sees the page and for who can mend it."""
    code = error.code if isinstance(error, OneLogin_Saml2_ValidationError) else None
    if code in _NOT_SIGNED:
        return ProviderRefused(
            "The answer is not signed with a certificate that is known of this provider.", code="signature"
        )
    if code in _WEAKLY_SIGNED:
        return ProviderRefused("The answer is signed with SHA-1, which is not believed.", code="weak")
    if code in _OUT_OF_TIME:
        return ProviderRefused("The answer has expired. Check the clocks of both servers.", code="expired")
    if code == _WRONG.WRONG_AUDIENCE:
        return ProviderRefused("The assertion is meant for another service.", code="audience")
    if code == _WRONG.WRONG_ISSUER:
        return ProviderRefused("The answer comes from another issuer.", code="issuer")
    if code in _ELSEWHERE:
        return ProviderRefused(
            "The answer is for another address or another sign-in, or came too late.", code="address"
        )
    if code == _WRONG.STATUS_CODE_IS_NOT_SUCCESS:
        return ProviderRefused("The identity provider did not sign you in.", code="says_no")
    return ProviderRefused("The identity provider's answer is not valid.", code="malformed")


def _read(response: Any, entity_id: str, acs_url: str) -> SamlAnswer:
    """What stands in the signed assertion. The envelope around it is not signed, so it counts for nothing."""
    (assertion,) = response.document.xpath("/samlp:Response/saml:Assertion", namespaces=_NAMES)
    confirmed = [
        each
        for each in assertion.xpath(
            "./saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData", namespaces=_NAMES
        )
        if each.get("Recipient") == acs_url and each.get("InResponseTo") and each.get("NotOnOrAfter")
    ]
    if len(confirmed) != 1:
        raise ProviderRefused(
            "The assertion does not say, once, for which place and which request it is, and until when.",
            code="unasked",
        )
    audiences = assertion.xpath(
        "./saml:Conditions/saml:AudienceRestriction/saml:Audience/text()", namespaces=_NAMES
    )
    if entity_id not in [each.strip() for each in audiences]:
        raise ProviderRefused("The assertion is meant for another service.", code="audience")
    subject, form = response.get_nameid(), response.get_nameid_format() or ""
    if form == _TRANSIENT or not subject or len(subject) > 255:
        raise ProviderRefused(
            "The provider must name people by a lasting NameID (persistent or e-mail address).",
            code="subject",
        )
    attributes: Mapping[str, Sequence[str]] = response.get_attributes()
    email = _first(attributes, EMAIL_ATTRIBUTES) or (subject if form == _EMAIL_FORMAT else "")
    claims = Claims(
        subject=subject,
        email=email,
        # Who signs for the organisation speaks for its addresses: which those are is the operator's to verify.
        email_verified=True,
        name=_first(attributes, NAME_ATTRIBUTES),
        all={"NameID": subject, **{name: list(values) for name, values in attributes.items()}},
    )
    return SamlAnswer(str(confirmed[0].get("InResponseTo")), claims)


def _first(attributes: Mapping[str, Sequence[str]], names: Sequence[str]) -> str:
    found = (attributes[name][0] for name in names if attributes.get(name))
    return next((str(each).strip() for each in found if each), "")


def read_provider_metadata(text: str) -> SamlProvider:
    """What a provider's metadata says of it. Raises BadInput, worded for who sets it up."""
    if len(text) > LONGEST_METADATA:
        raise BadInput("The metadata is too large.", param="metadata")
    try:
        found = OneLogin_Saml2_IdPMetadataParser.parse(text.encode(), required_sso_binding=_REDIRECT)
        idp = found["idp"]
        several = idp.get("x509certMulti", {}).get("signing", [])
        bodies = several or [idp["x509cert"]]
        entity_id, sso_url = str(idp["entityId"]), str(idp["singleSignOnService"]["url"])
    except _BROKEN as error:
        raise BadInput(
            "This is no metadata of a SAML identity provider with a sign-in address (HTTP-Redirect) and a certificate.",
            param="metadata",
        ) from error
    return SamlProvider(entity_id, sso_url, "\n".join(_pem(each) for each in dict.fromkeys(bodies)))


def split_certificates(text: str) -> list[str]:
    """The PEM blocks of a text. Raises BadInput when there is none, too many, or one that cannot be read."""
    found = [_pem(part.split("-----END")[0]) for part in text.split("-----BEGIN CERTIFICATE-----")[1:]]
    if not 1 <= len(found) <= MOST_CERTIFICATES:
        raise BadInput(f"Give 1–{MOST_CERTIFICATES} certificates in PEM form.", param="certificates")
    for each in found:
        _certificate(each)
    return found


def weak_certificates(text: str, now: datetime) -> list[str]:
    """What is wrong with the certificates, in words; signing certificates are pinned, so a past end is no refusal."""
    told = []
    for each in split_certificates(text):
        certificate = _certificate(each)
        key = certificate.public_key()
        if isinstance(key, RSAPublicKey) and key.key_size < LEAST_KEY_BITS:
            told.append(f"A certificate has a key of {key.key_size} bits: {LEAST_KEY_BITS} are the least.")
        if certificate.not_valid_after_utc <= now:
            told.append(f"A certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}.")
        elif certificate.not_valid_after_utc <= now + timedelta(days=14):
            told.append(
                f"A certificate ends on {certificate.not_valid_after_utc:%Y-%m-%d}: ask for the next one."
            )
    return told


def _certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise BadInput("A certificate cannot be read.", param="certificates") from error


def _body(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if "-----" not in line)


def _pem(body: str) -> str:
    plain = "".join(body.split())
    lines = [plain[at : at + 64] for at in range(0, len(plain), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])
