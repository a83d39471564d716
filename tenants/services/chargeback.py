"""What is charged to whom for a month: by group within a tenant, by tenant over the platform. The rows add up.

The ledger knows people and keys, no groups: whoever is in several groups now is charged to the one they were put in
first, and what nobody's group answers for (keys of programs, people in no group, people who left) is a row of its own.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from kernel.errors import BadInput
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from tenants.access_models import Group, GroupMember
from tenants.limit_types import LineKind
from tenants.models import Tenant
from tenants.periods import moment_of, period_bounds
from tenants.permissions import OPERATE, require
from tenants.tallies import Tally
from tenants.types import Principal
from tenants.usage_reads import Question, tallies, whole

FIRST_YEAR, LAST_YEAR = 2020, 2200
# Kinds of rows.
GROUP, REST, TENANT, TOTAL = "group", "rest", "tenant", "total"


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """One line: `kind` says what `name` is; `rest` is what no group answers for. Money is in nano-units."""

    period: str
    kind: str
    id: str
    name: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int


def charge_by_group(*, principal: Principal, period: str) -> list[ChargeRow]:
    """The month `period` (2026-03) of the tenant's calendar by group, the dearest first, at last the whole.

    Raises PermissionDenied, BadInput.
    """
    require(principal, "usage.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        zone = Tenant.objects.values_list("timezone", flat=True).get(id=principal.tenant_id)
        start, end = _month(period, zone)
        by_user = tallies(Question(start, end, group="user", latencies=False))
        first_group = _first_groups()
        sums: dict[str, list[Tally]] = {}
        for user, tally in by_user.items():
            sums.setdefault(first_group.get(user, ""), []).append(tally)
        names = {str(group.id): group.name for group in Group.objects.all()}
    rows = [
        _row(period, GROUP if group else REST, group, names.get(group, ""), whole(found))
        for group, found in sums.items()
    ]
    return [*_ranked(rows), _row(period, TOTAL, "", "", whole(list(by_user.values())))]


def charge_by_tenant(*, principal: Principal, period: str) -> list[ChargeRow]:
    """The month `period` in UTC by tenant, the dearest first, at last the whole. Raises PermissionDenied, BadInput."""
    require(principal, OPERATE)
    start, end = _month(period, "UTC")
    with system_scope("operators charge tenants", read_only=True):
        found = tallies(Question(start, end, group="tenant", latencies=False))
        names = {str(key): name for key, name in Tenant.objects.values_list("id", "name")}
    rows = [_row(period, TENANT, each, names.get(each, ""), tally) for each, tally in found.items()]
    return [*_ranked(rows), _row(period, TOTAL, "", "", whole(list(found.values())))]


def _first_groups() -> Mapping[str, str]:
    """Of each person the group they were put in first."""
    found: dict[str, str] = {}
    rows = GroupMember.objects.order_by("created_at", "id").values_list("membership__user_id", "group_id")
    for user_id, group_id in rows:
        found.setdefault(str(user_id), str(group_id))
    return found


def _month(period: str, zone: str) -> tuple[datetime, datetime]:
    try:
        first = datetime.strptime(period, "%Y-%m").replace(day=15, hour=12, tzinfo=UTC)
    except ValueError as error:
        raise BadInput("A period is a month, as 2026-03.", param="period") from error
    if not FIRST_YEAR <= first.year < LAST_YEAR:
        raise BadInput(f"A period is from {FIRST_YEAR} on.", param="period")
    start, end, _ = period_bounds(LineKind.MONTH, first, zone)
    return moment_of(start), moment_of(end)


def _ranked(rows: Iterable[ChargeRow]) -> list[ChargeRow]:
    return sorted(rows, key=lambda row: (-row.cost_nano, -row.requests, row.name))


def _row(period: str, kind: str, object_id: str | uuid.UUID, name: str, tally: Tally) -> ChargeRow:
    return ChargeRow(
        period,
        kind,
        str(object_id),
        name,
        tally.requests,
        tally.prompt_tokens,
        tally.completion_tokens,
        tally.cost_nano,
    )
