"""`/usage`: what the tenant, the caller alone, or the whole platform used."""

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from substrate.listings import safe_cell
from substrate.openapi import CSV_FILE, answers
from substrate.rest import AtriumView
from tenants.rest import SIGNED_IN, principal
from tenants.services import MOST_EXPORTED, UsageAsked, report_usage
from tenants.types import UsageGroup
from tenants.usage_serializers import (
    COLUMNS,
    FILTERS,
    FIRST_DAY,
    FORMATS,
    GROUP_NAMES,
    LONGEST_RANGE,
    LONGEST_ZONE,
    UsageQuery,
    UsageReportOutput,
    flat,
)

DEFAULT_DAYS = timedelta(days=29)
UTC_ZONE = ZoneInfo("UTC")


def _text(name: str, description: str, longest: int) -> OpenApiParameter:
    return OpenApiParameter(
        name, {"type": "string", "maxLength": longest, "minLength": 1}, description=description
    )


PARAMETERS = [
    OpenApiParameter(
        "group_by",
        OpenApiTypes.STR,
        enum=GROUP_NAMES,
        default="day",
        description="`tenant` with `scope=platform` alone; `user`, `key`, `assistant` without it alone.",
    ),
    OpenApiParameter("from", OpenApiTypes.DATE, description="First day; default: 29 days before `to`."),
    OpenApiParameter("to", OpenApiTypes.DATE, description="Last day; default: today."),
    _text("tz", "Whose days they are, as Europe/Berlin; default: UTC.", LONGEST_ZONE),
    OpenApiParameter(
        "scope",
        OpenApiTypes.STR,
        enum=["tenant", "platform"],
        default="tenant",
        description="`platform`: all tenants together; needs `platform.operate`.",
    ),
    OpenApiParameter(
        "mine", bool, description="The caller's own usage alone, which needs no `usage.read`: default false."
    ),
    OpenApiParameter("format", OpenApiTypes.STR, enum=FORMATS, default="json"),
    _text("model", "This model alone.", 255),
    OpenApiParameter("user", OpenApiTypes.UUID, description="This user alone."),
    OpenApiParameter("key", OpenApiTypes.UUID, description="This API key alone."),
    _text("assistant", "This assistant (its slug) alone.", 255),
    _text("origin", "This origin alone: v1, ws, rest, ingestion, shadow …", 64),
    OpenApiParameter("tenant", OpenApiTypes.UUID, description="This tenant alone; with `scope=platform`."),
]


class UsageView(AtriumView):
    """Usage of the caller's tenant, of the caller, or of all tenants."""

    required_permission: ClassVar[str] = SIGNED_IN

    @extend_schema(
        operation_id="usage",
        parameters=PARAMETERS,
        responses=answers(
            {200: UsageReportOutput, **CSV_FILE, (200, "application/x-ndjson"): OpenApiTypes.STR}
        ),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Requests, tokens, cost and latencies, summed by `group_by`. `usage.read`, but for `mine=true`."""
        form = UsageQuery(data=request.query_params.dict())
        form.is_valid(raise_exception=True)
        values = form.validated_data
        kind = values.get("format", "json")
        asked = _asked(values, most=None if kind == "json" else MOST_EXPORTED)
        report = report_usage(principal=principal(request), asked=asked)
        # Several lie in one folder: each says what it is of.
        name = f"usage-by-{asked.group_by}-{asked.first}-{asked.last}.{kind}"
        if kind == "csv":
            return _file(_comma_separated(report.groups), name, "text/csv; charset=utf-8")
        if kind == "jsonl":
            lines = b"".join(orjson.dumps(flat(each)) + b"\n" for each in report.groups)
            return _file(lines, name, "application/x-ndjson")
        return Response(UsageReportOutput(report).data)


def _asked(values: Mapping[str, Any], *, most: int | None) -> UsageAsked:
    zone = values.get("tz", UTC_ZONE)
    first = values.get("from")
    today = datetime.now(zone).date()
    last = values.get("to") or (min(first + LONGEST_RANGE, max(today, first)) if first else today)
    asked = UsageAsked(
        first=first or max(last - DEFAULT_DAYS, FIRST_DAY),
        last=last,
        group_by=values.get("group_by", "day"),
        zone=zone,
        equal={name: values[name] for name in FILTERS if name in values},
        mine=values.get("mine", False),
        platform=values.get("scope") == "platform",
    )
    return asked if most is None else asked.with_most(most)


def _comma_separated(groups: Iterable[UsageGroup]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for group in groups:
        row = flat(group)
        writer.writerow([safe_cell(row[name]) for name in COLUMNS])
    return text.getvalue().encode()


def _file(content: bytes, name: str, content_type: str) -> HttpResponse:
    answer = HttpResponse(content, content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "no-store"
    return answer
