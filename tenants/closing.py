"""What is shut to whom: computed when a principal is made, and then in its memory, so that no request asks again."""

import uuid
from collections.abc import Collection

from django.db.models import Exists, OuterRef, Q

from tenants.access_models import Grant, Restriction

# One for all who have nothing shut to them: processes keep them by ten thousands.
NOTHING_SHUT: frozenset[str] = frozenset()


def closed_to(
    *, tenant_id: uuid.UUID, membership_id: uuid.UUID | None, group_ids: Collection[uuid.UUID]
) -> frozenset[str]:
    """The restricted things of the tenant that nobody granted to the membership or the groups, as `kind:id`.

    Without a membership that is all of them. Needs a scope.
    """
    granted = Q(group_id__in=list(group_ids))
    if membership_id is not None:
        granted |= Q(membership_id=membership_id)
    mine = Grant.objects.filter(granted, restriction=OuterRef("pk"))
    rows = Restriction.objects.filter(~Exists(mine), tenant_id=tenant_id).values_list("kind", "object_id")
    return frozenset(f"{kind}:{object_id}" for kind, object_id in rows) or NOTHING_SHUT


def tenants_that_shut(tenant_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the tenants that restrict anything. Needs a scope that sees them."""
    rows = Restriction.objects.filter(tenant_id__in=tenant_ids).order_by()
    return set(rows.values_list("tenant_id", flat=True).distinct())
