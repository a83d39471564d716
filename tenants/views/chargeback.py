"""`/chargeback`: what is charged to which group for a month, or, for operators, to which tenant."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import BadInput
from substrate.listings import safe_cell
from substrate.openapi import CSV_FILE, answers
from substrate.rest import AtriumView
from tenants.rest import principal
from tenants.services.chargeback import (
    GROUP,
    REST,
    TENANT,
    TOTAL,
    ChargeRow,
    charge_by_group,
    charge_by_tenant,
)

KINDS = (GROUP, REST, TENANT, TOTAL)
FORMATS = ("json", "csv", "jsonl")
SCOPES = ("tenant", "platform")
NANO = 1_000_000_000


class ChargeOutput(serializers.Serializer[Any]):
    """One line; `cost` is in units of money, with nine decimals. The lines add up to the one of kind `total`."""

    period = serializers.CharField()
    kind = serializers.CharField(help_text="group, rest (what no group answers for), tenant or total")
    id = serializers.CharField()
    name = serializers.CharField()
    requests = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost_nano = serializers.IntegerField()
    cost = serializers.CharField()


class ChargebackOutput(serializers.Serializer[Any]):
    """All in one page."""

    results = ChargeOutput(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


COLUMNS = tuple(ChargeOutput().fields)


class ChargebackView(AtriumView):
    """What is charged for a month."""

    required_permission: ClassVar[str] = "usage.read"

    @extend_schema(
        operation_id="chargeback",
        parameters=[
            OpenApiParameter(
                "period",
                {"type": "string", "minLength": 7, "maxLength": 7},
                description="A month, as 2026-03; default: the present one.",
            ),
            OpenApiParameter(
                "scope", OpenApiTypes.STR, enum=SCOPES, description="`platform`: by tenant, for operators."
            ),
            OpenApiParameter("format", OpenApiTypes.STR, enum=FORMATS, default="json"),
        ],
        responses=answers(
            {200: ChargebackOutput, **CSV_FILE, (200, "application/x-ndjson"): OpenApiTypes.STR}
        ),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """By group of the caller's tenant, in its calendar; by tenant in UTC for operators. A whole at the end."""
        asked = request.query_params
        kind, scope = asked.get("format", "json"), asked.get("scope", "tenant")
        if kind not in FORMATS:
            raise BadInput(f"format is one of {', '.join(FORMATS)}.", param="format")
        if scope not in SCOPES:
            raise BadInput("scope is tenant or platform.", param="scope")
        period = asked.get("period") or f"{datetime.now(UTC):%Y-%m}"
        charge = charge_by_tenant if scope == "platform" else charge_by_group
        rows = [_shown(row) for row in charge(principal=principal(request), period=period)]
        if kind == "csv":
            return _file(_comma_separated(rows), f"chargeback-{period}.csv", "text/csv; charset=utf-8")
        if kind == "jsonl":
            lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
            return _file(lines, f"chargeback-{period}.jsonl", "application/x-ndjson")
        return Response({"results": ChargeOutput(rows, many=True).data, "next": None, "previous": None})


def _shown(row: ChargeRow) -> dict[str, Any]:
    whole, part = divmod(row.cost_nano, NANO)
    return {**asdict(row), "cost": f"{whole}.{part:09}"}


def _comma_separated(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([safe_cell(row[name]) for name in COLUMNS])
    return text.getvalue().encode()


def _file(content: bytes, name: str, content_type: str) -> HttpResponse:
    answer = HttpResponse(content, content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "no-store"
    return answer
