"""`/audit-events`: what was done, by whom, from where, with what before and after; as pages and as files."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import FileResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.scopes import SCOPE_PARAMETER, wants_platform
from kernel.errors import BadInput, NotFound
from kernel.ids import parse_uuid
from substrate.audit import ActView, act_line, act_view, audit_scope
from substrate.audit_verifying import VerifiedChain, verify_platform_acts, verify_tenant_acts
from substrate.listings import (
    CSV_BATCH,
    MOST_CSV_ROWS,
    Listing,
    count_of_several,
    cut_of_several,
    link_to,
    moment_filter,
    page_size,
    safe_cell,
    text_filter,
    uuid_filter,
    wants_total,
)
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from tenants.rest import principal
from tenants.services import name_tenants
from tenants.types import Principal

READ = "audit.read"
_IN_MEMORY = 2 * 1024 * 1024

LISTING = Listing(
    sorts={"at": "id"},
    default="-at",
    search=("label", "actor", "object_id", "kind", "act"),
    filters={
        "act": text_filter("act", "What was done, as `created`.", longest=32),
        "kind": text_filter("kind", "To what kind of thing, as `api_key`.", longest=64),
        "object_id": text_filter("object_id", "To which thing.", longest=128),
        "actor": text_filter("actor__iexact", "By whom: an e-mail address, a key's prefix, a command."),
        "actor_id": uuid_filter("actor_id", "By which user."),
        "request_id": text_filter("request_id", "In which request.", longest=128),
        "address": text_filter("address", "From which address.", longest=64),
        "from": moment_filter("created_at__gte", "Not before this moment."),
        "to": moment_filter("created_at__lt", "Before this moment."),
    },
    csv=(
        "at",
        "tenant",
        "act",
        "kind",
        "object_id",
        "label",
        "actor_kind",
        "actor",
        "address",
        "request_id",
        "before",
        "after",
        "seq",
        "hash",
        "id",
    ),
    file_name="audit-events",
)


class AuditEventOutput(serializers.Serializer[Any]):
    """One act. `actor_kind` is user, key, operator (who is no member), command or system; `before` and `after` hold
    what differs, secrets masked; `seq` and `hash` are its place in its chain and its link."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    act = serializers.CharField()
    kind = serializers.CharField()
    object_id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    actor_kind = serializers.CharField()
    actor = serializers.CharField()
    actor_id = serializers.UUIDField(allow_null=True)
    address = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField()
    before = serializers.DictField(child=serializers.JSONField())
    after = serializers.DictField(child=serializers.JSONField())
    tenant_id = serializers.UUIDField(allow_null=True)
    tenant = serializers.CharField(allow_null=True)
    seq = serializers.IntegerField(allow_null=True)
    hash = serializers.CharField(allow_blank=True)


class FirstBadEventOutput(serializers.Serializer[Any]):
    """Where a chain breaks first. `id` is null where a row is missing."""

    seq = serializers.IntegerField(allow_null=True)
    id = serializers.UUIDField(allow_null=True)
    reason = serializers.CharField()


class AuditChainOutput(serializers.Serializer[Any]):
    """What the walk over one chain found. `head` is its last link: kept elsewhere, it tells that nothing was cut off."""

    chain = serializers.UUIDField()
    tenant_id = serializers.UUIDField(allow_null=True)
    whole = serializers.BooleanField()
    rows = serializers.IntegerField()
    first = serializers.IntegerField()
    last = serializers.IntegerField()
    head = serializers.CharField(allow_blank=True)
    forgotten = serializers.IntegerField()
    bad = FirstBadEventOutput(allow_null=True)


class AuditVerificationOutput(serializers.Serializer[Any]):
    """The chains that were walked; `whole` when nothing is wrong in any."""

    whole = serializers.BooleanField()
    chains = AuditChainOutput(many=True)


