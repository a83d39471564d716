"""`/usage`: what the tenant used."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.rest import principal
from tenants.serializers import FIRST_DAY, LONGEST_RANGE, UsageQuery, UsageReportOutput
from tenants.services import sum_usage

DEFAULT_DAYS = timedelta(days=29)


class UsageView(AtriumView):
    """Usage of the caller's tenant."""

    required_permission: ClassVar[str] = "usage.read"

    @extend_schema(
        operation_id="usage",
        parameters=[
            OpenApiParameter(
                "group_by", OpenApiTypes.STR, enum=["day", "model", "user", "key"], default="day"
            ),
            OpenApiParameter(
                "from", OpenApiTypes.DATE, description="First UTC day; default: 29 days before `to`."
            ),
            OpenApiParameter("to", OpenApiTypes.DATE, description="Last UTC day; default: today."),
        ],
        responses=answers({200: UsageReportOutput}),
    )
    def get(self, request: Request) -> Response:
        """Requests, tokens and cost per day, model, user or key."""
        form = UsageQuery(data=request.query_params.dict())
        form.is_valid(raise_exception=True)
        values = form.validated_data
        first = values.get("from")
        today = datetime.now(UTC).date()
        last = values.get("to") or (min(first + LONGEST_RANGE, max(today, first)) if first else today)
        sums = sum_usage(
            principal=principal(request),
            group_by=values.get("group_by", "day"),
            first=first or max(last - DEFAULT_DAYS, FIRST_DAY),
            last=last,
        )
        return Response(UsageReportOutput({"results": sums, "next": None, "previous": None}).data)
