"""Signing in by a tenant's identity provider: sent away, back again, and whom the answer lets in.

What a provider says counts in its own tenant alone: the session is confined to it, and no account, membership or
identity of another tenant is touched. Equal addresses link nothing by themselves: an account that exists is linked for
a domain that an operator has verified to be the tenant's.
"""

import hmac
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import IntegrityError, transaction

from kernel.actors import Actor, acting
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound, TenantSuspended
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from tenants import selectors
from tenants.lifecycle_types import DeletionState
from tenants.models import Identity, IdentityProvider, Membership, Tenant, TenantDeletion, User
from tenants.oidc import (
    FLOW_TIME,
    Claims,
    Metadata,
    NotAdmitted,
    ProviderRefused,
    authorization_url,
    fresh_secret,
    read_id_token,
)
from tenants.ports import ProviderFetch
from tenants.services.claim_mapping import Given, apply_mappings, would_give
from tenants.services.providers import load_metadata, secret_context
from tenants.services.provisioning import is_ours_alone
from tenants.services.saml_sign_in import SAML, begin_saml
from tenants.services.users import normal_address
from tenants.sign_in_types import Flow
from tenants.types import NAME_LENGTH, TenantState, normal_email


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who came in: the membership their session is bound to, with its user."""

    membership: Membership
    linked: bool


def begin_flow(
    *,
    provider_id: uuid.UUID,
    tenant_id: uuid.UUID,
    base: str,
    redirect_uri: str,
    next_url: str,
    trial: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[str, Flow]:
    """Where to send the browser, and what its session must remember.

    `base` is scheme and host that people reach Atrium by. `trial` is a dry sign-in that only shows what came, also by a provider that is not enabled. Raises NotFound,
    TenantSuspended, BadInput, UpstreamFailed.
    """
    provider = usable_provider(provider_id, tenant_id, trial=trial)
    if provider.protocol == SAML:
        return begin_saml(provider=provider, base=base, next_url=next_url, trial=trial, clock=clock)
    metadata = load_metadata(provider.issuer)
    flow = Flow(
        provider_id=provider.id,
        tenant_id=tenant_id,
        state=fresh_secret(),
        nonce=fresh_secret(),
        verifier=fresh_secret(),
        next=next_url,
        trial=trial,
        began_at=clock.now().timestamp(),
    )
    address = authorization_url(
        metadata,
        client_id=provider.client_id,
        redirect_uri=redirect_uri,
        state=flow.state,
        nonce=flow.nonce,
        verifier=flow.verifier,
    )
    return address, flow


def finish_flow(
    *, flow: Flow, state: str, code: str, issuer: str, redirect_uri: str, clock: Clock = SYSTEM_CLOCK
) -> Claims:
    """Who the provider says came back. The caller has forgotten the flow already, so that it works once.

    `issuer` is what the answer says of itself (RFC 9207), where it does. Raises ProviderRefused, NotFound,
    TenantSuspended, UpstreamFailed.
    """
    require_state(flow=flow, state=state)
    if clock.now() - datetime.fromtimestamp(flow.began_at, UTC) > FLOW_TIME:
        raise ProviderRefused("Signing in took too long. Begin again.", code="too_late")
    provider = usable_provider(flow.provider_id, flow.tenant_id, trial=flow.trial)
    if provider.protocol == SAML:
        raise ProviderRefused("The answer belongs to another kind of sign-in.")
    metadata = load_metadata(provider.issuer)
    if issuer and issuer != metadata.issuer:
        raise ProviderRefused("The answer comes from another issuer.", code="issuer")
    fetch: ProviderFetch = backends["provider_fetch"]
    answer = _exchange(fetch, provider, metadata, flow, code, redirect_uri)
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise ProviderRefused("The provider answers without an id token: it must allow the scope `openid`.")
    return read_id_token(
        token,
        metadata=metadata,
        keys=fetch.get_document(metadata.jwks_uri),
        client_id=provider.client_id,
        nonce=flow.nonce,
        now=clock.now(),
    )


def require_state(*, flow: Flow, state: str) -> None:
    """Return when an answer is to the request of this very flow. Raises ProviderRefused."""
    if not hmac.compare_digest(flow.state.encode(), state.encode()):
        raise ProviderRefused("The answer belongs to another sign-in. Begin again.", code="another_sign_in")


def admit(*, flow: Flow, claims: Claims, clock: Clock = SYSTEM_CLOCK) -> Admitted:
    """Let the person of the claims into the flow's tenant: known, linked by a verified domain, or made new.

    Into a tenant that is to be deleted, and whose members can still undo that, members come alone, as they are.

    Raises NotAdmitted with a code that says why, TenantSuspended, NotFound.
    """
    provider = usable_provider(flow.provider_id, flow.tenant_id, trial=False)
    ours = _made_here(claims.email, flow.tenant_id)
    leaving = _is_leaving(flow.tenant_id)
    with tenant_scope(flow.tenant_id):
        found = Identity.objects.filter(provider_id=provider.id, subject=claims.subject).first()
        user = User.objects.get(id=found.user_id) if found is not None else _link(provider, claims, ours)
        with acting(Actor("user", user.email, user.id)):
            membership = _enter(provider, user, known=found is not None or leaving)
            if found is None:
                _remember(provider, user, claims.subject)
            if not leaving:
                apply_mappings(provider=provider, membership=membership, claims=claims.all)
            Identity.objects.filter(provider_id=provider.id, subject=claims.subject).update(
                last_used_at=clock.now()
            )
            Membership.objects.filter(id=membership.id).update(last_used_at=clock.now())
        return Admitted(membership, linked=found is None)


def rehearse(*, flow: Flow, claims: Claims) -> Given:
    """What the claims of a dry sign-in would give somebody new; nothing is changed. Raises NotFound, TenantSuspended."""
    provider = usable_provider(flow.provider_id, flow.tenant_id, trial=True)
    with tenant_scope(flow.tenant_id, read_only=True):
        return would_give(provider=provider, claims=claims.all)


def _exchange(
    fetch: ProviderFetch,
    provider: IdentityProvider,
    metadata: Metadata,
    flow: Flow,
    code: str,
    redirect_uri: str,
) -> dict[str, object]:
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": flow.verifier,
        "client_id": provider.client_id,
    }
    if not provider.client_secret:
        return dict(fetch.post_form(metadata.token_endpoint, fields))
    secret = keyring().decrypt(provider.client_secret, context=secret_context(provider))
    if metadata.secret_in_body:
        return dict(fetch.post_form(metadata.token_endpoint, {**fields, "client_secret": secret}))
    basic = (provider.client_id, secret)
    return dict(fetch.post_form(metadata.token_endpoint, fields, basic=basic))


def usable_provider(provider_id: uuid.UUID, tenant_id: uuid.UUID, *, trial: bool) -> IdentityProvider:
    """The provider, if it may be used now: found in its own tenant alone. Raises NotFound, TenantSuspended."""
    tenant = Tenant.objects.filter(id=tenant_id).first()
    if tenant is None:
        raise NotFound("There is no such sign-in.")
    if tenant.state != TenantState.ACTIVE and not _is_leaving(tenant_id):
        raise TenantSuspended
    with tenant_scope(tenant_id, read_only=True):
        row = IdentityProvider.objects.filter(id=provider_id).first()
    if row is None or not (row.enabled or trial):
        raise NotFound("There is no such sign-in.")
    return row


def _is_leaving(tenant_id: uuid.UUID) -> bool:
    """Whether the tenant is to be deleted because a member asked for it, who may still think better of it.

    Whoever signs in by the provider alone has no other way to the page where that is done; every other door is shut.
    """
    waits = TenantDeletion.objects.filter(tenant_id=tenant_id, state=DeletionState.WAITING, by_member=True)
    return waits.exists()


def _made_here(email: str, tenant_id: uuid.UUID) -> bool:
    """Whether the tenant's own directory made the account of this address, and it is nobody else's."""
    user = selectors.find_user(normal_email(email)) if email else None
    return user is not None and is_ours_alone(user_id=user.id, tenant_id=tenant_id)


def _link(provider: IdentityProvider, claims: Claims, ours: bool) -> User:
    """The user of a subject that was never here: found by a verified address, made by the directory (`ours`), or new."""
    if not claims.email:
        raise NotAdmitted("Your organisation's sign-in tells no e-mail address of you.", code="no_email")
    email = normal_address(claims.email)
    own = provider.domains_verified_at is not None and email.rpartition("@")[2] in provider.domains
    user = selectors.find_user(email)
    if user is not None and (ours or (own and claims.email_verified)):
        return user
    if user is not None:
        raise NotAdmitted(
            f"There is an account of {email} already, and an equal address alone links nothing. Sign in the "
            "way you did before; your administrator can ask an operator to verify the domain.",
            code="account_exists",
        )
    if not provider.create_members:
        raise NotAdmitted("You are not a member of this organisation here.", code="not_a_member")
    user = User(email=email, name=claims.name.strip()[:NAME_LENGTH])
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise NotAdmitted("There is an account of this address already.", code="account_exists") from error
    return user


def _enter(provider: IdentityProvider, user: User, *, known: bool) -> Membership:
    membership = selectors.members().select_related("tenant").filter(user_id=user.id).first()
    if not user.is_active:
        raise NotAdmitted("This account has been switched off.", code="inactive")
    if membership is not None:
        if membership.disabled_at is not None:
            raise NotAdmitted("Your membership in this tenant is disabled.", code="disabled")
        return membership
    # Who was a member and was removed does not come back by themselves.
    if known or not provider.create_members:
        raise NotAdmitted("You are not a member of this organisation here.", code="not_a_member")
    membership = Membership.objects.create(
        tenant_id=provider.tenant_id, user=user, role=provider.default_role
    )
    record_change(kind="membership", object_id=user.id, tenant_id=provider.tenant_id)
    _record(
        "created", "membership", user.id, f"{user.email} ({membership.role}, by {provider.name})", provider
    )
    return membership


def _remember(provider: IdentityProvider, user: User, subject: str) -> None:
    Identity.objects.create(tenant_id=provider.tenant_id, provider=provider, user=user, subject=subject)
    _record("linked", "membership", user.id, f"{user.email} (by {provider.name})", provider)


def _record(act: str, kind: str, object_id: uuid.UUID, label: str, provider: IdentityProvider) -> None:
    record_act(act=act, kind=kind, object_id=object_id, label=label, tenant_id=provider.tenant_id)
