"""Idempotency records: a POST with an `Idempotency-Key` happens once per tenant, key and route."""

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Conflict
from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.models import IdempotencyRecord
from substrate.scoping import tenant_scope

KEEP = timedelta(hours=24)
# A first request that has not answered after this long has died; its key is free again.
ABANDONED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered the first time: the status and the JSON body."""

    status: int
    body: object


def begin_once(
    *, tenant_id: uuid.UUID, key: str, route: str, body_hash: str, clock: Clock = SYSTEM_CLOCK
) -> StoredAnswer | None:
    """Claim the key: None when this is the first time, the stored answer when it is not.

    Raises Conflict when the same key came with another body, or while the first request is still at work.
    """
    with tenant_scope(tenant_id):
        IdempotencyRecord.objects.filter(key=key, route=route, created_at__lt=clock.now() - KEEP).delete()
        IdempotencyRecord.objects.filter(
            key=key, route=route, status=0, created_at__lt=clock.now() - ABANDONED
        ).delete()
        try:
            with transaction.atomic():
                IdempotencyRecord.objects.create(
                    tenant_id=tenant_id, key=key, route=route, body_hash=body_hash
                )
            return None
        except IntegrityError:
            record = IdempotencyRecord.objects.filter(key=key, route=route).first()
    if record is None:
        # Its first request failed and freed the key this moment.
        raise Conflict("The first request with this Idempotency-Key just ended.", retry_after_s=1.0)
    if record.body_hash != body_hash:
        raise Conflict("This Idempotency-Key was used with another body.", code="idempotency_key_reused")
    if record.status == 0:
        raise Conflict("The first request with this Idempotency-Key is still at work.", retry_after_s=1.0)
    body = keyring().decrypt(record.body, context=_seal(tenant_id, key, route)) if record.body else ""
    return StoredAnswer(record.status, json.loads(body) if body else None)


def finish_once(*, tenant_id: uuid.UUID, key: str, route: str, status: int, body: str) -> None:
    """Store the answer, encrypted: it may hold what is shown only once (a new API key)."""
    sealed = keyring().encrypt(body, context=_seal(tenant_id, key, route)) if body else ""
    with tenant_scope(tenant_id):
        IdempotencyRecord.objects.filter(key=key, route=route).update(status=status, body=sealed)


def _seal(tenant_id: uuid.UUID, key: str, route: str) -> str:
    return f"{tenant_id}:idempotency:{route}:{key}"


def forget_once(*, tenant_id: uuid.UUID, key: str, route: str) -> None:
    """Free the key after a failure of ours."""
    with tenant_scope(tenant_id):
        IdempotencyRecord.objects.filter(key=key, route=route, status=0).delete()


def forget_old_records(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete records older than 24 h; returns how many."""
    with system_scope("prune idempotency records"):
        deleted, _ = IdempotencyRecord.objects.filter(created_at__lt=clock.now() - KEEP).delete()
    return deleted


def forget_records_about(*, tenant_id: uuid.UUID) -> int:
    """Delete the records of requests to addresses that name a tenant, whoever sent them; returns how many went."""
    with system_scope("forget a tenant that is deleted"):
        deleted, _ = IdempotencyRecord.objects.filter(route__contains=str(tenant_id)).delete()
    return deleted
