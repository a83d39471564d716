"""`/requests`: slow, failed and refused requests, and the way of any metered request by its id. Never content."""

from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from console.scopes import SCOPE_PARAMETER, wants_platform
from substrate.listings import Listing, choice_filter, moment_filter, text_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from tenants.rest import principal
from tenants.services import find_request, kept_requests, show_requests
from tenants.types import TraceState

DOORS = ("v1", "ws", "rest")
STATES = [each.value for each in TraceState]

LISTING = Listing(
    sorts={
        "started_at": "started_at",
        "total_ms": "total_ms",
        "first_byte_ms": "first_byte_ms",
        "queue_ms": "queue_ms",
        "model": "model",
        "status": "status",
    },
    default="-started_at",
    search=("request_id", "model", "error", "route", "assistant"),
    filters={
        "state": choice_filter("state", STATES),
        "door": choice_filter("door", DOORS),
        "model": text_filter("model", "The model that was asked for."),
        "pool": text_filter("pool", "The pool that answered."),
        "error": text_filter("error", "The error's code.", longest=500),
        "request_id": text_filter("request_id", "Its id.", longest=128),
        "from": moment_filter("started_at__gte", "Began at this moment or later."),
        "to": moment_filter("started_at__lt", "Began before this moment."),
    },
    csv=(
        "started_at", "tenant", "request_id", "state", "status", "error", "door", "route", "model", "assistant", "pool",
        "replica", "queue_ms", "first_byte_ms", "total_ms", "prompt_tokens", "completion_tokens", "cost_nano", "user",
        "api_key",
    ),
    file_name="requests",
)  # fmt: skip


class RequestOutput(serializers.Serializer[Any]):
    """A kept request. `user` and `api_key` are names, empty where it was none or it is gone. Times in milliseconds."""

    id = serializers.CharField()
    request_id = serializers.CharField()
    trace_id = serializers.CharField()
    tenant = serializers.CharField()
    user = serializers.CharField()
    api_key = serializers.CharField()
    door = serializers.CharField()
    route = serializers.CharField()
    state = serializers.CharField()
    status = serializers.IntegerField()
    error = serializers.CharField()
    model = serializers.CharField()
    assistant = serializers.CharField()
    pool = serializers.CharField()
    replica = serializers.CharField()
    cache = serializers.CharField()
    stream = serializers.BooleanField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost_nano = serializers.IntegerField(help_text="Billionths of the installation's currency.")
    queue_ms = serializers.IntegerField()
    first_byte_ms = serializers.IntegerField()
    total_ms = serializers.IntegerField()
    started_at = serializers.DateTimeField()


class HopOutput(serializers.Serializer[Any]):
    """One part of the way: it began `at_ms` after the request did and took `ms`. `facts`: places, counts, outcomes."""

    name = serializers.CharField()
    at_ms = serializers.FloatField()
    ms = serializers.FloatField()
    facts = serializers.DictField()


class RequestPartOutput(RequestOutput):
    """A request, or a call of it, with its way. `traced` is false where the hops were made from the ledger's figures."""

    hops = HopOutput(many=True)
    traced = serializers.BooleanField()


class RequestWayOutput(serializers.Serializer[Any]):
    """All that is known of a request: in sum, as it was noted on its way, and each of its metered calls."""

    summary = RequestPartOutput()
    traces = RequestPartOutput(many=True)
    calls = RequestPartOutput(many=True)


class RequestsView(AtriumView):
    """Requests that were slow, failed or refused."""

    required_permission: ClassVar[str] = "requests.read"

    @extend_schema(
        operation_id="requests_list",
        parameters=[*LISTING.parameters(), SCOPE_PARAMETER],
        responses=answers({200: page_of("RequestPage", RequestOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Kept requests, the newest first; each for 14 days, or as long as the tenant's rules say."""
        platform = wants_platform(request)
        with kept_requests(principal=principal(request), platform=platform) as rows:
            return LISTING.answer(request, rows, show_requests, RequestOutput)


class RequestView(AtriumView):
    """One request by its id."""

    required_permission: ClassVar[str] = "requests.read"

    @extend_schema(
        operation_id="requests_retrieve",
        parameters=[SCOPE_PARAMETER],
        responses=answers({200: RequestWayOutput}),
    )
    def get(self, request: Request, request_id: str) -> Response:
        """The way of a request through the house, by the `x-request-id` of its answer: any that was metered or kept."""
        platform = wants_platform(request)
        way = find_request(principal=principal(request), request_id=request_id, platform=platform)
        return Response(RequestWayOutput(way).data)
