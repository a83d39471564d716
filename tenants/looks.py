"""Looks at a tenant's content by a break-glass grant: each is counted, and written down before it is answered."""

import uuid
from collections.abc import Mapping

from django.db.models import F

from substrate.audit import record_act
from tenants.models import BreakGlass


def note_look(
    *,
    tenant_id: uuid.UUID,
    grant_id: uuid.UUID,
    act: str,
    label: str,
    told: Mapping[str, object] | None = None,
) -> None:
    """Write down, in that tenant's scope at hand, one look by the grant; `told` says at what, and holds no content."""
    BreakGlass.objects.filter(id=grant_id).update(reads=F("reads") + 1)
    record_act(act=act, kind="break_glass", object_id=grant_id, label=label, tenant_id=tenant_id, after=told)
