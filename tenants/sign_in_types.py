"""What crosses doors about signing in: sessions, rules, identity providers."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tenants.types import Role


@dataclass(frozen=True, slots=True)
class SessionView:
    """A browser's session as people see it. `current` is the one that asks; `device` is read from `user_agent`."""

    id: uuid.UUID
    current: bool
    tenant_slug: str
    tenant_name: str
    device: str
    user_agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignInRules:
    """What a tenant asks of people who sign in to it."""

    second_factor_required: bool
    version: str


@dataclass(frozen=True, slots=True)
class RefusedSignIn:
    """When a sign-in by a provider was refused last, and why; `person` is whom a believed answer named, else empty."""

    at: datetime
    reason: str
    person: str


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A tenant's identity provider; its secret is never shown."""

    id: uuid.UUID
    name: str
    protocol: str
    issuer: str
    client_id: str
    has_secret: bool
    sso_url: str
    certificates: str
    enabled: bool
    create_members: bool
    default_role: Role
    domains: tuple[str, ...]
    domains_verified: bool
    groups_claim: str
    mappings: tuple[Mapping[str, str], ...]
    last_refused: RefusedSignIn | None
    created_at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class ExaminedStep:
    """One step of a connection test: what was tried, and what came of it in words."""

    step: str
    passed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in under way: what the session remembers until the browser is back."""

    provider_id: uuid.UUID
    tenant_id: uuid.UUID
    state: str
    nonce: str
    verifier: str
    next: str
    trial: bool
    began_at: float


@dataclass(frozen=True, slots=True)
class OfferedMembership:
    """What the person who holds an invitation sees of it. `custom_role` names the tenant's own role, where it offers one. `known` says that there is an account of this address."""

    token_hash: str = field(repr=False)
    email: str
    role: Role
    custom_role: str
    tenant_name: str
    invited_by: str
    message: str
    known: bool


@dataclass(frozen=True, slots=True)
class WaitingDomains:
    """An identity provider whose domains no operator has verified: accounts that exist are not linked until then."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    name: str
    domains: tuple[str, ...]
