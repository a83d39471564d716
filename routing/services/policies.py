"""What a tenant says of which model answers: read, checked, replaced as a whole."""

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from inference.services import require_answering_model
from kernel.errors import BadInput
from kernel.ids import parse_uuid
from routing.choice_directory import KIND
from routing.choice_types import (
    NOTHING_SAID,
    Policy,
    PolicyView,
    Rule,
    TenantPolicy,
    Use,
    read_policy,
    written_policy,
)
from routing.examples import Bank, read_bank, write_bank
from routing.models import ChoicePolicy
from routing.selectors import in_force, load_default, policy_of
from routing.services.likening import in_use, learn_examples
from substrate.audit import record_act
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from substrate.versions import check_version, version_of
from tenants.services import require, timezone_of
from tenants.types import Principal

# The version of a policy that nobody has set yet.
NEVER_SET = "0"
READ, WRITE = "requests.read", "routing.write"


def get_policy(*, principal: Principal) -> PolicyView:
    """The policy of the caller's tenant; one that says nothing before it was ever set. Raises PermissionDenied."""
    require(principal, READ)
    with tenant_scope(principal.tenant_id, read_only=True):
        found = _view(ChoicePolicy.objects.first())
    return shown(*found)


def set_rules(*, principal: Principal, rules: object, expected: str | None = None) -> PolicyView:
    """Replace the rules of the caller's tenant and nothing else of its policy. `expected` and errors as of `set_policy`."""
    found = get_policy(principal=principal)
    document = {**written_policy(found.policy), "rules": rules}
    return set_policy(principal=principal, document=document, expected=expected or found.version)


def set_policy(*, principal: Principal, document: object, expected: str | None = None) -> PolicyView:
    """Replace the policy of the caller's tenant; in force everywhere within two seconds.

    Its examples are embedded before, unless that was done. `expected` is the version the caller has seen. Raises
    PermissionDenied, BadInput, Stale, Unavailable where examples cannot be embedded.
    """
    require(principal, WRITE)
    policy = checked_policy(principal=principal, document=document)
    bank = learn_examples(principal, policy.examples, _own_bank(principal))
    with tenant_scope(principal.tenant_id):
        _, made = ChoicePolicy.objects.get_or_create(tenant_id=principal.tenant_id)
        row = ChoicePolicy.objects.select_for_update().get()
        if not (made and expected == NEVER_SET):
            check_version(row.updated_at, expected)
        before = _recorded(policy_of(row.document, row.tenant_id))
        row.document = written_policy(policy)
        row.vectors = write_bank(bank) if bank is not None else None
        row.save()
        record_change(kind=KIND, object_id=row.id, tenant_id=row.tenant_id)
        record_act(
            act="changed",
            kind=KIND,
            object_id=row.id,
            label=f"{len(policy.rules)} rules",
            tenant_id=row.tenant_id,
            before=before,
            after=_recorded(policy),
        )
        found = _view(row)
    return shown(*found)


def shown(view: PolicyView, bank: Bank | None) -> PolicyView:
    """The view with whether its examples are in use; outside of any scope, for it may wait for the models."""
    return replace(view, examples_in_use=in_use(bank))


def draft_policy(*, principal: Principal, document: object) -> TenantPolicy:
    """What would hold with a policy that is only tried. Raises PermissionDenied, BadInput, Unavailable as `set_policy`."""
    require(principal, WRITE)
    policy = checked_policy(principal=principal, document=document)
    bank = learn_examples(principal, policy.examples, _own_bank(principal))
    timezone = timezone_of(tenant_id=principal.tenant_id)
    return in_force(policy, bank, *load_default(), timezone=timezone)


def checked_policy(*, principal: Principal, document: object) -> Policy:
    """The policy of a document. Raises BadInput, which says what is wrong where."""
    policy = parsed_policy(document)
    for model in sorted(named_models(policy)):
        require_answering_model(
            model_id=model, tenant_id=principal.tenant_id, closed=principal.closed, param="policy"
        )
    return policy


