"""`/overview`: everything the console's first page shows, in one answer."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from console.api.overview_shapes import OverviewOutput
from console.home.health import look_at_parts
from console.home.needs import (
    expiring_keys,
    failed_documents,
    failed_jobs,
    open_grants,
    recent_acts,
    suspended_tenants,
    waiting_domains,
)
from console.home.pools import pools_now
from console.scopes import SCOPE_PARAMETER, wants_platform
from kernel.errors import BadInput
from substrate.bridge import wait_for
from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.permissions import OPERATE
from tenants.rest import SIGNED_IN, principal
from tenants.services import RANGES, range_bounds, usage_figures
from tenants.types import Principal

T = TypeVar("T")


class OverviewView(AtriumView):
    """The state of the tenant, or of the whole platform, at first sight."""

    required_permission: ClassVar[str] = SIGNED_IN

    @extend_schema(
        operation_id="overview",
        parameters=[
            OpenApiParameter("range", OpenApiTypes.STR, enum=list(RANGES), default="24h"),
            SCOPE_PARAMETER,
        ],
        responses=answers({200: OverviewOutput}),
    )
    def get(self, request: Request) -> Response:
        """Usage, health, pools, and what needs somebody. Sections the caller has no right to see are null."""
        who, platform = principal(request), wants_platform(request)
        period = request.query_params.get("range", "24h")
        if period not in RANGES:
            raise BadInput(f"range is one of {', '.join(RANGES)}.", param="range")
        start, end = range_bounds(period)
        health = wait_for(look_at_parts)
        answer: dict[str, Any] = {
            "range": period,
            "scope": "platform" if platform else "tenant",
            "start": start,
            "end": end,
            "usage": _allowed(
                who, "usage.read", lambda: usage_figures(principal=who, period=period, platform=platform)
            ),
            "health": health if OPERATE in who.permissions else health.without_details(),
            "pools": _allowed(who, "models.read", pools_now),
            "failed_documents": _allowed(who, "knowledge.inspect", lambda: failed_documents(who, platform)),
            "expiring_keys": _allowed(who, "keys.write", lambda: expiring_keys(who, platform)),
            "failed_jobs": _allowed(who, "jobs.read", lambda: failed_jobs(who, platform)),
            "suspended_tenants": suspended_tenants(who) if platform else None,
            "waiting_domains": _allowed(who, "tenant.write", lambda: waiting_domains(who, platform)),
            "open_grants": None if platform else _allowed(who, "audit.read", lambda: open_grants(who)),
            "acts": _allowed(who, "users.write", lambda: recent_acts(who, platform)),
        }
        return Response(OverviewOutput(answer).data)


def _allowed(who: Principal, permission: str, read: Callable[[], T]) -> T | None:
    return read() if permission in who.permissions else None
