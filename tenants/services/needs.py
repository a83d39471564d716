"""What of the tenants needs somebody: keys that end soon, tenants that nobody gets into, domains to be verified."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from django.db.models import Exists, OuterRef

from kernel.clock import SYSTEM_CLOCK, Clock
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.models import ApiKey, IdentityProvider, Tenant
from tenants.permissions import OPERATE, require
from tenants.sign_in_types import WaitingDomains
from tenants.types import EndingKey, Principal, TenantName, TenantState
from tenants.usage_reads import tenant_slugs

SOON = timedelta(days=14)
# Counting goes no further.
MOST_COUNTED = 1_000


def ending_keys(
    *, principal: Principal, platform: bool = False, limit: int = 10, clock: Clock = SYSTEM_CLOCK
) -> tuple[int, list[EndingKey]]:
    """How many valid keys end within 14 days (1,000 at most), and those that end first; of all tenants (`platform`).

    A key whose replacement is in use already is not among them. Raises PermissionDenied.
    """
    require(principal, OPERATE if platform else "keys.write")
    now = clock.now()
    with _scope(None if platform else principal.tenant_id):
        next_keys = ApiKey.objects.filter(replaces=OuterRef("id"), revoked_at=None).order_by()
        ending = ApiKey.objects.filter(revoked_at=None, expires_at__gt=now, expires_at__lte=now + SOON)
        rows = ending.exclude(Exists(next_keys.exclude(last_used_at=None))).annotate(
            replaced=Exists(next_keys)
        )
        count = rows.order_by()[:MOST_COUNTED].count()
        columns = ("id", "tenant_id", "prefix", "name", "expires_at", "last_used_at", "replaced")
        first = rows.order_by("expires_at", "id").values_list(*columns)[:limit]
        return count, [EndingKey(*row) for row in first]


def suspended_tenants(*, principal: Principal, limit: int = 10) -> tuple[int, list[TenantName]]:
    """How many tenants are suspended (1,000 at most), and some of them. Raises PermissionDenied."""
    require(principal, OPERATE)
    rows = Tenant.objects.filter(state=TenantState.SUSPENDED).order_by("slug")
    count = rows.order_by()[:MOST_COUNTED].count()
    return count, [TenantName(*row) for row in rows.values_list("id", "slug", "name")[:limit]]


def waiting_domains(
    *, principal: Principal, platform: bool = False, limit: int = 10
) -> tuple[int, list[WaitingDomains]]:
    """How many identity providers wait for an operator to verify their domains (1,000 at most), and the first of them.

    Of all active tenants (`platform`), those first that have waited longest. Raises PermissionDenied.
    """
    require(principal, OPERATE if platform else "tenant.write")
    with _scope(None if platform else principal.tenant_id):
        rows = IdentityProvider.objects.filter(domains_verified_at=None).exclude(domains=[])
        if platform:
            rows = rows.filter(tenant__state=TenantState.ACTIVE)
        count = rows.order_by()[:MOST_COUNTED].count()
        first = rows.order_by("updated_at", "id")[:limit]
        return count, [
            WaitingDomains(each.id, each.tenant_id, each.name, tuple(each.domains)) for each in first
        ]


def name_tenants(*, principal: Principal, ids: Sequence[uuid.UUID]) -> dict[str, str]:
    """Slugs of tenants by id, for operators. Raises PermissionDenied."""
    require(principal, OPERATE)
    return tenant_slugs(ids)


def has_other_tenants() -> bool:
    """Whether there is any tenant beside the demo's."""
    return Tenant.objects.filter(is_demo=False).exists()


@contextmanager
def _scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    if tenant_id is None:
        with system_scope("operators see what needs them", read_only=True):
            yield
    else:
        with tenant_scope(tenant_id, read_only=True):
            yield
