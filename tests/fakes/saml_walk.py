"""A person signs in by a tenant's SAML provider, step by step."""

import json
from typing import Any
from urllib.parse import urlsplit

from django.test import Client
from factories.tenants import key_client
from fakes.saml_idp import ENTITY_ID, SSO_URL, SamlIdp, certificate

from tenants.models import Tenant
from tenants.types import Role

PATH = "/api/v1/identity-providers"
JSON = "application/json"


def set_up(idp: SamlIdp, tenant: Tenant, **values: Any) -> dict[str, Any]:
    """A provider of the tenant, switched on, which makes members of who is new; `values` stand over that."""
    body = {
        "name": "Acme SAML",
        "protocol": "saml",
        "issuer": ENTITY_ID,
        "sso_url": SSO_URL,
        "certificates": certificate(idp.key),
        "enabled": True,
        "create_members": True,
        **values,
    }
    answer = key_client(tenant, role=Role.OWNER).post(PATH, json.dumps(body), content_type=JSON)
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def away(
    client: Client, idp: SamlIdp, tenant: Tenant, made: dict[str, Any], query: str = ""
) -> tuple[str, str]:
    """Sent away to the provider: the id of the request, and where its answer goes."""
    sent = client.get(f"/accounts/sso/{tenant.id}/{made['id']}/{query}")
    assert sent.status_code == 302, sent.content
    return idp.request(sent["Location"])


def post(acs_url: str, text: str) -> Any:
    """The form of the provider's own site: no cookie of ours comes with it, and no CSRF token."""
    return Client(enforce_csrf_checks=True).post(
        urlsplit(acs_url).path, {"SAMLResponse": text, "RelayState": "x"}
    )


def back(client: Client, acs_url: str, text: str) -> Any:
    """The answer comes in, and the browser goes on with it."""
    taken = post(acs_url, text)
    return client.get(taken["Location"]) if taken.status_code == 303 else taken


def go(client: Client, idp: SamlIdp, tenant: Tenant, made: dict[str, Any], **how: Any) -> Any:
    """A whole sign-in; `how` is how the answer is made."""
    request_id, acs_url = away(client, idp, tenant, made)
    return back(client, acs_url, idp.answer(request_id, acs_url, **how))
