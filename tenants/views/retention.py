"""`/retention`: how long the tenant keeps conversations, files and the ways of requests."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from substrate.openapi import answers
from substrate.rest import AtriumView, StrictSerializer
from substrate.versions import expected_version
from tenants.rest import principal
from tenants.services.retention import (
    LONGEST_DAYS,
    REQUESTS_DAYS,
    get_retention,
    preview_retention,
    set_retention,
)
from tenants.types import Expiring, RetentionDays, RetentionView

IF_MATCH = OpenApiParameter(
    "If-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The version that was read."
)


class RetentionInput(StrictSerializer):
    """Days each kind is kept; null keeps conversations and files for ever, requests for the platform's time."""

    conversations_days = serializers.IntegerField(min_value=1, max_value=LONGEST_DAYS, allow_null=True)
    files_days = serializers.IntegerField(min_value=1, max_value=LONGEST_DAYS, allow_null=True)
    requests_days = serializers.IntegerField(min_value=1, max_value=REQUESTS_DAYS, allow_null=True)


class RetentionOutput(serializers.Serializer[Any]):
    """The rules. Requests are never kept longer than `requests_ceiling_days`; usage is kept for ever."""

    conversations_days = serializers.IntegerField(allow_null=True)
    files_days = serializers.IntegerField(allow_null=True)
    requests_days = serializers.IntegerField(allow_null=True)
    requests_ceiling_days = serializers.IntegerField()
    updated_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class ExpiringOutput(serializers.Serializer[Any]):
    """What of one kind would go: `count` of `total`, the oldest from `oldest`."""

    kind = serializers.ChoiceField(choices=[("conversations",) * 2, ("files",) * 2, ("requests",) * 2])
    count = serializers.IntegerField()
    total = serializers.IntegerField()
    oldest = serializers.DateTimeField(allow_null=True)


class PreviewOutput(serializers.Serializer[Any]):
    """One entry for each kind."""

    results = ExpiringOutput(many=True)


class RetentionRulesView(AtriumView):
    """The rules of the caller's tenant."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": "usage.read", "PUT": "retention.write"}

    @extend_schema(operation_id="retention_get", responses=answers({200: RetentionOutput}))
    def get(self, request: Request) -> Response:
        """The rules in force."""
        return _answer(get_retention(principal=principal(request)))

    @extend_schema(
        operation_id="retention_set",
        parameters=[IF_MATCH],
        request=RetentionInput,
        responses=answers({200: RetentionOutput}, 412),
    )
    def put(self, request: Request) -> Response:
        """Replace the rules; what is older goes within the hour."""
        view = set_retention(
            principal=principal(request), days=_days(request), expected=expected_version(request)
        )
        return _answer(view)


class RetentionPreviewView(AtriumView):
    """What given rules would delete."""

    required_permission: ClassVar[str] = "retention.write"

    @extend_schema(
        operation_id="retention_preview", request=RetentionInput, responses=answers({200: PreviewOutput})
    )
    def post(self, request: Request) -> Response:
        """What would go now: counts and dates, no content. Nothing is deleted."""
        found: list[Expiring] = preview_retention(principal=principal(request), days=_days(request))
        return Response({"results": ExpiringOutput(found, many=True).data})


def _days(request: Request) -> RetentionDays:
    form = RetentionInput(data=request.data)
    form.is_valid(raise_exception=True)
    values = form.validated_data
    return RetentionDays(values["conversations_days"], values["files_days"], values["requests_days"])


def _answer(view: RetentionView) -> Response:
    body = {
        "conversations_days": view.days.conversations,
        "files_days": view.days.files,
        "requests_days": view.days.requests,
        "requests_ceiling_days": view.requests_ceiling_days,
        "updated_at": view.updated_at,
        "version": view.version,
    }
    response = Response(RetentionOutput(body).data)
    response["ETag"] = f'"{view.version}"'
    return response
