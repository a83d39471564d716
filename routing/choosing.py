"""Which model answers, step by step: who may, then the tenant's rules in their order, then how complex the call is. Pure.

Every step only orders or narrows what the step before left, so that no rule, dial, chain or canary reaches a model that
the one who asks may not use.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b

from msgspec import Struct

from inference.types import ModelSpec, Surface, Tier
from kernel.errors import ModelNotFound
from routing.choice_types import Canary, Policy, Rule, Task, Use
from routing.eligibility import (
    Available,
    Candidate,
    candidate,
    default_reason,
    fits,
    named_candidates,
    ordered_candidates,
    pools_in_order,
    reachable,
)
from routing.examples import Likeness


class By(StrEnum):
    """What decided: the caller's own word, the order of tiers, a rule, the complexity, a canary, a longer context."""

    NAMED = "named"
    ORDER = "order"
    RULE = "rule"
    COMPLEXITY = "complexity"
    CANARY = "canary"
    CONTEXT = "context"


class Asked(Struct, frozen=True):
    """What rules ask of a call. `minute` of the day and `weekday` (0 is Monday) are of the tenant's calendar."""

    prompt_tokens: int
    minute: int
    weekday: int
    task: Task
    assistant: str = ""
    groups: frozenset[str] = frozenset()


class Weighed(Struct, frozen=True):
    """How complex a call is (0–1), and from where on a heavy model answers; what examples said of it, if they did."""

    score: float
    threshold: float
    heavy: bool
    likeness: Likeness | None = None


class Passed(Struct, frozen=True):
    """A rule that did not decide: the first of its conditions that does not hold, or `no_model`."""

    rule: str
    why: str


class Choice(Struct, frozen=True):
    """The candidates in order, and what decided their order. Texts are empty and numbers None where they say nothing."""

    candidates: Sequence[Candidate]
    by: By
    rule: str = ""
    task: str = ""
    tier: str = ""
    weighed: Weighed | None = None
    passed: Sequence[Passed] = ()


def choose_by_policy(
    fitting: Sequence[ModelSpec],
    surface: Surface,
    policy: Policy,
    asked: Asked,
    *,
    weigh: Callable[[], Weighed],
    available: Available,
) -> Choice:
    """The choice of `auto` among `fitting`, the models that may answer. `weigh` is asked only when no rule decides.

    Raises ModelNotFound when the policy lets `auto` choose none of them.
    """
    allowed = [spec for spec in fitting if not policy.auto_models or spec.id in policy.auto_models]
    if not allowed:
        raise ModelNotFound(
            "None of the models that this tenant lets `auto` choose can answer this.", param="model"
        )
    passed: list[Passed] = []
    for rule in policy.rules:
        why = failing(rule, asked)
        found = [] if why else _by_rule(rule, allowed, surface, available)
        if found:
            return Choice(
                found, By.RULE, rule.name, asked.task.value, found[0].model.tier.value, None, passed
            )
        passed.append(Passed(rule.name, why or "no_model"))
    tiers = {spec.tier for spec in allowed}
    if policy.heavy_percent is None or len(tiers) == 1:
        found = ordered_candidates(allowed, surface, default_reason(allowed), available)
        return Choice(found, By.ORDER, "", asked.task.value, found[0].model.tier.value, None, passed)
    weighed = weigh()
    tier = Tier.HEAVY if weighed.heavy else Tier.LIGHT
    than = "≥" if weighed.heavy else "<"
    reason = f"auto: complexity {weighed.score:.2f} {than} {weighed.threshold:.2f}"
    found = ordered_candidates(allowed, surface, reason, available, tier)
    return Choice(found, By.COMPLEXITY, "", asked.task.value, tier.value, weighed, passed)


def failing(rule: Rule, asked: Asked) -> str:
    """The first condition of the rule that does not hold for the call, empty when all do."""
    if not rule.enabled:
        return "off"
    if rule.assistants and asked.assistant not in rule.assistants:
        return "assistant"
    if rule.groups and not asked.groups.intersection(rule.groups):
        return "group"
    if rule.tasks and asked.task not in rule.tasks:
        return "task"
    if asked.prompt_tokens < rule.min_tokens or (rule.max_tokens and asked.prompt_tokens > rule.max_tokens):
        return "prompt_length"
    return "" if _within(rule, asked) else "time"


