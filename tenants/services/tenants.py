"""Use cases of operators: making and changing tenants."""

import re
import uuid
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.versions import check_version
from tenants import selectors
from tenants.lifecycle_types import REGION_LENGTH
from tenants.models import Tenant
from tenants.periods import zone_of
from tenants.permissions import require
from tenants.services.webhook_sending import emit_event
from tenants.types import (
    NAME_LENGTH,
    SLUG_PATTERN,
    WEIGHT_MAX,
    Principal,
    PriorityClass,
    TenantState,
    TenantView,
)

REGION_PATTERN = rf"^[A-Za-z0-9._-]{{0,{REGION_LENGTH}}}\Z"


def create_tenant(
    *,
    slug: str,
    name: str,
    priority_class: PriorityClass | None = None,
    weight: int = 1,
    is_demo: bool = False,
    timezone: str = "UTC",
    region: str = "",
) -> TenantView:
    """Make a tenant; `priority_class` caps how urgent its requests may be (None: no cap).

    `region` is where its content may be worked on (empty: anywhere).

    Raises BadInput, and Conflict when the slug is taken.
    """
    if not re.match(SLUG_PATTERN, slug):
        raise BadInput(
            "A tenant's slug has 1–63 characters: small letters, digits, and hyphens between them.",
            param="slug",
        )
    tenant = Tenant(slug=slug, is_demo=is_demo)
    _set(
        tenant,
        name=name,
        weight=weight,
        priority_class=priority_class or PriorityClass.CRITICAL,
        timezone=timezone,
        region=region,
    )
    with system_scope("create a tenant"):
        try:
            with transaction.atomic():
                tenant.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict(f"There is a tenant with the slug {slug!r} already.", param="slug") from error
        record_change(kind="tenant", object_id=tenant.id, tenant_id=tenant.id)
        record_act(act="created", kind="tenant", object_id=tenant.id, label=tenant.slug, tenant_id=tenant.id)
    return selectors.tenant_view(tenant)


def change_tenant(
    *,
    tenant_id: uuid.UUID,
    name: str | None = None,
    state: TenantState | None = None,
    weight: int | None = None,
    priority_class: PriorityClass | None = None,
    timezone: str | None = None,
    region: str | None = None,
    principal: Principal | None = None,
    expected: str | None = None,
) -> TenantView:
    """Change what is not None. A suspended tenant is refused everywhere within two seconds.

    Raises NotFound, BadInput, Stale when it is not the version `expected`, and Conflict when `principal` would suspend
    the tenant they act in, or the tenant is to be deleted.
    """
    if state is TenantState.DELETING:
        raise BadInput("A tenant is deleted by asking for its deletion.", param="state")
    if principal is not None and principal.tenant_id == tenant_id and state is TenantState.SUSPENDED:
        raise Conflict("You act in this tenant: suspend it from another one.", code="own_tenant")
    with system_scope("change a tenant"):
        tenant = Tenant.objects.select_for_update().filter(id=tenant_id).first()
        if tenant is None:
            raise NotFound("There is no such tenant.")
        check_version(tenant.updated_at, expected)
        if state is not None and tenant.state == TenantState.DELETING:
            raise Conflict("This tenant is to be deleted: withdraw that first.", code="deleting")
        before = _values(tenant)
        _set(
            tenant,
            name=name,
            state=state,
            weight=weight,
            priority_class=priority_class,
            timezone=timezone,
            region=region,
        )
        after = _values(tenant)
        acts = _acts(dict(before), dict(after))
        # Before the acts: endpoints are locked before the chain of acts, here as everywhere.
        for act in {"suspended", "resumed"}.intersection(acts):
            emit_event(tenant_id=tenant.id, event=f"tenant.{act}", told={})
        for act in acts:
            record_act(
                act=act,
                kind="tenant",
                object_id=tenant.id,
                label=tenant.slug,
                tenant_id=tenant.id,
                before=before,
                after=after,
            )
        tenant.save()
        record_change(kind="tenant", object_id=tenant.id, tenant_id=tenant.id)
    return get_tenant(tenant_id=tenant.id)


def _values(tenant: Tenant) -> dict[str, object]:
    return values_of(tenant, "state", "name", "weight", "priority_class", "timezone", "region")


def _acts(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What a change amounts to, in the words of the record."""
    found = []
    if before.pop("state") != (state := after.pop("state")):
        found.append("suspended" if state == TenantState.SUSPENDED else "resumed")
    return [*found, "changed"] if before != after else found


def get_tenant(*, tenant_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK) -> TenantView:
    """One tenant with its figures. Raises NotFound."""
    tenant = Tenant.objects.filter(id=tenant_id).first()
    if tenant is None:
        raise NotFound("There is no such tenant.")
    return selectors.tenant_views([tenant], clock.now())[0]


def timezone_of(*, tenant_id: uuid.UUID) -> str:
    """The name of the tenant's timezone; UTC, as that of a new one, for a tenant that is gone."""
    return timezones_of(tenant_ids=[tenant_id])[tenant_id]


def timezones_of(*, tenant_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The same of each of the tenants."""
    found = dict(Tenant.objects.filter(id__in=tenant_ids).values_list("id", "timezone"))
    return {each: found.get(each) or "UTC" for each in tenant_ids}


def change_own_tenant(
    *,
    principal: Principal,
    name: str | None = None,
    timezone: str | None = None,
    expected: str | None = None,
) -> TenantView:
    """Change what an owner may of their own tenant. Raises PermissionDenied, BadInput, Stale."""
    require(principal, "tenant.write")
    return change_tenant(tenant_id=principal.tenant_id, name=name, timezone=timezone, expected=expected)


def find_tenant(*, slug: str) -> TenantView:
    """The tenant of a slug. Raises NotFound."""
    tenant = selectors.find_tenant(slug)
    if tenant is None:
        raise NotFound(f"There is no tenant with the slug {slug!r}.")
    return selectors.tenant_view(tenant)


def _set(
    tenant: Tenant,
    *,
    name: str | None = None,
    state: TenantState | None = None,
    weight: int | None = None,
    priority_class: PriorityClass | None = None,
    timezone: str | None = None,
    region: str | None = None,
) -> None:
    if timezone is not None:
        if zone_of(timezone) is None:
            raise BadInput("This is no time zone, as Europe/Berlin is one.", param="timezone")
        tenant.timezone = timezone
    if region is not None:
        if not re.match(REGION_PATTERN, region):
            raise BadInput(
                f"A region has up to {REGION_LENGTH} letters, digits, hyphens, dots and underscores.",
                param="region",
            )
        tenant.region = region
    if name is not None:
        if not name.strip() or len(name) > NAME_LENGTH:
            raise BadInput(f"A tenant's name has 1–{NAME_LENGTH} characters.", param="name")
        tenant.name = name.strip()
    if weight is not None:
        if not 1 <= weight <= WEIGHT_MAX:
            raise BadInput(f"A tenant's weight is 1–{WEIGHT_MAX}.", param="weight")
        tenant.weight = weight
    if state is not None:
        tenant.state = state.value
    if priority_class is not None:
        tenant.priority_class = priority_class.value
