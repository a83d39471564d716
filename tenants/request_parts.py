"""Reads of requests: kept traces and metered calls, as the outside sees them. Each needs the scope of its rows."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tenants.models import ApiKey, Membership, RequestTrace, Tenant, UsageRecord
from tenants.types import RequestPart, TraceHop, TraceState

# One request makes a few calls; an ingestion's share one id and may be many.
MOST_PARTS = 100
COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class _Names:
    """How tenants, users and keys of some rows are called; what is gone has no name."""

    tenants: dict[uuid.UUID, str]
    users: dict[uuid.UUID, str]
    keys: dict[uuid.UUID, str]

    def user(self, row: RequestTrace | UsageRecord) -> str:
        """Who asked, when it was a person."""
        return self.users.get(row.user_id, "") if row.user_id else ""

    def key(self, row: RequestTrace | UsageRecord) -> str:
        """The key that asked."""
        return self.keys.get(row.api_key_id, "") if row.api_key_id else ""


def trace_parts(rows: Sequence[RequestTrace], *, hops: bool = False) -> list[RequestPart]:
    """Kept requests, without their hops when nobody asks for them."""
    names = _names_of(rows)
    return [_trace_part(row, names, tuple(_hop(each) for each in row.hops) if hops else ()) for row in rows]


def traces_of_request(request_id: str) -> list[RequestPart]:
    """The kept traces of one request with their hops, the oldest first."""
    rows = list(RequestTrace.objects.filter(request_id=request_id).order_by("started_at", "id")[:MOST_PARTS])
    return trace_parts(rows, hops=True)


def calls_of_request(request_id: str) -> list[RequestPart]:
    """The metered calls of one request, the oldest first."""
    rows = list(UsageRecord.objects.filter(request_id=request_id).order_by("started_at", "id")[:MOST_PARTS])
    names = _names_of(rows)
    return [_call_part(row, names) for row in rows]


def _names_of(rows: Sequence[RequestTrace | UsageRecord]) -> _Names:
    users = {row.user_id for row in rows if row.user_id}
    keys = {row.api_key_id for row in rows if row.api_key_id}
    tenants = Tenant.objects.filter(id__in={row.tenant_id for row in rows}).values_list("id", "slug")
    emails = Membership.objects.filter(user_id__in=users).values_list("user_id", "user__email")
    named = ApiKey.objects.filter(id__in=keys).values_list("id", "name", "prefix")
    return _Names(
        dict(tenants),
        dict(emails) if users else {},
        {key: f"{name} (atr_{prefix})" for key, name, prefix in named} if keys else {},
    )


def _hop(stored: dict[str, Any]) -> TraceHop:
    return TraceHop(stored["name"], stored["at_ms"], stored["ms"], stored["facts"])


def _trace_part(row: RequestTrace, names: _Names, hops: tuple[TraceHop, ...]) -> RequestPart:
    return RequestPart(
        id=row.id,
        request_id=row.request_id,
        trace_id=row.trace_id,
        tenant=names.tenants.get(row.tenant_id, ""),
        user=names.user(row),
        api_key=names.key(row),
        door=row.door,
        route=row.route,
        # Why it was kept is nothing that came of it.
        state=COMPLETED if row.state == TraceState.SAMPLED else row.state,
        status=row.status,
        error=row.error,
        model=row.model,
        assistant=row.assistant,
        pool=row.pool,
        replica=row.replica,
        cache=row.cache,
        stream=row.stream,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_nano=row.cost_nano,
        queue_ms=row.queue_ms,
        first_byte_ms=row.first_byte_ms,
        total_ms=row.total_ms,
        started_at=row.started_at,
        hops=hops,
    )


def _call_part(row: UsageRecord, names: _Names) -> RequestPart:
    return RequestPart(
        id=row.id,
        request_id=row.request_id,
        trace_id="",
        tenant=names.tenants.get(row.tenant_id, ""),
        user=names.user(row),
        api_key=names.key(row),
        door=row.origin,
        route="",
        state=row.state,
        status=0,
        error=row.error,
        model=row.model,
        assistant=row.assistant,
        pool=row.pool,
        replica=row.replica,
        cache="off",
        stream=0 < row.first_token_ms < row.total_ms,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cost_nano=row.cost_nano,
        queue_ms=row.queue_ms,
        first_byte_ms=row.first_token_ms,
        total_ms=row.total_ms,
        started_at=row.started_at,
        traced=False,
    )
