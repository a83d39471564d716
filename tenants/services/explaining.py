"""Why somebody can or cannot use a thing, step by step, in the order in which the house itself decides."""

import uuid

from kernel.errors import NotFound
from substrate.scoping import tenant_scope
from tenants.access_models import Grant, GroupMember, Restriction
from tenants.access_types import ExplainStep, Explanation
from tenants.models import Membership, Tenant
from tenants.permissions import EVERYTHING, permissions_of, require
from tenants.services.grants import find_resource, resource_kind
from tenants.types import Principal, Role, TenantState


def explain_access(*, principal: Principal, user_id: uuid.UUID, kind: str, object_id: str) -> Explanation:
    """Whether the member may use the thing, and each step of the decision, those after a "no" too.

    Raises PermissionDenied, BadInput for an unknown kind, NotFound for a thing or user that is not there.
    """
    require(principal, "access.write")
    found = find_resource(principal=principal, kind=kind, object_id=object_id)
    with tenant_scope(principal.tenant_id, read_only=True):
        # A service account is asked about as a person is.
        everybody = Membership.objects.select_related("user", "custom_role")
        membership = everybody.filter(user_id=user_id).first()
        if membership is None:
            raise NotFound("There is no such user in this tenant.")
        held = permissions_of(
            Role(membership.role),
            custom=membership.custom_role.permissions if membership.custom_role else None,
        )
        steps = [
            _tenant(principal),
            *_membership(membership),
            _permission(membership, held, found.needs),
            _grant(membership, held, kind, found.id),
        ]
    steps += resource_kind(kind).explain(tenant_id=principal.tenant_id, object_id=found.id)
    return Explanation(
        allowed=all(each.passed for each in steps),
        user=membership.user.email,
        kind=kind,
        id=found.id,
        name=found.name,
        steps=tuple(steps),
    )


def _tenant(principal: Principal) -> ExplainStep:
    active = Tenant.objects.filter(id=principal.tenant_id, state=TenantState.ACTIVE).exists()
    return ExplainStep("tenant", active, "The tenant is active." if active else "The tenant is suspended.")


def _membership(membership: Membership) -> list[ExplainStep]:
    email = membership.user.email
    alive, enabled = membership.user.is_active, membership.disabled_at is None
    return [
        ExplainStep(
            "account",
            alive,
            f"The account of {email} is active." if alive else f"The account of {email} is shut down.",
        ),
        ExplainStep(
            "membership",
            enabled,
            f"{email} is a member of the tenant." if enabled else f"The membership of {email} is disabled.",
        ),
    ]


def _permission(membership: Membership, held: frozenset[str], needed: str) -> ExplainStep:
    role = membership.custom_role.name if membership.custom_role else membership.role
    return ExplainStep(
        "permission",
        needed in held,
        f"The role {role!r} has the permission {needed} that this takes."
        if needed in held
        else f"The role {role!r} has not the permission {needed} that this takes.",
    )


def _grant(membership: Membership, held: frozenset[str], kind: str, object_id: str) -> ExplainStep:
    """The last word of the tenant: open, granted to them or a group of theirs, or theirs by seeing everything."""
    restriction = Restriction.objects.filter(kind=kind, object_id=object_id).first()
    if restriction is None:
        return ExplainStep("grant", True, "It is open to everybody in the tenant.")
    if EVERYTHING in held:
        return ExplainStep("grant", True, f"It is restricted, and the role's permission {EVERYTHING} passes.")
    grants = Grant.objects.filter(restriction=restriction)
    if grants.filter(membership=membership).exists():
        return ExplainStep("grant", True, "It is restricted, and granted to this person by name.")
    mine = GroupMember.objects.filter(membership=membership).values("group_id")
    through = grants.filter(group__in=mine).order_by("group__name").values_list("group__name", flat=True)
    names = ", ".join(list(through)[:5])
    if names:
        return ExplainStep("grant", True, f"It is restricted, and granted to a group of theirs: {names}.")
    return ExplainStep(
        "grant", False, "It is restricted, and granted neither to them nor to a group of theirs."
    )
