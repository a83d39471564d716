"""Limits of tenants without a database."""

import uuid
from dataclasses import dataclass, field

from tenants.limit_types import Level, Limit, Measure, TenantLimits


@dataclass
class KnownLimits:
    """A finder of limits that a test writes down."""

    by_tenant: dict[uuid.UUID, TenantLimits] = field(default_factory=dict)

    def peek(self, tenant: str) -> tuple[bool, TenantLimits | None]:
        """What was written down."""
        return True, self.by_tenant.get(uuid.UUID(tenant))

    async def find(self, tenant_id: uuid.UUID) -> TenantLimits | None:
        """What was written down."""
        return self.by_tenant.get(tenant_id)

    def set(self, tenant_id: uuid.UUID, *limits: Limit, timezone: str = "UTC") -> None:
        """Replace the limits of a tenant."""
        rules: dict[Level, dict[str, tuple[Limit, ...]]] = {}
        for each in limits:
            by_subject = rules.setdefault(each.level, {})
            by_subject[each.subject] = (*by_subject.get(each.subject, ()), each)
        before = self.by_tenant.get(tenant_id)
        if before is not None:
            before.over = True
        self.by_tenant[tenant_id] = TenantLimits(tenant_id, timezone, rules)


def of_tenant(measure: Measure, hard: int | None, soft: int | None = None) -> Limit:
    """A limit of the whole tenant."""
    return Limit(Level.TENANT, "", measure, hard, soft)
