"""The choice of a model for a call: what the tenant says, applied to what the caller may use."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from inference.services import get_model, list_models, replica_available
from inference.types import ModelKind, ModelSpec, Surface
from kernel.backends import backends
from kernel.errors import ModelNotFound, PermissionDenied
from kernel.hops import Fact
from routing.cascade import Ladder, ladder_of
from routing.choice_directory import ChoiceDirectory
from routing.choice_types import (
    USUAL_CACHING,
    CachingInForce,
    Canary,
    Policy,
    Task,
    TenantPolicy,
    caching_for,
)
from routing.choosing import Asked, By, Choice, Weighed, choose_by_policy, choose_named, in_canary
from routing.complexity import question_text, task_of
from routing.eligibility import (
    AUTO,
    Candidate,
    check_kind,
    default_reason,
    fits,
    fitting_models,
    meets,
    named_candidates,
    needs_of,
    ordered_candidates,
)
from routing.examples import Likeness
from routing.limits import estimate_tokens
from routing.services.memory import RoutingMemory
from routing.services.waking import sleepers, usable_models
from routing.types import ModelCall
from tenants.types import Principal


async def find_policy(call: ModelCall) -> TenantPolicy | None:
    """What the caller's tenant says of models, None when nothing. Raises Unavailable when it cannot be known."""
    if call.surface is Surface.EMBEDDINGS:
        # Vectors of another model would be of another space.
        return None
    return await _policy_of(call.principal.tenant_id)


async def find_caching(principal: Principal) -> CachingInForce:
    """What becomes of the caller's answers that could be given again. Raises Unavailable when it cannot be known."""
    found = await _policy_of(principal.tenant_id)
    return caching_for(found.policy, principal.api_key_id) if found is not None else USUAL_CACHING


async def _policy_of(tenant_id: uuid.UUID) -> TenantPolicy | None:
    directory: ChoiceDirectory = backends["choice_directory"]
    return await directory.find(tenant_id) if directory.has(tenant_id) else None


def choose(
    call: ModelCall,
    policy: TenantPolicy | None,
    *,
    likeness: Likeness | None = None,
    only_asked: bool = False,
    at: datetime | None = None,
) -> Choice:
    """Who may answer the call, in order, and why. `only_asked`: nothing of it is remembered.

    `likeness` is what examples say of its question, `at` stands in for now. Raises ModelNotFound, PermissionDenied, BadInput, ContextTooLong.
    """
    if call.copy:
        return _copied(call)
    if call.model != AUTO:
        return _named(call, policy.policy if policy is not None else None)
    principal = call.principal
    prompt_tokens = estimate_tokens(call.prompt_chars)
    there = list_models(tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region)
    if not any(spec.kind is ModelKind.CHAT and not spec.built_in for spec in there):
        # No real model is in service: one that wakes is worth the wait.
        there = usable_models(tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region)
    fitting = fitting_models(
        there,
        call.surface,
        prompt_tokens=prompt_tokens,
        max_tokens=call.max_tokens,
        needs=needs_of(call.body),
    )
    if policy is None:
        found = ordered_candidates(fitting, call.surface, default_reason(fitting), replica_available)
        return Choice(found, By.ORDER, tier=found[0].model.tier.value)
    memory: RoutingMemory = backends["routing_memory"]
    text = text_asked(call)
    asked = _asked(call, policy, text, prompt_tokens, at or memory.clock.now())
    return choose_by_policy(
        fitting,
        call.surface,
        policy.policy,
        asked,
        weigh=lambda: _weigh(
            memory, principal.tenant_id, policy.policy, text, likeness, only_asked=only_asked
        ),
        available=replica_available,
    )


def find_ladder(
    call: ModelCall, policy: TenantPolicy | None, choice: Choice, candidates: Sequence[Candidate]
) -> Ladder | None:
    """How the call is answered in two steps by those of its candidates that are left, None when in one."""
    if policy is None or policy.policy.cascade is None:
        return None
    return ladder_of(policy.policy.cascade, choice, candidates, call.surface, call.body, replica_available)


