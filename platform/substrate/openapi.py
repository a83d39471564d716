"""What the OpenAPI descriptions of all apps share: problem documents, cursor pages, their parameters."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem document (RFC 9457). `errors` names the fields of a body that is not valid."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
    param = serializers.CharField(required=False)
    errors = serializers.JSONField(required=False)  # type: ignore[assignment]


_MEANINGS = {
    400: "The request is not valid.",
    401: "No credential, or one that is not valid.",
    403: "The credential may not do this.",
    404: "Unknown, or of another tenant.",
    409: "The present state forbids it.",
    412: "Changed by somebody else since it was read (`If-Match`).",
    413: "The body is too large.",
    415: "The body's type is not supported.",
    429: "A limit is reached.",
    503: "A part that is needed is away.",
}
# What every operation may answer.
_ALWAYS = (400, 401, 403, 404)


# Beside the page of a list that `format=csv` turns into a file.
CSV_FILE: Mapping[Any, Any] = {(200, "text/csv"): OpenApiTypes.STR}


def answers(outcomes: Mapping[Any, Any], *more: int) -> dict[Any, Any]:
    """`responses` for `extend_schema`: the outcomes, the problems any operation may have, and those named besides."""
    found: dict[Any, Any] = dict(outcomes)
    for status in (*_ALWAYS, *more):
        found[(status, "application/problem+json")] = OpenApiResponse(ProblemSerializer, _MEANINGS[status])
    return found


def page_of(name: str, serializer: Any) -> Any:
    """The schema of a cursor page of `serializer`; `name` is its component's name."""
    return inline_serializer(
        name,
        {
            "results": serializer(many=True),
            "next": serializers.CharField(allow_null=True),
            "previous": serializers.CharField(allow_null=True),
            "total": serializers.IntegerField(required=False),
        },
    )


PAGE_PARAMETERS = [
    OpenApiParameter(
        "cursor", OpenApiTypes.STR, description="Where the page starts, from `next` or `previous`."
    ),
    OpenApiParameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": 200}, description="Rows per page."
    ),
]

# For a view with several renderers: its answer is one of them whatever is asked for.
NO_FORMAT = OpenApiParameter("format", exclude=True)

TENANT_HEADER = OpenApiParameter(
    "X-Atrium-Tenant",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The tenant's slug, for sessions of people with several.",
)
