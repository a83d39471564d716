"""`/requests`: slow, failed and refused requests, and the way of any metered request by its id. `/routing/decisions`: where
calls went of late, and why. Never content.
"""

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
from tenants.services import find_request, kept_decisions, kept_requests, show_decisions, show_requests
from tenants.types import RequestPart, TraceState

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
        """Kept requests, the newest first; each for 14 days, or as long as the tenant's rules say.

        Those that were neither slow nor failed nor refused are told for `state=sampled` alone: a few a minute, for a day.
        """
        platform = wants_platform(request)
        samples = TraceState.SAMPLED.value in request.query_params.get("state", "")
        with kept_requests(principal=principal(request), platform=platform, samples=samples) as rows:
            return LISTING.answer(request, rows, show_requests, RequestOutput)


class CallDecisionOutput(serializers.Serializer[Any]):
    """Where one call went and why, as it was noted on its way.

    `choice` is what decided the model, empty where the call named it. Each of `attempts` is one replica, in their order, with
    the terms of its score (milliseconds and tokens) and its outcome.
    """

    id = serializers.CharField()
    request_id = serializers.CharField()
    tenant = serializers.CharField()
    started_at = serializers.DateTimeField()
    state = serializers.CharField()
    model = serializers.CharField()
    pool = serializers.CharField()
    replica = serializers.CharField()
    queue_ms = serializers.IntegerField()
    first_byte_ms = serializers.IntegerField()
    choice = serializers.DictField()
    attempts = serializers.ListField(child=serializers.DictField())

    def to_representation(self, instance: RequestPart) -> dict[str, Any]:
        """The part's own fields, and what its hops say."""
        names = [str(name) for name in self.fields]
        plain = {name: getattr(instance, name) for name in names if name not in ("choice", "attempts")}
        facts = [(hop.name, dict(hop.facts)) for hop in instance.hops]
        return {
            **plain,
            "id": str(instance.id),
            "choice": next((each for name, each in reversed(facts) if name == "choose"), {}),
            "attempts": [each for name, each in facts if name == "attempt"],
        }


DECISIONS = Listing(
    sorts={"started_at": "started_at", "first_byte_ms": "first_byte_ms", "queue_ms": "queue_ms"},
    default="-started_at",
    search=("request_id", "model", "replica"),
    filters={
        "model": text_filter("model", "The model that was asked for."),
        "pool": text_filter("pool", "The pool that answered."),
        "replica": text_filter("replica", "The id of the replica that answered."),
        "from": moment_filter("started_at__gte", "Began at this moment or later."),
        "to": moment_filter("started_at__lt", "Began before this moment."),
    },
    csv=(
        "started_at",
        "request_id",
        "model",
        "pool",
        "replica",
        "queue_ms",
        "first_byte_ms",
        "choice",
        "attempts",
    ),
    file_name="decisions",
)


class DecisionsView(AtriumView):
    """Where calls went of late, and why."""

    required_permission: ClassVar[str] = "requests.read"

    @extend_schema(
        operation_id="routing_decisions",
        parameters=[*DECISIONS.parameters(), SCOPE_PARAMETER],
        responses=answers({200: page_of("CallDecisionPage", CallDecisionOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Calls that reached an engine, the newest first, each with what decided its model and replica.

        All that were slow or failed, for 14 days; of the others a few a minute and process, for a day.
        """
        platform = wants_platform(request)
        with kept_decisions(principal=principal(request), platform=platform) as rows:
            return DECISIONS.answer(request, rows, show_decisions, CallDecisionOutput)


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
