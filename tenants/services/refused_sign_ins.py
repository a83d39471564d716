"""Refused sign-ins on record: a provider's answer that was not believed, or somebody it vouches for who may not enter.

Anybody can send rubbish to the address where answers come in: each reason is written once an hour for each provider
(and person, where a believed answer names one), however often it comes and to how many processes. No text of an answer
that is not believed is ever written.
"""

import json
import uuid
from datetime import datetime, timedelta

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, Unavailable, UpstreamFailed
from substrate.audit import record_act
from substrate.models import TenantAct
from substrate.patience import giving_way
from substrate.scoping import tenant_scope
from tenants.models import IdentityProvider, Tenant
from tenants.oidc import NotAdmitted, ProviderRefused
from tenants.services.refusals import EVERY, noted_once
from tenants.sign_in_types import RefusedSignIn
from tenants.types import TenantState

KIND, ACT = "identity_provider", "sign_in_refused"
UNREACHABLE = "unreachable"
SHOWN_FOR = timedelta(days=30)
LONGEST_PERSON = 254


def note_refused_sign_in(
    *,
    tenant_id: uuid.UUID,
    provider_id: uuid.UUID,
    error: AtriumError,
    person: str = "",
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Write into the tenant's audit why a sign-in by its provider was refused, unless that was done within the hour.

    `person` is whom a believed answer names. Errors that say nothing of the provider are not written. Never raises for
    a database that is away or held by somebody else.
    """
    if not isinstance(error, ProviderRefused | NotAdmitted | UpstreamFailed):
        return
    reason = UNREACHABLE if isinstance(error, UpstreamFailed) else error.code
    who = person[:LONGEST_PERSON]
    with noted_once(provider_id, f"{reason} {who}") as first:
        if first:
            _write(tenant_id, provider_id, {"reason": reason, **({"person": who} if who else {})}, clock)


def last_refused(provider_id: uuid.UUID, *, clock: Clock = SYSTEM_CLOCK) -> RefusedSignIn | None:
    """The latest refusal on record of the last 30 days. Needs the tenant's scope."""
    rows = TenantAct.objects.filter(kind=KIND, act=ACT, object_id=str(provider_id))
    row = rows.filter(created_at__gt=clock.now() - SHOWN_FOR).order_by("-created_at").first()
    if row is None:
        return None
    told = json.loads(row.after)
    return RefusedSignIn(row.created_at, str(told.get("reason", "")), str(told.get("person", "")))


def _write(tenant_id: uuid.UUID, provider_id: uuid.UUID, told: dict[str, str], clock: Clock) -> None:
    """Raises Unavailable where somebody else's transaction stands in the way."""
    gave_way = True
    with giving_way(), tenant_scope(tenant_id):
        # The provider's row is the lock: of two processes that see the same one writes.
        provider = IdentityProvider.objects.select_for_update().filter(id=provider_id).first()
        going = Tenant.objects.filter(id=tenant_id, state=TenantState.DELETING).exists()
        if provider is not None and not going and not _is_noted(provider_id, told, clock.now()):
            record_act(
                act=ACT,
                kind=KIND,
                object_id=provider_id,
                label=provider.name,
                tenant_id=tenant_id,
                after=told,
            )
        gave_way = False
    if gave_way:
        raise Unavailable


def _is_noted(provider_id: uuid.UUID, told: dict[str, str], now: datetime) -> bool:
    rows = TenantAct.objects.filter(kind=KIND, act=ACT, object_id=str(provider_id))
    lately = rows.filter(created_at__gt=now - EVERY).values_list("after", flat=True)
    return any(json.loads(each) == told for each in lately)
