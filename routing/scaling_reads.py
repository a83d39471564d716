"""Reads of how many replicas pools are to have."""

import uuid
from datetime import datetime

import msgspec
import structlog
from django.db.models import F, QuerySet
from msgspec import Struct

from routing.models import PoolScaling, ScalingDecision
from routing.scaling_types import ScalingMode, ScalingPolicy, Sleeper, read_scaling_policy

log = structlog.get_logger(__name__)


class ScaledPool(Struct, frozen=True):
    """A pool about which something is to be decided."""

    id: uuid.UUID
    name: str
    policy: ScalingPolicy
    serves: str = ""
    starts_in_s: float | None = None
    waking_at: datetime | None = None


def load_scaled_pools() -> list[ScaledPool]:
    """The pools whose replicas are to be decided about, by name."""
    rows = PoolScaling.objects.select_related("pool").order_by("pool__name")
    found = [
        ScaledPool(
            row.pool_id,
            row.pool.name,
            scaling_policy_of(row.document, row.pool.name),
            row.serves,
            row.starts_in_s,
            row.waking_at,
        )
        for row in rows
    ]
    return [each for each in found if each.policy.mode is not ScalingMode.OFF]


def load_sleepers() -> list[Sleeper]:
    """The pools of which a replica is started when a call comes and none is there."""
    rows = PoolScaling.objects.exclude(serves="").select_related("pool").order_by("pool__name")
    found = ((row, scaling_policy_of(row.document, row.pool.name)) for row in rows)
    return [
        Sleeper(
            pool=row.pool.name,
            model=row.serves,
            region=row.pool.region,
            hold_s=float(policy.wake_s),
            starts_in_s=row.starts_in_s,
            waking_at=row.waking_at,
        )
        for row, policy in found
        if policy.mode is ScalingMode.ON
    ]


def scaling_policy_of(document: object, pool: str) -> ScalingPolicy:
    """The policy of a stored document. One that this version cannot read is off, loudly."""
    try:
        return read_scaling_policy(document)
    except msgspec.ValidationError as error:
        log.error("scaling_policy_unreadable", pool=pool, error=str(error))
        return ScalingPolicy()


def decisions(pool_id: uuid.UUID) -> QuerySet[ScalingDecision]:
    """What was decided of a pool."""
    return ScalingDecision.objects.filter(pool_id=pool_id).annotate(at=F("created_at"))
