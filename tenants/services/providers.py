"""Identity providers of a tenant: set up, tested, switched on; which one speaks for an address."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, transaction
from django.db.models import Q

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, BadInput, Conflict, NotFound
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from substrate.versions import check_version, version_of
from tenants.lifecycle_types import DeletionState
from tenants.models import IdentityProvider, TenantDeletion
from tenants.oidc import WELL_KNOWN, Metadata, read_metadata
from tenants.permissions import OPERATE, require, require_rank
from tenants.ports import ProviderFetch
from tenants.saml import read_provider_metadata, split_certificates
from tenants.services.claim_mapping import checked_rules
from tenants.services.refused_sign_ins import last_refused
from tenants.services.saml_sign_in import SAML, check_address, examine_saml, is_whole
from tenants.sign_in_types import ExaminedStep, ProviderView
from tenants.types import Principal, Role, TenantState

MOST_PROVIDERS = 20
MOST_DOMAINS = 50
# What the record of a change tells of, before and after: the secret masked, certificates by their digest.
TOLD = (
    "name",
    "issuer",
    "client_id",
    "client_secret",
    "sso_url",
    "certificates",
    "enabled",
    "create_members",
    "default_role",
    "domains",
    "groups_claim",
    "mappings",
)
DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


@dataclass(frozen=True, slots=True)
class OfferedProvider:
    """A provider that the sign-in page may offer."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    name: str


