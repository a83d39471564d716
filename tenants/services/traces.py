"""Use cases around the ways of requests: kept through the spool, listed, looked up, and deleted after their time."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import QuerySet

from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import NotFound
from substrate.crossing import system_scope
from substrate.scoping import Scope, tenant_scope
from tenants import request_parts
from tenants.ledger import clean_number, clean_text
from tenants.models import RequestTrace
from tenants.permissions import OPERATE, require
from tenants.ports import UsageSpool
from tenants.services.storing import delete_rows, store_rows
from tenants.tracing import hops_of_call, summary_of
from tenants.types import (
    Principal,
    RequestPart,
    RequestWay,
    SpoolBacklog,
    TraceEntry,
    TraceState,
)

log = structlog.get_logger(__name__)

KEEP_TRACES = timedelta(days=14)
# What only shows where calls go says nothing any more when the pools look otherwise.
KEEP_SAMPLES = timedelta(days=1)


async def record_trace(entry: TraceEntry) -> None:
    """Put the way of a request where it outlives this process. Raises Unavailable."""
    spool: UsageSpool = backends["usage_spool"]
    await spool.append(entry)


async def spool_backlog() -> SpoolBacklog:
    """What the spool holds and the database has not. Raises Unavailable."""
    spool: UsageSpool = backends["usage_spool"]
    return await spool.backlog()


def store_traces(entries: Sequence[TraceEntry]) -> None:
    """Write the ways of requests; one that is there already stays as it is. Those of tenants that are gone are dropped."""
    store_rows(entries, RequestTrace, _row)


def _row(entry: TraceEntry) -> RequestTrace:
    return RequestTrace(
        id=entry.record_id,
        tenant_id=entry.tenant_id,
        request_id=clean_text(entry.request_id, 128),
        trace_id=clean_text(entry.trace_id, 32),
        user_id=entry.user_id,
        api_key_id=entry.api_key_id,
        door=clean_text(entry.door, 16),
        route=clean_text(entry.route, 255),
        state=entry.state.value,
        status=min(clean_number(entry.status), 999),
        error=clean_text(entry.error, 500),
        model=clean_text(entry.model, 255),
        assistant=clean_text(entry.assistant, 255),
        pool=clean_text(entry.pool, 255),
        replica=clean_text(entry.replica, 255),
        cache=clean_text(entry.cache, 16),
        stream=entry.stream,
        prompt_tokens=clean_number(entry.prompt_tokens),
        completion_tokens=clean_number(entry.completion_tokens),
        cost_nano=clean_number(entry.cost_nano),
        queue_ms=clean_number(entry.queue_ms),
        first_byte_ms=clean_number(entry.first_byte_ms),
        total_ms=clean_number(entry.total_ms),
        started_at=entry.started_at,
        hops=[
            {"name": clean_text(hop.name, 64), "at_ms": hop.at_ms, "ms": hop.ms, "facts": _facts(hop.facts)}
            for hop in entry.hops
        ],
    )


def _facts(facts: Any) -> dict[str, Any]:
    return {
        clean_text(name, 64): clean_text(value, 255) if isinstance(value, str) else value
        for name, value in facts.items()
    }


@contextmanager
def kept_requests(
    *, principal: Principal, platform: bool = False, samples: bool = False
) -> Iterator[QuerySet[RequestTrace]]:
    """Kept requests of the principal's tenant, or with `platform` of all, as rows of the scope that is open meanwhile.

    With `samples` also those that were neither slow nor failed nor refused. Raises PermissionDenied.
    """
    with _scope(principal, platform=platform):
        rows = RequestTrace.objects.defer("hops")
        yield rows if samples else rows.exclude(state=TraceState.SAMPLED)


@contextmanager
def kept_decisions(*, principal: Principal, platform: bool = False) -> Iterator[QuerySet[RequestTrace]]:
    """As `kept_requests` with their ways, of those that reached an engine. Raises PermissionDenied."""
    with _scope(principal, platform=platform):
        yield RequestTrace.objects.exclude(pool="")


def show_decisions(rows: Sequence[RequestTrace]) -> list[RequestPart]:
    """Rows of `kept_decisions` as the outside sees them, with their hops. In the scope of the rows."""
    return request_parts.trace_parts(rows, hops=True)


def show_requests(rows: Sequence[RequestTrace]) -> list[RequestPart]:
    """Rows of `kept_requests` as the outside sees them, with the names of those who asked. In the scope of the rows."""
    return request_parts.trace_parts(rows)


def find_request(*, principal: Principal, request_id: str, platform: bool = False) -> RequestWay:
    """All that is known of a request by its id: kept traces, and every call that was metered, slow or not.

    Raises NotFound (unknown, or another tenant's), PermissionDenied.
    """
    with _scope(principal, platform=platform):
        traces = request_parts.traces_of_request(request_id)
        calls = [
            replace(each, hops=hops_of_call(each)) for each in request_parts.calls_of_request(request_id)
        ]
    if not traces and not calls:
        raise NotFound("There is no such request, or its time here is over.")
    return RequestWay(summary_of(traces, calls), tuple(traces), tuple(calls))


def _scope(principal: Principal, *, platform: bool) -> AbstractContextManager[Scope]:
    if platform:
        require(principal, OPERATE)
        return system_scope("operators see all requests", read_only=True)
    require(principal, "requests.read")
    return tenant_scope(principal.tenant_id, read_only=True)


def delete_traces(*, older_than: datetime, tenant_id: uuid.UUID | None = None) -> int:
    """Delete kept requests that began before `older_than`, of one tenant or of all; returns how many."""
    return delete_rows(
        lambda: RequestTrace.objects.filter(started_at__lt=older_than),
        lambda: tenant_scope(tenant_id) if tenant_id else system_scope("delete old traces"),
    )


def count_traces(*, older_than: datetime, tenant_id: uuid.UUID) -> int:
    """How many kept requests of the tenant `delete_traces` would delete."""
    with tenant_scope(tenant_id, read_only=True):
        return RequestTrace.objects.filter(started_at__lt=older_than).count()


def forget_old_traces(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete what was kept for its whole time; returns how many."""
    now = clock.now()
    samples = delete_rows(
        lambda: RequestTrace.objects.filter(state=TraceState.SAMPLED, started_at__lt=now - KEEP_SAMPLES),
        lambda: system_scope("delete old traces"),
    )
    return samples + delete_traces(older_than=now - KEEP_TRACES)
