"""OpenID Connect, the thinking of it: what is asked of a provider, and which of its answers is believed.

Authorization code with PKCE, OpenID Connect Core 1.0 §3.1. Everything is checked here and nothing is fetched.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from kernel.errors import BadInput, NotSignedIn, PermissionDenied

SCOPE = "openid email profile"
# Asymmetric ones alone: a shared secret would let every client of the provider forge answers.
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"})
LEEWAY = timedelta(seconds=60)
# From the moment somebody is sent away until they are back, and the age of what they bring.
FLOW_TIME = timedelta(minutes=10)
WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderRefused(NotSignedIn):
    """The provider's answer is not believed, or says no. `code` names what was wrong."""

    code = "provider_refused"
    default_message = "The identity provider's answer is not valid."


class NotAdmitted(PermissionDenied):
    """The provider vouches for somebody who may not enter; `code` says why."""

    code = "not_admitted"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    secret_in_body: bool
    algorithms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a provider says somebody is."""

    subject: str
    email: str
    email_verified: bool
    name: str
    all: Mapping[str, Any]


def read_metadata(document: Mapping[str, Any], *, issuer: str) -> Metadata:
    """The metadata in a discovery document. Raises BadInput, worded for who sets it up."""
    told = document.get("issuer")
    if told != issuer:
        raise BadInput(f"The provider calls itself {told!r}, not {issuer!r}: take over its issuer exactly.")
    places = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        value = document.get(name)
        if not isinstance(value, str) or urlsplit(value).scheme not in ("https", "http"):
            raise BadInput(f"The provider's configuration has no {name}.")
        places[name] = value
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    told_algorithms = document.get("id_token_signing_alg_values_supported") or ["RS256"]
    algorithms = ALGORITHMS & set(map(str, told_algorithms))
    if not algorithms:
        raise BadInput("The provider signs with no algorithm that is believed here (RS, PS, ES, EdDSA).")
    return Metadata(
        issuer=issuer,
        secret_in_body="client_secret_basic" not in methods,
        algorithms=algorithms,
        **places,
    )


def fresh_secret() -> str:
    """A value for `state`, `nonce` or the code verifier: 256 random bits."""
    return secrets.token_urlsafe(32)


def authorization_url(
    metadata: Metadata, *, client_id: str, redirect_uri: str, state: str, nonce: str, verifier: str
) -> str:
    """Where the browser is sent."""
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": SCOPE,
        "state": state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
    return f"{metadata.authorization_endpoint}{joint}{urlencode(asked)}"


def read_id_token(
    token: str, *, metadata: Metadata, keys: Mapping[str, Any], client_id: str, nonce: str, now: datetime
) -> Claims:
    """The claims of an id token that was signed by the provider, for us, just now, for this very sign-in.

    Raises ProviderRefused.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = str(header.get("alg"))
        if algorithm not in metadata.algorithms:
            raise ProviderRefused(f"The answer is signed with {algorithm!r}, which is not believed.")
        claims = jwt.decode(
            token,
            key=_key(header, keys),
            algorithms=[algorithm],
            audience=client_id,
            issuer=metadata.issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "aud", "iss", "sub", "nonce"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise ProviderRefused(
            "The answer has expired. Check the clocks of both servers.", code="expired"
        ) from error
    except jwt.InvalidAudienceError as error:
        raise ProviderRefused("The answer is meant for another client.", code="audience") from error
    except jwt.InvalidIssuerError as error:
        raise ProviderRefused("The answer comes from another issuer.", code="issuer") from error
    except jwt.InvalidSignatureError as error:
        raise ProviderRefused(
            "The answer is signed with a key that the provider does not publish.", code="signature"
        ) from error
    except jwt.PyJWTError as error:
        raise ProviderRefused(f"The answer is not valid: {error}.") from error
    if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise ProviderRefused("The answer belongs to another sign-in.", code="another_sign_in")
    if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != client_id:
        raise ProviderRefused("The answer is meant for another client.", code="audience")
    if now - datetime.fromtimestamp(claims["iat"], UTC) > FLOW_TIME:
        raise ProviderRefused("The answer is too old.", code="expired")
    return _claims(claims)


def _key(header: Mapping[str, Any], keys: Mapping[str, Any]) -> Any:
    try:
        known = jwt.PyJWKSet.from_dict(dict(keys)).keys
    except (jwt.PyJWTError, TypeError, KeyError) as error:
        raise ProviderRefused("The provider publishes no keys that can be read.") from error
    named = [each for each in known if each.key_id == header.get("kid")]
    chosen = named if header.get("kid") else known
    if len(chosen) != 1:
        raise ProviderRefused(
            "The answer is signed with a key that the provider does not publish.", code="signature"
        )
    return chosen[0].key


def _claims(claims: Mapping[str, Any]) -> Claims:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise ProviderRefused("The answer names nobody.", code="subject")
    email, name = claims.get("email"), claims.get("name")
    return Claims(
        subject=subject,
        email=email if isinstance(email, str) else "",
        email_verified=claims.get("email_verified") is True,
        name=name if isinstance(name, str) else "",
        all=dict(claims),
    )