def parsed_policy(document: object) -> Policy:
    """The policy of a document that agrees with itself. Raises BadInput, which says what is wrong where."""
    try:
        policy = read_policy(document)
    except msgspec.ValidationError as error:
        raise BadInput(f"This is no such document: {error}", param="policy") from error
    _check_once((rule.name for rule in policy.rules), "rules")
    _check_once((chain.model for chain in policy.chains), "chains")
    _check_once((canary.model for canary in policy.canaries), "canaries")
    _check_once((shadow.model for shadow in policy.shadows), "shadows")
    for rule in policy.rules:
        _check_rule(rule)
    for chain in policy.chains:
        if chain.model in chain.then or len(set(chain.then)) < len(chain.then):
            raise BadInput(f"A chain names each model once: {chain.model}.", param="chains")
    for canary in policy.canaries:
        if canary.model == canary.to:
            raise BadInput(f"A trial puts another model in place of one: {canary.model}.", param="canaries")
    for shadow in policy.shadows:
        if shadow.model == shadow.to:
            raise BadInput(
                f"A copy goes to another model than the one that answered: {shadow.model}.", param="shadows"
            )
    if bool(policy.examples.easy) is not bool(policy.examples.hard):
        raise BadInput("Examples are of both kinds, easy and hard, or of none.", param="examples")
    _check_once((*policy.examples.easy, *policy.examples.hard), "examples")
    _check_once(policy.declines, "declines")
    _check_caching(policy)
    return policy


def _check_once(names: Iterable[str], param: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput(f"This stands there twice: {twice[0]}.", param=param)


def _check_rule(rule: Rule) -> None:
    if (rule.use is Use.MODELS) != bool(rule.models):
        raise BadInput(
            f"The rule {rule.name} names models, or says light or heavy: one of both.", param="rules"
        )
    if len(set(rule.models)) < len(rule.models):
        raise BadInput(f"The rule {rule.name} names a model twice.", param="rules")
    if rule.max_tokens and rule.max_tokens < rule.min_tokens:
        raise BadInput(
            f"The rule {rule.name} can never hold: its longest is below its shortest.", param="rules"
        )
    if rule.from_time and rule.from_time == rule.until_time:
        raise BadInput(f"The rule {rule.name} can never hold: it begins when it ends.", param="rules")
    if any(parse_uuid(group) is None for group in rule.groups):
        raise BadInput(f"The rule {rule.name} names groups by their ids.", param="rules")


def _check_caching(policy: Policy) -> None:
    keys = [each.key for each in policy.caching.keys]
    _check_once(keys, "caching")
    wrong = next((key for key in keys if str(parse_uuid(key)) != key), None)
    if wrong is not None:
        raise BadInput(f"Keys are named by their ids: {wrong}.", param="caching")


def named_models(policy: Policy) -> set[str]:
    """Every model that the policy names."""
    named = set(policy.auto_models)
    for rule in policy.rules:
        named.update(rule.models)
    for chain in policy.chains:
        named.update((chain.model, *chain.then))
    for canary in policy.canaries:
        named.update((canary.model, canary.to))
    for shadow in policy.shadows:
        named.update((shadow.model, shadow.to))
    return named


def _recorded(policy: Policy) -> dict[str, object]:
    return dict(written_policy(policy))


def _own_bank(principal: Principal) -> Bank | None:
    with tenant_scope(principal.tenant_id, read_only=True):
        row = ChoicePolicy.objects.first()
    return _bank_of(row)[1]


def _bank_of(row: ChoicePolicy | None) -> tuple[Policy, Bank | None]:
    if row is None:
        return NOTHING_SAID, None
    policy = policy_of(row.document, row.tenant_id)
    return policy, read_bank(row.vectors, policy.examples)


def _view(row: ChoicePolicy | None) -> tuple[PolicyView, Bank | None]:
    own, bank = _bank_of(row)
    default, default_bank = load_default()
    found = in_force(own, bank, default, default_bank, timezone="UTC")
    if row is None:
        return PolicyView(own, None, NEVER_SET, default), found.bank
    return PolicyView(own, row.updated_at, version_of(row.updated_at), default), found.bank
