"""What needs somebody, and what changed last: the lists of the first page, some rows of each."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from knowledge.services import failed_documents as find_failed_documents
from substrate.audit import ActView, acts_everywhere, acts_of_tenant
from substrate.job_figures import failed_jobs as find_failed_jobs
from tenants.services import ending_keys, name_tenants, standing_grants
from tenants.services import suspended_tenants as find_suspended_tenants
from tenants.services import waiting_domains as find_waiting_domains
from tenants.types import Principal

SHOWN = 8


class _Row(Protocol):
    """A row that knows its tenant."""

    @property
    def tenant_id(self) -> uuid.UUID:
        """Whose it is."""
        ...


def failed_documents(who: Principal, platform: bool) -> dict[str, Any]:
    """Documents that could not be taken in, the newest first."""
    count, found = find_failed_documents(principal=who, platform=platform, limit=SHOWN)
    return {"count": count, "items": _with_tenants(who, platform, found)}


def expiring_keys(who: Principal, platform: bool) -> dict[str, Any]:
    """API keys that end within 14 days, the first to end first."""
    count, found = ending_keys(principal=who, platform=platform, limit=SHOWN)
    return {"count": count, "items": _with_tenants(who, platform, found)}


def failed_jobs(who: Principal, platform: bool) -> dict[str, Any]:
    """Background jobs that were given up, the newest first."""
    count, found = find_failed_jobs(tenant_id=None if platform else who.tenant_id, limit=SHOWN)
    return {"count": count, "items": _with_tenants(who, platform, found)}


def suspended_tenants(who: Principal) -> dict[str, Any]:
    """Tenants nobody gets into."""
    count, found = find_suspended_tenants(principal=who, limit=SHOWN)
    return {"count": count, "items": found}


def waiting_domains(who: Principal, platform: bool) -> dict[str, Any]:
    """Identity providers whose domains an operator has yet to verify."""
    count, found = find_waiting_domains(principal=who, platform=platform, limit=SHOWN)
    return {"count": count, "items": _with_tenants(who, platform, found)}


def open_grants(who: Principal) -> dict[str, Any]:
    """Operators who may read content of the tenant now."""
    count, found = standing_grants(principal=who, limit=SHOWN)
    return {"count": count, "items": found}


def recent_acts(who: Principal, platform: bool) -> list[ActView]:
    """What was done last."""
    return acts_everywhere(limit=SHOWN) if platform else acts_of_tenant(tenant_id=who.tenant_id, limit=SHOWN)


def _with_tenants(who: Principal, platform: bool, rows: Sequence[Any]) -> list[dict[str, Any]]:
    slugs = name_tenants(principal=who, ids=_tenants(rows)) if platform and rows else {}
    return [{**asdict(row), "tenant": slugs.get(str(row.tenant_id))} for row in rows]


def _tenants(rows: Iterable[_Row]) -> list[uuid.UUID]:
    return list({row.tenant_id for row in rows})
