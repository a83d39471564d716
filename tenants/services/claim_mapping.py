"""What a provider's claims give in its tenant, at each sign-in: groups, and a role; an owner's only where a rule says so."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernel.errors import BadInput, Conflict
from substrate.audit import record_act
from substrate.changes import record_change
from tenants.access_models import CustomRole, Group, GroupMember
from tenants.claims import claimed_values
from tenants.models import IdentityProvider, Membership
from tenants.permissions import require_rank
from tenants.services.grants import require_no_rise
from tenants.services.roles import wanted_role
from tenants.services.users import keep_an_owner
from tenants.types import Principal, Role

MOST_RULES = 200
GIVES = ("group", "role", "custom_role")


@dataclass(frozen=True, slots=True)
class Given:
    """What rules give for claims: the role of somebody new (`custom` is the name of a role of the tenant's own, else
    empty) and the names of groups. `values` are those of the claim that the rules look at."""

    role: str
    custom: str
    groups: tuple[str, ...]
    claim: str
    values: tuple[str, ...]


def checked_rules(given: Sequence[Mapping[str, Any]], principal: Principal) -> list[dict[str, str]]:
    """The rules as rows hold them: each value gives one group or one role that the principal may give.

    Needs the tenant's scope. Raises BadInput, PermissionDenied.
    """
    if len(given) > MOST_RULES:
        raise BadInput(f"At most {MOST_RULES} rules.", param="mappings")
    rules = []
    for each in given:
        gives = {name: str(each[name]) for name in GIVES if each.get(name)}
        if len(gives) != 1 or not str(each.get("value", "")).strip():
            raise BadInput("A rule has a value, and gives one group or one role.", param="mappings")
        if "group" in gives:
            _check_group(gives["group"], principal)
        elif "role" in gives:
            require_rank(principal, Role(gives["role"]))
        else:
            wanted_role(principal, None, uuid.UUID(gives["custom_role"]))
        rules.append({"value": str(each["value"]).strip(), **gives})
    return rules


def apply_mappings(*, provider: IdentityProvider, membership: Membership, claims: Mapping[str, Any]) -> None:
    """Put the member into the groups, and give the role, that the claims stand for; take what rules gave before.

    Groups and roles that no rule names are nobody's business here. The first rule that fits gives the role; when none
    fits it is the provider's own for new members. An owner stays one unless a rule gives owners, and the last one
    always stays. A list of groups that was too long for the answer changes nothing. Needs the tenant's scope.
    """
    if not provider.mappings or not provider.groups_claim:
        return
    values = claimed_values(claims, provider.groups_claim)
    if values is None:
        return
    changed = _apply_groups(provider, membership, values)
    changed = _apply_role(provider, membership, values) or changed
    if changed:
        record_change(kind="membership", object_id=membership.user_id, tenant_id=membership.tenant_id)


def would_give(*, provider: IdentityProvider, claims: Mapping[str, Any]) -> Given:
    """What `apply_mappings` would give somebody new. Needs the tenant's scope."""
    values = claimed_values(claims, provider.groups_claim) if provider.groups_claim else frozenset()
    held = values or frozenset()
    role, custom = _mapped_role([each for each in provider.mappings if "group" not in each], held) or (
        provider.default_role,
        None,
    )
    wanted = [each["group"] for each in provider.mappings if "group" in each and each["value"] in held]
    names = Group.objects.filter(id__in=wanted).order_by("name").values_list("name", flat=True)
    return Given(
        role, custom.name if custom else "", tuple(names), provider.groups_claim, tuple(sorted(held))
    )


def _check_group(text: str, principal: Principal) -> None:
    if not Group.objects.filter(id=uuid.UUID(text)).exists():
        raise BadInput("There is no such group.", param="mappings")
    require_no_rise(principal=principal, group_id=uuid.UUID(text))


def _apply_groups(provider: IdentityProvider, membership: Membership, values: frozenset[str]) -> bool:
    rules = [each for each in provider.mappings if "group" in each]
    there = {row.id: row for row in Group.objects.filter(id__in=[each["group"] for each in rules])}
    wanted = {uuid.UUID(each["group"]) for each in rules if each["value"] in values} & there.keys()
    rows = GroupMember.objects.filter(membership=membership, group__in=there)
    inside = set(rows.values_list("group_id", flat=True))
    rows.filter(group__in=inside - wanted).delete()
    GroupMember.objects.bulk_create(
        [
            GroupMember(tenant_id=membership.tenant_id, group_id=each, membership=membership)
            for each in wanted - inside
        ]
    )
    for act, ids in (("member_added", wanted - inside), ("member_removed", inside - wanted)):
        for each in ids:
            group = there[each]
            record_change(kind="group", object_id=group.id, tenant_id=group.tenant_id)
            label = f"{group.name}: {membership.user.email} (by {provider.name})"
            record_act(act=act, kind="group", object_id=group.id, label=label, tenant_id=group.tenant_id)
    return wanted != inside


def _apply_role(provider: IdentityProvider, membership: Membership, values: frozenset[str]) -> bool:
    rules = [each for each in provider.mappings if "group" not in each]
    gives_owners = any(each.get("role") == Role.OWNER for each in rules)
    if not rules or (membership.role == Role.OWNER and not gives_owners):
        return False
    role, custom = _mapped_role(rules, values) or (provider.default_role, None)
    before = _shown(membership.role, membership.custom_role)
    if (role, custom) == (membership.role, membership.custom_role):
        return False
    was = (membership.role, membership.custom_role)
    membership.role, membership.custom_role = role, custom
    try:
        keep_an_owner(membership)
    except Conflict:
        membership.role, membership.custom_role = was
        return False
    membership.save(update_fields=["role", "custom_role", "updated_at"])
    record_act(
        act="changed",
        kind="membership",
        object_id=membership.user_id,
        label=f"{membership.user.email} (by {provider.name})",
        tenant_id=membership.tenant_id,
        before={"role": before},
        after={"role": _shown(role, custom)},
    )
    return True


def _mapped_role(
    rules: Sequence[Mapping[str, str]], values: frozenset[str]
) -> tuple[str, CustomRole | None] | None:
    for each in rules:
        if each["value"] not in values:
            continue
        if "role" in each:
            return each["role"], None
        custom = CustomRole.objects.filter(id=each["custom_role"]).first()
        if custom is not None:
            # As rows hold a custom role: the least built-in one beside it.
            return Role.VIEWER.value, custom
    return None


def _shown(role: str, custom: CustomRole | None) -> str:
    return custom.name if custom else role
