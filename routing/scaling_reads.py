"""Reads of how many replicas pools are to have."""

import uuid

import msgspec
import structlog
from django.db.models import F, QuerySet
from msgspec import Struct

from routing.models import PoolScaling, ScalingDecision
from routing.scaling_types import ScalingMode, ScalingPolicy, read_scaling_policy

log = structlog.get_logger(__name__)


class ScaledPool(Struct, frozen=True):
    """A pool about which something is to be decided."""

    id: uuid.UUID
    name: str
    policy: ScalingPolicy


def load_scaled_pools() -> list[ScaledPool]:
    """The pools whose replicas are to be decided about, by name."""
    rows = PoolScaling.objects.order_by("pool__name").values_list("pool_id", "pool__name", "document")
    found = [ScaledPool(pool_id, name, scaling_policy_of(document, name)) for pool_id, name, document in rows]
    return [each for each in found if each.policy.mode is not ScalingMode.OFF]


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