def list_providers(*, principal: Principal) -> list[ProviderView]:
    """The tenant's providers by name. Raises PermissionDenied."""
    require(principal, "tenant.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return [_view(row) for row in IdentityProvider.objects.order_by("name", "id")]


def get_provider(*, principal: Principal, provider_id: uuid.UUID) -> ProviderView:
    """One provider. Raises PermissionDenied, NotFound."""
    require(principal, "tenant.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _view(_row(provider_id))


def create_provider(*, principal: Principal, values: dict[str, Any]) -> ProviderView:
    """A new provider with the given fields. Raises PermissionDenied, BadInput, Conflict (name, or too many)."""
    require(principal, "tenant.write")
    row = IdentityProvider(tenant_id=principal.tenant_id)
    with tenant_scope(principal.tenant_id):
        _fill(row, values, principal)
        if IdentityProvider.objects.count() >= MOST_PROVIDERS:
            raise Conflict(f"A tenant has at most {MOST_PROVIDERS} identity providers.")
        return _saved(row, "created", before={})


def change_provider(
    *, principal: Principal, provider_id: uuid.UUID, values: dict[str, Any], expected: str | None = None
) -> ProviderView:
    """Change the given fields; other domains, another issuer or other certificates must be verified anew.

    Raises PermissionDenied, NotFound, BadInput, Conflict, Stale.
    """
    require(principal, "tenant.write")
    with tenant_scope(principal.tenant_id):
        row = _row(provider_id, lock=True)
        check_version(row.updated_at, expected)
        whose, before = _whose(row), values_of(row, *TOLD)
        _fill(row, values, principal)
        if whose != _whose(row):
            row.domains_verified_at = None
        return _saved(row, "changed", before=before)


def verify_domains(
    *, principal: Principal, provider_id: uuid.UUID, verified: bool, clock: Clock = SYSTEM_CLOCK
) -> ProviderView:
    """An operator says that the provider's domains are the tenant's own, or takes it back.

    Raises PermissionDenied, NotFound, Conflict when another tenant speaks for one of them.
    """
    require(principal, OPERATE)
    with system_scope("verify domains"):
        row = (
            IdentityProvider.objects.select_for_update()
            .filter(id=provider_id, tenant_id=principal.tenant_id)
            .first()
        )
        if row is None:
            raise NotFound("There is no such identity provider.")
        others = IdentityProvider.objects.exclude(tenant_id=row.tenant_id).exclude(domains_verified_at=None)
        taken = {domain for each in others for domain in each.domains} & set(row.domains)
        if verified and taken:
            raise Conflict(f"{', '.join(sorted(taken))}: verified for another tenant already.")
    with tenant_scope(principal.tenant_id):
        row.domains_verified_at = clock.now() if verified else None
        return _saved(row, "verified" if verified else "changed")


def delete_provider(*, principal: Principal, provider_id: uuid.UUID, expected: str | None = None) -> None:
    """Remove it with the identities it vouched for; people and memberships stay. Raises PermissionDenied, NotFound, Stale."""
    require(principal, "tenant.write")
    with tenant_scope(principal.tenant_id):
        row = _row(provider_id, lock=True)
        check_version(row.updated_at, expected)
        _record("deleted", row)
        row.delete()


def examine_provider(*, principal: Principal, provider_id: uuid.UUID) -> list[ExaminedStep]:
    """Ask the provider who it is and for its keys, step by step; nothing changes. Raises PermissionDenied, NotFound."""
    require(principal, "tenant.write")
    with tenant_scope(principal.tenant_id, read_only=True):
        row = _row(provider_id)
    if row.protocol == SAML:
        return list(examine_saml(row))
    issuer = row.issuer
    fetch: ProviderFetch = backends["provider_fetch"]
    try:
        document = fetch.get_document(issuer.rstrip("/") + WELL_KNOWN)
        steps = [ExaminedStep("discovery", True, f"{issuer} answers.")]
    except AtriumError as error:
        return [ExaminedStep("discovery", False, error.message)]
    try:
        metadata = read_metadata(document, issuer=issuer)
        steps.append(ExaminedStep("configuration", True, "It is what it says it is, and signs as it should."))
    except AtriumError as error:
        return [*steps, ExaminedStep("configuration", False, error.message)]
    try:
        number = len(fetch.get_document(metadata.jwks_uri).get("keys") or ())
        told = f"It publishes {number} key{'' if number == 1 else 's'}."
        steps.append(ExaminedStep("keys", number > 0, told))
    except AtriumError as error:
        steps.append(ExaminedStep("keys", False, error.message))
    return steps


def load_metadata(issuer: str) -> Metadata:
    """What the provider says of itself now. Raises BadInput, UpstreamFailed."""
    fetch: ProviderFetch = backends["provider_fetch"]
    return read_metadata(fetch.get_document(issuer.rstrip("/") + WELL_KNOWN), issuer=issuer)


def offered_providers(*, tenant_slug: str = "", email: str = "") -> Sequence[OfferedProvider]:
    """Enabled providers of a tenant by its short name, or of the verified domain of an address; none is no error."""
    domain = email.rpartition("@")[2].lower()
    with system_scope("find an identity provider", read_only=True):
        # Where a member's deletion waits, members come in to undo it.
        leaving = TenantDeletion.objects.filter(state=DeletionState.WAITING, by_member=True)
        open_ones = Q(tenant__state=TenantState.ACTIVE) | Q(tenant_id__in=leaving.values("tenant_id"))
        rows = IdentityProvider.objects.filter(open_ones, enabled=True)
        if tenant_slug:
            found = list(rows.filter(tenant__slug=tenant_slug).order_by("name", "id"))
        else:
            verified = rows.exclude(domains_verified_at=None).order_by("name", "id")
            found = [row for row in verified if domain in row.domains] if domain else []
    return [OfferedProvider(row.id, row.tenant_id, row.name) for row in found]


def secret_context(row: IdentityProvider) -> str:
    """What a provider's secret is bound to."""
    return f"{row.tenant_id}:identity_provider:{row.id}"


def _whose(row: IdentityProvider) -> tuple[object, ...]:
    """What an operator's word on the domains holds for."""
    return (row.issuer, row.certificates, row.domains)


def _fill(row: IdentityProvider, values: dict[str, Any], principal: Principal) -> None:
    if values.get("protocol"):
        row.protocol = values["protocol"]
    for name in ("name", "issuer", "client_id", "sso_url", "certificates", "enabled", "create_members"):
        if name in values:
            setattr(row, name, values[name])
    if values.get("metadata"):
        told = read_provider_metadata(values["metadata"])
        row.issuer, row.sso_url, row.certificates = told.entity_id, told.sso_url, told.certificates
    _check_whole(row)
    if "default_role" in values:
        role = Role(values["default_role"])
        require_rank(principal, role)
        if role is Role.OWNER:
            raise BadInput("A provider makes no owners.", param="default_role")
        row.default_role = role.value
    if "groups_claim" in values:
        row.groups_claim = values["groups_claim"].strip()
    if "mappings" in values:
        row.mappings = checked_rules(values["mappings"], principal)
    if "domains" in values:
        row.domains = _domains(values["domains"])
    if "client_secret" in values:
        given = values["client_secret"]
        row.client_secret = keyring().encrypt(given, context=secret_context(row)) if given else ""


def _check_whole(row: IdentityProvider) -> None:
    if row.protocol == SAML:
        if not is_whole(row):
            # The provider wants to know of us before it says anything of itself: so it is made without, and off.
            if row.enabled:
                raise BadInput("Give the provider's metadata before you switch it on.", param="metadata")
            return
        if not row.issuer.strip():
            raise BadInput("Give the provider's entity id.", param="issuer")
        check_address(row.sso_url)
        row.certificates = "\n".join(split_certificates(row.certificates))
        return
    try:
        URLValidator(schemes=["https", "http"])(row.issuer)
    except ValidationError as error:
        raise BadInput("An issuer is an address, as https://login.example.org.", param="issuer") from error
    if not row.client_id.strip():
        raise BadInput("Give the client id.", param="client_id")


def _domains(given: Sequence[str]) -> list[str]:
    found = sorted({each.strip().lower() for each in given})
    wrong = [each for each in found if not DOMAIN.fullmatch(each)]
    if wrong:
        raise BadInput(f"{wrong[0]!r} is no domain like example.org.", param="domains")
    if len(found) > MOST_DOMAINS:
        raise BadInput(f"At most {MOST_DOMAINS} domains.", param="domains")
    return found


def _saved(row: IdentityProvider, act: str, *, before: dict[str, Any] | None = None) -> ProviderView:
    """Kept, and on record: with the values that are not as `before`, where that is given."""
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict("There is an identity provider of this name already.", param="name") from error
    _record(act, row, before)
    return _view(row)


def _record(act: str, row: IdentityProvider, before: dict[str, Any] | None = None) -> None:
    after = None if before is None else values_of(row, *TOLD)
    record_change(kind="identity_provider", object_id=row.id, tenant_id=row.tenant_id)
    record_act(
        act=act,
        kind="identity_provider",
        object_id=row.id,
        label=row.name,
        tenant_id=row.tenant_id,
        before=before,
        after=after,
    )


def _row(provider_id: uuid.UUID, *, lock: bool = False) -> IdentityProvider:
    rows = IdentityProvider.objects.select_for_update() if lock else IdentityProvider.objects.all()
    row = rows.filter(id=provider_id).first()
    if row is None:
        raise NotFound("There is no such identity provider.")
    return row


def _view(row: IdentityProvider) -> ProviderView:
    return ProviderView(
        id=row.id,
        name=row.name,
        protocol=row.protocol,
        issuer=row.issuer,
        client_id=row.client_id,
        has_secret=bool(row.client_secret),
        sso_url=row.sso_url,
        certificates=row.certificates,
        enabled=row.enabled,
        create_members=row.create_members,
        default_role=Role(row.default_role),
        domains=tuple(row.domains),
        groups_claim=row.groups_claim,
        mappings=tuple(row.mappings),
        domains_verified=row.domains_verified_at is not None,
        last_refused=last_refused(row.id),
        created_at=row.created_at,
        version=version_of(row.updated_at),
    )
