"""Whose figures a question is about: the caller's tenant, or (for operators) the whole platform."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from kernel.errors import BadInput
from tenants.rest import principal
from tenants.services import require

SCOPE_PARAMETER = OpenApiParameter(
    "scope",
    OpenApiTypes.STR,
    enum=["tenant", "platform"],
    default="tenant",
    description="`platform`: all tenants together; needs `platform.operate`.",
)


def wants_platform(request: Request) -> bool:
    """Whether the question is about all tenants. Raises BadInput, and PermissionDenied for who is no operator."""
    scope = request.query_params.get("scope", "tenant")
    if scope not in ("tenant", "platform"):
        raise BadInput("scope is tenant or platform.", param="scope")
    if scope == "platform":
        require(principal(request), "platform.operate")
    return scope == "platform"
