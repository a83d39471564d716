"""`/pools/{id}/scaling`: how many replicas a pool is to have, and what was decided."""

import uuid
from typing import ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.backends import backends
from kernel.errors import NotFound
from kernel.ids import parse_uuid
from routing import scaling_reads
from routing.scaling_serializers import DecisionOutput, ScalingOutput, ScalingShape
from routing.scaling_types import ScalingView, written_scaling_policy
from routing.services import get_scaling, set_scaling
from substrate.listings import Listing, moment_filter
from substrate.openapi import answers, page_of
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.permissions import OPERATE
from tenants.rest import IF_MATCH, with_version

DECISIONS = Listing(
    sorts={"at": "created_at"},
    default="-at",
    filters={"since": moment_filter("created_at__gte", "Decisions from then on.")},
)


class ScalingPolicyView(AtriumView):
    """What operators say of a pool's replicas."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="pools_scaling_get", responses=answers({200: ScalingOutput}))
    def get(self, request: Request, pool_id: str) -> Response:
        """How many replicas the pool is to have; `off` before anything was said."""
        return _answer(get_scaling(pool_id=_id(pool_id)))

    @extend_schema(
        operation_id="pools_scaling_set",
        parameters=[IF_MATCH],
        request=ScalingShape,
        responses=answers({200: ScalingOutput}, 412),
    )
    def put(self, request: Request, pool_id: str) -> Response:
        """Replace it; decided by within seconds."""
        form = ScalingShape(data=request.data)
        form.is_valid(raise_exception=True)
        view = set_scaling(
            pool_id=_id(pool_id), document=form.validated_data, expected=expected_version(request)
        )
        return _answer(view)


class ScalingDecisionsView(AtriumView):
    """What was decided of a pool's replicas."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="pools_scaling_decisions",
        parameters=DECISIONS.parameters(),
        responses=answers({200: page_of("ScalingDecisionPage", DecisionOutput)}),
    )
    def get(self, request: Request, pool_id: str) -> HttpResponseBase:
        """Decisions, the newest first: each that differed from the one before, and one a minute."""
        found = _id(pool_id)
        get_scaling(pool_id=found)
        return DECISIONS.answer(request, scaling_reads.decisions(found), list, DecisionOutput)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such pool.")
    return found


def _answer(view: ScalingView) -> Response:
    body = {
        **written_scaling_policy(view.policy),
        "can_act": "scaler" in backends.specs,
        "wakefulness": view.wakefulness.value,
        "starts_in_s": view.starts_in_s,
        "updated_at": view.updated_at,
        "version": view.version,
    }
    return with_version(Response(ScalingOutput(body).data), view.version)
