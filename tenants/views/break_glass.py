"""`/break-glass`: operators' leave to read the content of the tenant at hand."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import answers
from substrate.rest import AtriumView, StrictSerializer
from tenants.break_glass_types import LEAST_MINUTES, MOST_MINUTES, REASON_LENGTH, BreakGlassState
from tenants.permissions import OPERATE
from tenants.rest import principal
from tenants.services.break_glass import end_break_glass, list_break_glass, open_break_glass

BREAK_GLASS_STATES = [each.value for each in BreakGlassState]


class BreakGlassInput(StrictSerializer):
    """Why an operator must read the content of the tenant they visit, and for how long."""

    reason = serializers.CharField(max_length=REASON_LENGTH)
    minutes = serializers.IntegerField(min_value=LEAST_MINUTES, max_value=MOST_MINUTES)


class BreakGlassOutput(serializers.Serializer[Any]):
    """A grant; `reads` is how often content was asked for by it."""

    id = serializers.CharField()
    operator = serializers.CharField()
    reason = serializers.CharField()
    state = serializers.ChoiceField(BREAK_GLASS_STATES)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_by = serializers.CharField()
    mine = serializers.BooleanField()
    reads = serializers.IntegerField()


class BreakGlassesOutput(serializers.Serializer[Any]):
    """The newest 200 grants."""

    results = BreakGlassOutput(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class BreakGlassesView(AtriumView):
    """Grants in the caller's tenant."""

    required_permission: ClassVar[dict[str, str]] = {"GET": "audit.read", "POST": OPERATE}

    @extend_schema(operation_id="break_glass_list", responses=answers({200: BreakGlassesOutput}))
    def get(self, request: Request) -> Response:
        """All of them, the newest first, ended ones too."""
        found = list_break_glass(principal=principal(request))
        return Response(BreakGlassesOutput({"results": found, "next": None, "previous": None}).data)

    @extend_schema(
        operation_id="break_glass_open",
        request=BreakGlassInput,
        responses=answers({201: BreakGlassOutput}, 409),
    )
    def post(self, request: Request) -> Response:
        """An operator who visits the tenant reads its content from now on, for a time; its owners are told."""
        form = BreakGlassInput(data=request.data)
        form.is_valid(raise_exception=True)
        grant = open_break_glass(principal=principal(request), **form.validated_data)
        return Response(BreakGlassOutput(grant).data, status=201)


class OneBreakGlassView(AtriumView):
    """One grant."""

    required_permission: ClassVar[str] = "users.write"

    @extend_schema(operation_id="break_glass_end", responses=answers({200: BreakGlassOutput}))
    def delete(self, request: Request, grant_id: str) -> Response:
        """End it: nothing is read by it from now on. The record stays."""
        wanted = parse_uuid(grant_id)
        if wanted is None:
            raise NotFound("There is no such grant.")
        return Response(BreakGlassOutput(end_break_glass(principal=principal(request), grant_id=wanted)).data)
