"""What is shut to whom: computed when a principal is made, and then in its memory, so that no request asks again."""

import uuid
from collections.abc import Collection

from django.db.models import Exists, OuterRef, Q

from tenants.access_models import Grant, Restriction


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
    return frozenset(f"{kind}:{object_id}" for kind, object_id in rows)