def text_asked(call: ModelCall) -> str:
    """What the call asks, without history and passages."""
    messages = call.body.get("messages")
    if messages is None and not call.question:
        prompt = call.body.get("prompt")
        return prompt if isinstance(prompt, str) else ""
    return question_text(call.question, messages)


def facts_of(choice: Choice, named: str) -> dict[str, Fact]:
    """What decided, as the request's way shows it."""
    # A model that was named may have no engine at all.
    model = choice.candidates[0].model.id if choice.candidates else named
    facts: dict[str, Fact] = {"by": choice.by.value, "model": model}
    if choice.rule:
        facts["rule"] = choice.rule
    if choice.task:
        facts["task"] = choice.task
    if choice.weighed is not None:
        facts["complexity"] = round(choice.weighed.score, 3)
        facts["threshold"] = round(choice.weighed.threshold, 3)
        if choice.weighed.likeness is not None:
            facts["likeness"] = round(choice.weighed.likeness.evidence, 3)
    return facts


def _named(call: ModelCall, policy: Policy | None) -> Choice:
    spec = _model(call, call.model)
    if policy is None:
        return Choice(named_candidates(spec, call.surface, replica_available), By.NAMED)
    chain = [other for each in policy.chain_of(spec.id) if (other := _other(call, each)) is not None]
    canary: tuple[Canary, ModelSpec] | None = None
    trial = policy.canary_of(spec.id)
    if trial is not None and in_canary(trial, _who(call)):
        other = _other(call, trial.to)
        canary = (trial, other) if other is not None else None
    return choose_named(
        spec,
        call.surface,
        chain=chain,
        canary=canary,
        prompt_tokens=estimate_tokens(call.prompt_chars),
        max_tokens=call.max_tokens,
        available=replica_available,
    )


def _copied(call: ModelCall) -> Choice:
    """A copy goes to the model that it is for, if the one who asked may use it."""
    spec = _other(call, call.model)
    if spec is None or not fits(spec, estimate_tokens(call.prompt_chars), call.max_tokens):
        raise ModelNotFound(param="model")
    return Choice(named_candidates(spec, call.surface, replica_available), By.NAMED)


def _model(call: ModelCall, model_id: str) -> ModelSpec:
    principal = call.principal
    spec = get_model(
        model_id, tenant_id=principal.tenant_id, closed=principal.closed, region=principal.region
    )
    return sleepers().with_sleepers(spec, principal.region)


def _other(call: ModelCall, model_id: str) -> ModelSpec | None:
    """A model that a chain or canary names, None when the caller may not use it, no engine serves it, or it
    does not take what the call brings.
    """
    try:
        spec = _model(call, model_id)
        check_kind(spec, call.surface)
    except (ModelNotFound, PermissionDenied):
        return None
    return spec if spec.replicas and meets(spec, needs_of(call.body)) else None


def _who(call: ModelCall) -> str:
    """Whom a canary keeps together: the conversation, else the person or key that asks."""
    if call.conversation:
        return call.conversation
    principal = call.principal
    return str(principal.user_id or principal.api_key_id or principal.tenant_id)


def _asked(call: ModelCall, policy: TenantPolicy, text: str, prompt_tokens: int, now: datetime) -> Asked:
    local = now.astimezone(ZoneInfo(policy.timezone))
    wants_task = any(rule.tasks for rule in policy.policy.rules)
    return Asked(
        prompt_tokens=prompt_tokens,
        minute=local.hour * 60 + local.minute,
        weekday=local.weekday(),
        task=task_of(text) if wants_task else Task.OTHER,
        assistant=call.assistant,
        groups=frozenset(map(str, call.principal.group_ids)),
    )


def _weigh(
    memory: RoutingMemory,
    tenant_id: uuid.UUID,
    policy: Policy,
    text: str,
    likeness: Likeness | None,
    *,
    only_asked: bool,
) -> Weighed:
    score = memory.complexity.score(text, likeness.evidence if likeness is not None else 0.0)
    sketch = memory.shares.peek(tenant_id) if only_asked else memory.shares.of(tenant_id)
    threshold = sketch.threshold(policy.heavy_percent or 0)
    if not only_asked:
        sketch.note(score)
    return Weighed(score, threshold.score, threshold.heavy(score, memory.chance), likeness)
