"""Signing in by a tenant's SAML provider: sent away, the answer checked, and once, in the browser that asked, let in.

The provider's answer comes as a form from another site, so without this site's cookie. It is checked there, kept for a
moment under a name nobody can guess, and used by the browser whose session remembers the request that it answers.
"""

import hmac
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import cache

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, NotFound
from tenants.models import IdentityProvider
from tenants.oidc import FLOW_TIME, Claims, ProviderRefused
from tenants.saml import (
    SamlAnswer,
    SamlProvider,
    authentication_request,
    read_answer,
    service_metadata,
    service_settings,
    weak_certificates,
)
from tenants.sign_in_types import ExaminedStep, Flow

SAML = "saml"
# What comes back beside the answer to a dry sign-in. Not signed: it chooses what a page offers, and nothing else.
DRY = "trial"
KEPT_S = 300
_KEY = "saml_answer:{}"


@dataclass(frozen=True, slots=True)
class SamlPlace:
    """Where a provider finds us: our name to it, and where its answers go."""

    entity_id: str
    acs_url: str


def saml_place(*, base: str, tenant_id: uuid.UUID, provider_id: uuid.UUID) -> SamlPlace:
    """The addresses of one provider's sign-in below `base`, scheme and host."""
    root = f"{base.rstrip('/')}/accounts/saml/{tenant_id}/{provider_id}"
    return SamlPlace(f"{root}/metadata/", f"{root}/acs/")


def begin_saml(
    *, provider: IdentityProvider, base: str, next_url: str, trial: bool, clock: Clock = SYSTEM_CLOCK
) -> tuple[str, Flow]:
    """Where to send the browser, and what its session must remember. Raises BadInput."""
    place = saml_place(base=base, tenant_id=provider.tenant_id, provider_id=provider.id)
    address, request_id = authentication_request(
        _settings(provider, place), sso_url=provider.sso_url, relay=DRY if trial else str(provider.id)
    )
    flow = Flow(
        provider_id=provider.id,
        tenant_id=provider.tenant_id,
        state=request_id,
        nonce="",
        verifier="",
        next=next_url,
        trial=trial,
        began_at=clock.now().timestamp(),
    )
    return address, flow


def take_answer(*, provider: IdentityProvider, base: str, text: str) -> str:
    """Check an answer as it comes in, keep it for five minutes, and return the name to ask for it by.

    Raises ProviderRefused, BadInput.
    """
    place = saml_place(base=base, tenant_id=provider.tenant_id, provider_id=provider.id)
    answer = read_answer(
        text, settings=_settings(provider, place), entity_id=place.entity_id, acs_url=place.acs_url
    )
    name = secrets.token_urlsafe(32)
    cache.set(_KEY.format(name), (provider.tenant_id, provider.id, answer), KEPT_S)
    return name


def finish_saml(*, flow: Flow, name: str, clock: Clock = SYSTEM_CLOCK) -> Claims:
    """Who came back, if the answer of this name is to the request of this very flow. An answer is used up by asking.

    The caller has forgotten the flow already, so that it works once. Raises ProviderRefused.
    """
    kept = _used_up(name)
    if kept is None:
        raise ProviderRefused("There is no such answer any more. Begin again.", code="used_up")
    _, provider_id, answer = kept
    same = hmac.compare_digest(answer.in_response_to.encode(), flow.state.encode())
    if not same or provider_id != flow.provider_id:
        raise ProviderRefused("The answer belongs to another sign-in. Begin again.", code="another_sign_in")
    if clock.now() - datetime.fromtimestamp(flow.began_at, UTC) > FLOW_TIME:
        raise ProviderRefused("Signing in took too long. Begin again.", code="too_late")
    return answer.claims


def answering_provider(name: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Tenant and provider of an answer that no sign-in of this browser waits for. It is used up by asking."""
    kept = _used_up(name)
    return kept[:2] if kept is not None else None


def our_metadata(*, provider: IdentityProvider, base: str) -> bytes:
    """Our side as XML, for the provider to take over. Raises BadInput."""
    place = saml_place(base=base, tenant_id=provider.tenant_id, provider_id=provider.id)
    return service_metadata(_settings(provider, place, alone=True))


def examine_saml(provider: IdentityProvider, *, clock: Clock = SYSTEM_CLOCK) -> Sequence[ExaminedStep]:
    """What can be said without a sign-in: whether the entry is whole, and what its certificates are worth."""
    if not is_whole(provider):
        return [
            ExaminedStep(
                "configuration", False, "What the provider says of itself is missing: give its metadata."
            )
        ]
    try:
        check_address(provider.sso_url)
        steps = [ExaminedStep("configuration", True, f"People are sent to {provider.sso_url}.")]
    except BadInput as error:
        return [ExaminedStep("configuration", False, error.message)]
    try:
        weak = weak_certificates(provider.certificates, clock.now())
    except BadInput as error:
        return [*steps, ExaminedStep("keys", False, error.message)]
    return [*steps, ExaminedStep("keys", not weak, " ".join(weak) or "The certificates are good.")]


def is_whole(provider: IdentityProvider) -> bool:
    """Whether the provider's side is known: before, it can be given ours, and nobody signs in by it."""
    return bool(provider.issuer.strip() or provider.sso_url.strip() or provider.certificates.strip())


def check_address(url: str) -> None:
    """Return when people may be sent there: https, or a host that the installation trusts. Raises BadInput."""
    parts = urlsplit(url)
    trusted: Sequence[str] = settings.ATRIUM.sign_in_hosts
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in trusted)
    ):
        raise BadInput("The sign-in address begins with https://.", param="sso_url")


def require_saml(provider: IdentityProvider) -> None:
    """Return for a SAML provider. Raises NotFound."""
    if provider.protocol != SAML:
        raise NotFound("There is no such sign-in.")


def _used_up(name: str) -> tuple[uuid.UUID, uuid.UUID, SamlAnswer] | None:
    key = _KEY.format(name[:100])
    kept: tuple[uuid.UUID, uuid.UUID, SamlAnswer] | None = cache.get(key)
    cache.delete(key)
    return kept


def _settings(provider: IdentityProvider, place: SamlPlace, *, alone: bool = False) -> Any:
    known = SamlProvider(provider.issuer, provider.sso_url, provider.certificates)
    return service_settings(known, entity_id=place.entity_id, acs_url=place.acs_url, alone=alone)
