"""Reads of routing."""

import uuid

import msgspec
import structlog

from routing.choice_types import NOTHING_SAID, Policy, TenantPolicy, read_stored
from routing.models import ChoicePolicy
from substrate.crossing import system_scope

log = structlog.get_logger(__name__)


def tenants_with_policy() -> set[uuid.UUID]:
    """The ids of the tenants that have a policy. Opens a system scope."""
    with system_scope("which tenants say what model answers", read_only=True):
        return set(ChoicePolicy.objects.values_list("tenant_id", flat=True))


def load_policy(tenant_id: uuid.UUID) -> TenantPolicy | None:
    """What a tenant says, None when it says nothing. Opens a system scope."""
    with system_scope("load what a tenant says of models", read_only=True):
        found = (
            ChoicePolicy.objects.filter(tenant_id=tenant_id)
            .values_list("document", "tenant__timezone")
            .first()
        )
    if found is None:
        return None
    policy = policy_of(found[0], tenant_id)
    return None if policy.empty else TenantPolicy(policy, found[1])


def policy_of(document: object, tenant_id: uuid.UUID) -> Policy:
    """The policy of a stored document. One that this version cannot read says nothing, loudly."""
    try:
        return read_stored(document)
    except msgspec.ValidationError as error:
        log.error("choice_policy_unreadable", tenant_id=str(tenant_id), error=str(error))
        return NOTHING_SAID
