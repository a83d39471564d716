"""What operators say of how many replicas a pool has, and what was decided: read, checked, replaced as a whole."""

import uuid

import msgspec
from django.db import transaction

from inference.services import find_pool, pool_serves
from kernel.backends import backends
from kernel.errors import BadInput
from routing.models import PoolScaling, ScalingDecision
from routing.scaling_reads import scaling_policy_of
from routing.scaling_types import (
    Decision,
    ScalingMode,
    ScalingPolicy,
    ScalingView,
    Wakefulness,
    read_scaling_policy,
    written_scaling_policy,
)
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.versions import check_version, version_of

KIND = "pool_scaling"
NEVER_SET = "0"
# A day and more at one a minute.
MOST_DECISIONS = 2_000


def get_scaling(*, pool_id: uuid.UUID) -> ScalingView:
    """How many replicas a pool is to have; `off` before it was ever set. Raises NotFound."""
    find_pool(pool_id)
    row = PoolScaling.objects.select_related("pool").filter(pool_id=pool_id).first()
    if row is None:
        return ScalingView(ScalingPolicy(), None, NEVER_SET)
    return _view(row)


def set_scaling(*, pool_id: uuid.UUID, document: object, expected: str | None = None) -> ScalingView:
    """Replace what is said of a pool; the next look of the evaluator, within seconds, goes by it.

    `expected` is the version the caller has seen. Raises NotFound, BadInput, Stale.
    """
    pool = find_pool(pool_id)
    policy = checked_scaling(document)
    with transaction.atomic():
        _, made = PoolScaling.objects.get_or_create(pool_id=pool_id)
        row = PoolScaling.objects.select_for_update().get(pool_id=pool_id)
        if not (made and expected == NEVER_SET):
            check_version(row.updated_at, expected)
        before = written_scaling_policy(scaling_policy_of(row.document, pool.name))
        row.document = written_scaling_policy(policy)
        row.save()
        record_change(kind=KIND, object_id=pool_id)
        record_act(
            act="changed",
            kind=KIND,
            object_id=pool_id,
            label=pool.name,
            before=before,
            after=written_scaling_policy(policy),
        )
        return _view(row)


def checked_scaling(document: object) -> ScalingPolicy:
    """The policy of a document. Raises BadInput, which says what is wrong where."""
    try:
        policy = read_scaling_policy(document)
    except msgspec.ValidationError as error:
        raise BadInput(f"This is no such document: {error}", param="policy") from error
    policy.check()
    if policy.mode is ScalingMode.ON and "scaler" not in backends.specs:
        raise BadInput("This installation has nothing that starts and stops replicas.", param="mode")
    return policy


def record_decision(*, pool_id: uuid.UUID, mode: ScalingMode, decision: Decision, outcome: str) -> None:
    """Keep what was decided; the oldest of a pool go when there are too many."""
    ScalingDecision.objects.create(
        pool_id=pool_id,
        mode=mode.value,
        desired=decision.desired,
        provisioned=decision.provisioned,
        ready=decision.ready,
        need=decision.need,
        reasons=msgspec.to_builtins(decision.reasons),
        outcome=outcome[:200],
    )
    kept = ScalingDecision.objects.filter(pool_id=pool_id).order_by("-id")
    last = kept.values_list("id", flat=True)[MOST_DECISIONS : MOST_DECISIONS + 1].first()
    if last is not None:
        ScalingDecision.objects.filter(pool_id=pool_id, id__lte=last).delete()


def _view(row: PoolScaling) -> ScalingView:
    policy = scaling_policy_of(row.document, row.pool.name)
    return ScalingView(
        policy, row.updated_at, version_of(row.updated_at), _wakefulness(row, policy), row.starts_in_s
    )


def _wakefulness(row: PoolScaling, policy: ScalingPolicy) -> Wakefulness:
    if policy.mode is not ScalingMode.ON or not row.serves or pool_serves(row.pool_id):
        return Wakefulness.AWAKE
    return Wakefulness.ASLEEP if row.waking_at is None else Wakefulness.WAKING
