"""`/engines`: an engine is tested, and put into service with its pool and model in one step."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.serializers import EngineInput, EngineReportOutput, EngineTestInput, ReplicaOutput
from inference.services import examine_engine, examine_replica, register_engine
from inference.views.pools import shown
from inference.views.reading import id_of, valid, versioned
from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.permissions import OPERATE


class EnginesView(AtriumView):
    """Engines, as `register_engine` takes them."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="engines_register", request=EngineInput, responses=answers({201: ReplicaOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Put an engine into service; its pool and its model are made when they are new."""
        return versioned(shown(register_engine(**valid(EngineInput, request))), status=201)


class EngineTestView(AtriumView):
    """The connection test."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="engines_test", request=EngineTestInput, responses=answers({200: EngineReportOutput})
    )
    def post(self, request: Request) -> Response:
        """What answers at an address: whether it can be reached, what it serves, how fast it is. Nothing is stored.

        It takes at most half a minute, follows no redirect and never asks the address of a cloud's metadata.
        """
        return Response(EngineReportOutput(examine_engine(**valid(EngineTestInput, request))).data)


class ReplicaTestView(AtriumView):
    """The connection test of a registered replica."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="replicas_test", request=None, responses=answers({200: EngineReportOutput}, 409)
    )
    def post(self, request: Request, replica_id: str) -> Response:
        """What answers at a replica, asked with the key that is stored for it."""
        report = examine_replica(replica_id=id_of(replica_id, "replica"))
        return Response(EngineReportOutput(report).data)
