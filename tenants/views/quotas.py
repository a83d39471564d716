"""`/quotas`: what is limited, what is used of it, where each amount comes from; and setting limits."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import BadInput, NotFound
from kernel.ids import parse_uuid
from substrate.openapi import answers
from substrate.rest import AtriumView, StrictSerializer
from substrate.versions import expected_version
from tenants.limit_types import MOST, SUBJECT_LENGTH, Level, Measure, QuotaStanding, QuotaView
from tenants.rest import IF_MATCH, SIGNED_IN, principal, with_version
from tenants.services.quotas import QuotaAsked, change_quota, create_quota, delete_quota, get_quota
from tenants.services.standings import SOURCES, STATES, all_standings, own_standings, standings_of

LEVELS = [(each.value, each.value) for each in Level]
MEASURES = [(each.value, each.value) for each in Measure]
VIEWS = ("own", "all")


class QuotaOutput(serializers.Serializer[Any]):
    """A limit with what is used of it. Money is in nano-units (billionths of the installation's currency).

    `subject` is the id of the user, key or model it holds for, empty for the tenant. A rule for every user, key or
    model (`origin` `own`, no subject, not of the tenant) has no figures of its own. `limit` null only warns.
    """

    id = serializers.UUIDField()
    level = serializers.ChoiceField(choices=LEVELS)
    subject = serializers.CharField()
    name = serializers.CharField(help_text="What people call the subject.")
    measure = serializers.ChoiceField(choices=MEASURES)
    limit = serializers.IntegerField(allow_null=True)
    soft_limit = serializers.IntegerField(allow_null=True)
    used = serializers.IntegerField()
    remaining = serializers.IntegerField(allow_null=True)
    resets_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When it is whole again: a bucket that is refilled, or the end of the day or month.",
    )
    state = serializers.ChoiceField(choices=STATES)
    origin = serializers.ChoiceField(
        choices=SOURCES, help_text="`inherited`: the amount is that of every one of this level."
    )
    version = serializers.CharField()


class QuotaListOutput(serializers.Serializer[Any]):
    """All in one page."""

    results = QuotaOutput(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class QuotaRuleOutput(serializers.Serializer[Any]):
    """A limit as it is set."""

    id = serializers.UUIDField()
    level = serializers.ChoiceField(choices=LEVELS)
    subject = serializers.CharField()
    measure = serializers.ChoiceField(choices=MEASURES)
    limit = serializers.IntegerField(allow_null=True)
    soft_limit = serializers.IntegerField(allow_null=True)
    updated_at = serializers.DateTimeField()
    version = serializers.CharField()


class QuotaAmounts(StrictSerializer):
    """`limit` refuses, `soft_limit` warns; null is none. At least one is set."""

    limit = serializers.IntegerField(min_value=0, max_value=MOST, allow_null=True)
    soft_limit = serializers.IntegerField(min_value=0, max_value=MOST, allow_null=True, required=False)


class QuotaInput(QuotaAmounts):
    """A new limit. Without `subject` it is that of every user, key or model (of the tenant: its own)."""

    level = serializers.ChoiceField(choices=LEVELS)
    subject = serializers.CharField(required=False, allow_blank=True, max_length=SUBJECT_LENGTH, default="")
    measure = serializers.ChoiceField(choices=MEASURES)


class QuotasView(AtriumView):
    """What is limited, and new limits."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": SIGNED_IN, "POST": "quotas.write"}

    @extend_schema(
        operation_id="quotas_list",
        parameters=[
            OpenApiParameter(
                "view", OpenApiTypes.STR, enum=VIEWS, description="`own` (the caller's) or `all` rules."
            ),
            OpenApiParameter("user", OpenApiTypes.STR, description="The limits that hold for this user."),
            OpenApiParameter("key", OpenApiTypes.STR, description="The limits that hold for this API key."),
        ],
        responses=answers({200: QuotaListOutput}, 400, 404),
    )
    def get(self, request: Request) -> Response:
        """The limits that hold for the caller; all of the tenant, or those of a user or key, for who may read usage."""
        who = principal(request)
        view, user, key = (request.query_params.get(name, "") for name in ("view", "user", "key"))
        if view not in ("", *VIEWS):
            raise BadInput("view is own or all.", param="view")
        if user or key:
            found = standings_of(principal=who, user=user, key="" if user else key)
        elif view == "all":
            found = all_standings(principal=who)
        else:
            found = own_standings(principal=who)
        results = QuotaOutput([_shown(each) for each in found], many=True).data
        return Response({"results": results, "next": None, "previous": None})

    @extend_schema(
        operation_id="quotas_create", request=QuotaInput, responses=answers({201: QuotaRuleOutput}, 404, 409)
    )
    def post(self, request: Request) -> Response:
        """Set a limit. Those of the tenant itself are for operators, all others need `quotas.write`."""
        form = QuotaInput(data=request.data)
        form.is_valid(raise_exception=True)
        given = form.validated_data
        asked = QuotaAsked(
            Level(given["level"]),
            given["subject"],
            Measure(given["measure"]),
            given["limit"],
            given.get("soft_limit"),
        )
        return _answer(create_quota(principal=principal(request), asked=asked), status=201)


class QuotaRuleView(AtriumView):
    """One limit."""

    required_permission: ClassVar[Mapping[str, str]] = {
        "GET": "usage.read",
        "PUT": "quotas.write",
        "DELETE": "quotas.write",
    }

    @extend_schema(operation_id="quotas_get", responses=answers({200: QuotaRuleOutput}, 404))
    def get(self, request: Request, quota_id: str) -> Response:
        """As it is set."""
        return _answer(get_quota(principal=principal(request), quota_id=_id(quota_id)))

    @extend_schema(
        operation_id="quotas_change",
        parameters=[IF_MATCH],
        request=QuotaAmounts,
        responses=answers({200: QuotaRuleOutput}, 404, 412),
    )
    def put(self, request: Request, quota_id: str) -> Response:
        """Replace its amounts; in force everywhere within two seconds."""
        form = QuotaAmounts(data=request.data)
        form.is_valid(raise_exception=True)
        view = change_quota(
            principal=principal(request),
            quota_id=_id(quota_id),
            hard=form.validated_data["limit"],
            soft=form.validated_data.get("soft_limit"),
            expected=expected_version(request),
        )
        return _answer(view)

    @extend_schema(
        operation_id="quotas_delete", parameters=[IF_MATCH], responses=answers({204: None}, 404, 412)
    )
    def delete(self, request: Request, quota_id: str) -> Response:
        """Take it away: unlimited, or what every one of its level has."""
        delete_quota(principal=principal(request), quota_id=_id(quota_id), expected=expected_version(request))
        return Response(status=204)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such limit.")
    return found


def _shown(each: QuotaStanding) -> dict[str, Any]:
    rule = each.limit
    return {
        "id": each.quota_id,
        "level": rule.level.value,
        "subject": rule.subject,
        "name": each.name,
        "measure": rule.measure.value,
        "limit": rule.hard,
        "soft_limit": rule.soft,
        "used": each.used,
        "remaining": each.remaining,
        "resets_at": each.resets_at,
        "state": each.state,
        "origin": each.source,
        "version": each.version,
    }


def _answer(view: QuotaView, *, status: int = 200) -> Response:
    body = {
        "id": view.id,
        "level": view.level.value,
        "subject": view.subject,
        "measure": view.measure.value,
        "limit": view.hard,
        "soft_limit": view.soft,
        "updated_at": view.updated_at,
        "version": view.version,
    }
    return with_version(Response(QuotaRuleOutput(body).data, status=status), view.version)
