"""Pools that sleep are woken by the first call that finds no replica; it is held until one is there."""

import math
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from django.db import transaction
from msgspec import Struct

from inference.services import create_model, get_model, list_models
from inference.types import ModelSpec
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import AtriumError, Conflict, NoReplica, ServerOverloaded
from routing.eligibility import Candidate
from routing.limits import RETRY_AFTER_S
from routing.models import PoolScaling
from routing.scaling_types import Sleeper
from routing.services.memory import RoutingMemory
from routing.sleepers import POLICY, WAKE, SleeperDirectory
from routing.types import ModelCall, QueuePlace
from substrate.changes import record_change
from substrate.units import run_unit

NOTHING: frozenset[str] = frozenset()
# How much the last time counts of how long a pool takes to wake.
NEWEST = 0.5


class Hold(Struct, frozen=True):
    """How a call is held: for how long at most, and what is told of its place meanwhile."""

    wait_s: float
    tell: Callable[[QueuePlace], None] | None


def sleepers() -> SleeperDirectory:
    """The directory of the running loop."""
    found: SleeperDirectory = backends["sleepers"]
    return found


def list_sleepers() -> list[Sleeper]:
    """The pools that start a replica when a call comes and none is there."""
    return sleepers().everyone()


def usable_models(
    *, tenant_id: uuid.UUID | None = None, closed: frozenset[str] = NOTHING, region: str = ""
) -> tuple[ModelSpec, ...]:
    """Every model that calls of the tenant can use: those with a replica in service, and those that wake for a call.

    The arguments are those of `inference.services.list_models`.
    """
    found = list_models(tenant_id=tenant_id, closed=closed, region=region)
    asleep = sleeping_models(tenant_id=tenant_id, closed=closed, region=region)
    there = {spec.id for spec in found}
    return (*found, *(spec for spec in asleep if spec.id not in there)) if asleep else found


def sleeping_models(*, tenant_id: uuid.UUID | None, closed: frozenset[str], region: str) -> list[ModelSpec]:
    """The models without a replica in service that wake for a call of the tenant."""
    directory, found = sleepers(), []
    for model in directory.models():
        try:
            spec = get_model(model, tenant_id=tenant_id, closed=closed, region=region)
        except AtriumError:
            continue
        spec = directory.with_sleepers(spec, region)
        if spec.asleep:
            found.append(spec)
    return found


def hold(call: ModelCall, candidate: Candidate, memory: RoutingMemory, awaits: Callable[[], bool]) -> Hold:
    """Have a pool without a replica woken, for a call that is to wait for it.

    `awaits` says whether none is there yet. Raises NoReplica when nothing would start one, ServerOverloaded when it
    would be there too late; then the pool is woken all the same, for those who come again.
    """
    directory, model, pool = sleepers(), candidate.model.id, candidate.pool
    sleeper = directory.find(model, pool)
    if sleeper is None:
        raise NoReplica(retry_after_s=RETRY_AFTER_S)
    ask_for(pool, memory)
    left_s = sleeper.left_s(directory.clock.now())
    if left_s is not None and left_s > sleeper.hold_s:
        raise ServerOverloaded(
            "No engine of this model runs. One is being started, and will not be ready in time.",
            retry_after_s=left_s,
        )
    tell = call.tell
    if tell is None:
        return Hold(sleeper.hold_s, None)

    def told(place: QueuePlace) -> None:
        now = directory.find(model, pool)
        left_s = now.left_s(directory.clock.now()) if now is not None and awaits() else None
        tell(place if left_s is None else QueuePlace(place.position, float(math.ceil(left_s))))

    return Hold(sleeper.hold_s, told)


def ask_for(pool: str, memory: RoutingMemory) -> None:
    """Have a pool woken, soon and in the background."""
    if sleepers().may_ask(pool):
        memory.later(0.0, "wake_pool", partial(_wake, pool))


async def _wake(pool: str) -> None:
    await run_unit(note_wanted, pool=pool)
    # Where this process decides itself, it need not hear of it by the change log.
    backends["pool_evaluator"].nudge()


def note_wanted(*, pool: str, clock: Clock = SYSTEM_CLOCK) -> bool:
    """A call came for a pool without a replica; whether it is the first one. Whoever decides hears of it at once."""
    with transaction.atomic():
        asleep = PoolScaling.objects.filter(pool__name=pool, waking_at=None)
        first = asleep.update(waking_at=clock.now()) > 0
        if first:
            record_change(kind=WAKE, object_id=pool)
    return first


def note_awake(*, pool_id: uuid.UUID, pool: str, took_s: float | None) -> None:
    """The pool wakes no more; `took_s` from the first call to a replica, None where nothing is to be learned of it."""
    with transaction.atomic():
        row = PoolScaling.objects.select_for_update().get(pool_id=pool_id)
        fields: dict[str, object] = {"waking_at": None}
        if took_s is not None:
            before = took_s if row.starts_in_s is None else row.starts_in_s
            fields["starts_in_s"] = before + (took_s - before) * NEWEST
        PoolScaling.objects.filter(pool_id=pool_id).update(**fields)
        record_change(kind=WAKE, object_id=pool)


def note_served(*, pool_id: uuid.UUID, model: str) -> None:
    """The engines that would be started in the pool serve `model`, which is there from now on. Raises BadInput."""
    with transaction.atomic():
        with suppress(Conflict):
            create_model(model_id=model)
        PoolScaling.objects.filter(pool_id=pool_id).update(serves=model)
        record_change(kind=POLICY, object_id=pool_id)
