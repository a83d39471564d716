"""Where a call would go, and why: everything that `dispatch` would weigh, and nothing of it done."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from inference.services import ensure_models, health_of, list_models, replica_available, vital_of
from inference.types import ReplicaSpec
from kernel.backends import backends
from kernel.errors import AtriumError
from routing.balancing import cheapest, is_open
from routing.cascade import unsure_at
from routing.choice_types import PolicyPart, TenantPolicy, caching_for
from routing.choosing import By, Choice
from routing.complexity import task_of
from routing.eligibility import AUTO, Candidate, check_kind, fits, in_service, meets, needs_of
from routing.explanations import (
    CandidateExplained,
    CascadeExplained,
    ChoiceExplained,
    Explained,
    ReplicaExplained,
    ReplicaStanding,
)
from routing.limits import QUEUE_WAIT_S, estimate_tokens
from routing.ports import Scheduler
from routing.prefixes import Prefix
from routing.scoring import Weighing
from routing.services.choosing import choose, find_ladder, find_policy, text_asked
from routing.services.likening import find_likeness
from routing.services.memory import RoutingMemory
from routing.services.weighing import find_prefix, weigh_replicas
from routing.types import ModelCall, PoolSnapshot

SCHEDULER_S = 1.0
# Whoever asks wants to see what examples say, also where a call would not have waited for it.
LIKENESS_S = 5.0


async def explain_call(
    call: ModelCall, *, draft: TenantPolicy | None = None, at: datetime | None = None
) -> Explained:
    """Where `call` would go now, by what the answering process knows.

    `draft` stands in for what the tenant has said of models, `at` for now. Raises the errors of eligibility, Unavailable.
    """
    await ensure_models()
    policy = draft if draft is not None else await find_policy(call)
    likeness = await find_likeness(call, policy, within_s=LIKENESS_S) if policy is not None else None
    choice = choose(call, policy, likeness=likeness, only_asked=True, at=at)
    candidates = choice.candidates
    prompt_tokens = estimate_tokens(call.prompt_chars)
    prefix = find_prefix(call)
    explained = [await _candidate(each, prompt_tokens, prefix) for each in candidates]
    chosen = next((each for each in explained if each.chosen), None)
    waits = [each.expected_wait_s for each in explained if each.expected_wait_s is not None]
    return Explained(
        model=call.model,
        prompt_tokens=prompt_tokens,
        prefix_blocks=len(prefix.chain) if prefix is not None else 0,
        priority=call.priority,
        longest_wait_s=QUEUE_WAIT_S[call.priority],
        chosen=chosen.chosen if chosen is not None else "",
        expected_wait_s=0.0 if chosen is not None else min(waits, default=None),
        candidates=explained,
        left_out=_left_out(call, candidates, prompt_tokens),
        choice=_explained(call, policy, choice),
        caching=caching_for(policy.policy if policy is not None else None, call.principal.api_key_id),
        cascade=_cascade(call, policy, choice),
    )


def _explained(call: ModelCall, policy: TenantPolicy | None, choice: Choice) -> ChoiceExplained:
    text = text_asked(call)
    weighed = choice.weighed
    memory: RoutingMemory = backends["routing_memory"]
    return ChoiceExplained(
        by=choice.by,
        rule=choice.rule,
        tier=choice.tier or choice.candidates[0].model.tier.value,
        task=task_of(text),
        complexity=weighed.score if weighed is not None else memory.complexity.score(text),
        threshold=weighed.threshold if weighed is not None else None,
        heavy_percent=policy.policy.heavy_percent if policy is not None else None,
        passed=choice.passed,
        said_by=_said_by(policy, choice),
        likeness=weighed.likeness if weighed is not None else None,
    )


def _said_by(policy: TenantPolicy | None, choice: Choice) -> str:
    """Whose word decided: the tenant's, the platform's, or nobody's."""
    part = {By.RULE: PolicyPart.RULES, By.COMPLEXITY: PolicyPart.HEAVY_PERCENT}.get(choice.by)
    if policy is None or part is None:
        return "nobody"
    return "platform" if part in policy.inherited else "tenant"


def _cascade(call: ModelCall, policy: TenantPolicy | None, choice: Choice) -> CascadeExplained | None:
    ladder = find_ladder(call, policy, choice, choice.candidates)
    if ladder is None:
        return None
    memory: RoutingMemory = backends["routing_memory"]
    rule, threshold = ladder.rule, None
    if rule.escalate_percent is not None:
        threshold = memory.doubts.peek(call.principal.tenant_id).threshold(rule.escalate_percent)
    return CascadeExplained(
        ladder.light[0].model.id,
        ladder.heavy.id,
        rule.tokens,
        unsure_at(rule, threshold),
        rule.escalate_percent,
    )