class AuditEventsView(AtriumView):
    """What was done in the tenant, or everywhere."""

    required_permission: ClassVar[str] = READ

    @extend_schema(
        operation_id="audit_events_list",
        parameters=[
            *[each for each in LISTING.parameters() if each.name != "format"],
            OpenApiParameter(
                "format",
                OpenApiTypes.STR,
                enum=["json", "csv", "jsonl"],
                description=f"`csv`, `jsonl`: the whole list as a file, at most {MOST_CSV_ROWS} rows.",
            ),
            SCOPE_PARAMETER,
        ],
        responses=answers(
            {
                (200, "application/json"): page_of("AuditEventPage", AuditEventOutput),
                **CSV_FILE,
                (200, "application/x-ndjson"): OpenApiTypes.STR,
            }
        ),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Acts, the newest first."""
        who = principal(request)
        form = request.query_params.get("format", "json")
        if form not in ("json", "csv", "jsonl"):
            raise BadInput("format is json, csv or jsonl.", param="format")
        with audit_scope(None if wants_platform(request) else who.tenant_id) as sources:
            narrowed = [LISTING.narrowed(request, each) for each in sources]
            sort = LISTING.sort_of(request)
            if form == "csv":
                return _csv_file(who, narrowed, sort)
            if form == "jsonl":
                return _lines_file(narrowed, sort)
            page = cut_of_several(
                narrowed, sort=sort, cursor=request.query_params.get("cursor"), size=page_size(request)
            )
            body: dict[str, Any] = {
                "results": _shown(who, page.rows),
                "next": link_to(request, page.next),
                "previous": link_to(request, page.previous),
            }
            if wants_total(request):
                body["total"] = count_of_several(narrowed)
        return Response(body)


class AuditEventView(AtriumView):
    """One act."""

    required_permission: ClassVar[str] = READ

    @extend_schema(
        operation_id="audit_events_get",
        parameters=[SCOPE_PARAMETER],
        responses=answers({200: AuditEventOutput}),
    )
    def get(self, request: Request, event: str) -> Response:
        """One act, by its id."""
        who, event_id = principal(request), parse_uuid(event)
        with audit_scope(None if wants_platform(request) else who.tenant_id) as sources:
            rows = [row for each in sources for row in each.filter(id=event_id)] if event_id else []
            if not rows:
                raise NotFound("There is no such audit event.")
            shown = _shown(who, rows)
        return Response(shown[0])


class AuditVerificationView(AtriumView):
    """Walk the chain."""

    required_permission: ClassVar[str] = READ

    @extend_schema(
        operation_id="audit_events_verify",
        parameters=[SCOPE_PARAMETER],
        responses=answers({200: AuditVerificationOutput}),
    )
    def get(self, request: Request) -> Response:
        """Walk the tenant's chain, or (`scope=platform`) the platform's own, and tell where it breaks first."""
        if wants_platform(request):
            found = verify_platform_acts()
        else:
            found = [verify_tenant_acts(tenant_id=principal(request).tenant_id)]
        whole = all(each.whole for each in found)
        return Response(
            AuditVerificationOutput({"whole": whole, "chains": [_told(each) for each in found]}).data
        )


def _told(chain: VerifiedChain) -> dict[str, Any]:
    return {**asdict(chain), "whole": chain.whole}


def _shown(who: Principal, rows: Sequence[Any]) -> list[dict[str, Any]]:
    views = [act_view(row) for row in rows]
    return list(AuditEventOutput(_with_tenants(who, views), many=True).data)


def _with_tenants(who: Principal, views: Sequence[ActView]) -> list[dict[str, Any]]:
    """With the slugs of their tenants: null for the platform's own acts, and for a tenant that is gone."""
    foreign = {view.tenant_id for view in views if view.tenant_id} - {who.tenant_id}
    slugs = name_tenants(principal=who, ids=list(foreign)) if foreign else {}
    slugs = {**slugs, str(who.tenant_id): who.tenant_slug}
    return [{**asdict(view), "tenant": slugs.get(str(view.tenant_id))} for view in views]


def _batches(sources: Sequence[QuerySet[Any]], sort: str) -> Iterator[list[Any]]:
    cursor = None
    for _ in range(MOST_CSV_ROWS // CSV_BATCH):
        page = cut_of_several(sources, sort=sort, cursor=cursor, size=CSV_BATCH)
        yield page.rows
        cursor = page.next
        if cursor is None:
            return


def _csv_file(who: Principal, sources: Sequence[QuerySet[Any]], sort: str) -> FileResponse:
    # Written whole before it is sent, inside the scope that is open now.
    spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the answer closes it
    text = TextIOWrapper(spool, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(LISTING.csv)
    for batch in _batches(sources, sort):
        for shown in _shown(who, batch):
            writer.writerow([safe_cell(_cell(shown[name])) for name in LISTING.csv])
    text.detach()
    return _file(spool, "csv", "text/csv; charset=utf-8")


def _cell(value: object) -> object:
    return (json.dumps(value, sort_keys=True) if value else "") if isinstance(value, dict) else value


def _lines_file(sources: Sequence[QuerySet[Any]], sort: str) -> FileResponse:
    spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the answer closes it
    for batch in _batches(sources, sort):
        spool.writelines(f"{act_line(act_view(row))}\n".encode() for row in batch)
    return _file(spool, "jsonl", "application/x-ndjson")


def _file(spool: Any, ending: str, content_type: str) -> FileResponse:
    size = spool.tell()
    spool.seek(0)
    name = f"{LISTING.file_name}.{ending}"
    answer = FileResponse(spool, as_attachment=True, filename=name, content_type=content_type)
    answer["Content-Length"] = str(size)
    answer["Cache-Control"] = "no-store"
    return answer