def _within(rule: Rule, asked: Asked) -> bool:
    """Whether the call comes in the rule's hours. Hours over midnight belong to the day they begin on."""
    begin = minute_of(rule.from_time) if rule.from_time else 0
    end = minute_of(rule.until_time) if rule.until_time else 24 * 60
    day = asked.weekday
    if begin < end:
        within = begin <= asked.minute < end
    elif begin == end:
        within = True
    else:
        within = asked.minute >= begin or asked.minute < end
        if asked.minute < end:
            day = (day - 1) % 7
    return within and (not rule.days or day in rule.days)


def minute_of(clock: str) -> int:
    """The minute of the day of a time as 08:30."""
    return int(clock[:2]) * 60 + int(clock[3:])


def _by_rule(
    rule: Rule, allowed: Sequence[ModelSpec], surface: Surface, available: Available
) -> list[Candidate]:
    """The candidates as the rule orders them, empty when none of its own is among `allowed`."""
    reason = f"rule: {rule.name}"
    by_id: Mapping[str, ModelSpec] = {spec.id: spec for spec in allowed}
    if rule.use is Use.MODELS:
        own = [by_id[each] for each in rule.models if each in by_id]
        own.sort(key=lambda spec: not reachable(spec, available))
        found = [
            candidate(spec, pool, reason) for spec in own for pool in pools_in_order(spec, surface, available)
        ]
        tier = own[0].tier if own else Tier.LIGHT
    else:
        tier = Tier(rule.use.value)
        own = [spec for spec in allowed if spec.tier is tier]
        found = ordered_candidates(own, surface, reason, available, tier)
    if not own or rule.strict:
        return found
    mine = {spec.id for spec in own}
    rest = [spec for spec in allowed if spec.id not in mine]
    return found + ordered_candidates(rest, surface, f"fallback of rule: {rule.name}", available, tier)


def choose_named(
    spec: ModelSpec,
    surface: Surface,
    *,
    chain: Sequence[ModelSpec],
    canary: tuple[Canary, ModelSpec] | None,
    prompt_tokens: int,
    max_tokens: int,
    available: Available,
) -> Choice:
    """The choice of a model that was named: itself, then its `chain`; the `canary` before it where it is given.

    A prompt that is too long for it goes to those of the chain that it fits; who can answer now comes before who
    cannot. Raises BadInput.
    """
    found = named_candidates(spec, surface, available)
    fallbacks = [
        each
        for other in chain
        if fits(other, prompt_tokens, max_tokens)
        for each in named_candidates(other, surface, available, f"fallback of {spec.id}")
    ]
    if fallbacks and not fits(spec, prompt_tokens, max_tokens):
        longer = [
            Candidate(each.model, each.pool, each.replicas, f"longer context than {spec.id}")
            for each in sorted(fallbacks, key=lambda each: not reachable(each.model, available))
        ]
        return Choice(longer, By.CONTEXT, tier=longer[0].model.tier.value)
    if fallbacks and not reachable(spec, available):
        found = sorted([*found, *fallbacks], key=lambda each: not reachable(each.model, available))
        fallbacks = []
    # A trial of a model that is away would spend the retries that all share.
    if canary and fits(canary[1], prompt_tokens, max_tokens) and reachable(canary[1], available):
        trial, other = canary
        reason = f"canary: {trial.percent} % of {spec.id}"
        mine = named_candidates(other, surface, available, reason)
        return Choice([*mine, *found, *fallbacks], By.CANARY, tier=other.tier.value)
    return Choice([*found, *fallbacks], By.NAMED, tier=spec.tier.value)


def in_canary(canary: Canary, who: str) -> bool:
    """Whether `who` (a conversation, else a person or a key) is among the canary's percent: always the same answer."""
    digest = blake2b(f"{canary.model}\0{canary.to}\0{who}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10_000 < canary.percent * 100