async def _candidate(candidate: Candidate, prompt_tokens: int, prefix: Prefix | None) -> CandidateExplained:
    replicas = candidate.replicas
    usable = in_service(replicas, replica_available)
    memory: RoutingMemory = backends["routing_memory"]
    weighing = weigh_replicas(replicas, prompt_tokens, prefix if len(replicas) > 1 else None, memory)
    snapshot = await _snapshot(candidate.pool)
    running, flight = snapshot.running, snapshot.in_flight
    wanted = {replica.id for replica in usable}
    # As dispatch does it: only those in service are weighed against each other.
    choice = weighing
    if len(usable) < len(replicas):
        choice = weigh_replicas(usable, prompt_tokens, prefix, memory)
    slots = choice.worth_it
    found = cheapest(slots, lambda key: running.get(key, 0), lambda key: flight.get(key, 0))
    chosen = found.id if found is not None and not snapshot.waiting else ""
    return CandidateExplained(
        model=candidate.model.id,
        pool=candidate.pool,
        reason=candidate.reason,
        chosen=chosen,
        waiting=snapshot.waiting,
        expected_wait_s=0.0 if chosen else _wait_s(snapshot, sum(each.max_concurrency for each in usable)),
        replicas=[
            _replica(replica, at, weighing, snapshot, chosen, usable=replica.id in wanted)
            for at, replica in enumerate(replicas)
        ],
    )


def _replica(
    replica: ReplicaSpec, at: int, weighing: Weighing, snapshot: PoolSnapshot, chosen: str, *, usable: bool
) -> ReplicaExplained:
    running, flight = snapshot.running.get(replica.id, 0), snapshot.in_flight.get(replica.id, 0)
    health = health_of(replica.id)
    why = ""
    if not usable:
        standing = ReplicaStanding.OUT
        why = health.error if health is not None else ""
        if health is not None and health.left_alone:
            standing, why = ReplicaStanding.LEFT_ALONE, health.left_alone
    elif replica.id == chosen:
        standing = ReplicaStanding.CHOSEN
    elif is_open(weighing.slots[at], running, flight):
        standing = ReplicaStanding.OPEN
    else:
        standing = ReplicaStanding.FULL
    terms = weighing.terms(at)
    return ReplicaExplained(
        id=replica.id,
        region=replica.region,
        standing=standing,
        why=why,
        running=running,
        max_concurrency=replica.max_concurrency,
        tokens_in_flight=flight,
        terms=terms,
        ahead_s=flight / terms.prefill_tps,
        cost_s=flight / terms.prefill_tps + terms.own_s,
        speed_learned=vital_of(replica.id).prefill_tps > 0,
    )


def _wait_s(snapshot: PoolSnapshot, slots: int) -> float | None:
    """The expected wait for a slot, when all who wait now go first; None when no slot was given back yet."""
    if snapshot.hold_s is None or not slots:
        return None
    return (snapshot.waiting + 1) * snapshot.hold_s / slots


async def _snapshot(pool: str) -> PoolSnapshot:
    """How busy the pool is; as if idle while the scheduler is away."""
    scheduler: Scheduler = backends["scheduler"]
    try:
        async with asyncio.timeout(SCHEDULER_S):
            return await scheduler.snapshot(pool)
    except (AtriumError, TimeoutError):
        return PoolSnapshot(pool, {}, 0)


def _left_out(call: ModelCall, candidates: Sequence[Candidate], prompt_tokens: int) -> list[tuple[str, str]]:
    """Models that `auto` does not think of for this call, and why."""
    if call.model != AUTO:
        return []
    thought_of = {candidate.model.id for candidate in candidates}
    found = []
    for spec in list_models(tenant_id=call.principal.tenant_id, closed=call.principal.closed):
        if spec.id in thought_of:
            continue
        try:
            check_kind(spec, call.surface)
        except AtriumError:
            found.append((spec.id, "kind"))
            continue
        if not meets(spec, needs_of(call.body)):
            found.append((spec.id, "takes"))
        elif not fits(spec, prompt_tokens, call.max_tokens):
            found.append((spec.id, "context"))
        else:
            found.append((spec.id, "built_in" if spec.built_in else "rules"))
    return found
