"""Refused keys on record: somebody holds a key of the tenant that must not work, or shows a good one to everybody.

Only a genuine key is written down, with its whole secret: who guesses or invents keys writes nothing, and belongs to no
tenant. Each key is written once an hour for each reason, however often it comes and to how many processes.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from kernel.actors import Actor, acting
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, Unavailable
from substrate.audit import record_act
from substrate.models import TenantAct
from substrate.patience import giving_way
from substrate.scoping import tenant_scope
from substrate.units import run_unit
from tenants.models import ApiKey, Tenant
from tenants.refusals import RefusedKeys
from tenants.types import KeyEntry, Principal, TenantState

log = structlog.get_logger(__name__)

ACT = "refused"
EVERY = timedelta(hours=1)
# Why a genuine key was refused, as the record says it.
EXPIRED, REVOKED, INACTIVE, DISABLED = "expired", "revoked", "inactive", "disabled"
ANOTHER_TENANT, IN_ADDRESS = "another_tenant", "in_address"
_IN_TEXT = re.compile(r"atr_[0-9A-Za-z]{10}_[0-9A-Za-z]{46}")
LONGEST_QUERY = 4096


def reason_of(entry: KeyEntry, clock: Clock) -> str:
    """Why the genuine key of this entry is refused, "" where it is good or where that is nothing to write down."""
    if entry.refusal in (REVOKED, INACTIVE, DISABLED):
        return entry.refusal
    return EXPIRED if entry.expires_at is not None and entry.expires_at <= clock.now() else ""


def note_refusal(principal: Principal, reason: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Write the refusal into the audit of the key's tenant, unless that was done within the hour.

    Never raises for a database that is away or held by somebody else: the refusal stands without its record, and the next
    one tries again.
    """
    if principal.api_key_id is None:
        return
    with noted_once(principal.api_key_id, reason) as first:
        if first:
            _write(principal, reason, clock)


async def note_refusal_soon(principal: Principal, reason: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """As `note_refusal`, for the data plane."""
    if principal.api_key_id is None:
        return
    with noted_once(principal.api_key_id, reason) as first:
        if first:
            await run_unit(_write, principal, reason, clock)


@contextmanager
def noted_once(thing_id: uuid.UUID, reason: str) -> Iterator[bool]:
    """Whether this refusal is the first of its hour in this process; what is written inside counts as noted only when
    it was: else the thing would be silent for an hour."""
    noted: RefusedKeys = backends["refused_keys"]
    if not noted.is_first(thing_id, reason):
        yield False
        return
    written = False
    try:
        yield True
        written = True
    except AtriumError as error:
        log.warning("refusal_not_noted", reason=reason, error=str(error))
    finally:
        if not written:
            noted.forget(thing_id, reason)


def key_in(query: str) -> str | None:
    """What looks like a key in the query of an address, else None."""
    found = _IN_TEXT.search(query[:LONGEST_QUERY])
    return found[0] if found else None


def _write(principal: Principal, reason: str, clock: Clock) -> None:
    """Raises Unavailable where somebody else's transaction stands in the way."""
    key_id = principal.api_key_id
    if key_id is None:
        return
    actor = Actor("key", f"atr_{principal.api_key_prefix}", principal.user_id)
    gave_way = True
    with giving_way(), acting(actor), tenant_scope(principal.tenant_id):
        # The key's row is the lock: of two processes that see the same one writes.
        key = ApiKey.objects.select_for_update().filter(id=key_id).first()
        # Nothing is written for a tenant that is being deleted.
        going = Tenant.objects.filter(id=principal.tenant_id, state=TenantState.DELETING).exists()
        if key is not None and not going and not _is_noted(key.id, reason, clock):
            record_act(
                act=ACT,
                kind="api_key",
                object_id=key.id,
                label=f"{key.name} (atr_{key.prefix})",
                tenant_id=principal.tenant_id,
                after={"reason": reason},
            )
        gave_way = False
    if gave_way:
        raise Unavailable


def _is_noted(key_id: uuid.UUID, reason: str, clock: Clock) -> bool:
    since = clock.now() - EVERY
    rows = TenantAct.objects.filter(kind="api_key", act=ACT, object_id=str(key_id), created_at__gt=since)
    return rows.filter(after__contains=f'"{reason}"').exists()
