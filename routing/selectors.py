"""Reads of routing."""

import uuid
from collections.abc import Sequence

import msgspec
import structlog

from routing.choice_types import (
    NOTHING_SAID,
    Policy,
    PolicyPart,
    TenantPolicy,
    inherited_parts,
    read_stored,
    with_inherited,
)
from routing.examples import Bank, read_bank
from routing.models import ChoiceDefault, ChoicePolicy
from substrate.crossing import system_scope
from tenants.services import timezones_of

log = structlog.get_logger(__name__)


def platform_says() -> bool:
    """Whether there is a default of the platform. Every tenant may inherit of it then."""
    return ChoiceDefault.objects.exists()


def tenants_with_policy() -> set[uuid.UUID]:
    """The ids of the tenants that have a policy. Opens a system scope."""
    with system_scope("which tenants say what model answers", read_only=True):
        return set(ChoicePolicy.objects.values_list("tenant_id", flat=True))


def load_policy(tenant_id: uuid.UUID) -> TenantPolicy | None:
    """What holds for a tenant by its own words and the platform's, None when neither says anything. Opens a system scope."""
    return load_policies([tenant_id]).get(tenant_id)


def load_policies(tenant_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, TenantPolicy]:
    """What holds for those of the tenants for whom anything does. Opens a system scope."""
    with system_scope("load what tenants say of models", read_only=True):
        rows = ChoicePolicy.objects.filter(tenant_id__in=tenant_ids)
        said = {row.tenant_id: (row.document, row.vectors) for row in rows}
        default = load_default()
        zones = timezones_of(tenant_ids=tenant_ids)
    found = {}
    for each in tenant_ids:
        own = policy_of(said[each][0], each) if each in said else NOTHING_SAID
        bank = read_bank(said[each][1], own.examples) if each in said else None
        policy = in_force(own, bank, *default, timezone=zones[each])
        if not policy.policy.empty:
            found[each] = policy
    return found


def load_default() -> tuple[Policy, Bank | None]:
    """What the platform says, and its examples' vectors."""
    found = ChoiceDefault.objects.values_list("document", "vectors").first()
    if found is None:
        return NOTHING_SAID, None
    policy = policy_of(found[0], None)
    return policy, read_bank(found[1], policy.examples)


def in_force(
    own: Policy, bank: Bank | None, default: Policy, default_bank: Bank | None, *, timezone: str
) -> TenantPolicy:
    """What holds for a tenant that says `own`; each bank is of the examples of the policy before it."""
    parts = inherited_parts(own, default)
    return TenantPolicy(
        with_inherited(own, default),
        timezone,
        inherited=parts,
        bank=default_bank if PolicyPart.EXAMPLES in parts else bank,
    )


def policy_of(document: object, tenant_id: uuid.UUID | None) -> Policy:
    """The policy of a stored document. One that this version cannot read says nothing, loudly."""
    try:
        return read_stored(document)
    except msgspec.ValidationError as error:
        log.error("choice_policy_unreadable", tenant_id=str(tenant_id), error=str(error))
        return NOTHING_SAID
